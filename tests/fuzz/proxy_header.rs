//! Headers of the PROXY protocol: read the same however they come, never longer than they may be, and never otherwise
//! than they are written.

use std::net::SocketAddr;

use overspill::proxy::proxy_header::{MAX_BLOCK, MAX_LINE, Said, parse};

use crate::run::fuzz;
use crate::{kind, texts};

const WORDS: &[&str] = &[
    "PROXY ",
    "TCP4 ",
    "TCP6 ",
    "UNKNOWN",
    "\r\n",
    "192.0.2.1",
    "::ffff:192.0.2.1",
    "2001:db8::1",
    "65535",
    "\r\n\r\n\0\r\nQUIT\n",
    "\x21\x11\0\x0c",
    "\x20\0\0\0",
];

#[test]
fn a_header_is_read_the_same_however_it_comes() {
    let mut seeds = texts(&[
        "PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\nGET / HTTP/1.1\r\n",
        "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff\r\n",
    ]);
    let block = |head: [u8; 4], rest: &[u8]| [&b"\r\n\r\n\0\r\nQUIT\n"[..], &head, rest].concat();
    seeds.push(block([0x21, 0x11, 0, 16], &[192, 0, 2, 1, 10, 0, 0, 1, 0, 1, 0, 2, 4, 0, 1, 0]));
    seeds.push(block([0x21, 0x21, 0, 36], &[7; 36]));
    seeds.push(block([0x21, 0x31, 0, 216], &[0; 216]));
    seeds.push(block([0x20, 0, 0, 0], &[]));
    fuzz("proxy_header", seeds, WORDS, check);
}

fn check(input: &[u8]) -> u64 {
    let whole = parse(input);
    // Byte by byte, the first verdict is the last.
    let most = input.len().min(16 + MAX_BLOCK);
    let stepwise = (0..=most).map(|end| parse(&input[..end])).find(|parsed| *parsed != Ok(None));
    match stepwise {
        Some(first) => assert_eq!(first.is_ok(), whole.is_ok(), "{first:?} and then {whole:?}"),
        None => assert!(whole == Ok(None) && input.len() < 16 + MAX_BLOCK, "nobody waits for ever"),
    }
    let Ok(Some((said, length))) = whole else { return kind((whole.is_ok(), whole.err().map(|why| why.0))) };
    assert_eq!(stepwise, Some(Ok(Some((said, length)))));
    let is_line = input.starts_with(b"PROXY ");
    assert!(length <= input.len() && length <= if is_line { MAX_LINE } else { 16 + MAX_BLOCK });
    if let (true, Said::Client { from, to }) = (is_line, said) {
        let line = std::str::from_utf8(&input[..length]).unwrap();
        assert_eq!(addresses(line), Some((from, to)), "{line:?}");
    }
    kind((is_line, said == Said::Nothing, length < input.len()))
}

/// The words of a line, read a second time, without regard to what else is wrong.
fn addresses(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let words: Vec<&str> = line.trim_end().split(' ').collect();
    let [_, _, from, to, from_port, to_port] = words.as_slice() else { return None };
    let address = |ip: &str, port: &str| {
        let ip: std::net::IpAddr = ip.parse().ok()?;
        Some(SocketAddr::new(ip.to_canonical(), port.parse().ok()?))
    };
    Some((address(from, from_port)?, address(to, to_port)?))
}
