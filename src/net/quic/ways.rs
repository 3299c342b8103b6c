//! Which of several endpoints a datagram is for, and the way to it.
//!
//! The kernel gives a datagram to a socket by the addresses that it goes from and to, or to whichever process reads
//! first. Neither knows of connections: a client may change its address, there may be more endpoints than sockets,
//! and another process may have read the sockets before. So each endpoint has a mark, which all IDs of its
//! connections bear, and an inbox, a Unix socket, where the others put what they have read for it. Endpoints of
//! processes that this one has replaced are reached by the same way until they have ended.
//!
//! Format of IDs and of messages in an inbox are agreed on between processes of different versions: they never change.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use quinn::udp::{EcnCodepoint, RecvMeta};

/// Bytes of a connection's ID.
pub(super) const ID: usize = 8;
/// Bytes of it that chance chooses.
const NONCE: usize = 3;
/// Longest datagram that is passed on; QUIC's are no longer than an Ethernet's frame.
const LONGEST: usize = 1600;
/// Bytes before the datagram in a message.
const HEAD: usize = 1 + 1 + ADDRESS + 1 + 16;
/// IP address (of IPv4 as one of IPv6), port, scope.
const ADDRESS: usize = 16 + 2 + 4;
/// The first byte of a message.
const FORMAT: u8 = 1;
/// Bytes of the longest message.
pub(super) const MESSAGE: usize = HEAD + LONGEST;

/// What all IDs of an endpoint's connections have in common. Nobody sees it in them who does not know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(pub u64);

impl Mark {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no randomness.
    fn fresh() -> io::Result<Self> {
        let mut bytes = [0; 8];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self(u64::from_le_bytes(bytes)))
    }

    /// An ID that bears it.
    pub(super) fn id(self, nonce: [u8; NONCE]) -> [u8; ID] {
        let [a, b, c] = nonce;
        let [d, e, f, g, h] = self.seal(nonce);
        [a, b, c, d, e, f, g, h]
    }

    /// Whether an ID bears it; one that does not is taken for such once in 2^40 times.
    fn is_on(self, id: &[u8]) -> bool {
        id.split_first_chunk().is_some_and(|(nonce, seal)| self.seal(*nonce) == seal)
    }

    /// The last step of SplitMix64.
    fn seal(self, [a, b, c]: [u8; NONCE]) -> [u8; ID - NONCE] {
        let nonce = u64::from(u32::from_be_bytes([0, a, b, c]));
        let mut mixed = self.0 ^ nonce.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        let [a, b, c, d, e, ..] = (mixed ^ mixed >> 31).to_be_bytes();
        [a, b, c, d, e]
    }
}

/// The way to an endpoint.
#[derive(Debug)]
struct Way {
    mark: Mark,
    inbox: UnixDatagram,
    /// Nobody empties the inbox any more.
    is_gone: AtomicBool,
}

/// The same, to be handed on to another process.
#[derive(Debug)]
pub struct Handed {
    /// Of the endpoint.
    pub mark: Mark,
    /// Where datagrams for it are put.
    pub inbox: OwnedFd,
}

impl Way {
    /// Puts a datagram into the inbox. One that is full loses it, as a network does. `false` = nobody empties it.
    fn send(&self, meta: &RecvMeta, datagram: &[u8]) -> bool {
        let mut message = [0; MESSAGE];
        let Some(message) = write(&mut message, meta, datagram) else { return true };
        self.put(message)
    }

    fn put(&self, message: &[u8]) -> bool {
        let is_gone = match self.inbox.send(message) {
            Ok(_) => false,
            Err(error) => !matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::OutOfMemory
            ),
        };
        if is_gone {
            self.is_gone.store(true, Relaxed);
        }
        !is_gone
    }
}

/// The endpoints of one address: those of this process, by their seats, and those of the processes before it.
///
/// A seat below the number of sockets reads the socket of that number. The others' newcomers are read by it too:
/// seat `n` shares with `n` + sockets, and so on.
#[derive(Debug)]
pub struct Ways {
    seats: Vec<Way>,
    sockets: usize,
    elders: Vec<Way>,
    /// By seat: it has no connections, and will have none.
    settled: Vec<AtomicBool>,
}

/// What an endpoint is made on.
#[derive(Debug)]
pub struct Stand {
    pub(super) socket: UdpSocket,
    pub(super) inbox: UnixDatagram,
    pub(super) ways: Arc<Ways>,
    pub(super) seat: usize,
}

