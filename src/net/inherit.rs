//! Listening sockets that another process opened: the one that this one replaces, or systemd.
//!
//! Between two of our processes a frame goes over a Unix socket: its length and the number of sockets, four bytes each
//! in network order; its bytes; then the sockets, at most [`AT_ONCE`] with each further byte. A socket that arrives
//! is the very same as the sender's: connections that wait in its queue lose nothing by the change.

use std::io::{self, IoSlice, IoSliceMut, Read as _, Write as _};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use listenfd::ListenFd;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use socket2::SockRef;

use super::listen::{BACKLOG, hand_on, make_room};

/// Longest frame: 256 MiB, the health of some 500,000 members.
pub const LONGEST_FRAME: u32 = 256 << 20;

/// Most sockets of a frame.
pub const MOST_SOCKETS: u32 = 65_536;

/// Sockets that go with one byte. Linux takes up to 253.
pub const AT_ONCE: usize = 64;

const SPACE: usize = rustix::cmsg_space!(ScmRights(AT_ONCE));

/// One end of the way between an old process and its successor. Blocking.
#[derive(Debug)]
pub struct Channel(UnixStream);

impl Channel {
    /// Both ends; the second one is for the successor's standard input.
    ///
    /// # Errors
    /// When the system has no more descriptors.
    pub fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = UnixStream::pair()?;
        Ok((Self(ours), theirs.into()))
    }

    /// The end that is this process's standard input.
    ///
    /// # Errors
    /// When standard input is closed.
    pub fn of_standard_input() -> io::Result<Self> {
        Ok(Self(io::stdin().as_fd().try_clone_to_owned()?.into()))
    }

    /// How long [`Self::send`] and [`Self::receive`] wait for the other side's next step; `None` = as long as it lives.
    ///
    /// # Errors
    /// When the limit is zero.
    pub fn limit(&self, limit: Option<Duration>) -> io::Result<()> {
        self.0.set_read_timeout(limit)?;
        self.0.set_write_timeout(limit)
    }

    /// Sends a frame and sockets, which stay open here.
    ///
    /// # Errors
    /// When the other side is gone or takes nothing in, or there is too much to send.
    pub fn send(&self, frame: &[u8], sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let too_much = || io::Error::other("too much to hand over");
        let length = u32::try_from(frame.len()).ok().filter(|n| *n <= LONGEST_FRAME).ok_or_else(too_much)?;
        let count = u32::try_from(sockets.len()).ok().filter(|n| *n <= MOST_SOCKETS).ok_or_else(too_much)?;
        let mut stream = &self.0;
        stream.write_all(&length.to_be_bytes())?;
        stream.write_all(&count.to_be_bytes())?;
        stream.write_all(frame)?;
        sockets.chunks(AT_ONCE).try_for_each(|chunk| self.send_chunk(chunk))
    }

    fn send_chunk(&self, sockets: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(sockets)) {
            return Err(io::Error::other("no space for the sockets"));
        }
        rustix::net::sendmsg(&self.0, &[IoSlice::new(&[0])], &mut control, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// Waits for a frame.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other side is gone; when it says nothing for too long, or something else than a frame.
    pub fn receive(&self) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
        let (length, count) = (self.number(LONGEST_FRAME)?, self.number(MOST_SOCKETS)? as usize);
        let mut frame = Vec::new();
        (&self.0).take(u64::from(length)).read_to_end(&mut frame)?;
        if frame.len() != length as usize {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut sockets = Vec::new();
        while sockets.len() < count {
            self.receive_chunk(&mut sockets)?;
        }
        Ok((frame, sockets))
    }

    fn number(&self, most: u32) -> io::Result<u32> {
        let mut bytes = [0; 4];
        (&self.0).read_exact(&mut bytes)?;
        let number = u32::from_be_bytes(bytes);
        if number > most {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no handover"));
        }
        Ok(number)
    }

    fn receive_chunk(&self, sockets: &mut Vec<OwnedFd>) -> io::Result<()> {
        let mut space = [MaybeUninit::uninit(); SPACE];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let message = rustix::net::recvmsg(&self.0, &mut [IoSliceMut::new(&mut byte)], &mut control, flags)?;
        let before = sockets.len();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                sockets.extend(received);
            }
        }
        match (message.bytes, sockets.len() - before) {
            (0, _) => Err(io::ErrorKind::UnexpectedEof.into()),
            // Without descriptors of our own to put them in, the kernel drops them.
            (_, 0) => Err(io::Error::other("sockets were lost on their way: too few file descriptors")),
            _ => Ok(()),
        }
    }
}

