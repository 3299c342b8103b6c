//! Sockets and TLS: no HTTP, no decisions.
