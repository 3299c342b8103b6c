//! The way of a request, on one worker, without locks. The steps in order:
//!
//! [`arrival`] from whom, by a [`proxy_header`] where one is due →
//! [`serve`] one client connection → [`guard`] strict framing, or `http2` → [`handle`] route, session key, pick, lease →
//! [`pool`] kept connection, `shared` one of HTTP/2, or connect → [`forward`] send by `http1`, wait, classify → [`retry`] again or stop →
//! [`headers`] both directions → [`body`] streams, through `compress` where that is asked for, and pays back at its end →
//! [`record`] counts and logs, once.
//! [`respond`] is the only maker of answers of our own; [`screen`] tells them without a request.
//!
//! What a route adds: `cors` answers for other origins, `kept` copies of bodies for another attempt, `mirror` copies of
//! requests for another service, `error_page` pages instead of errors; the last two go out by `aside`.
//!
//! A connection of an HTTPS proxy goes the same way, once [`https`] has shaken hands; one of HTTP/3 has a way of its own
//! up to [`handle`], and back from it: [`http3`].
//!
//! A connection of a TCP or SSL proxy goes another way: [`tcp`] TLS, pick, lease, connect → [`relay`] bytes both ways →
//! [`connection`] counts and logs, once, by [`connection_log`].

pub mod access_log;
pub mod arrival;
mod arriving;
mod aside;
pub mod body;
mod breaker;
mod client_cert;
mod compress;
pub mod connection;
pub mod connection_log;
pub mod context;
mod cors;
mod custom_headers;
mod date;
mod error_page;
pub mod failure;
mod floor;
pub mod forward;
pub mod guard;
pub mod handle;
mod handshake;
pub mod headers;
mod hold;
mod http1;
mod http2;
pub mod http3;
pub mod https;
mod kept;
mod live;
mod mirror;
mod out;
pub mod outbound;
pub mod pool;
pub mod proxy_header;
pub mod record;
pub mod relay;
pub mod respond;
pub mod retry;
mod route_action;
pub mod screen;
pub mod serve;
pub mod session;
mod shared;
mod streams;
pub mod tcp;
pub mod upgrade;
pub mod visit;
pub mod watch;
