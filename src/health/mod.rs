//! Asking members how they are: health checks [G 4], and load where it does not come with the answers.
//!
//! [`prober::Prober`] keeps one task per (service, member). A task asks ([`exchange`]), lets
//! [`crate::balance::health`] judge, writes the verdict into the ledger and wakes the planner when it changed.
//! [`agent::Agents`] fetches utilization for groups whose members do not report in response headers: from an
//! endpoint that answers a load report or a metrics page (`prometheus`), or from the operating system for processes on this host ([`local_process`]).
//! [`names::Names`] looks host names of internet endpoints up.
//!
//! All of it runs on the control runtime. At start everything is asked at once, later each member at a phase of its
//! own ([`schedule`]), so that probes never come in lockstep. What is not in the new world stops at a reload, what is
//! in both goes on undisturbed.

pub mod agent;
pub mod exchange;
mod fetch;
#[cfg(test)]
mod fixture;
mod grpc;
mod http2;
pub mod local_process;
pub mod names;
pub mod prober;
mod proc_files;
mod prometheus;
pub mod schedule;
