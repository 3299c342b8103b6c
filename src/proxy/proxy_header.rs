//! Headers of the PROXY protocol, by which a balancer says whose connection it passes on: what stands in one that has
//! come (versions 1 and 2), and the line that goes to members (version 1). Pure.
//!
//! Read strictly: what another reader could take for something else is malformed. After the header, not one byte
//! belongs to it.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Longest line of version 1, with its end.
pub const MAX_LINE: usize = 107;
/// Most bytes behind the first 16 of version 2: addresses, and extensions, which nobody reads.
pub const MAX_BLOCK: usize = 2048;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Whence and whither the client connected.
    Client {
        /// The client's address.
        from: SocketAddr,
        /// The one that it asked for.
        to: SocketAddr,
    },
    /// Nothing: the sender speaks for itself, or its client has no address of the internet.
    Nothing,
}

/// What is wrong with a header: a few words without a full stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// A header and its length; `None` while more is needed. A header is never longer than [`MAX_LINE`], or 16 bytes and
/// [`MAX_BLOCK`].
///
/// # Errors
/// As soon as nothing that may follow makes it a header.
pub fn parse(bytes: &[u8]) -> Result<Option<(Said, usize)>, Malformed> {
    if is_begun(bytes, LINE_START) {
        return line(bytes);
    }
    if is_begun(bytes, &SIGNATURE) {
        return block(bytes);
    }
    Err(Malformed("neither version of the PROXY protocol begins like this"))
}

const LINE_START: &[u8] = b"PROXY ";
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Whether `bytes` begin with `start`, as far as they go.
fn is_begun(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, expected)| byte == expected)
}

/// Version 1.
fn line(bytes: &[u8]) -> Result<Option<(Said, usize)>, Malformed> {
    let seen = bytes.get(..MAX_LINE).unwrap_or(bytes);
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        let is_broken = seen.iter().rev().skip(1).any(|byte| *byte == b'\r');
        return match () {
            () if is_broken => Err(Malformed("a CR without its LF")),
            () if seen.len() == MAX_LINE => Err(Malformed("a line of more than 107 bytes")),
            () => Ok(None),
        };
    };
    let line = seen.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let text = line.and_then(|line| std::str::from_utf8(line).ok());
    let text = text.filter(|text| text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    let text = text.ok_or(Malformed("a line that does not end with CRLF, or is no text"))?;
    words(text).map(|said| Some((said, end + 1)))
}

fn words(line: &str) -> Result<Said, Malformed> {
    let mut words = line.split(' ').skip(1);
    let is_v4 = match words.next() {
        Some("TCP4") => true,
        Some("TCP6") => false,
        // Whatever follows is to be passed over.
        Some("UNKNOWN") => return Ok(Said::Nothing),
        _ => return Err(Malformed("a family other than TCP4, TCP6 and UNKNOWN")),
    };
    let mut address = || words.next().and_then(|word| address(word, is_v4));
    let (from, to) = (address(), address());
    let (from, to) = from.zip(to).ok_or(Malformed("an address that is none of its family"))?;
    let mut port = || words.next().and_then(port);
    let (from_port, to_port) = (port(), port());
    let (from_port, to_port) = from_port.zip(to_port).ok_or(Malformed("a port that is none"))?;
    match words.next() {
        None => {
            let (from, to) = (SocketAddr::new(from, from_port), SocketAddr::new(to, to_port));
            Ok(Said::Client { from, to })
        }
        Some(_) => Err(Malformed("more than two addresses and two ports")),
    }
}

fn address(word: &str, is_v4: bool) -> Option<IpAddr> {
    if is_v4 {
        return word.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
    }
    word.parse::<Ipv6Addr>().ok().map(|v6| IpAddr::V6(v6).to_canonical())
}

