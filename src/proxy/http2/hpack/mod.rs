//! Lists of fields as HTTP/2 packs them [RFC 7541]: requests are unpacked and judged, answers are packed.
//!
//! A client may say a field once and point at it later. So a field is judged when it is said, and what stands in a table
//! is ready to be taken: a header that comes again costs a look-up and a clone.
//!
//! What a client can make us hold is bounded for each connection: 4096 bytes of fields as they are counted
//! [RFC 7541 4.1], which are at most 124 fields, and a buffer of 4096 bytes; less than 32 KiB in all. Nothing is held
//! before a client asks for it.

mod decoder;
mod encoder;
mod field;
mod huffman;
mod statics;
mod table;

pub(super) use self::decoder::Decoder;
pub(super) use self::encoder::{NO_TABLE, write_header, write_status};
pub(super) use self::field::{Broken, Field};
