//! Where a client is: its address behind trusted proxies, and the session key for CLIENT_IP [G 3, 6.1].

use std::net::IpAddr;

use http::HeaderName;
use http::header::HeaderMap;

use super::cookie::hash;
use crate::model::config::Cidr;

/// Most entries of `X-Forwarded-For` that are read, from the right.
pub(crate) const MAX_FORWARDED: usize = 64;

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address that a client has, as far as the proxies before us are believed [G 6.1]: `peer`, or, where that is
/// trusted, the first address of `X-Forwarded-For`, from the right, that is not; the leftmost where all are. What is no
/// address ends the search: nothing left of it can be believed.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[Cidr]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|cidr| cidr.contains(address));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    // The values of a header iterate from either end; the last line is the newest.
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev();
    let entries = lines.flat_map(|line| line.as_bytes().rsplit(|b| *b == b','));
    for entry in entries.take(MAX_FORWARDED) {
        let Some(address) = address(entry.trim_ascii()) else { break };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// The session key for CLIENT_IP: from source and destination address [G 3].
pub(crate) fn client_ip_key(client: IpAddr, local: IpAddr) -> u64 {
    let mut pair = [0; 32];
    let (source, destination) = pair.split_at_mut(16);
    source.copy_from_slice(&wide(client));
    destination.copy_from_slice(&wide(local));
    hash(&pair)
}

/// An entry of `X-Forwarded-For`: an address, or one with a port, as some proxies write it.
fn address(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    bare.parse().ok().or_else(with_port).map(|address: IpAddr| address.to_canonical())
}

/// Sixteen bytes, the same for an IPv4 address and its IPv6 mapping.
fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn with(name: &'static str, lines: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(name, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        headers
    }

    fn client(peer: &str, lines: &[&str]) -> String {
        let trusted = [("127.0.0.0", 8), ("10.0.0.0", 8), ("2001:db8::", 32)];
        let trusted = trusted.map(|(network, prefix)| Cidr { network: network.parse().unwrap(), prefix });
        client_address(peer.parse().unwrap(), &with("x-forwarded-for", lines), &trusted).to_string()
    }

    #[test]
    fn stranger_is_not_believed() {
        assert_eq!(client("192.0.2.1", &["1.2.3.4"]), "192.0.2.1");
        assert_eq!(client("::ffff:192.0.2.1", &["1.2.3.4"]), "192.0.2.1");
    }

    #[test]
    fn trusted_proxies_are_skipped_from_the_right() {
        // [G 6.1]
        for (lines, want) in [
            (vec![], "127.0.0.1"),
            (vec!["1.2.3.4"], "1.2.3.4"),
            (vec!["6.6.6.6, 1.2.3.4 ,10.0.0.1"], "1.2.3.4"),
            (vec!["6.6.6.6,1.2.3.4", "10.0.0.1", "10.0.0.2,2001:db8::9"], "1.2.3.4"),
            (vec!["10.0.0.7,10.0.0.1"], "10.0.0.7"),
            (vec!["1.2.3.4:5678,10.0.0.1:80"], "1.2.3.4"),
            (vec!["[2001:dead::1]:80, [2001:db8::1]"], "2001:dead::1"),
            (vec!["::ffff:1.2.3.4"], "1.2.3.4"),
        ] {
            assert_eq!(client("127.0.0.1", &lines), want, "{lines:?}");
        }
    }

    #[test]
    fn what_is_no_address_ends_the_search() {
        for (lines, want) in [
            (vec!["unknown"], "127.0.0.1"),
            (vec![""], "127.0.0.1"),
            (vec!["1.2.3.4,"], "127.0.0.1"),
            (vec!["1.2.3.4, _hidden, 10.0.0.1"], "10.0.0.1"),
            (vec!["1.2.3.4, 1.2.3.999"], "127.0.0.1"),
            (vec!["1.2.3.4, \u{e4}, 10.0.0.1"], "10.0.0.1"),
        ] {
            assert_eq!(client("127.0.0.1", &lines), want, "{lines:?}");
        }
    }

    #[test]
    fn search_is_bounded() {
        let line = |n: usize| format!("1.2.3.4{}", ",10.0.0.1".repeat(n));
        assert_eq!(client("127.0.0.1", &[&line(MAX_FORWARDED - 1)]), "1.2.3.4");
        assert_eq!(client("127.0.0.1", &[&line(MAX_FORWARDED)]), "10.0.0.1");
    }

    #[test]
    fn keys_are_the_same_after_a_restart() {
        // Written down from a first run: what counts is that it never changes.
        let key = client_ip_key("192.0.2.1".parse().unwrap(), "198.51.100.9".parse().unwrap());
        assert_eq!(key, 1_666_545_414_232_791_614);
    }

    #[test]
    fn client_ip_key_is_of_source_and_destination() {
        // [G 3]
        let key = |a: &str, b: &str| client_ip_key(a.parse().unwrap(), b.parse().unwrap());
        assert_eq!(key("192.0.2.1", "10.0.0.1"), key("::ffff:192.0.2.1", "10.0.0.1"));
        assert_ne!(key("192.0.2.1", "10.0.0.1"), key("192.0.2.2", "10.0.0.1"));
        assert_ne!(key("192.0.2.1", "10.0.0.1"), key("192.0.2.1", "10.0.0.2"));
        assert_ne!(key("192.0.2.1", "10.0.0.1"), key("10.0.0.1", "192.0.2.1"));
    }
}
