//! The work: what is asked, by how many connections, and with what switched on.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::measure::{Program, Run};
use super::origin::Origin;
use super::peers::{Bodies, Channel, Extras, Peer, Setup};
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
    extras: Extras,
    channel: Channel,
    program: Program,
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

/// All, in the order of the table.
pub(crate) fn all() -> Vec<Scenario> {
    let over = |name, connections, work, channel, program| Scenario {
        name,
        connections,
        work,
        extras: Extras::None,
        channel,
        program,
    };
    let plain = |name, connections, work| over(name, connections, work, Channel::Clear, Program::Wrk);
    let with = |name, work, extras| Scenario { extras, ..plain(name, 64, work) };
    let tls = |name, work, program| over(name, 64, work, Channel::Tls, program);
    vec![
        plain("small, 64 connections", 64, Work::Small),
        plain("small, 1000 connections", 1000, Work::Small),
        plain("small, 1 connection", 1, Work::Small),
        with("small, everything on", Work::Sessions, Extras::Everything),
        with("small, access log", Work::Small, Extras::AccessLog),
        plain("100 KiB answer", 64, Work::Large),
        plain("64 KiB upload", 64, Work::Upload),
        plain("new connection per request", 64, Work::Close),
        tls("TLS, 64 connections", Work::Small, Program::Wrk),
        // wrk brings its sessions back, and all proxies take them: one in a hundred is a full handshake.
        tls("TLS, new connection per request, resumed", Work::Close, Program::Wrk),
        tls("TLS, new connection per request, full handshake", Work::Close, Program::Handshakes),
        over(
            "HTTP/2 over TLS, 8 x 32 streams",
            8,
            Work::Small,
            Channel::Http2,
            Program::H2load { streams: 32 },
        ),
    ]
}

impl Scenario {
    /// What the proxies are to be for it.
    pub(crate) fn setup(&self, origin: &Origin) -> Setup {
        let has_bodies = matches!(self.work, Work::Large | Work::Upload);
        Setup {
            channel: self.channel,
            extras: self.extras,
            bodies: if has_bodies { Bodies::Both } else { Bodies::None },
            keeps_alive: self.work != Work::Close,
            ..Setup::plain(self.addresses(origin))
        }
    }

    fn addresses(&self, origin: &Origin) -> [SocketAddr; 2] {
        if self.work == Work::Large { [origin.large; 2] } else { origin.small }
    }

    fn is_secured(&self) -> bool {
        self.channel != Channel::Clear
    }

    pub(crate) fn program(&self) -> Program {
        self.program
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
    pub(crate) fn prepare(&self, peer: &Peer, origin: &Origin, dir: &TempDir) -> Result<Run, String> {
        let at = peer.address();
        let upload = vec![b'x'; if self.work == Work::Upload { UPLOAD } else { 0 }];
        let [behind, _] = self.addresses(origin);
        let right = Answer::fetch((behind, false), self.path(), &upload)?;
        let fetch = || Answer::fetch((at, self.is_secured()), self.path(), &upload);
        let got = until_healthy(fetch)?;
        if got.status != "200"
            || got.body != right.body
            || !(peer.is_relay() || got.headers.contains_key("via"))
        {
            let (name, peer, status, length) = (self.name, &peer.name, &got.status, got.body.len());
            return Err(format!(
                "{name}: {peer} answers {status} with {length} bytes and not as the origin does"
            ));
        }
        let script = match self.work {
            Work::Upload => Some(dir.write("upload.lua", upload_script())?),
            Work::Sessions => Some(self.sessions_script(&peer.name, at, dir)?),
            _ => None,
        };
        let headers =
            if self.work == Work::Close { vec!["Connection: close".to_owned()] } else { Vec::new() };
        Ok(Run {
            program: self.program,
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

/// A proxy that has just started may not have heard yet that the origin is healthy.
fn until_healthy(fetch: impl Fn() -> Result<Answer, String>) -> Result<Answer, String> {
    let (mut got, until) = (fetch()?, Instant::now() + PATIENCE);
    while got.status == "503" && Instant::now() < until {
        sleep(Duration::from_millis(20));
        got = fetch()?;
    }
    Ok(got)
}

/// Waits until a proxy answers with 200.
pub(crate) fn wait_until_good(at: SocketAddr, is_secured: bool, peer: &str) -> Result<(), String> {
    let got = until_healthy(|| Answer::fetch((at, is_secured), "/", &[]))?;
    if got.status == "200" { Ok(()) } else { Err(format!("{peer} answers {}", got.status)) }
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
