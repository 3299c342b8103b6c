//! HTTP/2: a client that behaves, and one that writes frames by hand.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use rustls::ClientConfig;
use tokio_rustls::TlsConnector;

use super::PATIENCE;
use super::client::Client;

/// Runs a test's client; panics when it takes too long.
#[track_caller]
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    // A thread of its own drives the connection, whatever the test waits for.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, test).await.expect("in time") })
}

/// A connection with prior knowledge; its driver ends with the runtime.
pub(crate) async fn connect(address: SocketAddr) -> SendRequest<Bytes> {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (send, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    send.ready().await.unwrap()
}

/// The same over TLS, if the handshake is to the server's taste.
pub(crate) async fn connect_tls(
    address: SocketAddr,
    client: &Arc<ClientConfig>,
) -> io::Result<SendRequest<Bytes>> {
    let stream = tokio::net::TcpStream::connect(address).await?;
    let name = "web.example".try_into().unwrap();
    let stream = TlsConnector::from(client.clone()).connect(name, stream).await?;
    let (send, connection) = h2::client::handshake(stream).await.map_err(io::Error::other)?;
    tokio::spawn(connection);
    send.ready().await.map_err(io::Error::other)
}

/// A whole answer.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
}

impl Whole {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(format!("http://test{path}")).body(()).unwrap()
}

/// A request without body, and its answer.
pub(crate) async fn ask(send: &mut SendRequest<Bytes>, request: Request<()>) -> Result<Whole, h2::Error> {
    let (answer, _) = send.send_request(request, true)?;
    whole(answer.await?).await
}

/// All of an answer.
pub(crate) async fn whole(answer: Response<RecvStream>) -> Result<Whole, h2::Error> {
    let (head, mut stream) = answer.into_parts();
    let mut whole = Whole { status: head.status.as_u16(), headers: head.headers, ..Whole::default() };
    while let Some(data) = stream.data().await {
        let data = data?;
        stream.flow_control().release_capacity(data.len())?;
        whole.body.extend_from_slice(&data);
    }
    whole.trailers = stream.trailers().await?;
    Ok(whole)
}

/// Sends a body as the window allows.
pub(crate) async fn send_all(stream: &mut SendStream<Bytes>, mut body: Bytes, ends: bool) {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let some = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(some)) = some else { return };
        let part = body.split_to(some.min(body.len()));
        if stream.send_data(part, ends && body.is_empty()).is_err() {
            return;
        }
    }
}

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
/// Both END_STREAM and ACK.
pub(crate) const END: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A frame as bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    out.extend([kind, flags]);
    out.extend(stream.to_be_bytes());
    out.extend(payload);
    out
}

/// A list of headers, spelt out.
pub(crate) fn list(headers: &[(&str, &str)]) -> Vec<u8> {
    headers.iter().flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes())).collect()
}

/// One header, neither indexed nor packed.
pub(crate) fn literal(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    for text in [name, value] {
        number(&mut out, text.len());
        out.extend(text);
    }
    out
}

