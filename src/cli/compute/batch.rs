//! Several requests in one: `POST /batch/compute/v1`, multipart/mixed [G 10.13].

use std::collections::BTreeMap;

use http::Method;
use serde_json::Value;

use super::fault::Fault;
use super::place::Target;
use super::session::{Session, Wait};

const BOUNDARY: &str = "===============overspill==";

/// Sends requests (method, path, body) together. One answer for each, in their order.
///
/// # Errors
/// When there is no batch answer at all.
pub(super) async fn send(
    session: &Session<'_>,
    requests: Vec<(Method, String, Value)>,
) -> Result<Vec<Answer>, Fault> {
    let count = requests.len();
    let id = id();
    let mut body = String::new();
    for (number, (method, path, value)) in requests.into_iter().enumerate() {
        let inner = if value.is_null() { String::new() } else { value.to_string() };
        body += &format!(
            "--{BOUNDARY}\r\nContent-Type: application/http\r\nMIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\
             Content-ID: <{id}+{number}>\r\n\r\n{method} {path} HTTP/1.1\r\nContent-Type: application/json\r\n\
             accept: application/json\r\ncontent-length: {}\r\n\r\n{inner}\r\n",
            inner.len()
        );
    }
    body += &format!("--{BOUNDARY}--\r\n");
    let content_type = format!("multipart/mixed; boundary=\"{BOUNDARY}\"");
    let (kind, text) = session.batch(&content_type, body).await?;
    let mut answers = parse(&kind, &text, &id).map_err(Fault::new)?;
    let missing = || Answer { status: 0, body: Value::Null };
    Ok((0..count).map(|number| answers.remove(&number).unwrap_or_else(missing)).collect())
}

/// An answer to one of the requests.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Answer {
    /// HTTP status; 0 when there is none.
    status: u16,
    body: Value,
}

/// Waits for the operations that the answers hold, and tells what was done to which.
///
/// # Errors
/// What was refused, all of it.
pub(super) async fn ends(
    session: &mut Session<'_>,
    targets: &[Target],
    answers: Vec<Answer>,
    done: &str,
) -> Result<(), Fault> {
    let mut refused: Vec<String> = Vec::new();
    for (target, answer) in targets.iter().zip(answers) {
        if !(200..300).contains(&answer.status) {
            let message = answer.body["error"]["message"].as_str().map(str::to_owned);
            refused.push(message.unwrap_or_else(|| format!("{} answered {}", target.path(), answer.status)));
            continue;
        }
        let ended = match session.known(&target.path(), answer.body) {
            Ok(operation) => session.end_of(operation, &target.scope, Wait::IfOpen).await,
            Err(fault) => Err(fault),
        };
        match ended {
            Ok(()) => session.note(done, target),
            Err(fault) => refused.extend(fault.messages()),
        }
    }
    if refused.is_empty() {
        return Ok(());
    }
    Err(Fault::RefusedInPart(refused))
}

/// Random, in the form of a UUID: what the answers are told apart by.
fn id() -> String {
    let mut bytes = [0_u8; 16];
    // Without random bytes the ids are still different from one another within this batch, which is enough.
    let _ = getrandom::fill(&mut bytes);
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
}

/// The answers of a multipart body by the number in their Content-ID: `<response-ID+NUMBER>`.
fn parse(kind: &str, text: &str, id: &str) -> Result<BTreeMap<usize, Answer>, String> {
    let no_batch = || "the answer to a batch is no multipart/mixed".to_owned();
    let boundary = kind.split(';').map(str::trim).find_map(|part| part.strip_prefix("boundary="));
    let boundary =
        boundary.map(|boundary| boundary.trim_matches('"')).filter(|boundary| !boundary.is_empty());
    let boundary = boundary.filter(|_| kind.starts_with("multipart/mixed")).ok_or_else(no_batch)?;
    let text = text.replace("\r\n", "\n");
    let mut answers = BTreeMap::new();
    for part in text.split(&format!("--{boundary}")).skip(1) {
        let Some((head, inner)) = part.split_once("\n\n") else { continue };
        let number = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let value = value.trim().trim_matches(['<', '>']);
            let number = value.strip_prefix(&format!("response-{id}+"))?;
            name.trim().eq_ignore_ascii_case("content-id").then(|| number.parse::<usize>().ok())?
        });
        let (inner_head, body) = inner.split_once("\n\n").unwrap_or((inner, ""));
        let status = inner_head.split_whitespace().nth(1).and_then(|word| word.parse().ok());
        if let (Some(number), Some(status)) = (number, status) {
            answers.insert(
                number,
                Answer { status, body: serde_json::from_str(body.trim()).unwrap_or_default() },
            );
        }
    }
    Ok(answers)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_told_apart_by_their_id() {
        let text = "--b\r\nContent-Type: application/http\r\nContent-ID: <response-x+1>\r\n\r\nHTTP/1.1 200 OK\r\n\
                    content-type: application/json\r\n\r\n{\"status\": \"DONE\"}\r\n--b\r\ncontent-id: <response-x+0>\r\n\r\n\
                    HTTP/1.1 404 Not Found\r\n\r\n{}\r\n--b\r\nContent-ID: <response-y+2>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n\r\n--b--\r\n";
        let answers = parse("multipart/mixed; boundary=b", text, "x").unwrap();
        assert_eq!(answers.len(), 2);
        assert_eq!(answers[&0].status, 404);
        assert_eq!(answers[&1].body, json!({"status": "DONE"}));
        assert!(parse("application/json", text, "x").is_err());
    }
}
