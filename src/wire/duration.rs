//! A length of time as Google's APIs write it: `{seconds: "3600", nanos: 0}`.

use super::resource;
use super::schema::{Kind, Table, optional};

resource! {
    /// A duration.
    #[derive(Eq, Copy)]
    Duration
    required {}
    optional {
        /// Whole seconds, about 10,000 years at most.
        seconds: u64,
        /// What is left, below one second.
        nanos: u32,
    }
}

pub(super) static DURATION: Table = Table {
    noun: "a duration",
    fields: &[
        optional("seconds", Kind::Integer(0, 315_576_000_000)),
        optional("nanos", Kind::Integer(0, 999_999_999)),
    ],
};
