//! Google's Compute API, as far as load balancing goes, so that Google's own clients drive this balancer [G 10, 12].
//!
//! A request's path says what is asked ([`path`], over the table of [`kinds`]), its query how much of it and in which
//! order ([`query`], [`filter`], [`page`], [`fields`]). What is refused is told in Google's error body ([`error`]); a
//! change leaves an [`operation`] behind, which is done by the time the client hears of it. Several requests may come in
//! one ([`batch`]). None of these knows the engine.
//!
//! The truth is the text of the configuration. [`catalog`] finds the resources in it, [`typed`] and [`stored`] give one
//! of them the form that the API shows, with [`defaults`] filled in and every [`reference`] a link. [`look`] answers
//! questions from that. [`write`] and [`verbs`] say what a resource should be; [`change`] finds the fewest edits of the
//! text that make it so, and [`compute`] has them taken and kept, whole or not at all. [`answer`] is the door.

mod answer;
mod batch;
mod catalog;
mod change;
#[allow(clippy::module_inception)]
mod compute;
mod defaults;
mod error;
mod fields;
mod filter;
mod kinds;
mod look;
mod mask;
mod merge;
mod operation;
mod page;
mod path;
mod query;
mod reference;
mod stored;
mod table;
mod typed;
mod validate;
mod verbs;
mod write;

pub(super) use answer::{answer, batch};
pub(super) use compute::Compute;
pub(super) use error::ApiError;
pub(super) use reference::Base;
