//! Packs lists of fields.
//!
//! No dynamic table and no Huffman code: that costs a few bytes of an answer and saves time and the memory of a table
//! for each connection.

use http::{HeaderName, StatusCode};

use super::statics::{ACCEPT_ENCODING, STATUS, find_name, find_status};

/// A change of the table's size to 0, before the first block that goes out: a client need not keep one.
pub(crate) const NO_TABLE: u8 = 0x20;

/// In front of a field that stands in the table.
const INDEXED: u8 = 0x80;
/// In front of a field that nobody may write to a table, on the whole way.
const NEVER_INDEXED: u8 = 0x10;
/// Most that an index has in the first byte of a field that stands in no table.
const NAME_MASK: u8 = 0x0f;
const LENGTH_MASK: u8 = 0x7f;

/// Writes `:status`, which stands before all headers.
pub(crate) fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    match find_status(status) {
        0 => {
            out.push(STATUS);
            write_text(out, status.as_str().as_bytes());
        }
        index => out.push(INDEXED | index),
    }
}

/// Writes a header. `is_sensitive`: it may stand in no table, not even behind a proxy of the client's.
pub(crate) fn write_header(out: &mut Vec<u8>, name: &HeaderName, value: &[u8], is_sensitive: bool) {
    let name = name.as_str().as_bytes();
    let index = find_name(name);
    if value.is_empty() && index != 0 && index != ACCEPT_ENCODING && !is_sensitive {
        out.push(INDEXED | index);
        return;
    }
    let form = if is_sensitive { NEVER_INDEXED } else { 0 };
    match index {
        0 => {
            out.push(form);
            write_text(out, name);
        }
        1..NAME_MASK => out.push(form | index),
        _ => out.extend_from_slice(&[form | NAME_MASK, index - NAME_MASK]),
    }
    write_text(out, value);
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    match u8::try_from(text.len()) {
        Ok(length) if length < LENGTH_MASK => out.push(length),
        _ => write_length(out, text.len()),
    }
    out.extend_from_slice(text);
}

/// Writes a length that its first byte has no room for [RFC 7541 5.1].
fn write_length(out: &mut Vec<u8>, length: usize) {
    out.push(LENGTH_MASK);
    let mut rest = length.saturating_sub(LENGTH_MASK.into());
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use http::header::{ACCEPT_ENCODING, DATE, SERVER, SET_COOKIE, VARY};
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::decoder::Decoder;
    use super::super::field::Field;
    use super::*;
    use crate::proxy::http1::scratch::Scratch;

    fn written(name: &HeaderName, value: &str, is_sensitive: bool) -> Vec<u8> {
        let mut out = Vec::new();
        write_header(&mut out, name, value.as_bytes(), is_sensitive);
        out
    }

    #[test]
    fn what_stands_in_the_table_is_pointed_at() {
        assert_eq!(written(&SERVER, "x", false), b"\x0f\x27\x01x");
        assert_eq!(written(&SET_COOKIE, "a", true), b"\x1f\x28\x01a");
        assert_eq!(written(&VARY, "", false), [0x80 | 59]);
        assert_eq!(written(&VARY, "", true), [0x1f, 59 - 15, 0]);
        assert_eq!(written(&ACCEPT_ENCODING, "", false), [0x0f, 1, 0]);
        assert_eq!(written(&HeaderName::from_static("x-a"), "b", false), b"\0\x03x-a\x01b");
        assert_eq!(written(&HeaderName::from_static("x-a"), "b", true), b"\x10\x03x-a\x01b");
    }

    #[test]
    fn statuses_are_pointed_at_or_said() {
        for (status, packed) in
            [(200, &b"\x88"[..]), (500, b"\x8e"), (302, b"\x08\x03302"), (999, b"\x08\x03999")]
        {
            let mut out = Vec::new();
            write_status(&mut out, StatusCode::from_u16(status).unwrap());
            assert_eq!(out, packed, "{status}");
        }
    }

    #[test]
    fn values_of_every_length_are_read_again() {
        for length in (0..400).chain([16_509, 16_510, 16_511, 70_000, 3_000_000]) {
            let block = written(&DATE, &"v".repeat(length), false);
            let mut seen = None;
            Decoder::new()
                .decode(&block, &Scratch::default(), |field, size| {
                    let Field::Header(_, value) = field else { panic!("{field:?}") };
                    seen = Some((size, value.len()));
                    true
                })
                .unwrap();
            assert_eq!(seen, Some((length + 4 + 32, length)));
        }
    }

    fn name() -> impl Strategy<Value = String> {
        let known =
            vec!["date", "server", "accept-encoding", "vary", "content-type", "www-authenticate", "x-own"];
        prop_oneof![proptest::sample::select(known).prop_map(str::to_owned), "[a-z0-9_-]{1,200}"]
    }

    /// Bytes that a value may have.
    fn value() -> impl Strategy<Value = Vec<u8>> {
        vec((b' '..=255).prop_map(|byte| if byte == 127 { b'\t' } else { byte }), 0..300)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            lists in vec(vec((name(), value(), any::<bool>()), 0..10), 1..4),
            status in 100..1000_u16,
        ) {
            let (mut decoder, mut block) = (Decoder::new(), vec![NO_TABLE]);
            for list in lists {
                write_status(&mut block, StatusCode::from_u16(status).unwrap());
                let mut expected = Vec::new();
                for (name, value, is_sensitive) in list {
                    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                    write_header(&mut block, &name, &value, is_sensitive);
                    expected.push((name, value, is_sensitive));
                }
                let (mut seen, mut has_status) = (Vec::new(), false);
                let done = decoder.decode(&block, &Scratch::default(), |field, size| {
                    if let Field::Header(name, value) = field {
                        assert_eq!(size, name.as_str().len() + value.len() + 32);
                        seen.push((name.clone(), value.as_bytes().to_vec(), value.is_sensitive()));
                    } else {
                        has_status = matches!(field, Field::Status) && seen.is_empty();
                    }
                    true
                });
                prop_assert_eq!(done, Ok(()));
                prop_assert!(has_status);
                prop_assert_eq!(seen, expected);
                block.clear();
            }
        }
    }
}
