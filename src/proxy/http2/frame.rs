//! Frames as bytes [RFC 9113 4, 6].

/// Bytes before the payload of a frame.
pub(super) const HEADER: usize = 9;
/// Most bytes of a payload, in both directions: what everybody takes [RFC 9113 4.2].
pub(super) const MAX_PAYLOAD: usize = 16_384;
/// What a client sends first [RFC 9113 3.4].
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const END_STREAM: u8 = 1;
/// Of SETTINGS and PING.
pub(super) const ACK: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const WITH_PRIORITY: u8 = 32;

/// Settings [RFC 9113 6.5.2], [RFC 8441 3].
pub(super) const ENABLE_PUSH: u16 = 2;
pub(super) const MAX_CONCURRENT_STREAMS: u16 = 3;
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;
pub(super) const MAX_FRAME_SIZE: u16 = 5;
pub(super) const MAX_HEADER_LIST_SIZE: u16 = 6;
pub(super) const ENABLE_CONNECT_PROTOCOL: u16 = 8;

/// The highest stream.
pub(super) const MAX_STREAM: u32 = 0x7fff_ffff;
/// The largest window.
pub(super) const MAX_WINDOW: i64 = MAX_STREAM as i64;

/// Why a stream or a connection ends [RFC 9113 7].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    No = 0,
    Protocol = 1,
    Internal = 2,
    FlowControl = 3,
    FrameSize = 6,
    RefusedStream = 7,
    Cancel = 8,
    EnhanceYourCalm = 11,
}

/// What stands before a payload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Head {
    /// Once all of it is there.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let [l2, l1, l0, kind, flags, s3, s2, s1, s0] = *bytes.first_chunk::<HEADER>()?;
        let length = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        Some(Self { length, kind, flags, stream: u32::from_be_bytes([s3, s2, s1, s0]) & MAX_STREAM })
    }

    pub(super) const fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn bytes(self) -> [u8; HEADER] {
        let [_, l2, l1, l0] = u32::try_from(self.length).unwrap_or(0).to_be_bytes();
        let [s3, s2, s1, s0] = self.stream.to_be_bytes();
        [l2, l1, l0, self.kind, self.flags, s3, s2, s1, s0]
    }

    /// What a payload of DATA or HEADERS carries, without padding and priority; `None` = they are longer than it.
    pub(super) fn unpadded(self, payload: &[u8]) -> Option<&[u8]> {
        let (padding, rest) = match payload {
            _ if !self.has(PADDED) => (0, payload),
            [padding, rest @ ..] => ((*padding).into(), rest),
            [] => return None,
        };
        let end = rest.len().checked_sub(padding)?;
        let rest = rest.get(..end)?;
        if self.kind == HEADERS && self.has(WITH_PRIORITY) { rest.get(PRIORITY_LENGTH..) } else { Some(rest) }
    }

    /// The stream that HEADERS or PRIORITY say theirs depends on, where they do.
    pub(super) fn parent(self, payload: &[u8]) -> Option<u32> {
        let at = match self.kind {
            HEADERS if self.has(WITH_PRIORITY) => usize::from(self.has(PADDED)),
            PRIORITY => 0,
            _ => return None,
        };
        payload.get(at..).and_then(number).map(|parent| parent & MAX_STREAM)
    }
}

/// Bytes of a priority: a stream and a weight.
pub(super) const PRIORITY_LENGTH: usize = 5;

/// The number that bytes begin with.
pub(super) fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A frame as a whole.
pub(super) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    write_head(out, kind, flags, stream, payload.len());
    out.extend_from_slice(payload);
}

/// What comes before `length` bytes of payload.
pub(super) fn write_head(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, length: usize) {
    out.extend_from_slice(&Head { length, kind, flags, stream }.bytes());
}

/// HEADERS, and CONTINUATION where it is long, of the block that `pack` appends.
pub(super) fn write_list(out: &mut Vec<u8>, flags: u8, stream: u32, pack: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    write_head(out, HEADERS, flags | END_HEADERS, stream, 0);
    pack(out);
    let length = out.len() - start - HEADER;
    if length <= MAX_PAYLOAD {
        let head = Head { length, kind: HEADERS, flags: flags | END_HEADERS, stream }.bytes();
        if let Some(place) = out.get_mut(start..start + HEADER) {
            place.copy_from_slice(&head);
        }
        return;
    }
    let block = out.split_off(start + HEADER);
    out.truncate(start);
    let mut pieces = block.chunks(MAX_PAYLOAD).peekable();
    let (mut kind, mut flags) = (HEADERS, flags);
    while let Some(piece) = pieces.next() {
        let end = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        write(out, kind, flags | end, stream, piece);
        (kind, flags) = (CONTINUATION, 0);
    }
}

