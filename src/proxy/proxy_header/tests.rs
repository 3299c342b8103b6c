use super::*;

fn client(from: &str, to: &str) -> Said {
    Said::Client { from: from.parse().unwrap(), to: to.parse().unwrap() }
}

/// What a whole header says, which is the same however it comes: byte by byte, and with bytes behind it.
#[track_caller]
fn said(bytes: &[u8]) -> Said {
    for end in 0..bytes.len() {
        assert_eq!(parse(&bytes[..end]), Ok(None), "after {end} bytes");
    }
    let (said, length) = parse(bytes).unwrap().unwrap();
    assert_eq!(length, bytes.len());
    let followed = [bytes, b"PROXY \r\n"].concat();
    assert_eq!(parse(&followed), Ok(Some((said, length))), "what follows is none of its business");
    said
}

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&SIGNATURE[..], &[command, family], &length, block].concat()
}

const V4: [u8; 12] = [192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x67, 0x01, 0xbb];

fn v6() -> Vec<u8> {
    let [from, to] = ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse::<Ipv6Addr>().unwrap().octets());
    [&from[..], &to, &[0, 1, 0, 2]].concat()
}

#[test]
fn a_line_of_version_1_names_client_and_target() {
    let v4 = said(b"PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n");
    assert_eq!(v4, client("192.0.2.1:4711", "10.0.0.1:443"));
    let v6 = said(b"PROXY TCP6 2001:db8::1 2001:db8::2 0 65535\r\n");
    assert_eq!(v6, client("[2001:db8::1]:0", "[2001:db8::2]:65535"));
    let mapped = said(b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:10.0.0.1 1 2\r\n");
    assert_eq!(
        mapped,
        client("192.0.2.1:1", "10.0.0.1:2"),
        "an address of IPv4 is one, however it is written"
    );
    let wide = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    said(format!("PROXY TCP6 {wide} {wide} 65535 65535\r\n").as_bytes());
}

#[test]
fn an_unknown_line_names_nobody_whatever_it_says() {
    assert_eq!(said(b"PROXY UNKNOWN\r\n"), Said::Nothing);
    let wide = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY UNKNOWN {wide} {wide} 65535 65535\r\n");
    assert_eq!(longest.len(), MAX_LINE);
    assert_eq!(said(longest.as_bytes()), Said::Nothing);
}

#[test]
fn a_line_that_could_be_read_otherwise_is_malformed() {
    for bad in [
        "GET / HTTP/1.1\r\n",
        "proxy TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY  TCP4 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY\tTCP4 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY TCP4  192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 \r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2 3\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1\r\n",
        "PROXY TCP4\r\n",
        "PROXY \r\n",
        "PROXY TCP5 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY UDP4 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        "PROXY TCP6 192.0.2.1 10.0.0.1 1 2\r\n",
        "PROXY TCP6 fe80::1%eth0 fe80::2 1 2\r\n",
        "PROXY TCP4 192.0.2.256 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.01 10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 01 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 +1 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 65536 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 -2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\n",
        "PROXY TCP4 192.0.2.1\r10.0.0.1 1 2\r\n",
        "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\r\n",
        "PROXY UNKNOWN \0\r\n",
        "PROXY UNKNOWN \u{e4}\r\n",
    ] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
}

#[test]
fn a_line_without_an_end_is_malformed_at_107_bytes_and_a_wrong_start_at_once() {
    let long = format!("PROXY UNKNOWN {}", "x".repeat(MAX_LINE));
    assert_eq!(parse(&long.as_bytes()[..MAX_LINE - 1]), Ok(None));
    assert!(parse(&long.as_bytes()[..MAX_LINE]).is_err());
    let late = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_LINE - 15));
    assert_eq!(late.len(), MAX_LINE + 1);
    assert!(parse(late.as_bytes()).is_err(), "its end comes one byte too late");
    for bad in ["G", "PR0", "\r\n\r\n\0\r\nQUIT\r", "PROXY UNKNOWN \rx", "\x16\x03\x01"] {
        assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
    }
    assert_eq!(parse(b""), Ok(None));
}

