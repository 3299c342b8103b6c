//! A request's way through the proxy.

// Their callers, the connection's owner and the handler, come with a change of their own.
#[allow(dead_code, unused_imports)]
pub mod guard;
#[allow(dead_code)]
pub mod headers;
#[allow(dead_code)]
pub mod session;
