//! The algorithms. Every function is (values, now) → value: the same code runs in the proxy, in tests and in a simulation.
//!
//! The story of a plan: the planner takes a [`plan::Sample`] of a service about every 100 ms. For each backend it
//! works out a limit in requests per second: from the rate target for RATE, from a closed loop over reported
//! utilization for UTILIZATION and over custom metrics for CUSTOM_METRICS, from whichever is lower when both are given. The limit goes to the backend's gate.
//! For each place that clients come from it orders the backends into tiers: nearest region first, PREFERRED before
//! DEFAULT. A request walks the tiers: in a tier a backend is chosen in proportion to capacity among those with room;
//! a tier without room is skipped, and the reason is kept; one with too few healthy members keeps only a part of what
//! comes. A backend with far too few may be drained altogether, if the service asks for it. When every tier is full,
//! the request is placed anyway, in proportion to capacity, so that all end at the same relative overload.

mod backend;
pub mod burst;
pub mod capacity;
mod chance;
mod drain;
pub mod explain;
pub mod gcra;
pub mod hash;
pub mod health;
mod locality;
pub mod maglev;
mod members;
mod metrics;
pub mod outlier;
mod overload;
pub mod pick;
pub mod plan;
pub mod planner;
pub mod prequal;
mod reading;
pub mod report;
pub mod ring;
pub mod rng;
mod shares;
mod tiers;
pub mod utilization;
pub mod weights;