/// An integer with a prefix of seven bits.
fn number(out: &mut Vec<u8>, number: usize) {
    if number < 127 {
        return out.push(u8::try_from(number).unwrap());
    }
    out.push(127);
    let mut rest = number - 127;
    while rest >= 128 {
        out.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    out.push(u8::try_from(rest).unwrap());
}

/// A request's headers, all in order.
pub(crate) fn good(path: &str) -> Vec<u8> {
    list(&[(":method", "GET"), (":scheme", "http"), (":authority", "test"), (":path", path)])
}

/// A frame as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Came {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A client that writes frames by hand.
pub(crate) struct Raw(pub(crate) Client);

impl Raw {
    /// Connected, with the preface and empty settings said.
    #[track_caller]
    pub(crate) fn to(address: SocketAddr) -> Self {
        let mut client = Client::to(address);
        client.send(PREFACE).send(frame(SETTINGS, 0, 0, b""));
        Self(client)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.0.send(bytes);
        self
    }

    /// A request without body.
    pub(crate) fn get(&mut self, stream: u32, path: &str) -> &mut Self {
        self.send(frame(HEADERS, END | END_HEADERS, stream, &good(path)))
    }

    /// The next frame; `None` at the end of the connection.
    #[track_caller]
    pub(crate) fn frame(&mut self) -> Option<Came> {
        let head = self.0.try_bytes(9)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.0.try_bytes(length)?;
        Some(Came { kind: head[3], flags: head[4], stream, payload })
    }

    /// The first frame of this kind; `None` when the connection ends before.
    #[track_caller]
    pub(crate) fn until(&mut self, kind: u8) -> Option<Came> {
        loop {
            let came = self.frame()?;
            if came.kind == kind {
                return Some(came);
            }
        }
    }

    /// Reads to the end of the connection: the error code of the last GOAWAY, if there was one.
    #[track_caller]
    pub(crate) fn ended(&mut self) -> Option<u32> {
        let mut code = None;
        while let Some(came) = self.frame() {
            if came.kind == GOAWAY {
                code = Some(u32::from_be_bytes(came.payload[4..8].try_into().unwrap()));
            }
        }
        code
    }

    /// What became of a stream.
    #[track_caller]
    pub(crate) fn fate(&mut self, stream: u32) -> Fate {
        loop {
            let Some(came) = self.frame() else { return Fate::Closed };
            let code = |from: usize| u32::from_be_bytes(came.payload[from..from + 4].try_into().unwrap());
            match came.kind {
                GOAWAY if code(4) != 0 => return Fate::GoAway(code(4)),
                RST_STREAM if came.stream == stream => return Fate::Reset(code(0)),
                HEADERS if came.stream == stream => return Fate::Answered(status(&came.payload)),
                _ => {}
            }
        }
    }
}

/// What became of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered(u16),
    Reset(u32),
    GoAway(u32),
    Closed,
}

#[track_caller]
fn status(list: &[u8]) -> u16 {
    try_status(list).unwrap_or_else(|| panic!("no status: {list:?}"))
}

/// `:status` stands first, behind changes of the table, and h2 writes it by its index or as a value with an indexed name.
/// `None` for trailers and what came into the table by an earlier answer.
pub(crate) fn try_status(list: &[u8]) -> Option<u16> {
    Some(match list {
        [0x3f, rest @ ..] => {
            let more = rest.iter().take_while(|byte| *byte & 0x80 != 0).count();
            return try_status(rest.get(more + 1..)?);
        }
        [0x20..0x3f, rest @ ..] => return try_status(rest),
        [0x88, ..] => 200,
        [0x89, ..] => 204,
        [0x8a, ..] => 206,
        [0x8b, ..] => 304,
        [0x8c, ..] => 400,
        [0x8d, ..] => 404,
        [0x8e, ..] => 500,
        [0x48 | 0x08, length, digits @ ..] if length & 0x80 == 0 => {
            return std::str::from_utf8(digits.get(..usize::from(*length))?).ok()?.parse().ok();
        }
        // Packed digits: 0, 1 and 2 take five bits, the others six.
        [0x48 | 0x08, length, packed @ ..] => unpack(packed.get(..usize::from(length & 0x7f))?),
        _ => return None,
    })
}

fn unpack(packed: &[u8]) -> u16 {
    let bits: Vec<u8> = packed.iter().flat_map(|byte| (0..8).rev().map(move |n| byte >> n & 1)).collect();
    let (mut at, mut status) = (0, 0);
    for _ in 0..3 {
        let take =
            |count: usize| bits[at..at + count].iter().fold(0_u16, |all, bit| all << 1 | u16::from(*bit));
        let (five, six) = (take(5), if at + 6 <= bits.len() { take(6) } else { 0 });
        let (digit, length) = if five < 3 { (five, 5) } else { (six - 0x19 + 3, 6) };
        status = status * 10 + digit;
        at += length;
    }
    status
}
