//! One GET of HTTP/1.1 over a connection of its own [G 4.8], for probes and for polled load reports; and what exchanges of
//! all kinds have in common: how they connect, and their time.
//!
//! The other side may be anything: it may never answer, trickle, send garbage or send without end. What is read is
//! limited here; how long, by [`within`]. Failures are words for people: nothing decides by them.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::Relaxed};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;

use crate::model::unit::Span;
use crate::net::connect::{ConnectError, Stream, open, secure};
use crate::net::tls::HTTP2;

/// The user agent of probes [G 4.9].
pub(super) const USER_AGENT: &str = "GoogleHC/1.0";

/// Largest head of an answer, in bytes; a larger one is a failure.
pub(super) const HEAD_LIMIT: usize = 16 * 1024;

/// What PROXY_V1 sends before anything else, TLS included [G 4.6].
const PROXY_LINE: &[u8] = b"PROXY UNKNOWN\r\n";

/// The other side speaks TLS, and not HTTP/2 over it.
const NO_HTTP2: &str = "no ALPN h2";

/// What to ask.
#[derive(Debug)]
pub(super) struct Get<'a> {
    /// Whom.
    pub(super) target: SocketAddr,
    /// Over TLS.
    pub(super) tls: Option<&'a Arc<ClientConfig>>,
    /// PROXY line first [G 4.6].
    pub(super) sends_proxy_header: bool,
    /// `Host`; `None` = the target's IP address [G 4b].
    pub(super) host: Option<&'a str>,
    /// Path, with query if any.
    pub(super) path: &'a str,
    /// Read at most so much of a 200's body; 0 = none of it.
    pub(super) body_limit: usize,
    /// Read no further once the body contains this.
    pub(super) until: Option<&'a [u8]>,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// The beginning of the body, at most `body_limit` bytes; empty unless the status is 200.
    pub(super) body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) struct Failure {
    /// The time ran out.
    pub(super) timed_out: bool,
    /// In words.
    pub(super) reason: String,
}

/// How far an exchange has come; tells what to say when the time runs out.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stage: AtomicU8,
    /// It cannot go on for want of something here.
    is_ours: AtomicBool,
}

/// A stage of an exchange after the first, which is to connect.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(super) enum Stage {
    Handshake = 1,
    Waiting = 2,
    Reading = 3,
}

impl Progress {
    pub(super) fn reach(&self, stage: Stage) {
        self.stage.store(stage as u8, Relaxed);
    }

    /// Whether it failed for want of something here, which says nothing about the other side.
    pub(super) fn is_ours(&self) -> bool {
        self.is_ours.load(Relaxed)
    }

    /// What went wrong, in words.
    fn fail(&self, error: &ConnectError) -> String {
        if matches!(error, ConnectError::Exhausted(_)) {
            self.is_ours.store(true, Relaxed);
        }
        error.to_string()
    }

    fn what_is_missing(&self) -> &'static str {
        match self.stage.load(Relaxed) {
            0 => "no connection",
            1 => "no TLS handshake",
            2 => "no answer",
            _ => "no complete answer",
        }
    }
}

/// Gives `work` this long.
pub(super) async fn within<T>(
    limit: Span,
    progress: &Progress,
    work: impl Future<Output = Result<T, String>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(limit.to_std(), work).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(reason)) => Err(Failure { timed_out: false, reason }),
        Err(_) => {
            let reason = format!("{} within {} s", progress.what_is_missing(), limit.as_secs());
            Err(Failure { timed_out: true, reason })
        }
    }
}

/// Connects, sends the PROXY line where wanted, and secures the connection where `tls` is given. Where that asks for
/// HTTP/2, the other side must have agreed.
pub(super) async fn reach(
    target: SocketAddr,
    sends_proxy_header: bool,
    tls: Option<&Arc<ClientConfig>>,
    progress: &Progress,
) -> Result<Stream, String> {
    let mut stream = open(target).await.map_err(|e| progress.fail(&e))?;
    if sends_proxy_header {
        stream.write_all(PROXY_LINE).await.map_err(|e| io_words(&e))?;
    }
    let Some(config) = tls else { return Ok(Stream::Plain(stream)) };
    progress.reach(Stage::Handshake);
    let stream = match secure(stream, target, config).await {
        Err(ConnectError::NoProtocol) => return Err(NO_HTTP2.to_owned()),
        made => made.map_err(|e| progress.fail(&e))?,
    };
    if config.alpn_protocols.is_empty() || stream.protocol() == Some(HTTP2) {
        Ok(stream)
    } else {
        Err(NO_HTTP2.to_owned())
    }
}

/// Asks once and reads what is wanted of the answer. Follows no redirect [G 4.3].
pub(super) async fn get(ask: &Get<'_>, progress: &Progress) -> Result<Answer, String> {
    let request = ask.request()?;
    let stream = reach(ask.target, ask.sends_proxy_header, ask.tls, progress).await?;
    progress.reach(Stage::Waiting);
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_header_size(HEAD_LIMIT)
        .max_buf_size(2 * HEAD_LIMIT)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|e| words(&e))?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(|e| words(&e))?;
        progress.reach(Stage::Reading);
        ask.read(answer).await
    };
    // The connection only moves bytes; how it ends is seen by the exchange.
    let drive = async {
        let _ = connection.await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        answer = exchange => answer,
        never = drive => match never {},
    }
}

impl Get<'_> {
    fn request(&self) -> Result<Request<Empty<Bytes>>, String> {
        let host = self.host.map_or_else(|| host_of(self.target), str::to_owned);
        Request::get(self.path)
            .header(header::HOST, host)
            .header(header::USER_AGENT, USER_AGENT)
            .header(header::CONNECTION, "close")
            .body(Empty::new())
            .map_err(|e| format!("host or path cannot be sent: {e}"))
    }

    async fn read(&self, answer: Response<Incoming>) -> Result<Answer, String> {
        let status = answer.status();
        let mut body = Vec::new();
        if status != StatusCode::OK {
            return Ok(Answer { status, body });
        }
        let mut incoming = answer.into_body();
        while body.len() < self.body_limit && !self.is_found_in(&body) {
            let Some(frame) = incoming.frame().await else { break };
            if let Ok(data) = frame.map_err(|e| words(&e))?.into_data() {
                let room = self.body_limit - body.len();
                body.extend_from_slice(data.get(..room).unwrap_or(&data));
            }
        }
        Ok(Answer { status, body })
    }

    fn is_found_in(&self, body: &[u8]) -> bool {
        self.until.is_some_and(|wanted| memchr::memmem::find(body, wanted).is_some())
    }
}

/// The bare address, an IPv6 one in brackets, without the port [G 4b].
pub(super) fn host_of(target: SocketAddr) -> String {
    match target {
        SocketAddr::V4(v4) => v4.ip().to_string(),
        SocketAddr::V6(v6) => format!("[{}]", v6.ip()),
    }
}

fn words(error: &hyper::Error) -> String {
    if error.is_parse_too_large() {
        return format!("answer head larger than {} KiB", HEAD_LIMIT / 1024);
    }
    if error.is_parse() {
        return "answer is not HTTP/1.1".to_owned();
    }
    if error.is_incomplete_message() {
        return "connection closed before the answer was complete".to_owned();
    }
    let source = std::error::Error::source(error).and_then(|s| s.downcast_ref::<io::Error>());
    source.map_or_else(|| error.to_string(), io_words)
}

/// An I/O error after the connection stood, in words.
pub(super) fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset".to_owned(),
        io::ErrorKind::UnexpectedEof => "connection closed before the answer was complete".to_owned(),
        _ => error.to_string(),
    }
}
