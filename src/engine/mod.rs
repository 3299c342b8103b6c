//! The house keeper: one writer for the world, one planner, N workers. Edges see [`handle::Handle`] alone.

pub mod handle;
pub mod log_writer;
mod planner;
pub mod start;
mod supervisor;
mod worker;
