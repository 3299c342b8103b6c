//! Validated values. The promise: a [`config::Config`] that exists is right; impossible states cannot be written.
//!
//! Pure: no clock, no I/O, no threads, no logs. [`resolve`] alone turns `wire` into these: it follows references, fills
//! in defaults, checks every rule, and collects each [`problem`] instead of stopping at the first.
//!
//! What a request needs is compiled here once: [`route`] finds a service by host and path, [`place`] the region that
//! a client counts for and the order of regions by distance, [`target`] holds mode and target so that a forbidden
//! combination has no value. [`mod@unit`] has the numbers with units that the whole house speaks in, [`detail`] the words
//! for how a request ended, [`compression`] which answers are made smaller, [`certificate`] chains with their keys,
//! checked to belong together, [`tls`] what is asked of clients that come over TLS,
//! [`admin`] of those who ask the process itself.

pub mod admin;
pub mod certificate;
pub mod compression;
pub mod config;
pub mod detail;
pub mod header;
pub mod place;
pub mod policy;
pub mod probe;
pub mod problem;
pub mod resolve;
pub mod route;
pub mod service;
pub mod target;
pub mod timestamp;
pub mod tls;
pub mod unit;
pub mod x509;
