//! Bodies in chunks [RFC 9112 7.1]: read a piece at a time, without a copy of the data, and written.
//!
//! Blanks behind a size and extensions pass and are forgotten. A line ends in CRLF and in nothing else.

use bytes::{Buf, BufMut, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Hexadecimal digits of a size: as many as 64 bits have.
const MAX_DIGITS: u8 = 16;
/// Bytes of blanks and extensions of all sizes of a body.
const MAX_EXTENSIONS: u32 = 16 * 1024;
/// Bytes of trailers.
const MAX_TRAILERS: usize = 128 * 1024;
/// Lines of trailers.
const MAX_TRAILER_LINES: usize = 100;

/// What stands behind the data of a chunk.
pub(crate) const AFTER: &[u8] = b"\r\n";
/// What stands behind the data of the last chunk, where no trailers follow.
pub(crate) const AFTER_LAST: &[u8] = b"\r\n0\r\n\r\n";
/// The end of a body without trailers.
pub(crate) const END: &[u8] = b"0\r\n\r\n";

/// A body that is being read.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    at: At,
    /// The size that is being read, then bytes of data still to come.
    size: u64,
    digits: u8,
    extensions: u32,
    trailers: Vec<u8>,
    trailer_lines: usize,
}

/// What the next byte belongs to.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Blank,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    LastLf,
    End,
}

/// A part of a body.
#[derive(Debug, PartialEq)]
pub(crate) enum Piece {
    /// Some of the data, never empty.
    Data(Bytes),
    /// Nothing follows; the trailers, if there are any.
    End(Option<HeaderMap>),
}

/// What comes is no body in chunks, or one that is beyond the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) &'static str);

impl Decoder {
    /// The next piece of what has come, whose front is used up. `None`: all of it is, and more must come.
    ///
    /// # Errors
    /// The body is broken; nothing behind is to be trusted.
    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Piece>, Malformed> {
        let mut used = 0;
        while let Some(&byte) = input.get(used) {
            if self.at == At::Data {
                input.advance(used);
                return Ok(Some(Piece::Data(self.data(input))));
            }
            self.at = self.step(byte)?;
            used += 1;
            if self.at == At::End {
                input.advance(used);
                return Ok(Some(Piece::End(self.take_trailers()?)));
            }
        }
        // Not only its length is given up, but what it held, too.
        *input = Bytes::new();
        Ok(None)
    }

    /// Whether the body ends right here, without trailers; what says so is used up then.
    pub(crate) fn ends(&mut self, input: &mut Bytes) -> bool {
        if self.at == At::DataCr && input.starts_with(AFTER_LAST) {
            input.advance(AFTER_LAST.len());
            self.at = At::End;
        }
        self.at == At::End
    }

    fn data(&mut self, input: &mut Bytes) -> Bytes {
        let length = usize::try_from(self.size).unwrap_or(usize::MAX).min(input.len());
        self.size -= length as u64;
        if self.size == 0 {
            self.at = At::DataCr;
        }
        input.split_to(length)
    }

