//! The real planner and the real pick under modelled demand: no sockets, no clock, the same run every time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod burst;
mod conduct;
mod fleet;
mod lab;
mod laws;
mod loops;
mod metrics;
mod models;
mod news;
mod no_spill;
mod noisy;
mod on_answers;
mod order;
mod rules;
mod scenarios;
mod sharing;
mod utilization;
mod worked;
