//! Unpacks lists of fields.
//!
//! A block comes whole, and is over where a field in it is broken: both sides would no longer agree on what stands in
//! the table, so that the connection must end.

use super::field::{Broken, Entry, Field, Name};
use super::huffman;
use super::table::{MAX_SIZE, Table};
use crate::proxy::http1::scratch::Scratch;

/// Bytes that an integer may have behind its first: as many as 32 bits need.
const MAX_MORE: usize = 5;
/// Changes of the table's size before a block: the smallest on the way, and the last [RFC 7541 4.2].
const MAX_RESIZES: usize = 2;
/// Bytes of the buffer for unpacked texts that stay from block to block.
const KEPT_BUFFER: usize = 4096;

/// One per connection.
#[derive(Debug)]
pub(crate) struct Decoder {
    table: Table,
    /// For a text that comes in Huffman's code. What stands in it means nothing to the next.
    buffer: Vec<u8>,
}

/// What becomes of a field that is said in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Kept,
    Passing,
    Sensitive,
}

impl Decoder {
    /// Allocates nothing.
    pub(crate) fn new() -> Self {
        Self { table: Table::new(), buffer: Vec::new() }
    }

    /// Unpacks a whole block. `take` gets each field and its size (name + value + 32) and says whether to go on.
    ///
    /// # Errors
    /// The block is broken, or `take` said no. Either way the table is not what the client believes it is: no other
    /// block can be unpacked.
    pub(crate) fn decode(
        &mut self,
        block: &[u8],
        scratch: &Scratch,
        take: impl FnMut(&Field, usize) -> bool,
    ) -> Result<(), Broken> {
        let result = self.fields(block, scratch, take);
        if self.buffer.capacity() > KEPT_BUFFER {
            self.buffer = Vec::new();
        }
        result
    }

    fn fields(
        &mut self,
        block: &[u8],
        scratch: &Scratch,
        mut take: impl FnMut(&Field, usize) -> bool,
    ) -> Result<(), Broken> {
        let mut input = self.resize(block)?;
        while let Some((&first, rest)) = input.split_first() {
            input = rest;
            if first & 0x80 != 0 {
                let index = integer(first, 0x7f, &mut input)?;
                let entry = self.table.find(index).ok_or(Broken::Bad)?;
                if !take(&entry.field, entry.size) {
                    return Err(Broken::Stopped);
                }
                continue;
            }
            let (form, mask) = match first {
                0x40.. => (Form::Kept, 0x3f),
                0x20.. => return Err(Broken::Bad),
                0x10.. => (Form::Sensitive, 0x0f),
                _ => (Form::Passing, 0x0f),
            };
            let index = integer(first, mask, &mut input)?;
            let entry = self.literal(index, form, &mut input, scratch)?;
            if !take(&entry.field, entry.size) {
                return Err(Broken::Stopped);
            }
            if form == Form::Kept {
                self.table.push(entry);
            }
        }
        Ok(())
    }

    /// Follows the changes of the table's size, which stand before all fields. Gives the rest.
    #[inline]
    fn resize<'a>(&mut self, mut input: &'a [u8]) -> Result<&'a [u8], Broken> {
        let mut resizes = 0;
        while let Some((&first, rest)) = input.split_first()
            && first & 0xe0 == 0x20
            && resizes < MAX_RESIZES
        {
            input = rest;
            let size = integer(first, 0x1f, &mut input)?;
            if size > MAX_SIZE {
                return Err(Broken::Bad);
            }
            self.table.resize(size);
            resizes += 1;
        }
        Ok(input)
    }

    /// Reads the name, unless the index stands for one, and the value.
    fn literal(
        &mut self,
        index: usize,
        form: Form,
        input: &mut &[u8],
        scratch: &Scratch,
    ) -> Result<Entry, Broken> {
        let name = match index {
            0 => Name::read(text(input, &mut self.buffer)?)?,
            _ => self.table.find(index).ok_or(Broken::Bad)?.field.name(),
        };
        let value = text(input, &mut self.buffer)?;
        let table = &mut self.table;
        // What is too large to stay is copied as what passes.
        if form == Form::Kept && table.has_room(value.len()) {
            return Entry::read(name, value, |value| table.keep(value));
        }
        let mut entry = Entry::read(name, value, |value| scratch.cut(value))?;
        if form == Form::Sensitive {
            entry.field.set_sensitive();
        }
        Ok(entry)
    }
}

