//! Google's Compute API, as far as load balancing goes, so that Google's own clients drive this balancer [G 10, 12].
//!
//! A request's path says what is asked ([`path`], over the table of [`kinds`]), its query how much of it and in which
//! order ([`query`], [`filter`], [`page`], [`fields`]). A change is a JSON merge patch or a whole resource ([`merge`])
//! and leaves an [`operation`] behind, which is done by the time the client hears of it. Several requests may come in
//! one ([`batch`]). What is refused is told in Google's error body ([`error`]). None of these knows the engine.

mod batch;
mod error;
mod fields;
mod filter;
mod kinds;
mod merge;
mod operation;
mod page;
mod path;
mod query;
mod table;
