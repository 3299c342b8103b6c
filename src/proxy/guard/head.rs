//! The head of a request: request line, headers, and what they say about the body.

use memchr::memchr;

use super::Refusal;
use super::Refusal::{FailedParsing, HeadersTooLong, Http2, InvalidHeaders, VersionNotSupported};

/// Most header lines.
pub(crate) const MAX_HEADERS: usize = 100;
/// Room that is made for header lines at once.
const USUAL_HEADERS: usize = 16;
/// Empty lines before a request line that are passed over (RFC 9112, 2.2).
const MAX_EMPTY_LINES: u8 = 2;
/// Longest body: what a signed 64-bit number holds.
const MAX_LENGTH: u64 = i64::MAX as u64;

/// First line of what an HTTP/2 client sends first [RFC 9113 3.4].
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// How long the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    Known(u64),
    Chunked,
}

impl Default for Length {
    fn default() -> Self {
        Self::Known(0)
    }
}

/// A part of a head: where it starts, counted from the head's start, and where it ends.
pub(crate) type Part = std::ops::Range<u32>;

/// What a good head consists of.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    pub(crate) method: Part,
    pub(crate) target: Part,
    pub(crate) is_http10: bool,
    /// Names, and values without the blanks around them, in the order of the lines.
    pub(crate) fields: Vec<(Part, Part)>,
    pub(crate) length: Length,
}

/// A head that is being read. Lines are judged as they end, so the verdict does not depend on how bytes arrive.
#[derive(Debug, Default)]
pub(super) struct Head {
    lines: Lines,
    /// Where the current line starts, counted from the start of the head.
    line: usize,
    /// Where the search for its end goes on.
    searched: usize,
    empty_lines: u8,
    version: Option<Version>,
    has_begun: bool,
    has_host: bool,
    length: Option<u64>,
    is_chunked: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

impl Head {
    /// Whether anything but empty lines has come.
    pub(super) const fn has_begun(&self) -> bool {
        self.has_begun
    }

    /// What it consists of, once it is whole.
    pub(super) fn into_lines(self) -> Lines {
        self.lines
    }

    /// Goes on with a head. `bytes` start where the head starts, at every call. Gives its length once it is whole.
    pub(super) fn scan(&mut self, bytes: &[u8], max: usize) -> Result<Option<usize>, Refusal> {
        loop {
            if self.version.is_none() {
                self.look_at_first_byte(bytes)?;
            }
            let Some(found) = memchr(b'\n', bytes.get(self.searched..).unwrap_or_default()) else {
                self.searched = bytes.len();
                return if bytes.len() > max { Err(HeadersTooLong) } else { Ok(None) };
            };
            let end = self.searched + found;
            if end >= max {
                return Err(HeadersTooLong);
            }
            let Some(line) = bytes.get(self.line..end).and_then(|line| line.strip_suffix(b"\r")) else {
                return Err(FailedParsing("line that ends without a carriage return"));
            };
            self.line = end + 1;
            self.searched = end + 1;
            match self.version {
                Some(version) if line.is_empty() => {
                    return self.finish(version).map(|()| Some(end + 1));
                }
                Some(version) => self.header(line, version, bytes)?,
                None if line.is_empty() => self.empty_line()?,
                None if line == PREFACE && self.empty_lines == 0 => return Err(Http2),
                None => self.request_line(line, bytes)?,
            }
        }
    }

    /// Refuses at once what can be no request, such as a TLS handshake, which may never send a line feed.
    fn look_at_first_byte(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        match bytes.get(self.line) {
            None | Some(b'\r') => Ok(()),
            Some(byte) if is_token(*byte) => {
                self.has_begun = true;
                Ok(())
            }
            Some(_) => Err(FailedParsing("request that starts with no method")),
        }
    }

    fn empty_line(&mut self) -> Result<(), Refusal> {
        self.empty_lines += 1;
        if self.empty_lines > MAX_EMPTY_LINES {
            Err(FailedParsing("empty lines before the request line"))
        } else {
            Ok(())
        }
    }

