//! Sockets and TLS: no HTTP, no decisions.

pub mod connect;
pub mod listen;
pub mod tls;