impl Stand {
    /// The address that clients ask for.
    ///
    /// # Errors
    /// Those of the system.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

impl Ways {
    /// `seats` endpoints on these sockets (at least one), and each socket read by one; `elders` are those of processes
    /// that are being replaced.
    ///
    /// # Errors
    /// When the system has no more descriptors, or no randomness.
    pub fn open(
        sockets: &[UdpSocket],
        seats: usize,
        elders: Vec<Handed>,
    ) -> io::Result<(Arc<Self>, Vec<Stand>)> {
        let count = seats.max(sockets.len());
        let (mut seats, mut inboxes) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (ours, theirs) = UnixDatagram::pair()?;
            ours.set_nonblocking(true)?;
            theirs.set_nonblocking(true)?;
            // As far as the system allows: what comes while its reader serves others is not lost.
            let _ = socket2::SockRef::from(&ours).set_send_buffer_size(INBOX);
            seats.push(Way { mark: Mark::fresh()?, inbox: ours, is_gone: AtomicBool::new(false) });
            inboxes.push(theirs);
        }
        let elders = elders.into_iter().map(|elder| {
            let (inbox, is_gone) = (UnixDatagram::from(elder.inbox), AtomicBool::new(false));
            Way { mark: elder.mark, inbox, is_gone }
        });
        let settled = (0..count).map(|_| AtomicBool::new(true)).collect();
        let ways = Arc::new(Self { seats, sockets: sockets.len(), elders: elders.collect(), settled });
        let stands = inboxes.into_iter().zip(sockets.iter().cycle()).enumerate();
        let stands: io::Result<Vec<_>> = stands
            .map(|(seat, (inbox, socket))| {
                Ok(Stand { socket: socket.try_clone()?, inbox, ways: ways.clone(), seat })
            })
            .collect();
        Ok((ways, stands?))
    }

    /// The ways to all endpoints that live, for a process that replaces this one.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn hand_on(&self) -> io::Result<Vec<Handed>> {
        // A message without a byte tells nobody anything, and arrives only where somebody is.
        let elders = self.elders.iter().filter(|elder| elder.put(&[]));
        let all = self.seats.iter().chain(elders);
        all.map(|way| Ok(Handed { mark: way.mark, inbox: way.inbox.try_clone()?.into() })).collect()
    }

    pub(super) fn mark(&self, seat: usize) -> Mark {
        self.seats.get(seat).map_or(Mark(0), |way| way.mark)
    }

    /// Whether this seat reads a socket.
    pub(super) const fn reads(&self, seat: usize) -> bool {
        seat < self.sockets
    }

    /// Whether there is any other endpoint.
    pub(super) fn has_others(&self) -> bool {
        self.seats.len() > 1 || self.elders.iter().any(|elder| !elder.is_gone.load(Relaxed))
    }

    /// Whether the connections of this seat have all ended, so that it reads for others alone.
    pub(super) fn settle(&self, seat: usize, is_settled: bool) {
        if let Some(settled) = self.settled.get(seat) {
            settled.store(is_settled, Relaxed);
        }
    }

    /// Whether nobody needs what is read.
    pub(super) fn are_settled(&self) -> bool {
        self.settled.iter().all(|settled| settled.load(Relaxed))
    }

    /// Passes a datagram on that `seat` has read, if it is another's.
    pub(super) fn pass_on(&self, seat: usize, meta: &RecvMeta, datagram: &[u8]) -> bool {
        let others = || self.seats.iter().chain(&self.elders);
        if let Some(id) = destination(datagram) {
            if self.mark(seat).is_on(id) {
                return false;
            }
            if let Some(way) = others().find(|way| way.mark.is_on(id)) {
                return !way.is_gone.load(Relaxed) && way.send(meta, datagram);
            }
        }
        // A newcomer, who has chosen the ID by itself.
        let sharing = self.seats.iter().skip(seat).step_by(self.sockets.max(1));
        let count = sharing.clone().count() as u64;
        let turn = if count > 1 { hash(meta.addr) % count } else { 0 };
        let turn = usize::try_from(turn).unwrap_or(0);
        turn > 0 && sharing.clone().nth(turn).is_some_and(|way| way.send(meta, datagram))
    }
}

/// Bytes of datagrams that the system is asked to hold for an endpoint.
const INBOX: usize = 2 << 20;

