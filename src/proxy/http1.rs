//! HTTP/1 on the wire, by an engine of our own: no task, no channel and no lock between the one who asks and the socket.
//!
//! [`chunked`] reads and writes bodies that come in chunks; [`member`] is a connection to a member.

pub(crate) mod chunked;
pub(crate) mod member;
