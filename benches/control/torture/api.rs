//! The Compute API over one kept connection.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value as Json;

/// Longer than the server takes for anything.
const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const PROJECT: &str = "/compute/v1/projects/local";

/// Connects when it must, and again after a crash.
pub(crate) struct Api {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

/// Status and body.
pub(crate) type Answer = (u16, String);

impl Api {
    pub(crate) const fn new(address: SocketAddr) -> Self {
        Self { address, connection: None }
    }

    pub(crate) fn forget(&mut self) {
        self.connection = None;
    }

    /// A resource or a list.
    pub(crate) fn get(&mut self, path: &str) -> Result<Json, String> {
        let (status, body) = self.ask("GET", &format!("{PROJECT}/{path}"), "application/json", "")?;
        if status != 200 {
            return Err(format!("GET {path}: {status} {body}"));
        }
        serde_json::from_str(&body).map_err(|error| format!("GET {path}: {error}\n{body}"))
    }

    pub(crate) fn ask(&mut self, method: &str, path: &str, kind: &str, body: &str) -> Result<Answer, String> {
        let answer = self.exchange(method, path, kind, body);
        if !matches!(answer, Ok((_, _, true))) {
            self.connection = None;
        }
        let (status, body, _) = answer.map_err(|error| format!("{method} {path}: {error}"))?;
        Ok((status, body))
    }

    fn exchange(
        &mut self,
        method: &str,
        path: &str,
        kind: &str,
        body: &str,
    ) -> std::io::Result<(u16, String, bool)> {
        let reader = match &mut self.connection {
            Some(reader) => reader,
            none => none.insert(connect(self.address)?),
        };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        reader.get_mut().write_all(request.as_bytes())?;
        answer(reader)
    }
}

pub(crate) fn connect(address: SocketAddr) -> std::io::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(BufReader::new(stream))
}

/// The next answer: status, body of a known length or in chunks, and whether the connection stays.
pub(crate) fn answer(reader: &mut BufReader<TcpStream>) -> std::io::Result<(u16, String, bool)> {
    let ended = || std::io::Error::other("the connection ended");
    let line = |reader: &mut BufReader<TcpStream>| {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 { Err(ended()) } else { Ok(line.trim_end().to_owned()) }
    };
    let first = line(reader)?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(ended)?;
    let (mut length, mut is_chunked, mut stays) = (0, false, true);
    loop {
        let header = line(reader)?.to_ascii_lowercase();
        match header.split_once(':').map(|(name, value)| (name, value.trim())) {
            None => break,
            Some(("content-length", value)) => length = value.parse().map_err(std::io::Error::other)?,
            Some(("transfer-encoding", "chunked")) => is_chunked = true,
            Some(("connection", "close")) => stays = false,
            Some(_) => {}
        }
    }
    let mut body = Vec::new();
    loop {
        if is_chunked {
            length = usize::from_str_radix(&line(reader)?, 16).map_err(std::io::Error::other)?;
        }
        let begin = body.len();
        body.resize(begin + length, 0);
        reader.read_exact(&mut body[begin..])?;
        if is_chunked {
            line(reader)?;
        }
        if !is_chunked || length == 0 {
            break;
        }
    }
    Ok((status, String::from_utf8_lossy(&body).into_owned(), stays))
}
