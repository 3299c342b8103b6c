//! The house keeper: one writer for the world, one planner, N workers. Edges see [`handle::Handle`] alone.

pub mod handle;
pub mod start;
