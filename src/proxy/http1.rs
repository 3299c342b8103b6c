//! HTTP/1.1 as we speak it ourselves, on sockets and without tasks, channels or state machines between.
//!
//! A bare proxy on hyper costs as much per request as all of nginx, which leaves nothing for what a balancer does. So
//! both sides of HTTP/1.1 are ours; HTTP/2 is hyper's and HTTP/3 is h3's.

pub(super) mod inbound;