pub(super) fn write_reset(out: &mut Vec<u8>, stream: u32, code: Code) {
    write(out, RST_STREAM, 0, stream, &(code as u32).to_be_bytes());
}

pub(super) fn write_window(out: &mut Vec<u8>, stream: u32, more: u32) {
    write(out, WINDOW_UPDATE, 0, stream, &more.to_be_bytes());
}

/// `last`: the highest stream that is served.
pub(super) fn write_goaway(out: &mut Vec<u8>, last: u32, code: Code, word: &str) {
    write_head(out, GOAWAY, 0, 0, 8 + word.len());
    out.extend_from_slice(&last.to_be_bytes());
    out.extend_from_slice(&(code as u32).to_be_bytes());
    out.extend_from_slice(word.as_bytes());
}

pub(super) fn write_settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    write_head(out, SETTINGS, 0, 0, 6 * settings.len());
    for (name, value) in settings {
        out.extend_from_slice(&name.to_be_bytes());
        out.extend_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_read_as_it_is_written() {
        let mut out = Vec::new();
        write(&mut out, DATA, END_STREAM, 0x7fff_ffff, b"hello");
        let head = Head::read(&out).unwrap();
        assert_eq!(head, Head { length: 5, kind: DATA, flags: 1, stream: 0x7fff_ffff });
        assert_eq!(Head::read(&out[..8]), None);
        out[5] |= 0x80;
        assert_eq!(Head::read(&out).unwrap().stream, 0x7fff_ffff, "the reserved bit says nothing");
    }

    #[test]
    fn padding_and_priority_are_taken_off_or_too_long() {
        let head = |kind, flags| Head { length: 0, kind, flags, stream: 1 };
        assert_eq!(head(DATA, 0).unpadded(b"abc"), Some(&b"abc"[..]));
        assert_eq!(head(DATA, PADDED).unpadded(b"\x02abcd"), Some(&b"ab"[..]));
        assert_eq!(head(DATA, PADDED).unpadded(b"\x04abcd"), Some(&b""[..]));
        assert_eq!(head(DATA, PADDED).unpadded(b"\x05abcd"), None);
        assert_eq!(head(DATA, PADDED).unpadded(b""), None);
        let both = head(HEADERS, PADDED | WITH_PRIORITY);
        assert_eq!(both.unpadded(b"\x01\x80\0\0\x07\x10xy"), Some(&b"x"[..]));
        assert_eq!(both.parent(b"\x01\x80\0\0\x07\x10xy"), Some(7));
        assert_eq!(both.unpadded(b"\x02\x80\0\0\x07\x10x"), None);
        assert_eq!(
            (head(DATA, WITH_PRIORITY).parent(b"12345"), head(HEADERS, 0).parent(b"12345")),
            (None, None)
        );
        assert_eq!(head(PRIORITY, 0).parent(b"\0\0\0\x03\x10"), Some(3));
    }

    #[test]
    fn a_long_list_goes_out_in_frames_that_everybody_takes() {
        for length in [0, 1, MAX_PAYLOAD, MAX_PAYLOAD + 1, 3 * MAX_PAYLOAD] {
            let block: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let mut out = b"before".to_vec();
            write_list(&mut out, END_STREAM, 5, |out| out.extend_from_slice(&block));
            let (mut rest, mut came, mut flags) = (&out[6..], Vec::new(), Vec::new());
            while let Some(head) = Head::read(rest) {
                assert!(head.length <= MAX_PAYLOAD && head.stream == 5);
                assert_eq!(head.kind, if flags.is_empty() { HEADERS } else { CONTINUATION });
                came.extend_from_slice(&rest[HEADER..HEADER + head.length]);
                flags.push(head.flags);
                rest = &rest[HEADER + head.length..];
            }
            assert!(rest.is_empty() && came == block);
            assert_eq!(flags.iter().filter(|flags| *flags & END_HEADERS != 0).count(), 1);
            assert_eq!(
                (flags[0] & END_STREAM, flags[flags.len() - 1] & END_HEADERS),
                (END_STREAM, END_HEADERS)
            );
        }
    }
}
