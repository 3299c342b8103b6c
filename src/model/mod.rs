//! Validated values. The promise: a [`config::Config`] that exists is right; impossible states cannot be written.
//!
//! Pure: no clock, no I/O, no threads, no logs. `resolve` alone turns `wire` into these.

pub mod config;
pub mod detail;
pub mod place;
pub mod probe;
pub mod problem;
pub mod resolve;
pub mod route;
pub mod service;
pub mod target;
pub mod timestamp;
pub mod unit;
