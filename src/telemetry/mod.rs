//! What the process says about itself: log lines on standard error ([`log`]), and [`metrics`].
//!
//! One fact, one counter: nothing is counted here. A scrape reads the ledger, the plan's figures and the handle, and
//! writes them down; between two scrapes this folder costs nothing. The access log is not here, since it is written
//! on a request's way: `proxy::access_log` makes the lines, `engine::log_writer` writes them.

#[cfg(test)]
pub(crate) mod fixture;
pub mod log;
pub mod metrics;
mod text;
