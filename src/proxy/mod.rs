//! The way of a request, on one worker, without locks. The steps in order:
//!
//! [`serve`] one client connection → [`guard`] strict framing, or `http2` → [`handle`] route, session key, pick, lease →
//! [`pool`] kept connection, `shared` one of HTTP/2, or connect → [`forward`] send, wait, classify → [`retry`] again or stop →
//! [`headers`] both directions → [`body`] streams and pays back at its end → [`record`] counts and logs, once.
//! [`respond`] is the only maker of answers of our own.
//!
//! A connection of a TCP or SSL proxy goes another way: [`tcp`] TLS, pick, lease, connect → [`relay`] bytes both ways →
//! [`connection`] counts and logs, once, by [`connection_log`].

pub mod access_log;
pub mod body;
mod breaker;
pub mod connection;
pub mod connection_log;
pub mod context;
pub mod failure;
pub mod forward;
pub mod guard;
pub mod handle;
pub mod headers;
mod http2;
mod live;
pub mod outbound;
pub mod pool;
pub mod record;
pub mod relay;
pub mod respond;
pub mod retry;
pub mod serve;
pub mod session;
mod shared;
pub mod tcp;
pub mod upgrade;
pub mod visit;
pub mod watch;