/// The same for the same address.
fn hash(address: SocketAddr) -> u64 {
    let mut hasher = DefaultHasher::new();
    address.hash(&mut hasher);
    hasher.finish()
}

/// The ID of the connection that a datagram is for [RFC 8999 5].
fn destination(datagram: &[u8]) -> Option<&[u8]> {
    let (first, rest) = datagram.split_first()?;
    if first & 0x80 == 0 {
        return rest.get(..ID);
    }
    // Behind the version.
    let (length, rest) = rest.get(4..)?.split_first()?;
    if usize::from(*length) == ID { rest.get(..ID) } else { None }
}

/// A datagram as a message; `None` if it is too long.
fn write<'a>(message: &'a mut [u8; MESSAGE], meta: &RecvMeta, datagram: &[u8]) -> Option<&'a [u8]> {
    let wide = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    };
    let scope = if let SocketAddr::V6(address) = meta.addr { address.scope_id() } else { 0 };
    let head = [
        &[FORMAT, meta.ecn.map_or(0, |ecn| ecn as u8)][..],
        &wide(meta.addr.ip()),
        &meta.addr.port().to_be_bytes(),
        &scope.to_be_bytes(),
        &[u8::from(meta.addr.is_ipv4()) | u8::from(meta.dst_ip.is_some()) << 1 | family(meta.dst_ip) << 2],
        &meta.dst_ip.map_or([0; 16], wide),
    ];
    let mut at = 0;
    for part in head.into_iter().chain([datagram]) {
        message.get_mut(at..at + part.len())?.copy_from_slice(part);
        at += part.len();
    }
    message.get(..at)
}

fn family(ip: Option<IpAddr>) -> u8 {
    u8::from(ip.is_some_and(|ip| ip.is_ipv4()))
}

