//! The texts of Linux's `/proc` that tell who listens on a port and how much CPU a process has used. Pure: text in,
//! values out; what cannot be read is left out.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Units of the CPU times in `stat` per second: USER_HZ, which is 100 in Linux's interface on every architecture.
pub(super) const TICKS_PER_SECOND: u64 = 100;

/// `st` of a socket that listens.
const LISTEN: &str = "0A";

/// A listening socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Listening {
    pub(super) address: SocketAddr,
    /// Names the socket in `/proc/PID/fd`.
    pub(super) inode: u64,
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    /// User and system time of all threads, in [`TICKS_PER_SECOND`].
    pub(super) cpu: u64,
    /// When the process began, in ticks after boot: tells a process from a later one with the same number.
    pub(super) began: u64,
}

/// The listening sockets in `/proc/net/tcp` or `/proc/net/tcp6`.
pub(super) fn listening(text: &str) -> impl Iterator<Item = Listening> {
    text.lines().filter_map(|line| {
        let mut fields = line.split_ascii_whitespace();
        let address = fields.nth(1)?;
        if fields.nth(1)? != LISTEN {
            return None;
        }
        let inode = fields.nth(5)?.parse().ok()?;
        Some(Listening { address: address_of(address)?, inode })
    })
}

/// `0100007F:1F90` or the same with 32 digits.
fn address_of(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    // Each group of 8 digits is a 32-bit word of the address as this machine reads it from memory.
    let word = |n: usize| {
        let digits = ip.get(n * 8..n * 8 + 8)?;
        Some(u32::from_str_radix(digits, 16).ok()?.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut bytes = [0; 16];
            for (n, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(n)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

/// Inodes of the sockets that the kernel would give a connection to `member`: those on the very address if there are
/// any, else those on the wildcard of its family, else those on `[::]`, which takes IPv4 too. Several sockets of the
/// same rank share the connections (`SO_REUSEPORT`).
pub(super) fn serving(sockets: &[Listening], member: SocketAddr) -> Vec<u64> {
    let ip = member.ip().to_canonical();
    let rank = |socket: &Listening| match socket.address.ip() {
        _ if socket.address.port() != member.port() => None,
        own if own.to_canonical() == ip => Some(0),
        own if own.is_unspecified() && own.is_ipv4() == ip.is_ipv4() => Some(1),
        own if own.is_unspecified() && own.is_ipv6() => Some(2),
        _ => None,
    };
    let best = sockets.iter().filter_map(rank).min();
    sockets.iter().filter(|s| best.is_some() && rank(s) == best).map(|s| s.inode).collect()
}

/// The inode in the target of a link in `/proc/PID/fd`, if it is a socket: `socket:[1512]`.
pub(super) fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Reads `/proc/PID/stat`. The second field is the program's name in parentheses and may itself contain spaces and
/// parentheses, so that the rest is found behind the last one.
pub(super) fn stat(text: &str) -> Option<Stat> {
    let (_, rest) = text.rsplit_once(')')?;
    // `rest` begins with field 3; utime is 14, stime 15, starttime 22.
    let mut fields = rest.split_ascii_whitespace().skip(11).map(str::parse::<u64>);
    let user = fields.next()?.ok()?;
    let system = fields.next()?.ok()?;
    let began = fields.nth(6)?.ok()?;
    Some(Stat { cpu: user.saturating_add(system), began })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const TCP: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1512 1 00000000 100 0 0 10 0
   1: 0100007F:B3A3 0100007F:C286 01 00000000:00000000 03:00000CAE 00000000     0        0 77 3 00000000
   2: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 99 1 00000000 100 0 0 10 0
";
    const TCP6: &str = "\
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 5 1 0
   1: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 6 1 0
";

    fn of(address: &str, inode: u64) -> Listening {
        Listening { address: address.parse().unwrap(), inode }
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn listening_sockets_are_read_from_both_tables() {
        assert_eq!(listening(TCP).collect::<Vec<_>>(), [of("0.0.0.0:2024", 1512), of("127.0.0.1:8080", 99)]);
        assert_eq!(listening(TCP6).collect::<Vec<_>>(), [of("[::]:8080", 5), of("[::1]:8081", 6)]);
    }

    #[test]
    fn lines_that_are_no_sockets_are_left_out() {
        for text in [
            "",
            "\n\n",
            "0: x:y z 0A",
            "0: 0100007F:1F90 0:0 0A a b c d e inode",
            "0: 01é007F:1F90 0:0 0A a b c d e 7",
        ] {
            assert_eq!(listening(text).count(), 0, "{text}");
        }
    }

    #[test]
    fn the_sockets_that_the_kernel_would_choose_serve_a_member() {
        let sockets = [
            of("0.0.0.0:80", 1),
            of("127.0.0.1:80", 2),
            of("127.0.0.1:80", 3),
            of("[::]:81", 4),
            of("[::]:80", 5),
        ];
        for (member, inodes) in [
            ("127.0.0.1:80", &[2, 3][..]),
            ("10.0.0.1:80", &[1]),
            ("[::1]:80", &[5]),
            ("10.0.0.1:81", &[4]),
            ("127.0.0.1:82", &[]),
        ] {
            assert_eq!(serving(&sockets, member.parse().unwrap()), inodes, "{member}");
        }
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        for name in ["cat", "tmux: server", "evil) R 1 2 (x", "a b) c"] {
            let text = format!(
                "16310 ({name}) R 16223 16223 7216 0 -1 4194304 98 0 0 0 700 34 0 0 20 0 1 0 393523 3133440"
            );
            assert_eq!(stat(&text), Some(Stat { cpu: 734, began: 393_523 }), "{name}");
        }
    }

    #[test]
    fn a_cut_or_foreign_stat_is_nothing() {
        for text in ["", "1 (x", "1 (x) R 1 2", "1 (x) R 1 1 1 0 -1 4 98 0 0 0 a b 0 0 20 0 1 0 3 3"] {
            assert_eq!(stat(text), None, "{text}");
        }
    }

    #[test]
    fn only_socket_links_have_an_inode() {
        assert_eq!(socket_inode("socket:[1512]"), Some(1512));
        for link in ["pipe:[15]", "/dev/null", "socket:[x]", "socket:[1", "socket:"] {
            assert_eq!(socket_inode(link), None, "{link}");
        }
    }
}
