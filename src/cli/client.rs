//! A small HTTP client for the admin API.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use super::serve::on_runtime;

/// Longest answer that is read: 256 MiB, a status of some 500,000 members.
const LIMIT: usize = 256 << 20;
const TIMEOUT: Duration = Duration::from_secs(15);

/// The variable that holds a token, where no file is named.
const TOKEN: &str = "OVERSPILL_ADMIN_TOKEN";

/// `--token-file`, which goes for whichever command is run.
static TOKEN_FILE: OnceLock<PathBuf> = OnceLock::new();

/// Says where the token is. For the beginning; a second call changes nothing.
pub(super) fn use_token_file(path: &Path) {
    let _ = TOKEN_FILE.set(path.to_owned());
}

/// An admin address such as `http://127.0.0.1:9901`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Admin {
    authority: String,
}

/// What is shown to the admin API, if there is anything. It is never printed.
fn token(file: Option<&Path>, variable: Option<String>) -> Result<Option<HeaderValue>, String> {
    let text = match file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
        ),
        None => variable.filter(|value| !value.is_empty()),
    };
    let Some(text) = text else { return Ok(None) };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
        .map_err(|_| "the token has other characters than visible ASCII".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// Why there is no answer to use.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody there, or it is no admin API.
    Unreachable(String),
    /// It answered with an error; Google's message where there is one.
    Refused(String),
}

/// Runs a command against the admin address `url` and writes what it gives. Exit code: 0 done, 1 refused or no answer,
/// told behind `who`, 2 no such address.
pub(super) fn run(url: &str, who: &str, command: impl AsyncFnOnce(&Admin) -> Result<String, Failure>) -> u8 {
    let admin = match Admin::parse(url) {
        Ok(admin) => admin,
        Err(why) => {
            eprintln!("error: {why}");
            return 2;
        }
    };
    on_runtime(async {
        match command(&admin).await {
            Ok(text) => {
                super::say(&text);
                0
            }
            Err(Failure::Unreachable(why) | Failure::Refused(why)) => {
                eprintln!("{who} {why}");
                1
            }
        }
    })
}

impl Admin {
    /// # Errors
    /// When `url` is no such address.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let rest = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        // A sign would be read as part of the number.
        let has_port = |authority: &http::uri::Authority| {
            authority.port().is_some_and(|port| port.as_u16() != 0 && !port.as_str().starts_with('+'))
        };
        match rest.parse::<http::uri::Authority>() {
            Ok(authority) if has_port(&authority) => Ok(Self { authority: rest.to_owned() }),
            _ => Err(format!("`{url}` is no address such as http://127.0.0.1:9901")),
        }
    }

    /// `path` as a full link.
    pub(super) fn link(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    /// Asks and reads the answer as JSON.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let unreachable =
            |why: String| Failure::Unreachable(format!("no answer from {}: {why}", self.authority));
        match tokio::time::timeout(TIMEOUT, self.exchange(method, path, body)).await {
            Ok(Ok((status, value))) if (200..300).contains(&status) => Ok(value),
            Ok(Ok((status, value))) => {
                let message = value["error"]["message"].as_str().map(str::to_owned);
                Err(Failure::Refused(message.unwrap_or_else(|| format!("{path} answered {status}"))))
            }
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!("nothing within {} s", TIMEOUT.as_secs()))),
        }
    }

    async fn exchange(&self, method: Method, path: &str, body: &Value) -> Result<(u16, Value), Error> {
        let token = token(TOKEN_FILE.get().map(PathBuf::as_path), std::env::var(TOKEN).ok())?;
        let stream = tokio::net::TcpStream::connect(&self.authority).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.authority)
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body.to_string())))?;
        if let Some(token) = token {
            request.headers_mut().insert("authorization", token);
        }
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let bytes = Limited::new(response.into_body(), LIMIT).collect().await?.to_bytes();
        connection.abort();
        Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_from_its_file_or_else_from_the_variable() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "of-the-file\n").unwrap();
        let variable = || Some("of-the-variable".to_owned());
        assert_eq!(token(Some(file.path()), variable()).unwrap().unwrap(), "Bearer of-the-file");
        let shown = token(None, variable()).unwrap().unwrap();
        assert_eq!(shown, "Bearer of-the-variable");
        assert!(!format!("{shown:?}").contains("variable"));
        assert_eq!((token(None, None), token(None, Some(String::new()))), (Ok(None), Ok(None)));
        assert!(token(Some(Path::new("/nowhere/at/all")), None).is_err());
        assert!(token(None, Some("a\nb".to_owned())).is_err());
    }

    #[test]
    fn an_address_may_have_a_scheme_and_a_slash() {
        let plain = Admin::parse("127.0.0.1:9901").unwrap();
        assert_eq!(Admin::parse("http://127.0.0.1:9901/").unwrap(), plain);
        assert!(
            ["", "http://", "127.0.0.1", "https://a:1/b", "a b:1", "a:99999", "a:0", "a:+1"]
                .iter()
                .all(|url| Admin::parse(url).is_err())
        );
    }
}