    fn request_line(&mut self, line: &[u8], bytes: &[u8]) -> Result<(), Refusal> {
        let (method, target, version) = request_line(line)?;
        self.version = Some(version);
        self.lines.method = part_of(bytes, method);
        self.lines.target = part_of(bytes, target);
        self.lines.is_http10 = version == Version::Http10;
        Ok(())
    }

    fn header(&mut self, line: &[u8], version: Version, bytes: &[u8]) -> Result<(), Refusal> {
        if self.lines.fields.len() >= MAX_HEADERS {
            return Err(HeadersTooLong);
        }
        if self.lines.fields.is_empty() {
            self.lines.fields.reserve(USUAL_HEADERS);
        }
        let (name, value) = split_header(line).map_err(FailedParsing)?;
        self.lines.fields.push((part_of(bytes, name), part_of(bytes, value)));
        match name {
            [b'c' | b'C', ..] if name.eq_ignore_ascii_case(b"content-length") => self.content_length(value),
            [b't' | b'T', ..] if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.transfer_encoding(value, version)
            }
            [b'h' | b'H', ..] if name.eq_ignore_ascii_case(b"host") => self.host(value),
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(InvalidHeaders("more than one Content-Length"));
        }
        if self.is_chunked {
            return Err(InvalidHeaders("Content-Length beside Transfer-Encoding"));
        }
        // Digits alone: `parse` would take a plus sign.
        let digits = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        // A leading zero makes it octal to some.
        let digits = digits.filter(|text| text.len() == 1 || !text.starts_with('0'));
        let length = digits.and_then(|text| text.parse().ok()).filter(|length| *length <= MAX_LENGTH);
        self.length = Some(length.ok_or(InvalidHeaders("Content-Length that is no number"))?);
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8], version: Version) -> Result<(), Refusal> {
        if version == Version::Http10 {
            return Err(InvalidHeaders("Transfer-Encoding in HTTP/1.0"));
        }
        if self.is_chunked {
            return Err(InvalidHeaders("more than one Transfer-Encoding"));
        }
        if self.length.is_some() {
            return Err(InvalidHeaders("Transfer-Encoding beside Content-Length"));
        }
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err(InvalidHeaders("Transfer-Encoding other than chunked"));
        }
        self.is_chunked = true;
        Ok(())
    }

    fn host(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.has_host {
            return Err(InvalidHeaders("more than one Host"));
        }
        if !is_authority(value) {
            return Err(InvalidHeaders("Host that is no host"));
        }
        self.has_host = true;
        Ok(())
    }

    fn finish(&mut self, version: Version) -> Result<(), Refusal> {
        if version == Version::Http11 && !self.has_host {
            return Err(InvalidHeaders("no Host"));
        }
        self.lines.length = match self.length {
            Some(length) => Length::Known(length),
            None if self.is_chunked => Length::Chunked,
            None => Length::Known(0),
        };
        Ok(())
    }
}

/// Where a piece of the head stands in it. Heads are far shorter than 4 GiB.
#[allow(clippy::cast_possible_truncation)]
fn part_of(bytes: &[u8], part: &[u8]) -> Part {
    let start = (part.as_ptr() as usize).wrapping_sub(bytes.as_ptr() as usize);
    start as u32..(start + part.len()) as u32
}

/// `METHOD target HTTP/1.x`, one space each.
fn request_line(line: &[u8]) -> Result<(&[u8], &[u8], Version), Refusal> {
    const SHAPE: Refusal = FailedParsing("request line other than `METHOD target HTTP/1.1`");
    let (method, rest) = line.split_at_checked(token_length(line)).ok_or(SHAPE)?;
    let rest = rest.strip_prefix(b" ").filter(|_| !method.is_empty()).ok_or(SHAPE)?;
    let (target, version) = rest.split_at_checked(memchr(b' ', rest).ok_or(SHAPE)?).ok_or(SHAPE)?;
    let version = match version {
        b" HTTP/1.1" => Version::Http11,
        b" HTTP/1.0" => Version::Http10,
        [b' ', b'H', b'T', b'T', b'P', b'/', number @ ..]
            if number.first().is_some_and(u8::is_ascii_digit)
                && number.iter().all(|b| b.is_ascii_digit() || *b == b'.') =>
        {
            return Err(VersionNotSupported);
        }
        _ => return Err(SHAPE),
    };
    if is_target(method, target) {
        Ok((method, target, version))
    } else {
        Err(FailedParsing("request target that is no URI"))
    }
}