#[test]
fn a_block_of_version_2_names_client_and_target() {
    assert_eq!(said(&v2(0x21, 0x11, &V4)), client("192.0.2.1:4711", "10.0.0.1:443"));
    assert_eq!(said(&v2(0x21, 0x21, &v6())), client("[2001:db8::1]:1", "[2001:db8::2]:2"));
}

#[test]
fn extensions_are_passed_over_and_bounded() {
    let with = |extensions: &[u8]| v2(0x21, 0x11, &[&V4, extensions].concat());
    let expected = client("192.0.2.1:4711", "10.0.0.1:443");
    assert_eq!(said(&with(&[4, 0, 0])), expected);
    assert_eq!(said(&with(&[1, 0, 2, b'h', b'2', 0xea, 0, 1, 7])), expected);
    let room = MAX_BLOCK - V4.len() - 3;
    let full = [&[4][..], &u16::try_from(room).unwrap().to_be_bytes(), &vec![0; room]].concat();
    assert_eq!(said(&with(&full)), expected);
    for bad in [&[4][..], &[4, 0], &[4, 0, 1], &[4, 0, 0, 4], &[4, 255, 255, 0]] {
        assert!(parse(&with(bad)).is_err(), "{bad:?}");
    }
    let long = v2(0x21, 0x11, &vec![0; MAX_BLOCK + 1]);
    assert!(parse(&long[..16]).is_err(), "nobody waits for what is too long");
}

#[test]
fn local_connections_and_families_without_addresses_name_nobody() {
    assert_eq!(said(&v2(0x20, 0x00, &[])), Said::Nothing);
    assert_eq!(
        said(&v2(0x20, 0x11, &V4)),
        Said::Nothing,
        "of its own connection a sender may say what it likes"
    );
    assert_eq!(said(&v2(0x20, 0xff, &[1, 2, 3])), Said::Nothing);
    assert_eq!(said(&v2(0x21, 0x00, &[])), Said::Nothing);
    assert_eq!(said(&v2(0x21, 0x00, &[4, 0, 1, 9])), Said::Nothing);
    assert_eq!(said(&v2(0x21, 0x31, &[0; 216])), Said::Nothing);
}

#[test]
fn a_block_that_is_none_is_malformed_as_soon_as_that_is_known() {
    for (command, family, block) in [
        (0x11, 0x11, &V4[..]),
        (0x31, 0x11, &V4),
        (0x22, 0x11, &V4),
        (0x2f, 0x11, &V4),
        (0x21, 0x12, &V4),
        (0x21, 0x10, &V4),
        (0x21, 0x22, &[0; 36]),
        (0x21, 0x32, &[0; 216]),
        (0x21, 0x41, &V4),
        (0x21, 0x01, &V4),
        (0x21, 0x11, &V4[..11]),
        (0x21, 0x21, &V4),
        (0x21, 0x31, &[0; 215]),
    ] {
        let bytes = v2(command, family, block);
        assert!(parse(&bytes[..16]).is_err(), "{command:x} {family:x} {}", block.len());
    }
    assert!(parse(&[&SIGNATURE[..], &[0x10]].concat()).is_err());
}

#[test]
fn the_line_for_members_names_both_addresses_and_ports_and_no_mapped_ones() {
    let line = |from: &str, to: &str| {
        let line = write_line(from.parse().unwrap(), to.parse().unwrap());
        let (said, length) = parse(&line).unwrap().unwrap();
        assert_eq!(
            (said, length),
            (client(&canonical(from), &canonical(to)), line.len()),
            "we read what we write"
        );
        String::from_utf8(line).unwrap()
    };
    assert_eq!(line("192.0.2.1:4711", "10.0.0.1:443"), "PROXY TCP4 192.0.2.1 10.0.0.1 4711 443\r\n");
    assert_eq!(line("[::ffff:192.0.2.1]:1", "[::ffff:10.0.0.1]:2"), "PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n");
    assert_eq!(line("[2001:db8::1]:1", "[2001:db8::2]:2"), "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n");
    assert_eq!(line("[2001:db8::1]:1", "10.0.0.1:2"), "PROXY TCP6 2001:db8::1 ::ffff:10.0.0.1 1 2\r\n");
}

fn canonical(text: &str) -> String {
    let address: SocketAddr = text.parse().unwrap();
    SocketAddr::new(address.ip().to_canonical(), address.port()).to_string()
}
