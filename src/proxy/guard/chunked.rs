//! A chunked body: sizes, data, trailers.
//!
//! One step per byte, except for data, which is skipped. Extensions and trailers pass, within limits.

use std::ops::Range;

use super::head::is_token;

/// Hexadecimal digits of a chunk size: as many as 64 bits have.
const MAX_DIGITS: u8 = 16;
/// Bytes of extensions of one chunk.
const MAX_EXTENSION: u32 = 256;
/// Bytes of extensions of one body.
const MAX_EXTENSIONS: u32 = 8 * 1024;
/// Bytes of trailers.
const MAX_TRAILERS: u32 = 8 * 1024;
/// Lines of trailers.
const MAX_TRAILER_LINES: u32 = 100;

/// A body that is being read.
#[derive(Debug, Default)]
pub(super) struct Chunked {
    at: At,
    /// The size that is being read, then bytes of data still to come.
    size: u64,
    digits: u8,
    extension: u32,
    extensions: u32,
    trailers: u32,
    trailer_lines: u32,
}

/// What the next byte belongs to.
#[derive(Debug, Default, Clone, Copy)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    End,
}

/// What a scan came to.
#[derive(Debug)]
pub(super) enum Scanned {
    /// All bytes are framing, and the body goes on.
    Framing,
    /// Data up to where the scan has stopped.
    Data(Range<usize>),
    /// The body has ended.
    End,
    Bad(&'static str),
}

impl Chunked {
    /// Goes on with a body, up to the end of a run of data or of the body. Gives how many bytes are good.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> (usize, Scanned) {
        let mut used = 0;
        while let Some(&byte) = bytes.get(used) {
            if matches!(self.at, At::Data) {
                let data = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - used);
                self.size -= data as u64;
                if self.size == 0 {
                    self.at = At::DataCr;
                }
                return (used + data, Scanned::Data(used..used + data));
            }
            match self.step(byte) {
                Ok(at) => self.at = at,
                Err(why) => return (used, Scanned::Bad(why)),
            }
            used += 1;
            if matches!(self.at, At::End) {
                return (used, Scanned::End);
            }
        }
        (used, Scanned::Framing)
    }

    fn step(&mut self, byte: u8) -> Result<At, &'static str> {
        match (self.at, byte) {
            (At::Size, _) => self.size(byte),
            (At::Extension, b'\r') => Ok(At::SizeLf),
            (At::Extension, _) => self.extension(byte),
            (At::SizeLf, b'\n') => {
                (self.digits, self.extension) = (0, 0);
                Ok(if self.size == 0 { At::TrailerStart } else { At::Data })
            }
            (At::SizeLf, _) => Err("chunk size whose line does not end in CRLF"),
            (At::DataCr, b'\r') => Ok(At::DataLf),
            (At::DataLf, b'\n') => Ok(At::Size),
            (At::DataCr | At::DataLf, _) => Err("chunk data without CRLF after it"),
            (At::TrailerStart, b'\r') => Ok(At::LastLf),
            (At::LastLf, b'\n') => Ok(At::End),
            (At::LastLf, _) => Err("chunked body that does not end in CRLF"),
            (At::TrailerStart | At::TrailerName | At::TrailerValue | At::TrailerLf, _) => self.trailer(byte),
            (At::Data | At::End, _) => Ok(self.at),
        }
    }

    fn size(&mut self, byte: u8) -> Result<At, &'static str> {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            b'\r' if self.digits > 0 => return Ok(At::SizeLf),
            b';' if self.digits > 0 => return Ok(At::Extension),
            _ => return Err("chunk size that is no hexadecimal number"),
        };
        if self.digits >= MAX_DIGITS {
            return Err("chunk size of more than 16 digits");
        }
        self.digits += 1;
        self.size = self.size << 4 | u64::from(digit);
        Ok(At::Size)
    }

    fn extension(&mut self, byte: u8) -> Result<At, &'static str> {
        self.extension += 1;
        self.extensions += 1;
        if self.extension > MAX_EXTENSION || self.extensions > MAX_EXTENSIONS {
            return Err("chunk extension over the limit");
        }
        if is_control(byte) { Err("control byte in a chunk extension") } else { Ok(At::Extension) }
    }

    fn trailer(&mut self, byte: u8) -> Result<At, &'static str> {
        self.trailers += 1;
        if self.trailers > MAX_TRAILERS {
            return Err("trailers over the limit");
        }
        match (self.at, byte) {
            (At::TrailerStart, _) if is_token(byte) => {
                self.trailer_lines += 1;
                if self.trailer_lines > MAX_TRAILER_LINES {
                    Err("trailers over the limit")
                } else {
                    Ok(At::TrailerName)
                }
            }
            (At::TrailerName, b':') => Ok(At::TrailerValue),
            (At::TrailerName, _) if is_token(byte) => Ok(At::TrailerName),
            (At::TrailerStart | At::TrailerName, _) => Err("trailer without a proper name"),
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, _) if !is_control(byte) => Ok(At::TrailerValue),
            (At::TrailerLf, b'\n') => Ok(At::TrailerStart),
            _ => Err("control byte in a trailer"),
        }
    }
}

/// All but the tab.
const fn is_control(byte: u8) -> bool {
    byte.is_ascii_control() && byte != b'\t'
}
