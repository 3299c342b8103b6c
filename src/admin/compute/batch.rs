//! Several requests in one, as `multipart/mixed`: gcloud deletes several resources so [G 10b, 10.13].

use std::collections::BTreeSet;
use std::hash::Hasher as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use memchr::memmem;
use siphasher::sip::SipHasher13;

use super::error::ApiError;

/// Most requests of a batch.
pub(crate) const MOST_PARTS: usize = 1000;
/// Longest batch, in bytes.
pub(crate) const LONGEST: usize = 1 << 20;
/// Most header lines of a request.
const MOST_HEADERS: usize = 64;
/// Longest line of a head, in bytes.
const LONGEST_LINE: usize = 16 * 1024;

/// One request of a batch.
#[derive(Debug)]
pub(crate) struct Part {
    /// `Content-ID`, which the reply repeats.
    pub(crate) content_id: Option<String>,
    /// Method.
    pub(crate) method: Method,
    /// Path and query, as they should be: see [`Self::is_path`].
    pub(crate) target: String,
    /// Body.
    pub(crate) body: Vec<u8>,
}

impl Part {
    /// Whether the target is a path of this server: it starts with one slash.
    pub(crate) fn is_path(&self) -> bool {
        self.target.starts_with('/') && !self.target.starts_with("//")
    }

    /// As much of the target as a message repeats.
    pub(crate) fn shown_target(&self) -> &str {
        self.target.get(..self.target.len().min(200)).unwrap_or_default()
    }
}

/// The answer to one request of a batch.
#[derive(Debug)]
pub(crate) struct Reply {
    /// `Content-ID` of the request.
    pub(crate) content_id: Option<String>,
    /// Status.
    pub(crate) status: StatusCode,
    /// A JSON document, or nothing.
    pub(crate) body: String,
}

/// Reads a batch.
///
/// # Errors
///
/// 400 for what is malformed, 413 for what is too long.
pub(crate) fn parse(content_type: &str, body: &[u8]) -> Result<Vec<Part>, ApiError> {
    if body.len() > LONGEST {
        return Err(ApiError::too_large("The batch", LONGEST));
    }
    let boundary = boundary(content_type)
        .ok_or_else(|| malformed("its Content-Type must be multipart/mixed with a boundary"))?;
    let mut parts = Vec::new();
    let mut ids = BTreeSet::new();
    for text in split(body, &boundary)? {
        let part = part(text)?;
        if let Some(id) = &part.content_id
            && !ids.insert(id.clone())
        {
            return Err(malformed("two parts have the same Content-ID"));
        }
        parts.push(part);
    }
    if parts.is_empty() {
        return Err(malformed("it has no parts"));
    }
    Ok(parts)
}

/// Writes the answer to a batch: its `Content-Type` and its body.
pub(crate) fn write(replies: &[Reply]) -> (String, Vec<u8>) {
    let boundary = free_boundary(replies);
    let mut out = String::new();
    for Reply { content_id, status, body } in replies {
        out.push_str(&format!("--{boundary}\r\nContent-Type: application/http\r\n"));
        if let Some(id) = content_id {
            out.push_str(&format!("Content-ID: {}\r\n", reply_id(id)));
        }
        // Clients split the line at both spaces, so that there must be a reason.
        let reason = status.canonical_reason().unwrap_or("Unknown");
        out.push_str(&format!("\r\nHTTP/1.1 {} {reason}\r\n", status.as_u16()));
        if !body.is_empty() {
            out.push_str("Content-Type: application/json; charset=UTF-8\r\n");
        }
        out.push_str(&format!("Content-Length: {}\r\n\r\n{body}\r\n", body.len()));
    }
    out.push_str(&format!("--{boundary}--\r\n"));
    (format!("multipart/mixed; boundary={boundary}"), out.into_bytes())
}

/// `<uuid+n>` is answered as `<response-uuid+n>`.
fn reply_id(id: &str) -> String {
    match id.strip_prefix('<') {
        Some(rest) => format!("<response-{rest}"),
        None => format!("response-{id}"),
    }
}

/// A boundary that no body has: a hash of them all, which none of them knows.
fn free_boundary(replies: &[Reply]) -> String {
    let mut hasher = SipHasher13::new();
    replies.iter().for_each(|reply| hasher.write(reply.body.as_bytes()));
    loop {
        let boundary = format!("batch_{:016x}", hasher.finish());
        if !replies.iter().any(|reply| memmem::find(reply.body.as_bytes(), boundary.as_bytes()).is_some()) {
            return boundary;
        }
        hasher.write_u8(0);
    }
}