    fn step(&mut self, byte: u8) -> Result<At, Malformed> {
        match (self.at, byte) {
            (At::Size, _) => self.size(byte),
            (At::Blank | At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Blank, b' ' | b'\t') => self.extend(At::Blank),
            (At::Blank, b';') => self.extend(At::Extension),
            (At::Blank, _) => Err(Malformed("chunk size that is no hexadecimal number")),
            (At::Extension, b'\n') => Err(Malformed("line feed in a chunk extension")),
            (At::Extension, _) => self.extend(At::Extension),
            (At::SizeLf, b'\n') => {
                self.digits = 0;
                Ok(if self.size == 0 { At::TrailerStart } else { At::Data })
            }
            (At::SizeLf, _) => Err(Malformed("chunk size whose line does not end in CRLF")),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size),
            (At::DataCr | At::DataLf, _) => Err(Malformed("chunk data without CRLF after it")),
            (At::TrailerStart, b'\r') => Ok(At::LastLf),
            (At::LastLf, b'\n') => Ok(At::End),
            (At::LastLf, _) => Err(Malformed("chunked body that does not end in CRLF")),
            (At::TrailerStart | At::Trailer | At::TrailerLf, _) => self.trailer(byte),
            (At::Data | At::End, _) => Ok(self.at),
        }
    }

    fn size(&mut self, byte: u8) -> Result<At, Malformed> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(At::SizeLf),
            b';' if self.digits > 0 => return self.extend(At::Extension),
            b' ' | b'\t' if self.digits > 0 => return self.extend(At::Blank),
            _ => return Err(Malformed("chunk size that is no hexadecimal number")),
        };
        if self.digits >= MAX_DIGITS {
            return Err(Malformed("chunk size of more than 16 digits"));
        }
        self.digits += 1;
        self.size = self.size << 4 | u64::from(digit);
        Ok(At::Size)
    }

    fn extend(&mut self, to: At) -> Result<At, Malformed> {
        self.extensions += 1;
        if self.extensions > MAX_EXTENSIONS {
            Err(Malformed("chunk extensions over the limit"))
        } else {
            Ok(to)
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<At, Malformed> {
        self.trailers.push(byte);
        if self.trailers.len() > MAX_TRAILERS {
            return Err(Malformed("trailers over the limit"));
        }
        match (self.at, byte) {
            (At::TrailerLf, b'\n') => {
                self.trailer_lines += 1;
                let is_too_many = self.trailer_lines > MAX_TRAILER_LINES;
                if is_too_many { Err(Malformed("trailers over the limit")) } else { Ok(At::TrailerStart) }
            }
            (At::TrailerLf, _) | (_, b'\n') => Err(Malformed("trailer whose line does not end in CRLF")),
            (_, b'\r') => Ok(At::TrailerLf),
            _ => Ok(At::Trailer),
        }
    }

    fn take_trailers(&mut self) -> Result<Option<HeaderMap>, Malformed> {
        if self.trailers.is_empty() {
            return Ok(None);
        }
        let mut text = std::mem::take(&mut self.trailers);
        text.extend_from_slice(b"\r\n");
        let text = Bytes::from(text);
        let bad = Malformed("trailer that is none");
        let mut lines = [httparse::EMPTY_HEADER; MAX_TRAILER_LINES];
        let Ok(httparse::Status::Complete((_, lines))) = httparse::parse_headers(&text, &mut lines) else {
            return Err(bad);
        };
        let mut trailers = HeaderMap::with_capacity(lines.len());
        for line in lines {
            let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(|_| bad)?;
            let value = HeaderValue::from_maybe_shared(text.slice_ref(line.value)).map_err(|_| bad)?;
            trailers.append(name, value);
        }
        Ok(Some(trailers))
    }
}

/// Writes what stands before the data of a chunk of this length, which is not 0.
pub(crate) fn write_size(length: usize, out: &mut impl BufMut) {
    let digits = (usize::BITS - length.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        let digit = (length >> (4 * digit) & 15) as u8;
        out.put_u8(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit });
    }
    out.put_slice(b"\r\n");
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    /// Writes data as one chunk; nothing if there is none, as that would be the end.
    fn write_chunk(data: &[u8], out: &mut BytesMut) {
        if data.is_empty() {
            return;
        }
        out.reserve(data.len() + 20);
        write_size(data.len(), out);
        out.extend_from_slice(data);
        out.extend_from_slice(AFTER);
    }

    /// Writes the end of a body.
    fn write_end(trailers: Option<&HeaderMap>, out: &mut BytesMut) {
        out.extend_from_slice(b"0\r\n");
        for (name, value) in trailers.into_iter().flatten() {
            out.extend_from_slice(name.as_ref());
            out.extend_from_slice(b": ");
            out.extend_from_slice(value.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
    use crate::balance::rng::Rng;

    /// Data, trailers as text, and what is left behind the end; what came in parts of these lengths.
    fn read(body: &[u8], cuts: &[usize]) -> Result<(Vec<u8>, String, usize, bool), Malformed> {
        let (mut decoder, mut data, mut from) = (Decoder::default(), Vec::new(), 0);
        for to in cuts.iter().copied().chain([body.len()]) {
            let mut part = Bytes::copy_from_slice(&body[from..to]);
            from = to;
            while let Some(piece) = decoder.next(&mut part)? {
                match piece {
                    Piece::Data(piece) => {
                        assert!(!piece.is_empty());
                        data.extend_from_slice(&piece);
                    }
                    Piece::End(trailers) => {
                        let trailers = trailers.map_or(String::new(), |map| format!("{map:?}"));
                        return Ok((data, trailers, part.len() + body.len() - to, true));
                    }
                }
            }
        }
        Ok((data, String::new(), 0, false))
    }

    #[test]
    fn a_body_is_the_same_wherever_it_is_cut() {
        let bodies: [&[u8]; 4] = [
            b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1",
            b"A;x=\"y\"\r\n0123456789\r\n0005 \t\r\nhello\r\n000\r\n\r\n",
            b"1\r\n\r\r\n2;a\r\n\n0\r\n0\r\nx-sum: 7\r\nx-two:\t8 \r\n\r\n",
            b"0\r\n\r\n",
        ];
        for body in bodies {
            let whole = read(body, &[]).unwrap();
            assert!(whole.3, "{body:?}");
            for first in 0..=body.len() {
                for second in first..=body.len() {
                    assert_eq!(read(body, &[first, second]).unwrap(), whole, "{body:?} at {first}, {second}");
                }
            }
        }
        assert_eq!(read(bodies[0], &[]).unwrap(), (b"hello".to_vec(), String::new(), 8, true));
        let (data, trailers, ..) = read(bodies[2], &[]).unwrap();
        assert_eq!(data, b"\r\n0");
        assert_eq!(trailers, r#"{"x-sum": "7", "x-two": "8"}"#);
    }

    #[test]
    fn what_is_no_body_in_chunks_is_refused_wherever_it_is_cut() {
        let bodies: [&[u8]; 17] = [
            b"\r\n",
            b" 5\r\nhello\r\n",
            b"-5\r\nhello\r\n",
            b"0x5\r\nhello\r\n",
            b"5\nhello\r\n",
            b"5\rhello",
            b"5\r\nhello0\r\n",
            b"5\r\nhello\n0\r\n",
            b"5\r\nhello\rx",
            b"5 5\r\nhello",
            b"5;a\nb\r\nhello",
            b"10000000000000000\r\n",
            b";a\r\n",
            b"0\r\n\rx",
            b"0\r\nx y: 7\r\n\r\n",
            b"0\r\nx: 7\n\r\n\r\n",
            b"0\r\n: 7\r\n\r\n",
        ];
        for body in bodies {
            for cut in 0..=body.len() {
                assert!(read(body, &[cut]).is_err(), "{body:?} at {cut}");
            }
        }
    }

    #[test]
    fn sizes_and_trailers_have_limits() {
        let limited = |front: &str, part: &str, count: usize, end: &str| {
            read(format!("{front}{}{end}", part.repeat(count)).as_bytes(), &[]).map(|read| read.3)
        };
        let extensions = MAX_EXTENSIONS as usize;
        assert_eq!(limited("0;", "x", extensions - 1, "\r\n\r\n"), Ok(true));
        assert!(limited("0;", "x", extensions, "\r\n\r\n").is_err());
        assert!(limited("0", " ", extensions + 1, "\r\n\r\n").is_err());
        assert!(limited("", "1; \r\nx\r\n", extensions / 2 + 1, "").is_err());
        assert_eq!(limited("0\r\n", "a: b\r\n", MAX_TRAILER_LINES, "\r\n"), Ok(true));
        assert!(limited("0\r\n", "a: b\r\n", MAX_TRAILER_LINES + 1, "\r\n").is_err());
        assert_eq!(limited("0\r\na: ", "x", MAX_TRAILERS - 5, "\r\n\r\n"), Ok(true));
        assert!(limited("0\r\na: ", "x", MAX_TRAILERS - 4, "\r\n\r\n").is_err());
    }

    #[test]
    fn an_end_that_is_there_is_seen_at_once_and_only_where_one_may_be() {
        let mut decoder = Decoder::default();
        let mut input = Bytes::from_static(b"7\r\nhello\r\n\r\n0\r\n\r\nnext");
        assert!(!decoder.ends(&mut input));
        assert_eq!(decoder.next(&mut input), Ok(Some(Piece::Data(Bytes::from_static(b"hello\r\n")))));
        assert!(decoder.ends(&mut input) && decoder.ends(&mut input));
        assert_eq!(input, "next");
        let (mut decoder, mut input) =
            (Decoder::default(), Bytes::from_static(b"1\r\nx\r\n0\r\nx-sum: 7\r\n\r\n"));
        assert!(decoder.next(&mut input).is_ok() && !decoder.ends(&mut input));
        let Ok(Some(Piece::End(Some(trailers)))) = decoder.next(&mut input) else { panic!("trailers") };
        assert_eq!(trailers["x-sum"], "7");
    }

    #[test]
    fn what_is_written_is_read_again() {
        let seed = std::process::id().into();
        let mut rng = Rng::new(seed);
        for _ in 0..300 {
            let (mut out, mut said) = (BytesMut::new(), Vec::new());
            for _ in 0..rng.next() % 5 {
                let piece = vec![rng.next() as u8; (rng.next() % 300) as usize];
                write_chunk(&piece, &mut out);
                said.extend_from_slice(&piece);
            }
            let mut trailers = HeaderMap::new();
            trailers.append("x-sum", HeaderValue::from(said.len()));
            write_end((rng.below(2) == 0).then_some(&trailers), &mut out);
            let mut cuts = [(); 3].map(|()| (rng.next() as usize) % (out.len() + 1));
            cuts.sort_unstable();
            let (data, .., has_ended) = read(&out, &cuts).unwrap();
            assert!(has_ended && data == said, "seed {seed}");
        }
        let mut out = BytesMut::new();
        [1, 10, 15, 16, 255, 4096, usize::MAX].into_iter().for_each(|size| write_size(size, &mut out));
        assert_eq!(out, "1\r\na\r\nf\r\n10\r\nff\r\n1000\r\nffffffffffffffff\r\n");
        assert_eq!((&AFTER_LAST[..2], &AFTER_LAST[2..]), (AFTER, END));
    }

    #[test]
    fn no_input_makes_it_panic_or_give_what_was_not_there() {
        let seed = std::process::id().into();
        let mut rng = Rng::new(seed);
        let letters = b"0123456789abcfF\r\n\r\n\r\n;: \tx\0\xff";
        for _ in 0..20_000 {
            let length = rng.next() % 40;
            let body: Vec<u8> =
                (0..length).map(|_| letters[(rng.next() % letters.len() as u64) as usize]).collect();
            let cut = (rng.next() % (length + 1)) as usize;
            let (whole, parts) = (read(&body, &[]), read(&body, &[cut]));
            match (&whole, &parts) {
                (Ok(whole), Ok(parts)) => assert_eq!(whole, parts, "seed {seed}: {body:?} at {cut}"),
                _ => assert_eq!(whole.is_err(), parts.is_err(), "seed {seed}: {body:?} at {cut}"),
            }
            if let Ok((data, _, left, _)) = whole {
                assert!(data.len() + left <= body.len(), "seed {seed}: {body:?}");
            }
        }
    }
}
