//! The house keeper: one writer for the world, one planner, N workers. Edges see [`handle::Handle`] alone.
//!
//! The way of a change: [`handle`] puts it into a queue; the supervisor takes one at a time: text → configuration →
//! what may not change while running → new sockets → new world from the same ledger → first plans → **one swap** →
//! probes, listeners and old connections brought in line. Whatever can fail stands before the swap. [`start`] goes the
//! same way for the first world.
//!
//! The way of a plan: about every 100 ms, and at once when a member's health has changed, the planner's shell samples
//! the ledger, calls `balance`, and publishes limits and plans.
//!
//! The way of a new binary: [`upgrade`] starts it, gives it the sockets and what is known, and drains.
//!
//! HTTP/3 has sockets of its own: `quic` keeps them, and `endpoints` serves them on each worker.
//!
//! The way of a connection: each worker is one thread with one runtime, its own listening sockets and its own kept
//! connections to members. What a worker logs goes in chunks to the thread of [`log_writer`].

mod endpoints;
mod estate;
pub mod files;
pub mod handle;
pub mod log_writer;
mod planner;
mod quic;
mod session_key;
pub mod start;
mod supervisor;
pub mod upgrade;
mod worker;
