//! Sockets and TLS: no HTTP, no decisions.

pub mod connect;
pub mod join;
pub mod listen;
pub mod tls;