fn malformed(why: &str) -> ApiError {
    ApiError::invalid(format!("The batch is malformed: {why}"))
}

/// The boundary of a `multipart/mixed`.
fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let at = parameters.to_ascii_lowercase().match_indices("boundary").find_map(|(at, _)| {
        let before = parameters.get(..at)?.trim_end();
        (before.is_empty() || before.ends_with(';')).then_some(at)
    })?;
    let value = parameters.get(at + "boundary".len()..)?.trim_start().strip_prefix('=')?.trim_start();
    let value = match value.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"')?.0,
        None => value.split(';').next()?.trim_end(),
    };
    let is_plain = |b: u8| b.is_ascii_graphic() || b == b' ';
    // RFC 2046: 1 to 70 characters, no space at the end.
    let is_sound = (1..=70).contains(&value.len()) && value.bytes().all(is_plain) && !value.ends_with(' ');
    is_sound.then(|| value.to_owned())
}

/// What stands between the delimiters. What stands before the first and behind the last is nobody's.
fn split<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<&'a [u8]>, ApiError> {
    let delimiter = format!("--{boundary}");
    let (mut parts, mut start, mut at) = (Vec::new(), None, 0);
    for line in body.split_inclusive(|byte| *byte == b'\n') {
        let line_start = at;
        at += line.len();
        let Some(after) = line.strip_prefix(delimiter.as_bytes()) else { continue };
        let is_end = after.trim_ascii() == b"--";
        if !is_end && !after.trim_ascii().is_empty() {
            continue;
        }
        if let Some(start) = start {
            // The line break before a delimiter belongs to it.
            let part = body.get(start..line_start).unwrap_or_default();
            let part = part.strip_suffix(b"\n").unwrap_or(part);
            parts.push(part.strip_suffix(b"\r").unwrap_or(part));
        }
        if is_end {
            return Ok(parts);
        }
        if parts.len() >= MOST_PARTS {
            return Err(malformed(&format!("it has more than {MOST_PARTS} parts")));
        }
        start = Some(at);
    }
    Err(malformed("its last boundary is missing"))
}

fn part(text: &[u8]) -> Result<Part, ApiError> {
    let mut rest = text;
    let outer = headers(&mut rest)?;
    let header = |name: &str| outer.get(name).and_then(|value| value.to_str().ok());
    let kind = header("content-type").unwrap_or("").split(';').next().unwrap_or("").trim();
    if !kind.eq_ignore_ascii_case("application/http") {
        return Err(malformed("the Content-Type of a part must be application/http"));
    }
    let encoding = header("content-transfer-encoding").unwrap_or("binary").trim();
    if !["binary", "7bit", "8bit"].iter().any(|known| known.eq_ignore_ascii_case(encoding)) {
        return Err(malformed("a part has a Content-Transfer-Encoding other than binary"));
    }
    let content_id = header("content-id").map(content_id).transpose()?;
    let line = line(&mut rest).ok_or_else(|| malformed("a part has no request line"))?;
    let (method, target) = request_line(line)?;
    // Who asks, and of whom, is said by the batch itself.
    headers(&mut rest)?;
    // Content-Length is not looked at: Python's mail package rewrites line breaks behind its back.
    Ok(Part { content_id, method, target, body: rest.to_vec() })
}

fn content_id(text: &str) -> Result<String, ApiError> {
    let text = text.trim();
    if text.is_empty() || text.len() > 256 || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(malformed("a Content-ID is empty, too long, or has odd characters"));
    }
    Ok(text.to_owned())
}

fn request_line(line: &[u8]) -> Result<(Method, String), ApiError> {
    let line = std::str::from_utf8(line).map_err(|_| malformed("a request line is no text"))?;
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let (method, target, version) = (words.next(), words.next(), words.next());
    let is_http = version.is_none_or(|version| version.starts_with("HTTP/1."));
    let (Some(method), Some(target), None, true) = (method, target, words.next(), is_http) else {
        return Err(malformed("a request line is not `METHOD /path HTTP/1.1`"));
    };
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| malformed("a method is no word"))?;
    let is_plain = target.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
    if !is_plain {
        return Err(malformed("a path has odd characters"));
    }
    Ok((method, target.to_owned()))
}

