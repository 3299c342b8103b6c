//! An origin that records requests and reads them by the strictest rules: one form, or a complaint.

use std::sync::{Arc, Mutex};

use overspill::cli::toy::ToyBackend;

use crate::support::backend::{Conn, Scripted};

/// A request as it came.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) line: String,
    headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    /// The values of a header, in order.
    pub(super) fn all(&self, name: &str) -> Vec<Vec<u8>> {
        self.headers.iter().filter(|(have, _)| have == name).map(|(_, value)| value.clone()).collect()
    }
}

impl Request {
    /// What kind of request it is, without what is said in it: its method, framing and headers' names.
    pub(super) fn shape(&self) -> (String, Vec<String>, bool) {
        let method = self.line.split(' ').next().unwrap_or_default().to_owned();
        let names = self.headers.iter().map(|(name, _)| name.clone()).collect();
        (method, names, self.body.is_empty())
    }
}

#[derive(Default)]
struct Log {
    requests: Vec<Request>,
    complaints: Vec<String>,
}

/// Answers every whole request with a 200.
pub(super) struct Origin {
    backend: Scripted,
    log: Arc<Mutex<Log>>,
    _beside: Option<ToyBackend>,
}

impl Origin {
    pub(super) fn start() -> Self {
        let log: Arc<Mutex<Log>> = Arc::default();
        let shared = log.clone();
        Self { backend: Scripted::start(move |conn| serve(conn, &shared)), log, _beside: None }
    }

    pub(super) fn backend(&self) -> &Scripted {
        &self.backend
    }

    /// Keeps this alive as long as itself.
    pub(super) fn beside(self, toy: ToyBackend) -> Self {
        Self { _beside: Some(toy), ..self }
    }

    /// What has come whole since the last call.
    pub(super) fn take(&self) -> Vec<Request> {
        std::mem::take(&mut self.log.lock().unwrap().requests)
    }

    /// What could be read in two ways.
    pub(super) fn complaints(&self) -> Vec<String> {
        self.log.lock().unwrap().complaints.clone()
    }
}

fn serve(conn: &mut Conn, log: &Mutex<Log>) {
    let mut bytes = Vec::new();
    while let Some(more) = conn.raw() {
        bytes.extend(more);
        loop {
            match request(&bytes) {
                Ok(None) => break,
                Ok(Some((request, used))) => {
                    bytes.drain(..used);
                    log.lock().unwrap().requests.push(request);
                    conn.ok("whole");
                }
                Err(why) => {
                    let seen = String::from_utf8_lossy(&bytes).into_owned();
                    log.lock().unwrap().complaints.push(format!("{why}: {seen:?}"));
                    return;
                }
            }
        }
    }
}

/// The first request and its length; `None` while it is not whole.
fn request(bytes: &[u8]) -> Result<Option<(Request, usize)>, &'static str> {
    let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(None) };
    let mut lines = lines(&bytes[..end])?.into_iter();
    let line = request_line(lines.next().unwrap_or_default())?;
    let headers = lines.map(header).collect::<Result<Vec<_>, _>>()?;
    let mut request = Request { line, headers, body: Vec::new() };
    if request.all("host").len() != 1 {
        return Err("not one Host");
    }
    let rest = &bytes[end + 4..];
    let body = match (&request.all("content-length")[..], &request.all("transfer-encoding")[..]) {
        ([], []) => Some((Vec::new(), 0)),
        ([length], []) => {
            let digits = std::str::from_utf8(length).ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()));
            let length: usize =
                digits.and_then(|text| text.parse().ok()).ok_or("a length that is no number")?;
            rest.get(..length).map(|body| (body.to_vec(), length))
        }
        ([], [coding]) if coding == b"chunked" => chunked(rest)?,
        _ => return Err("two framings, or one of its own"),
    };
    Ok(body.map(|(body, used)| {
        request.body = body;
        (request, end + 4 + used)
    }))
}

/// Lines that end in CRLF and contain neither CR nor LF.
fn lines(head: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    let lines: Vec<_> = head.split(|byte| *byte == b'\n').collect();
    let last = lines.len() - 1;
    let cut = |(n, line): (usize, &'_ [u8])| {
        let end = if n == last { line.len() } else { line.len() - usize::from(line.ends_with(b"\r")) };
        (n == last || line.ends_with(b"\r")) && !line[..end].contains(&b'\r')
    };
    if !lines.iter().copied().enumerate().all(cut) {
        return Err("a bare CR or LF");
    }
    Ok(lines.into_iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect())
}

fn request_line(line: &[u8]) -> Result<String, &'static str> {
    let text = std::str::from_utf8(line).map_err(|_| "a request line that is not ASCII")?;
    let parts: Vec<_> = text.split(' ').collect();
    let [method, target, "HTTP/1.1"] = parts[..] else { return Err("a request line of another shape") };
    let is_plain = !method.is_empty() && method.bytes().all(is_token);
    let is_path = target == "*" || target.starts_with('/');
    if !is_plain || !is_path || !target.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return Err("a request line with odd bytes");
    }
    Ok(text.to_owned())
}

fn header(line: &[u8]) -> Result<(String, Vec<u8>), &'static str> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a header without a colon")?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err("a header's name with odd bytes");
    }
    if value.iter().any(|byte| *byte < b' ' && *byte != b'\t' || *byte == 0x7f) {
        return Err("a control byte in a value");
    }
    Ok((String::from_utf8_lossy(name).to_ascii_lowercase(), value.trim_ascii().to_vec()))
}

/// The body and the length of its framing; `None` while it is not whole.
fn chunked(mut rest: &[u8]) -> Result<Option<(Vec<u8>, usize)>, &'static str> {
    let (whole, mut body) = (rest.len(), Vec::new());
    loop {
        let Some(end) = rest.windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
        let size = std::str::from_utf8(&rest[..end]).ok();
        let size = size.filter(|text| !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit()));
        let size =
            size.and_then(|text| usize::from_str_radix(text, 16).ok()).ok_or("a size with odd bytes")?;
        rest = &rest[end + 2..];
        if size == 0 {
            break;
        }
        let Some(data) = rest.get(..size + 2) else { return Ok(None) };
        if !data.ends_with(b"\r\n") {
            return Err("data without CRLF behind it");
        }
        body.extend(&data[..size]);
        rest = &rest[size + 2..];
    }
    loop {
        let Some(end) = rest.windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
        let line = &rest[..end];
        rest = &rest[end + 2..];
        if line.is_empty() {
            return Ok(Some((body, whole - rest.len())));
        }
        if ["content-length", "transfer-encoding", "host"].contains(&header(line)?.0.as_str()) {
            return Err("a trailer that frames or routes");
        }
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
