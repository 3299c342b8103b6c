//! The command line.

pub mod check;
pub mod load;
pub mod toy;
pub(crate) mod words;