/// Digits without a leading zero.
fn port(word: &str) -> Option<u16> {
    let is_plain = word.bytes().all(|byte| byte.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    is_plain.then(|| word.parse().ok()).flatten()
}

/// Version 2: signature, version and command, family, length, and a block of that length.
fn block(bytes: &[u8]) -> Result<Option<(Said, usize)>, Malformed> {
    let rest = bytes.get(SIGNATURE.len()..).unwrap_or_default();
    let is_local = match rest.first() {
        None => return Ok(None),
        Some(0x20) => true,
        Some(0x21) => false,
        Some(byte) if byte >> 4 != 2 => return Err(Malformed("a version other than 1 and 2")),
        Some(_) => return Err(Malformed("a command other than LOCAL and PROXY")),
    };
    let Some(family) = rest.get(1) else { return Ok(None) };
    let family = match family {
        // Of a connection of its own, a sender may say what it likes.
        _ if is_local => Family::None,
        0x00 => Family::None,
        0x11 => Family::V4,
        0x21 => Family::V6,
        0x31 => Family::Unix,
        _ => return Err(Malformed("a family that is none of TCP")),
    };
    let Some(length) = rest.get(2..4) else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([byte(length, 0), byte(length, 1)]));
    if length > MAX_BLOCK {
        return Err(Malformed("a block of more than 2048 bytes"));
    }
    if length < family.length() {
        return Err(Malformed("a block that is shorter than the addresses of its family"));
    }
    let Some(block) = rest.get(4..4 + length) else { return Ok(None) };
    if !is_local && !are_extensions(block.get(family.length()..).unwrap_or_default()) {
        return Err(Malformed("extensions that do not fill their block"));
    }
    Ok(Some((family.read(block), SIGNATURE.len() + 4 + length)))
}

/// What the addresses in a block are.
#[derive(Debug, Clone, Copy)]
enum Family {
    /// None that anybody is to read.
    None,
    V4,
    V6,
    Unix,
}

impl Family {
    /// Bytes of two addresses and two ports.
    const fn length(self) -> usize {
        match self {
            Self::None => 0,
            Self::V4 => 12,
            Self::V6 => 36,
            Self::Unix => 216,
        }
    }

    /// From a block that is long enough.
    fn read(self, block: &[u8]) -> Said {
        let width = match self {
            Self::None | Self::Unix => return Said::Nothing,
            Self::V4 => 4,
            Self::V6 => 16,
        };
        let ip = |at: usize| -> IpAddr {
            let bytes = block.get(at..at + width).unwrap_or_default();
            match <[u8; 4]>::try_from(bytes) {
                Ok(v4) => Ipv4Addr::from(v4).into(),
                Err(_) => {
                    let v6: [u8; 16] = bytes.try_into().unwrap_or_default();
                    IpAddr::V6(Ipv6Addr::from(v6)).to_canonical()
                }
            }
        };
        let port = |at: usize| u16::from_be_bytes([byte(block, at), byte(block, at + 1)]);
        let from = SocketAddr::new(ip(0), port(2 * width));
        Said::Client { from, to: SocketAddr::new(ip(width), port(2 * width + 2)) }
    }
}

/// Whether these are whole extensions: type, length, and so many bytes, each.
fn are_extensions(mut rest: &[u8]) -> bool {
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([byte(rest, 1), byte(rest, 2)]));
        match rest.get(3 + length..) {
            Some(behind) => rest = behind,
            None => return false,
        }
    }
    true
}

fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or_default()
}

/// The line of version 1: whence and whither the client connected.
pub(crate) fn write_line(from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let ips = (from.ip().to_canonical(), to.ip().to_canonical());
    let mut line = Vec::with_capacity(MAX_LINE);
    // Writing to memory does not fail.
    let _ = match ips {
        (IpAddr::V4(client), IpAddr::V4(asked)) => {
            write!(line, "PROXY TCP4 {client} {asked} {} {}\r\n", from.port(), to.port())
        }
        // Where one of them is of IPv6, both are written as such.
        (client, asked) => {
            let [client, asked] = [client, asked].map(|ip| match ip {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            });
            write!(line, "PROXY TCP6 {client} {asked} {} {}\r\n", from.port(), to.port())
        }
    };
    line
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;