/// Sockets of one front that are there already: listeners, or sockets for datagrams.
#[derive(Debug)]
pub struct Inherited<S> {
    /// Name of the forwarding rule, where it is known.
    pub name: Option<String>,
    /// The rule's address: as configured for a predecessor's sockets, as bound for systemd's.
    pub address: SocketAddr,
    /// At least one.
    pub sockets: Vec<S>,
}

/// What systemd hands over.
#[derive(Debug, Default)]
pub struct Activated {
    /// Listening sockets.
    pub listeners: Vec<Inherited<TcpListener>>,
    /// Sockets for HTTP/3; several of one name and address are together.
    pub datagrams: Vec<Inherited<UdpSocket>>,
}

/// What systemd hands over: `LISTEN_FDS` with `LISTEN_FDNAMES`. Call it once, before there are threads: it takes the
/// variables out of the environment. What is no listening TCP socket and no socket of UDP is an error.
///
/// # Errors
/// When a descriptor is neither.
pub fn from_systemd() -> io::Result<Activated> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut handed = ListenFd::from_env();
    let mut activated = Activated::default();
    for index in 0..handed.len() {
        let name = names.next().filter(|name| !name.is_empty()).map(str::to_owned);
        // What is another kind of socket stays where it is.
        match handed.take_udp_socket(index) {
            Ok(Some(socket)) => activated.add_datagrams(name, socket)?,
            Ok(None) => {}
            Err(_) => {
                let Some(socket) = handed.take_tcp_listener(index)? else { continue };
                let reference = SockRef::from(&socket);
                reference.set_nonblocking(true)?;
                hand_on(&reference)?;
                reference.listen(BACKLOG)?;
                let address = socket.local_addr()?;
                activated.listeners.push(Inherited { name, address, sockets: vec![socket] });
            }
        }
    }
    Ok(activated)
}

impl Activated {
    fn add_datagrams(&mut self, name: Option<String>, socket: UdpSocket) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        make_room(&SockRef::from(&socket));
        let address = socket.local_addr()?;
        match self.datagrams.iter_mut().find(|one| one.name == name && one.address == address) {
            Some(one) => one.sockets.push(socket),
            None => self.datagrams.push(Inherited { name, address, sockets: vec![socket] }),
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::net::listen::{Beside, bind};

    fn pair() -> (Channel, Channel) {
        let (ours, theirs) = Channel::pair().unwrap();
        (ours, Channel(theirs.into()))
    }

    #[test]
    fn a_frame_and_hundreds_of_sockets_arrive_and_are_the_same_sockets() {
        let (old, new) = pair();
        let mine = bind("127.0.0.1:0".parse().unwrap(), 150, Beside::Nobody).unwrap();
        let address = mine[0].local_addr().unwrap();
        let waiting: Vec<_> = (0..50).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let sender = std::thread::spawn(move || {
            let handles: Vec<_> = mine.iter().map(std::os::fd::AsFd::as_fd).collect();
            old.send(b"letter", &handles).unwrap();
            old.send(b"", &[]).unwrap();
        });
        let (frame, sockets) = new.receive().unwrap();
        assert_eq!((&*frame, sockets.len()), (&b"letter"[..], 150));
        assert_eq!(new.receive().unwrap().0, b"");
        sender.join().unwrap();
        // The sender's are closed by now; what waited in their queues is here.
        let sockets: Vec<TcpListener> = sockets.into_iter().map(TcpListener::from).collect();
        let accepted = sockets.iter().map(|socket| std::iter::from_fn(|| socket.accept().ok()).count());
        assert_eq!(accepted.sum::<usize>(), waiting.len());
    }

    #[test]
    fn an_end_that_is_gone_and_a_stranger_are_errors() {
        let (old, new) = pair();
        drop(old);
        assert_eq!(new.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (old, new) = pair();
        (&old.0).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        assert_eq!(new.receive().unwrap_err().kind(), io::ErrorKind::InvalidData);
        let (old, new) = pair();
        (&old.0).write_all(&[0, 0, 0, 9, 0, 0, 0, 0, b'x']).unwrap();
        drop(old);
        assert_eq!(new.receive().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
