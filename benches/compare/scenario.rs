//! The work: what is asked, by how many connections, and with what switched on.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::measure::{Program, Run};
use super::peers::Origin;
use super::process::{PATIENCE, TempDir};
use super::secure;

/// Length of the upload.
const UPLOAD: usize = 64 * 1024;
/// Sessions whose cookies the client brings in turn.
const SESSIONS: usize = 64;

/// One row of the table.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    connections: usize,
    work: Work,
    pub(crate) extras: Extras,
    pub(crate) channel: Channel,
}

/// How the client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Channel {
    /// HTTP/1.1 in clear.
    Clear,
    /// HTTP/1.1 over TLS 1.3.
    Tls,
    /// HTTP/2 over TLS 1.3, so many streams of a connection at a time.
    Http2 { streams: usize },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Small,
    Large,
    Upload,
    /// The small answer, with `Connection: close`.
    Close,
    /// The small answer with a load report, for a request with a cookie.
    Sessions,
}

/// What is switched on in the proxies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Extras {
    None,
    /// A line per request into a file.
    AccessLog,
    /// Sessions, health checks, load reports.
    Everything,
}

/// All, in the order of the table.
pub(crate) fn all() -> Vec<Scenario> {
    let over = |name, connections, work, channel| Scenario {
        name,
        connections,
        work,
        extras: Extras::None,
        channel,
    };
    let plain = |name, connections, work| over(name, connections, work, Channel::Clear);
    let with = |name, work, extras| Scenario { extras, ..plain(name, 64, work) };
    vec![
        plain("small, 64 connections", 64, Work::Small),
        plain("small, 1000 connections", 1000, Work::Small),
        plain("small, 1 connection", 1, Work::Small),
        with("small, everything on", Work::Sessions, Extras::Everything),
        with("small, access log", Work::Small, Extras::AccessLog),
        plain("100 KiB answer", 64, Work::Large),
        plain("64 KiB upload", 64, Work::Upload),
        plain("new connection per request", 64, Work::Close),
        over("TLS, 64 connections", 64, Work::Small, Channel::Tls),
        over("TLS, new connection per request", 64, Work::Close, Channel::Tls),
        over("HTTP/2 over TLS, 8 x 32 streams", 8, Work::Small, Channel::Http2 { streams: 32 }),
    ]
}

impl Scenario {
    pub(crate) fn is_large(&self) -> bool {
        self.work == Work::Large
    }

    pub(crate) fn has_bodies(&self) -> bool {
        matches!(self.work, Work::Large | Work::Upload)
    }

    pub(crate) fn is_secured(&self) -> bool {
        self.channel != Channel::Clear
    }

    /// What the client is.
    pub(crate) fn program(&self) -> Program {
        match self.channel {
            Channel::Clear | Channel::Tls => Program::Wrk,
            Channel::Http2 { streams } => Program::H2load { streams },
        }
    }

    /// Our own toy answers before it has read an upload.
    pub(crate) fn needs_nginx_origin(&self) -> bool {
        self.work == Work::Upload
    }

    fn path(&self) -> &'static str {
        match self.work {
            Work::Small | Work::Close => "/",
            Work::Large => "/large",
            Work::Upload => "/sink",
            Work::Sessions => "/report",
        }
    }

    /// Checks that a proxy gives the origin's own answer, and makes ready what wrk is told for it.
    pub(crate) fn prepare(
        &self,
        peer: &str,
        at: SocketAddr,
        origin: &Origin,
        dir: &TempDir,
    ) -> Result<Run, String> {
        let upload = vec![b'x'; if self.work == Work::Upload { UPLOAD } else { 0 }];
        let [behind, _] = origin.addresses(self);
        let right = Answer::fetch((behind, false), self.path(), &upload)?;
        let fetch = || Answer::fetch((at, self.is_secured()), self.path(), &upload);
        let (mut got, until) = (fetch()?, Instant::now() + PATIENCE);
        // A proxy that has just started may not have heard yet that the origin is healthy.
        while got.status == "503" && Instant::now() < until {
            sleep(Duration::from_millis(20));
            got = fetch()?;
        }
        if got.status != "200" || got.body != right.body || !got.headers.contains_key("via") {
            let (name, status, length) = (self.name, &got.status, got.body.len());
            return Err(format!(
                "{name}: {peer} answers {status} with {length} bytes and not as the origin does"
            ));
        }
        let script = match self.work {
            Work::Upload => Some(dir.write("upload.lua", upload_script())?),
            Work::Sessions => Some(self.sessions_script(peer, at, dir)?),
            _ => None,
        };
        let headers =
            if self.work == Work::Close { vec!["Connection: close".to_owned()] } else { Vec::new() };
        Ok(Run {
            program: self.program(),
            connections: self.connections,
            scheme: if self.is_secured() { "https" } else { "http" },
            path: self.path(),
            headers,
            script,
        })
    }

    /// Cookies that this proxy has given out, one in each request in turn; of our making where it gives none.
    fn sessions_script(&self, peer: &str, at: SocketAddr, dir: &TempDir) -> Result<PathBuf, String> {
        let mut script = String::from("local requests = {}\nfunction init(args)\n");
        for number in 0..SESSIONS {
            let mut answer = Answer::fetch((at, self.is_secured()), self.path(), &[])?;
            let given = answer.headers.remove("set-cookie");
            let cookie = given.as_deref().and_then(|cookie| cookie.split(';').next());
            let cookie = cookie.map_or_else(|| format!("GCLB=session-{number}"), str::to_owned);
            let cookie = cookie.replace('"', "");
            script += &format!(
                "  requests[{}] = wrk.format('GET', nil, {{['Host'] = wrk.headers['Host'], ['Cookie'] = '{cookie}'}})\n",
                number + 1
            );
        }
        script += "end\nlocal turn = 0\nfunction request()\n  turn = turn % #requests + 1\n  return requests[turn]\nend\n";
        dir.write(&format!("sessions-{peer}.lua"), script)
    }
}

fn upload_script() -> String {
    format!("wrk.method = 'POST'\nwrk.body = string.rep('x', {UPLOAD})\n")
}

trait Stream: Read + Write {}

impl<S: Read + Write> Stream for S {}

/// An answer, read by the simplest of clients.
struct Answer {
    status: String,
    /// By name in small letters; the last of several.
    headers: HashMap<String, String>,
    body: Vec<u8>,
}

impl Answer {
    /// Always by HTTP/1.1.
    fn fetch((at, is_secured): (SocketAddr, bool), path: &str, upload: &[u8]) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{at}{path}: {error}");
        let stream = TcpStream::connect(at).map_err(failed)?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).map_err(failed)?;
        let mut stream: Box<dyn Stream> =
            if is_secured { Box::new(secure::client(stream)?) } else { Box::new(stream) };
        let head = match upload.len() {
            0 => format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"),
            length => format!(
                "POST {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n"
            ),
        };
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(upload)).map_err(failed)?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).map_err(failed)?;
        let end =
            bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or(format!("{at}{path}: no answer"))?;
        let body = bytes.split_off(end + 4);
        let head = String::from_utf8_lossy(&bytes).into_owned();
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or("").to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Self { status, headers, body })
    }
}
