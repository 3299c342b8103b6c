//! The way of a request, on one worker, without locks. The steps in order:
//!
//! [`serve`] one client connection → [`guard`] strict framing, or `http2` → [`handle`] route, session key, pick, lease →
//! [`pool`] kept connection, `shared` one of HTTP/2, or connect → [`forward`] send, wait, classify → [`retry`] again or stop →
//! [`headers`] both directions → [`body`] streams and pays back at its end → [`record`] counts and logs, once.
//! [`respond`] is the only maker of answers of our own; [`screen`] tells them without a request.
//!
//! A connection of an HTTPS proxy goes the same way, once [`https`] has shaken hands.
//!
//! A connection of a TCP or SSL proxy goes another way: [`tcp`] TLS, pick, lease, connect → [`relay`] bytes both ways →
//! [`connection`] counts and logs, once, by [`connection_log`].

pub mod access_log;
pub mod body;
mod breaker;
pub mod connection;
pub mod connection_log;
pub mod context;
mod custom_headers;
mod driven;
pub mod failure;
pub mod forward;
pub mod guard;
pub mod handle;
mod handshake;
pub mod headers;
mod http2;
pub mod https;
mod live;
pub mod outbound;
pub mod pool;
pub mod record;
pub mod relay;
pub mod respond;
pub mod retry;
mod route_action;
pub mod screen;
pub mod serve;
pub mod session;
mod shared;
pub mod tcp;
pub mod upgrade;
pub mod visit;
pub mod watch;
