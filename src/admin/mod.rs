//! The admin address: health of the process, status, metrics, getHealth in the shape of Google's API, a dashboard.
//!
//! It is not what the product exists for, so it is axum on the control runtime; and it must never harm the product:
//! at most 64 connections (whoever has been idle longest makes room), 10 s for a head, 1 MiB of body (16 MiB of a change),
//! 10 s for an answer. On loopback it answers only requests
//! whose `Host` says so: a web page that has its name resolved to 127.0.0.1 learns nothing. Anywhere else it asks for a
//! token or a certificate.

mod audit;
pub(crate) mod auth;
mod compute;
mod dashboard;
pub(crate) mod explain;
mod failures;
mod guard;
pub(crate) mod health;
mod places;
mod server;
pub(crate) mod status;

pub use server::AdminServer;
