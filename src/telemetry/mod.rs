//! What the process says about itself: log lines on standard error, and metrics.

pub mod log;
pub mod metrics;
mod text;
