//! Shared live numbers: one fact, one counter.
//!
//! Who writes what: a data worker adds only to its own [`cell::Cells`] (relaxed, no lock prefix); readers sum over
//! workers and may see a request counted as started and not yet as finished, never the other way round for long.
//! The one cell that all workers write together is the [`gate::Gate`] of a backend, since a target must hold over all of them.
//! State is keyed by identity in the [`registry::Registry`] and outlives a reload.

pub mod backend;
pub mod breaker;
pub mod budget;
pub mod buffers;
pub mod cell;
pub mod complaints;
pub mod conduct;
pub mod departed;
pub mod doors;
pub mod endpoint;
pub mod gate;
pub mod gauge;
pub mod handshake;
pub mod histogram;
pub mod lease;
pub mod member;
pub mod process;
pub mod registry;
pub mod resolution;
pub mod service;
