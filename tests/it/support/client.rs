//! A client that writes bytes as told and reads answers to the letter.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use super::PATIENCE;

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    host: &'static str,
}

/// A whole answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Statuses of interim answers before it.
    pub(crate) interim: Vec<u16>,
}

impl Answer {
    /// Value of the first header of this name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| &**v)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Who answered.
    pub(crate) fn backend(&self) -> &str {
        self.header("x-backend").unwrap_or("")
    }
}

/// How an answer ended early.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Before its first byte.
    Before,
    /// In the head.
    InHead,
    /// In the body, after so many bytes of it.
    InBody(usize),
}

impl Client {
    #[track_caller]
    pub(crate) fn to(address: SocketAddr) -> Self {
        Self::on(TcpStream::connect(address).unwrap())
    }

    /// From this address of this machine.
    #[track_caller]
    pub(crate) fn from(address: SocketAddr, own: [u8; 4]) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((own, 0)).into()).unwrap();
        socket.connect(&address.into()).unwrap();
        Self::on(socket.into())
    }

    #[track_caller]
    fn on(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: Vec::new(), host: "test" }
    }

    /// Of the admin server, which answers to few names.
    pub(crate) fn to_admin(address: SocketAddr) -> Self {
        Self { host: "localhost", ..Self::to(address) }
    }

    /// Writes; a peer that has gone is no failure of the test, its answer tells.
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        let _ = self.stream.write_all(bytes.as_ref());
        self
    }

    /// Says that nothing more will come.
    pub(crate) fn finish(&mut self) -> &mut Self {
        let _ = self.stream.shutdown(Shutdown::Write);
        self
    }

    /// Ends with a reset instead of a FIN.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(std::time::Duration::ZERO)).unwrap();
    }

    /// A second handle on the same connection, to write from another thread.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    #[track_caller]
    pub(crate) fn get(&mut self, path: &str) -> Answer {
        self.request("GET", path, "", b"")
    }

    /// A request with these header lines (each ended by CRLF) and body, and its answer.
    #[track_caller]
    pub(crate) fn request(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length =
            if body.is_empty() { String::new() } else { format!("content-length: {}\r\n", body.len()) };
        self.send(format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n{headers}{length}\r\n", self.host));
        self.send(body);
        self.answer_to(method)
    }

    #[track_caller]
    pub(crate) fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    #[track_caller]
    pub(crate) fn answer_to(&mut self, method: &str) -> Answer {
        match self.try_answer(method) {
            Ok(answer) => answer,
            Err(cut) => panic!("no whole answer: {cut:?}, held: {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    /// The next final answer.
    #[track_caller]
    pub(crate) fn try_answer(&mut self, method: &str) -> Result<Answer, Cut> {
        let mut interim = Vec::new();
        loop {
            let mut answer = self.head()?;
            if answer.status < 200 && answer.status != 101 {
                interim.push(answer.status);
                continue;
            }
            answer.interim = interim;
            if method != "HEAD" && !matches!(answer.status, 101 | 204 | 304) {
                self.body(&mut answer)?;
            }
            return Ok(answer);
        }
    }

    /// The head of the next answer, whose body is still to come.
    #[track_caller]
    pub(crate) fn begun(&mut self) -> Answer {
        self.head().unwrap_or_else(|cut| panic!("no answer: {cut:?}"))
    }

    /// One that was begun, with its body.
    #[track_caller]
    pub(crate) fn ended(&mut self, mut answer: Answer) -> Answer {
        self.body(&mut answer).unwrap_or_else(|cut| panic!("no whole answer: {cut:?}"));
        answer
    }

    fn head(&mut self) -> Result<Answer, Cut> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            if !self.fill() {
                return Err(if self.buffer.is_empty() { Cut::Before } else { Cut::InHead });
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or("");
        let status = first.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.unwrap_or_else(|| panic!("no status line: {first:?}"));
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line:?}"));
            (name.to_owned(), value.trim().to_owned())
        });
        Ok(Answer { status, headers: headers.collect(), ..Answer::default() })
    }

    fn body(&mut self, answer: &mut Answer) -> Result<(), Cut> {
        let is_chunked =
            answer.header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked"));
        let length: Option<usize> = answer.header("content-length").map(|v| v.parse().expect("a length"));
        assert!(!(is_chunked && length.is_some()), "an answer with two framings");
        let got = &mut answer.body;
        if is_chunked {
            return self.chunks(got);
        }
        while length.is_none_or(|length| got.len() < length) {
            if self.buffer.is_empty() && !self.fill() {
                return if length.is_none() { Ok(()) } else { Err(Cut::InBody(got.len())) };
            }
            let take = length.map_or(usize::MAX, |l| l - got.len()).min(self.buffer.len());
            got.extend(self.buffer.drain(..take));
        }
        Ok(())
    }

    fn chunks(&mut self, got: &mut Vec<u8>) -> Result<(), Cut> {
        loop {
            let line = self.line().ok_or(Cut::InBody(got.len()))?;
            let size =
                usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16).expect("a size");
            if size == 0 {
                while !self.line().ok_or(Cut::InBody(got.len()))?.is_empty() {}
                return Ok(());
            }
            while self.buffer.len() < size + 2 {
                if !self.fill() {
                    return Err(Cut::InBody(got.len() + self.buffer.len().min(size)));
                }
            }
            got.extend(self.buffer.drain(..size));
            assert_eq!(self.buffer.drain(..2).collect::<Vec<_>>(), b"\r\n");
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
                self.buffer.drain(..end + 2);
                return Some(line);
            }
            if !self.fill() {
                return None;
            }
        }
    }

    /// Exactly so many bytes, as they come.
    #[track_caller]
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        while self.buffer.len() < count {
            assert!(self.fill(), "ended after {} of {count} bytes", self.buffer.len());
        }
        self.buffer.drain(..count).collect()
    }

    /// The next byte; `None` at the end.
    #[track_caller]
    pub(crate) fn next(&mut self) -> Option<u8> {
        while self.buffer.is_empty() {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.remove(0))
    }

    /// The same; `None` when the connection ends before.
    #[track_caller]
    pub(crate) fn try_bytes(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill() {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// All that comes until the connection ends, by FIN or reset.
    #[track_caller]
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.fill() {}
        std::mem::take(&mut self.buffer)
    }

    /// Asserts that the connection ends with nothing more.
    #[track_caller]
    pub(crate) fn assert_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "more than expected: {:?}", String::from_utf8_lossy(&rest));
    }

    /// False at the end.
    #[track_caller]
    fn fill(&mut self) -> bool {
        let mut bytes = [0; 64 * 1024];
        match self.stream.read(&mut bytes) {
            Ok(0) => false,
            Ok(read) => {
                self.buffer.extend_from_slice(&bytes[..read]);
                true
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("nothing came for {PATIENCE:?}; held: {:?}", String::from_utf8_lossy(&self.buffer))
            }
            Err(_) => false,
        }
    }
}