/// Whether the target is one that this method takes (RFC 9112, 3.2) and that can be parsed.
pub(crate) fn is_target(method: &[u8], target: &[u8]) -> bool {
    if target.first() == Some(&b'/') && target.iter().all(|b| CLASSES[usize::from(*b)] & PLAIN_PATH != 0) {
        return true;
    }
    if target.iter().any(|b| !b.is_ascii_graphic() || *b == b'#') {
        return false;
    }
    let Ok(uri) = http::Uri::try_from(target) else { return false };
    match (uri.scheme_str(), uri.authority()) {
        (None, None) => target != b"*" || method == b"OPTIONS",
        (None, Some(authority)) => method == b"CONNECT" && is_authority(authority.as_str().as_bytes()),
        (Some("http" | "https"), Some(authority)) => is_authority(authority.as_str().as_bytes()),
        _ => false,
    }
}

/// A header or trailer line, without its CRLF: name and trimmed value.
pub(super) fn split_header(line: &[u8]) -> Result<(&[u8], &[u8]), &'static str> {
    let (name, rest) = line.split_at_checked(token_length(line)).ok_or("header without a name")?;
    let value = match (name, rest) {
        ([], [b' ' | b'\t', ..]) => return Err("header folded over lines"),
        ([], _) => return Err("header without a name"),
        (_, [b':', value @ ..]) => value,
        (_, []) => return Err("header without a colon"),
        (_, [b' ' | b'\t', ..]) => return Err("space between a header's name and its colon"),
        _ => return Err("forbidden byte in a header's name"),
    };
    // Not `any`: without an early exit the compiler compares sixteen bytes at a time.
    if value.iter().fold(false, |found, b| found | (*b < b' ' && *b != b'\t') | (*b == 0x7f)) {
        return Err("control byte in a header's value");
    }
    Ok((name, trim(value)))
}

/// Without the spaces and tabs around it.
fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// A host with an optional port. No user name; an IPv6 address in brackets.
pub(crate) fn is_authority(value: &[u8]) -> bool {
    let host = match value.iter().rposition(|b| matches!(b, b':' | b']')) {
        Some(colon) if value[colon] == b':' => {
            let (host, port) = value.split_at(colon);
            if port.len() > 6 || !port[1..].iter().all(u8::is_ascii_digit) {
                return false;
            }
            host
        }
        _ => value,
    };
    match host {
        [] => false,
        [b'[', address @ .., b']'] => {
            !address.is_empty() && address.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.'))
        }
        name => name.iter().all(|b| CLASSES[usize::from(*b)] & HOST != 0),
    }
}

/// How many leading bytes a token has.
fn token_length(line: &[u8]) -> usize {
    line.iter().position(|b| !is_token(*b)).unwrap_or(line.len())
}

pub(super) const fn is_token(byte: u8) -> bool {
    CLASSES[byte as usize] & TOKEN != 0
}

/// Bytes of methods and header names.
const TOKEN: u8 = 1;
/// Bytes of paths and queries that every parser takes alike; the rare others are left to the URI parser.
const PLAIN_PATH: u8 = 2;
/// Bytes of host names: unreserved, sub-delims, percent (RFC 3986).
const HOST: u8 = 4;

static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        let is_word = byte.is_ascii_alphanumeric();
        let mut class = 0;
        if is_word || in_set(byte, b"!#$%&'*+-.^_`|~") {
            class |= TOKEN;
        }
        if is_word || in_set(byte, b"-._~%!$&'()*+,;=:@/?") {
            class |= PLAIN_PATH;
        }
        if is_word || in_set(byte, b"-._~%!$&'()*+,;=") {
            class |= HOST;
        }
        classes[byte as usize] = class;
        byte += 1;
    }
    classes
};

const fn in_set(byte: u8, set: &[u8]) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set[at] == byte {
            return true;
        }
        at += 1;
    }
    false
}