/// Reads header lines up to an empty one, or to the end.
fn headers(rest: &mut &[u8]) -> Result<HeaderMap, ApiError> {
    let mut lines: Vec<Vec<u8>> = Vec::new();
    while let Some(line) = line(rest) {
        if line.is_empty() {
            break;
        }
        if line.len() > LONGEST_LINE || lines.len() >= MOST_HEADERS {
            return Err(malformed("a part has too many or too long headers"));
        }
        match (line.first(), lines.last_mut()) {
            // A line that goes on.
            (Some(b' ' | b'\t'), Some(last)) if last.len() <= LONGEST_LINE => last.extend_from_slice(line),
            _ => lines.push(line.to_vec()),
        }
    }
    let mut headers = HeaderMap::new();
    for line in lines {
        let wrong = || malformed("a header is not `name: value`");
        let colon = memchr::memchr(b':', &line).ok_or_else(wrong)?;
        let (name, value) = line.split_at_checked(colon).ok_or_else(wrong)?;
        let value = value.strip_prefix(b":").unwrap_or(value).trim_ascii();
        let name = HeaderName::from_bytes(name).map_err(|_| wrong())?;
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| wrong())?);
    }
    Ok(headers)
}

/// Takes a line off the beginning, without its end; `None` at the end of the text.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    if rest.is_empty() {
        return None;
    }
    let end = memchr::memchr(b'\n', rest).map_or(rest.len(), |at| at + 1);
    let (line, after) = rest.split_at_checked(end)?;
    *rest = after;
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    Some(line.strip_suffix(b"\r").unwrap_or(line))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use proptest::prelude::{any, prop, proptest};

    use super::*;

    const KIND: &str = "multipart/mixed; boundary=\"==1==\"";

    /// What gcloud sends for two deletions: line feeds alone, a boundary in quotes.
    const GCLOUD: &str = "--==1==\nContent-Type: application/http\nMIME-Version: 1.0\nContent-Transfer-Encoding: binary\n\
        Content-ID: <0f0e+0>\n\nDELETE /compute/v1/projects/p/global/backendServices/a?alt=json HTTP/1.1\n\
        Content-Type: application/json\nMIME-Version: 1.0\ncontent-length: 0\nHost: 127.0.0.1:9901\n\n\n--==1==\n\
        Content-Type: application/http\nContent-ID: <0f0e+1>\n\n\
        POST /compute/v1/projects/p/global/backendServices/b/getHealth HTTP/1.1\nHost: h\n\n{\"group\": \"g\"}\n--==1==--\n";

    fn status(content_type: &str, body: &str) -> u16 {
        parse(content_type, body.as_bytes()).unwrap_err().status.as_u16()
    }

    #[test]
    fn a_batch_of_gcloud_is_read() {
        for text in [GCLOUD.to_owned(), GCLOUD.replace('\n', "\r\n"), format!("preamble\n{GCLOUD}epilogue")] {
            let parts = parse(KIND, text.as_bytes()).unwrap();
            let [first, second] = &*parts else { panic!("{} parts", parts.len()) };
            assert_eq!(first.content_id.as_deref(), Some("<0f0e+0>"));
            assert_eq!(first.method, Method::DELETE);
            assert_eq!(first.target, "/compute/v1/projects/p/global/backendServices/a?alt=json");
            assert!(first.body.trim_ascii().is_empty());
            assert_eq!(
                (second.content_id.as_deref(), &*second.body),
                (Some("<0f0e+1>"), &b"{\"group\": \"g\"}"[..])
            );
        }
    }

    #[test]
    fn one_part_with_a_url_keeps_nothing_back_of_the_others() {
        for (target, is_path) in [("http://h/", false), ("//", false), ("", false), ("/", true)] {
            let parts =
                parse(KIND, GCLOUD.replace("DELETE /", &format!("DELETE {target}")).as_bytes()).unwrap();
            assert_eq!(parts.iter().map(Part::is_path).collect::<Vec<_>>(), [is_path, true], "{target}");
        }
    }

    #[test]
    fn each_reply_names_its_request() {
        let reply = |id: &str, status, body: &str| Reply {
            content_id: Some(id.to_owned()),
            status,
            body: body.to_owned(),
        };
        let (content_type, body) =
            write(&[reply("<0f0e+0>", StatusCode::OK, "{}"), reply("1", StatusCode::NO_CONTENT, "")]);
        let boundary = content_type.strip_prefix("multipart/mixed; boundary=").unwrap();
        // [G 10b, 10.13].
        let expected = format!(
            "--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <response-0f0e+0>\r\n\r\nHTTP/1.1 200 OK\r\n\
            Content-Type: application/json; charset=UTF-8\r\nContent-Length: 2\r\n\r\n{{}}\r\n--{boundary}\r\n\
            Content-Type: application/http\r\nContent-ID: response-1\r\n\r\nHTTP/1.1 204 No Content\r\n\
            Content-Length: 0\r\n\r\n\r\n--{boundary}--\r\n"
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn no_body_has_the_boundary() {
        let reply = |body: String| Reply { content_id: None, status: StatusCode::OK, body };
        let (content_type, _) = write(&[reply(String::new())]);
        let taken = content_type.strip_prefix("multipart/mixed; boundary=").unwrap().to_owned();
        let replies = [reply(taken.clone())];
        assert_ne!(free_boundary(&replies), taken);
        assert!(!taken.contains(&free_boundary(&replies)));
    }

    #[test]
    fn what_is_malformed_is_400() {
        for wrong in [
            "",
            "application/json",
            "multipart/mixed",
            "multipart/mixed; boundary=",
            "multipart/mixed; x=boundary",
            "multipart/mixed; boundary=\"a",
            "multipart/form-data; boundary===1==",
        ] {
            assert_eq!(status(wrong, GCLOUD), 400, "{wrong}");
        }
        for (from, to) in [
            ("--==1==--", ""),
            ("==1==", "==2=="),
            ("application/http", "text/plain"),
            ("<0f0e+1>", "<0f0e+0>"),
            ("<0f0e+1>", "<0f 0e>"),
            ("<0f0e+1>", ""),
            (": binary", ": base64"),
            (" HTTP/1.1", " HTTP/2"),
            (" HTTP/1.1", " HTTP/1.1 x"),
            ("DELETE /", "DELETE /\u{7f}"),
            ("DELETE /", "DEL(ETE /"),
            ("Host: h", "no header"),
            ("Host: h", "Ho st: h"),
            ("Host: h", "Host: \u{1}"),
        ] {
            assert!(GCLOUD.contains(from), "{from}");
            assert_eq!(status(KIND, &GCLOUD.replace(from, to)), 400, "{from} as {to}");
        }
        assert_eq!(status(KIND, "--==1==--\n"), 400);
        assert_eq!(status(KIND, "--==1==\nContent-Type: application/http\n\n--==1==--"), 400);
    }

    #[test]
    fn limits_hold() {
        let part = "--==1==\nContent-Type: application/http\n\nGET /compute/v1/projects/p HTTP/1.1\n\n";
        let batch = |count: usize| part.repeat(count) + "--==1==--";
        assert_eq!(parse(KIND, batch(MOST_PARTS).as_bytes()).unwrap().len(), MOST_PARTS);
        assert_eq!(status(KIND, &batch(MOST_PARTS + 1)), 400);
        assert_eq!(status(KIND, &"a".repeat(LONGEST + 1)), 413);
        let headers = |count| GCLOUD.replace("Host: h\n", &"X: y\n".repeat(count));
        assert!(parse(KIND, headers(MOST_HEADERS).as_bytes()).is_ok());
        assert_eq!(status(KIND, &headers(MOST_HEADERS + 1)), 400);
    }

    proptest! {
        #[test]
        fn no_batch_breaks_the_reader(
            bytes in prop::collection::vec(any::<u8>(), 0..200), content_type in any::<String>(),
            cut in 0..GCLOUD.len(), with in "[-=1\r\n: a]{0,6}",
        ) {
            let _ = parse(&content_type, &bytes);
            let _ = parse(KIND, &bytes);
            let (before, after) = GCLOUD.split_at(cut);
            let _ = parse(KIND, format!("{before}{with}{after}").as_bytes());
        }

        #[test]
        fn what_is_written_is_read_as_a_multipart(bodies in prop::collection::vec("[ -~]{0,20}", 1..6)) {
            let replies: Vec<Reply> = bodies.iter()
                .map(|body| Reply { content_id: None, status: StatusCode::OK, body: body.clone() }).collect();
            let (content_type, written) = write(&replies);
            let parts = split(&written, &boundary(&content_type).unwrap()).unwrap();
            assert_eq!(parts.len(), bodies.len());
            for (part, body) in parts.iter().zip(&bodies) {
                assert!(part.ends_with(format!("\r\n\r\n{body}").as_bytes()));
            }
        }
    }
}
