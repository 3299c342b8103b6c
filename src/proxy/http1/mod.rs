//! HTTP/1.1 as we speak it ourselves, on both sides: no task, no channel and no lock between the one who asks and the
//! socket.
//!
//! A bare proxy on hyper costs as much per request as all of nginx, which leaves nothing for what a balancer does.
//! HTTP/2 to clients has an engine of the same kind; that to members is hyper's, and HTTP/3 is h3's.
//!
//! [`inbound`] is a client's connection, [`member`] one to a member; [`chunked`] reads and writes bodies that come in
//! chunks.

pub(crate) mod chunked;
pub(crate) mod inbound;
pub(crate) mod member;
pub(crate) mod scratch;
pub(crate) mod text;