/// Reads an integer [RFC 7541 5.1] that begins with the bits of `first` under `mask`.
#[inline]
fn integer(first: u8, mask: u8, input: &mut &[u8]) -> Result<usize, Broken> {
    let front = first & mask;
    if front < mask { Ok(front.into()) } else { long_integer(mask, input) }
}

fn long_integer(front: u8, input: &mut &[u8]) -> Result<usize, Broken> {
    let mut value = u64::from(front);
    for at in 0..MAX_MORE {
        let (&byte, rest) = input.split_first().ok_or(Broken::Bad)?;
        *input = rest;
        value += u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).map_err(|_| Broken::Bad)?;
            return usize::try_from(value).map_err(|_| Broken::Bad);
        }
    }
    Err(Broken::Bad)
}

/// Reads a text [RFC 7541 5.2]: a part of the block, or of the buffer, to which it is unpacked.
#[inline]
fn text<'a, 'b: 'a>(input: &mut &'b [u8], buffer: &'a mut Vec<u8>) -> Result<&'a [u8], Broken> {
    let (&first, rest) = input.split_first().ok_or(Broken::Bad)?;
    *input = rest;
    let length = integer(first, 0x7f, input)?;
    let (text, rest) = input.split_at_checked(length).ok_or(Broken::Bad)?;
    *input = rest;
    if first & 0x80 == 0 {
        return Ok(text);
    }
    let room = huffman::room(text);
    if buffer.len() < room {
        buffer.resize(room, 0);
    }
    huffman::unpack(text, buffer).ok_or(Broken::Bad)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn lines(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<String>, Broken> {
        let mut lines = Vec::new();
        decoder.decode(block, &Scratch::default(), |field, size| {
            assert!(size >= 32);
            lines.push(field.line());
            true
        })?;
        decoder.table.size();
        Ok(lines)
    }

    fn fresh(hex: &str) -> Result<Vec<String>, Broken> {
        lines(&mut Decoder::new(), &bytes(hex))
    }

    /// Blocks one after another: what is in them, and the table behind each.
    fn check(blocks: &[(&str, &[&str], &[&str], usize)]) {
        let mut decoder = Decoder::new();
        for (block, fields, table, size) in blocks {
            assert_eq!(lines(&mut decoder, &bytes(block)).unwrap(), *fields, "{block}");
            assert_eq!(decoder.table.lines(), *table, "{block}");
            assert_eq!(decoder.table.size(), *size, "{block}");
        }
    }

    #[test]
    fn single_fields_of_the_rfc_are_read() {
        let custom = "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572";
        let field = "custom-key: custom-header";
        check(&[(custom, &[field], &[field], 55)]);
        check(&[("040c 2f73 616d 706c 652f 7061 7468", &[":path: /sample/path"], &[], 0)]);
        check(&[("1008 7061 7373 776f 7264 0673 6563 7265 74", &["password: secret"], &[], 0)]);
        check(&[("82", &[":method: GET"], &[], 0)]);
    }

    const AUTHORITY: &str = ":authority: www.example.com";
    const CACHE: &str = "cache-control: no-cache";
    const CUSTOM: &str = "custom-key: custom-value";

    fn check_requests(first: &str, second: &str, third: &str) {
        let get = ":method: GET";
        let plain = [get, ":scheme: http", ":path: /", AUTHORITY];
        check(&[
            (first, &plain, &[AUTHORITY], 57),
            (second, &[&plain[..], &[CACHE]].concat(), &[CACHE, AUTHORITY], 110),
            (
                third,
                &[get, ":scheme: https", ":path: /index.html", AUTHORITY, CUSTOM],
                &[CUSTOM, CACHE, AUTHORITY],
                164,
            ),
        ]);
    }

    #[test]
    fn requests_of_the_rfc_are_read() {
        check_requests(
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        );
        check_requests(
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
            "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        );
    }

    /// The first block is sent after a change of the table's size to 256, as the examples want it.
    fn check_responses(first: &str, second: &str, third: &str) {
        let (private, location) = ("cache-control: private", "location: https://www.example.com");
        let date = "date: Mon, 21 Oct 2013 20:13:21 GMT";
        let later = "date: Mon, 21 Oct 2013 20:13:22 GMT";
        let (gzip, status) = ("content-encoding: gzip", ":status");
        let cookie = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1";
        check(&[
            (
                &format!("3fe1 01 {first}"),
                &[status, private, date, location],
                &[location, date, private, status],
                222,
            ),
            (second, &[status, private, date, location], &[status, location, date, private], 222),
            (third, &[status, private, later, location, gzip, cookie], &[cookie, gzip, later], 215),
        ]);
    }

    #[test]
    fn responses_of_the_rfc_are_unpacked() {
        check_responses(
            "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133
             2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
            "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a
             6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178
             2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
        );
        check_responses(
            "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad
             1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
            "4883 640e ffc1 c0bf",
            "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
             e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
        );
    }

    #[test]
    fn integers_have_an_end() {
        let read = |hex: &str| {
            let block = bytes(hex);
            let mut input = &block[..];
            integer(0x1f, 0x1f, &mut input).map(|value| (value, input.len()))
        };
        assert_eq!(integer(0xea, 0x1f, &mut &[][..]), Ok(10));
        assert_eq!(read("9a0a"), Ok((1337, 0)));
        assert_eq!(read("00ff"), Ok((31, 1)));
        assert_eq!(read("e0ffffff0f"), Ok((u32::MAX as usize, 0)));
        assert_eq!(read("8080808000"), Ok((31, 0)));
        for bad in ["", "80", "80808080", "e1ffffff0f", "ffffffff7f", "808080808000", "ffffffffffffffffff01"]
        {
            assert_eq!(read(bad), Err(Broken::Bad), "{bad}");
        }
    }

    #[test]
    fn an_index_that_stands_for_nothing_is_refused() {
        for bad in ["80", "be", "ff00", "ff80808080", "ffffffffff0f", "7e0161", "0f2f0161", "40", "1f", "0f"]
        {
            assert_eq!(fresh(bad), Err(Broken::Bad), "{bad}");
        }
        assert_eq!(fresh("bd").unwrap(), ["www-authenticate: "]);
        assert_eq!(fresh("4001610162 be").unwrap(), ["a: b", "a: b"]);
        assert_eq!(fresh("4001610162 bf"), Err(Broken::Bad));
    }

    #[test]
    fn texts_end_where_the_block_does() {
        for bad in
            ["00", "0001", "000161", "00016101", "0001617f", "000161ffffffff0f", "04", "0481", "0482f1"]
        {
            assert_eq!(fresh(bad), Err(Broken::Bad), "{bad}");
        }
        assert_eq!(fresh("00016100").unwrap(), ["a: "]);
        assert_eq!(fresh("00016180").unwrap(), ["a: "]);
    }

    #[test]
    fn the_table_changes_its_size_at_the_start_of_a_block_and_only_there() {
        for good in ["", "20", "2020", "203fe11f", "3fe11f", "20 82"] {
            assert!(fresh(good).is_ok(), "{good}");
        }
        for bad in ["3fe21f", "202020", "8220", "20 82 20", "3f", "3fffffffff0f", "00016100 20"] {
            assert_eq!(fresh(bad), Err(Broken::Bad), "{bad}");
        }
        check(&[
            ("4001610162", &["a: b"], &["a: b"], 34),
            ("3f02 4001630164", &["c: d"], &[], 0),
            ("3f03 4001630164", &["c: d"], &["c: d"], 34),
            ("203fe11f 4001610162 4001630164", &["a: b", "c: d"], &["c: d", "a: b"], 68),
        ]);
    }

    #[test]
    fn a_name_outlives_its_entry_and_is_judged_with_its_new_value() {
        let mut decoder = Decoder::new();
        lines(&mut decoder, &bytes("3f03 4001610162")).unwrap();
        assert_eq!(lines(&mut decoder, &bytes("7e0163")).unwrap(), ["a: c"]);
        assert_eq!(decoder.table.lines(), ["a: c"]);
        assert_eq!(lines(&mut decoder, &bytes("7e0100")), Err(Broken::Bad));
        assert_eq!(
            fresh("4401 2f 7e02 2f61 be bf").unwrap(),
            [":path: /", ":path: /a", ":path: /a", ":path: /"]
        );
        assert_eq!(fresh("4401 2f 7e01 20").unwrap(), [":path: /", ":path: none"]);
        assert_eq!(fresh("4401 2f 7e01 ff"), Err(Broken::Bad));
    }

    #[test]
    fn values_that_may_stand_in_no_table_are_sensitive() {
        for (block, is_marked) in [("1001610162", true), ("0001610162", false), ("4001610162", false)] {
            let taken = Decoder::new().decode(&bytes(block), &Scratch::default(), |field, size| {
                assert!(matches!(field, Field::Header(_, value) if value.is_sensitive() == is_marked));
                size == 34
            });
            assert_eq!(taken, Ok(()));
        }
    }

    #[test]
    fn whoever_takes_fields_may_stop() {
        let mut taken = 0;
        let stopped = Decoder::new().decode(&[0x82; 100], &Scratch::default(), |_, size| {
            taken += 1;
            assert_eq!(size, 42);
            taken < 3
        });
        assert_eq!((stopped, taken), (Err(Broken::Stopped), 3));
        assert_eq!(
            Decoder::new().decode(&bytes("0001610162"), &Scratch::default(), |_, _| false),
            Err(Broken::Stopped)
        );
    }

    #[test]
    fn memory_is_given_back() {
        let mut decoder = Decoder::new();
        lines(&mut decoder, &bytes("82868441")[..3]).unwrap();
        assert!(!decoder.table.has_memory() && decoder.buffer.capacity() == 0);
        let packed = huffman::pack(&[b'a'; 5000]);
        let mut block = bytes("0f0f");
        block.extend([0xff, (packed.len() - 127) as u8 | 0x80, ((packed.len() - 127) >> 7) as u8]);
        block.extend(&packed);
        assert!(lines(&mut decoder, &block).unwrap()[0].ends_with(&"a".repeat(5000)));
        assert_eq!(decoder.buffer.capacity(), 0);
        lines(&mut decoder, &bytes("8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff")).unwrap();
        assert!(decoder.table.has_memory() && decoder.buffer.capacity() > 0);
        assert!(size_of::<Entry>() <= 96);
    }

    /// Bytes that are often a field, and others.
    fn pieces() -> impl Strategy<Value = Vec<u8>> {
        let value = vec(any::<u8>(), 0..40);
        let literal = (any::<u8>(), value.clone(), any::<bool>()).prop_map(|(first, value, is_packed)| {
            let (bits, value) = if is_packed { (0x80, huffman::pack(&value)) } else { (0, value) };
            [&[first & 0x7f, bits | (value.len() as u8 & 0x7f)][..], &value].concat()
        });
        let piece = prop_oneof![any::<u8>().prop_map(|byte| vec![byte | 0x80]), literal, value];
        vec(piece, 0..20).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_blocks_make_it_panic_or_hold_more_than_it_may(blocks in vec(pieces(), 1..6)) {
            let mut decoder = Decoder::new();
            for block in blocks {
                let mut taken = 0;
                let _ = decoder.decode(&block, &Scratch::default(), |_, _| { taken += 1; true });
                prop_assert!(taken <= block.len());
                decoder.table.size();
                prop_assert!(decoder.buffer.capacity() <= KEPT_BUFFER);
            }
        }

        #[test]
        fn packed_and_plain_texts_are_the_same(value in "[ -~]{0,100}", name in "[a-z0-9-]{1,30}", form in 0..3_u8) {
            let form = [0x00, 0x10, 0x40][usize::from(form)];
            let (name, value) = (name.as_bytes(), value.as_bytes());
            let plain = [&[form, name.len() as u8][..], name, &[value.len() as u8], value].concat();
            let (name, value) = (huffman::pack(name), huffman::pack(value));
            let front = [form, name.len() as u8 | 0x80];
            let packed = [&front[..], &name, &[value.len() as u8 | 0x80], &value].concat();
            let (mut one, mut other) = (Decoder::new(), Decoder::new());
            prop_assert_eq!(lines(&mut one, &plain).unwrap(), lines(&mut other, &packed).unwrap());
            prop_assert_eq!(one.table.lines(), other.table.lines());
        }
    }
}
