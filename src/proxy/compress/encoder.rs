//! Encoders of brotli and gzip: bytes in, bytes out, and a limit to what all of them hold.

use std::cell::Cell;
use std::io::Write;
use std::rc::Rc;

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::model::compression::Coding;

/// Memory that the encoders of one worker may hold together. Over it, answers go out as they are.
const MAX_MEMORY: usize = 64 * 1024 * 1024;
/// What an encoder holds, about: its window, its tables, a block that is not compressed yet.
const BROTLI_MEMORY: usize = 1280 * 1024;
const GZIP_MEMORY: usize = 384 * 1024;

/// Between speed and size: source code becomes 0.29 of its length, gzip the same, both as fast; one step up takes
/// half the time again for 0.01.
const BROTLI_QUALITY: u32 = 3;
/// Bits of the window: 256 KiB.
const BROTLI_WINDOW: u32 = 18;
const BROTLI_BUFFER: usize = 4096;
const GZIP_LEVEL: u32 = 4;

/// What the encoders of a worker hold.
#[derive(Debug, Default)]
pub(crate) struct Encoders {
    held: Rc<Cell<usize>>,
}

impl Encoders {
    /// A fresh encoder; `None` when there is no room for it.
    pub(super) fn begin(&self, coding: Coding) -> Option<Encoder> {
        let bytes = match coding {
            Coding::Brotli => BROTLI_MEMORY,
            Coding::Gzip => GZIP_MEMORY,
        };
        let held = self.held.get() + bytes;
        if held > MAX_MEMORY {
            return None;
        }
        self.held.set(held);
        let room = Room { held: self.held.clone(), bytes };
        let state = match coding {
            Coding::Brotli => State::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                BROTLI_BUFFER,
                BROTLI_QUALITY,
                BROTLI_WINDOW,
            ))),
            Coding::Gzip => State::Gzip(Box::new(GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL)))),
        };
        Some(Encoder { state, _room: room })
    }
}

/// Room under [`MAX_MEMORY`]; dropping it makes room for another.
#[derive(Debug)]
struct Room {
    held: Rc<Cell<usize>>,
    bytes: usize,
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.set(self.held.get() - self.bytes);
    }
}

/// One answer's encoder. It writes to memory, which does not fail.
pub(crate) struct Encoder {
    state: State,
    _room: Room,
}

enum State {
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Encoder {
    /// Takes a piece in. What it has ready to go out, which may be nothing.
    pub(super) fn write(&mut self, piece: &[u8]) -> Bytes {
        let _ = self.state.writer().write_all(piece);
        self.state.take()
    }

    /// Everything that was taken in, so that the client can read it now.
    pub(super) fn flush(&mut self) -> Bytes {
        let _ = self.state.writer().flush();
        self.state.take()
    }

    /// The rest, and the end.
    pub(super) fn finish(self) -> Bytes {
        Bytes::from(match self.state {
            State::Brotli(brotli) => brotli.into_inner(),
            State::Gzip(gzip) => gzip.finish().unwrap_or_default(),
        })
    }
}

impl State {
    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Brotli(brotli) => brotli,
            Self::Gzip(gzip) => gzip,
        }
    }

    fn take(&mut self) -> Bytes {
        let out = match self {
            Self::Brotli(brotli) => brotli.get_mut(),
            Self::Gzip(gzip) => gzip.get_mut(),
        };
        Bytes::from(std::mem::take(out))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use super::*;

    const CODINGS: [Coding; 2] = [Coding::Brotli, Coding::Gzip];

    fn decoded(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        match coding {
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out).unwrap(),
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).unwrap(),
        };
        out
    }

    /// As much as can be read of what has no end yet.
    fn readable(coding: Coding, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        // Ends with an error where the bytes end; all before that is in `out`.
        let _ = match coding {
            Coding::Brotli => brotli::Decompressor::new(bytes, 4096).read_to_end(&mut out),
            Coding::Gzip => flate2::read::GzDecoder::new(bytes).read_to_end(&mut out),
        };
        out
    }

    fn text(length: usize) -> Vec<u8> {
        (0..length).map(|index| b"abcdefgh, ijk. "[index * index % 13]).collect()
    }

    #[test]
    fn what_goes_in_comes_out_smaller_and_reads_the_same() {
        let text = text(300_000);
        for coding in CODINGS {
            let mut encoder = Encoders::default().begin(coding).unwrap();
            let mut out: Vec<u8> = text.chunks(10_000).flat_map(|piece| encoder.write(piece)).collect();
            out.extend(encoder.finish());
            assert!(out.len() < text.len() / 4, "{coding:?}: {}", out.len());
            assert!(decoded(coding, &out) == text, "{coding:?}");
        }
    }

    #[test]
    fn what_is_flushed_can_be_read_at_once() {
        for coding in CODINGS {
            let mut encoder = Encoders::default().begin(coding).unwrap();
            let mut out = Vec::new();
            for end in 1..=20 {
                out.extend(encoder.write(b"data: tick\n\n"));
                out.extend(encoder.flush());
                assert_eq!(readable(coding, &out), b"data: tick\n\n".repeat(end), "{coding:?} {end}");
            }
        }
    }

    #[test]
    fn over_the_limit_nothing_is_compressed_and_an_end_makes_room() {
        let encoders = Encoders::default();
        let most = MAX_MEMORY / BROTLI_MEMORY;
        let mut held: Vec<_> = (0..most).map(|_| encoders.begin(Coding::Brotli).unwrap()).collect();
        assert!(encoders.begin(Coding::Brotli).is_none() && encoders.begin(Coding::Gzip).is_none());
        let _ = held.pop().unwrap().finish();
        assert!(encoders.begin(Coding::Gzip).is_some());
        drop(held);
        assert_eq!(encoders.held.get(), 0);
    }
}
