//! What the process says about itself: log lines on standard error, and metrics.

#[cfg(test)]
pub(crate) mod fixture;
pub mod log;
pub mod metrics;
mod text;