/// What a message says, and the datagram; `None` if it is none of this format.
pub(super) fn read(message: &[u8]) -> Option<(RecvMeta, &[u8])> {
    let (head, datagram) = message.split_first_chunk::<HEAD>()?;
    let ([format, ecn], rest) = head.split_first_chunk()?;
    let (ip, rest) = rest.split_first_chunk::<16>()?;
    let (port, rest) = rest.split_first_chunk()?;
    let (scope, rest) = rest.split_first_chunk()?;
    let ([flags], local) = rest.split_first_chunk()?;
    let (local, _) = local.split_first_chunk::<16>()?;
    if *format != FORMAT {
        return None;
    }
    let narrow = |ip: [u8; 16], is_v4: bool| match Ipv6Addr::from(ip).to_ipv4_mapped() {
        Some(ip) if is_v4 => IpAddr::V4(ip),
        _ => IpAddr::V6(ip.into()),
    };
    let port = u16::from_be_bytes(*port);
    let addr = match narrow(*ip, flags & 1 != 0) {
        IpAddr::V4(ip) => SocketAddr::from((ip, port)),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, port, 0, u32::from_be_bytes(*scope)).into(),
    };
    let meta = RecvMeta {
        addr,
        len: datagram.len(),
        stride: datagram.len(),
        ecn: EcnCodepoint::from_bits(*ecn),
        dst_ip: (flags & 2 != 0).then(|| narrow(*local, flags & 4 != 0)),
    };
    Some((meta, datagram))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sockets(count: usize) -> Vec<UdpSocket> {
        (0..count).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect()
    }

    fn from(address: &str) -> RecvMeta {
        RecvMeta { addr: address.parse().unwrap(), ..RecvMeta::default() }
    }

    /// With a short header.
    fn datagram(id: &[u8]) -> Vec<u8> {
        [&[0x40], id, b"rest"].concat()
    }

    /// The datagrams that wait in a seat's inbox.
    fn waiting(stand: &Stand) -> Vec<Vec<u8>> {
        let mut message = [0; MESSAGE];
        let next = || stand.inbox.recv(&mut message).ok().map(|length| message[..length].to_vec());
        std::iter::from_fn(next).map(|message| read(&message).unwrap().1.to_vec()).collect()
    }

    #[test]
    fn a_message_says_all_that_was_known_of_the_datagram() {
        for (address, local, ecn) in [
            ("10.0.0.1:443", Some("10.0.0.2"), Some(EcnCodepoint::Ce)),
            ("[fe80::1%3]:65535", Some("2001:db8::1"), None),
            ("[::ffff:10.0.0.1]:1", Some("::ffff:10.0.0.2"), Some(EcnCodepoint::Ect0)),
            ("[::1]:1", None, None),
        ] {
            let mut meta = from(address);
            (meta.dst_ip, meta.ecn) = (local.map(|ip| ip.parse().unwrap()), ecn);
            let mut buffer = [0; MESSAGE];
            let message = write(&mut buffer, &meta, b"datagram").unwrap();
            let (read, datagram) = read(message).unwrap();
            assert_eq!((read.addr, read.dst_ip, read.ecn), (meta.addr, meta.dst_ip, ecn));
            assert_eq!((datagram, read.len, read.stride), (&b"datagram"[..], 8, 8));
        }
        let mut buffer = [0; MESSAGE];
        assert!(write(&mut buffer, &from("1.1.1.1:1"), &[0; LONGEST]).is_some());
        assert!(write(&mut buffer, &from("1.1.1.1:1"), &[0; LONGEST + 1]).is_none());
        assert!(read(b"").is_none() && read(&[FORMAT + 1; 100]).is_none());
    }

    #[test]
    fn the_ids_of_a_mark_are_the_same_in_every_version() {
        let mark = Mark(0x0123_4567_89ab_cdef);
        assert_eq!(mark.id([1, 2, 3]), [1, 2, 3, 104, 108, 137, 157, 192]);
        assert!(mark.is_on(&mark.id([9, 9, 9])) && !Mark(1).is_on(&mark.id([9, 9, 9])));
        assert!(!mark.is_on(&[]) && !mark.is_on(&[1, 2, 3]));
    }

    #[test]
    fn a_datagram_goes_to_the_endpoint_whose_mark_its_id_bears_whoever_reads_it() {
        let (old, of_old) = Ways::open(&sockets(2), 2, Vec::new()).unwrap();
        let (new, of_new) = Ways::open(&sockets(2), 2, old.hand_on().unwrap()).unwrap();
        let meta = from("10.0.0.1:1");
        let to = |ways: &Ways, seat| datagram(&ways.mark(seat).id([7, 7, 7]));
        assert!(!new.pass_on(0, &meta, &to(&new, 0)), "its own");
        assert!(new.pass_on(0, &meta, &to(&new, 1)) && new.pass_on(0, &meta, &to(&old, 1)));
        assert!(!new.pass_on(0, &meta, &datagram(b"stranger")));
        let long = [&[0xc0, 0, 0, 0, 1, 8][..], &old.mark(0).id([1, 1, 1]), b"rest"].concat();
        assert!(new.pass_on(1, &meta, &long));
        assert_eq!(waiting(&of_new[1]), [to(&new, 1)]);
        assert_eq!((waiting(&of_old[0]), waiting(&of_old[1])), (vec![long.clone()], vec![to(&old, 1)]));
        assert_eq!(new.hand_on().unwrap().len(), 4, "also the way to those before");
        drop(of_old);
        assert!(!new.pass_on(0, &meta, &to(&old, 1)), "nobody is there any more");
        assert!(!new.pass_on(0, &meta, &long) && !new.elders.iter().any(|one| !one.is_gone.load(Relaxed)));
        assert_eq!(new.hand_on().unwrap().len(), 2);
    }

    #[test]
    fn newcomers_of_a_socket_are_dealt_out_to_those_who_have_none_by_their_address() {
        let (ways, stands) = Ways::open(&sockets(2), 5, Vec::new()).unwrap();
        assert_eq!([0, 1, 2, 3, 4].map(|seat| ways.reads(seat)), [true, true, false, false, false]);
        for port in 1..=300 {
            let meta = from(&format!("10.0.0.1:{port}"));
            let is_passed = ways.pass_on(0, &meta, &datagram(&[0; ID]));
            assert_eq!(ways.pass_on(0, &meta, &datagram(&[1; ID])), is_passed, "the same again");
        }
        let came = stands.iter().map(|stand| waiting(stand).len()).collect::<Vec<_>>();
        assert!(came[0] == 0 && came[1] == 0 && came[3] == 0, "{came:?}");
        assert!(came[2] > 100 && came[4] > 100, "{came:?}");
    }

    #[test]
    fn what_is_no_datagram_of_quic_is_nobody_elses() {
        let (ways, _stands) = Ways::open(&sockets(1), 1, Vec::new()).unwrap();
        for bytes in [&b""[..], &[0x40], &[0xc0, 0, 0, 0, 1, 20], &[0xff; 7]] {
            assert!(!ways.pass_on(0, &from("1.1.1.1:1"), bytes));
        }
    }
}
