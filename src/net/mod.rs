//! Sockets and TLS: no HTTP, no decisions.
//!
//! [`listen`] gives every worker a socket of its own on the same address and says how to go on after an error of
//! accept. [`connect`] brings one connection to a member within a time limit, over [`tls`] where the service speaks
//! HTTPS or SSL. [`accept`] speaks TLS to clients, [`quic`] speaks QUIC to them, and [`tickets`] let clients of both take up their
//! sessions. [`dial`] connects to a host that is known by name, whose addresses [`dns`] finds. [`join`] makes small writes leave in one piece. [`inherit`]
//! takes listening sockets from another process and hands them to the next. Who connects where, how often and why is the caller's
//! business.

pub mod accept;
pub mod connect;
pub mod dial;
pub mod dns;
pub mod inherit;
pub mod join;
pub mod listen;
pub mod quic;
pub mod tickets;
pub mod tls;
