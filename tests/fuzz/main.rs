//! Inputs from outside, changed at random, against what must always hold.
//!
//! `cargo test --test fuzz` meets a few thousand inputs of each target, the same ones in every run.
//! `OVERSPILL_FUZZ_SECONDS=600 cargo test --test fuzz` takes that long for each target and meets new ones; the seed is
//! printed (`-- --nocapture`), and `OVERSPILL_FUZZ_SEED` repeats it. A failing input is printed as small as it could be
//! made, to be kept in `tests/corpus/<target>/`, where every run begins. Requests on sockets are changed in `tests/it`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
// Real time bounds a run and nothing else.
#![allow(clippy::disallowed_methods)]

mod configuration;
mod cookie;
mod edit;
mod import;
mod mutate;
mod proxy_header;
mod report;
mod route;
mod run;
mod scenario;
mod words;

use std::hash::{DefaultHasher, Hasher as _};

/// One number for what an input did.
fn kind(of: impl std::hash::Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

/// The seeds of texts.
fn texts(of: &[&str]) -> Vec<Vec<u8>> {
    of.iter().map(|text| text.as_bytes().to_vec()).collect()
}
