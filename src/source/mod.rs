//! Where a configuration comes from: text, and word that it has changed.
//!
//! [`mod@file`] is the only source so far. A source knows nothing of what the text means: it hands all of it to
//! [`crate::engine::handle::Handle`], which takes it whole or refuses it whole, and shows what was wrong. Changes come
//! from the file and from whoever asks the [`store`], one after the other.

mod beside;
pub(crate) mod exposed;
pub mod file;
mod replace;
pub mod store;
