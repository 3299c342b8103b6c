//! A small HTTP client for the admin API.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use super::credentials;
use super::serve::on_runtime;

/// Longest answer that is read: 256 MiB, a status of some 500,000 members.
const LIMIT: usize = 256 << 20;
const TIMEOUT: Duration = Duration::from_secs(15);

/// An admin address such as `http://127.0.0.1:9901` or `https://lb.example:9901`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Admin {
    authority: String,
    over_tls: bool,
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
        let (over_tls, rest) = match url.strip_prefix("https://") {
            Some(rest) => (true, rest),
            None => (false, url.strip_prefix("http://").unwrap_or(url)),
        };
        let rest = rest.trim_end_matches('/');
        // A sign would be read as part of the number.
        let has_port = |authority: &http::uri::Authority| {
            authority.port().is_some_and(|port| port.as_u16() != 0 && !port.as_str().starts_with('+'))
        };
        match rest.parse::<http::uri::Authority>() {
            Ok(authority) if has_port(&authority) => Ok(Self { authority: rest.to_owned(), over_tls }),
            _ => Err(format!("`{url}` is no address such as http://127.0.0.1:9901")),
        }
    }

    /// `path` as a full link.
    pub(super) fn link(&self, path: &str) -> String {
        let scheme = if self.over_tls { "https" } else { "http" };
        format!("{scheme}://{}{path}", self.authority)
    }

    /// Asks and reads the answer as JSON. A `body` of null is no body.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, Failure> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, _, bytes) = self.exchange(method, path, "application/json", body).await?;
        self.read(path, status, &bytes)
    }

    /// Asks for what may not be there.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn find(&self, path: &str) -> Result<Option<Value>, Failure> {
        match self.exchange(Method::GET, path, "application/json", String::new()).await? {
            (404, ..) => Ok(None),
            (status, _, bytes) => self.read(path, status, &bytes).map(Some),
        }
    }

    /// Sends text of another type. Gives the answer's type and text.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<(String, String), Failure> {
        let (status, kind, bytes) = self.exchange(method, path, content_type, body).await?;
        if (200..300).contains(&status) {
            return Ok((kind, String::from_utf8_lossy(&bytes).into_owned()));
        }
        Err(Failure::Refused(format!("{path} answered {status}")))
    }

    /// What is told of an answer that Overspill would not give.
    pub(super) fn is_no_api(&self, path: &str, what: &str) -> Failure {
        let Self { authority, .. } = self;
        Failure::Unreachable(format!(
            "what answers at {authority} is not Overspill's API: its answer to {path} is {what}"
        ))
    }

    fn read(&self, path: &str, status: u16, bytes: &[u8]) -> Result<Value, Failure> {
        let value: Result<Value, _> = serde_json::from_slice(bytes);
        if (200..300).contains(&status) {
            return value.map_err(|_| self.is_no_api(path, "no JSON"));
        }
        let message = value.ok().and_then(|value| value["error"]["message"].as_str().map(str::to_owned));
        Err(Failure::Refused(message.unwrap_or_else(|| format!("{path} answered {status}"))))
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        kind: &str,
        body: String,
    ) -> Result<Answer, Failure> {
        let unreachable =
            |why: String| Failure::Unreachable(format!("no answer from {}: {why}", self.authority));
        match tokio::time::timeout(TIMEOUT, self.talk(method, path, kind, body)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!("nothing within {} s", TIMEOUT.as_secs()))),
        }
    }

    async fn talk(&self, method: Method, path: &str, kind: &str, body: String) -> Result<Answer, Error> {
        let credentials = credentials::said();
        let token = credentials.authorization()?;
        let tls = if self.over_tls { Some(credentials.tls()?) } else { None };
        let stream = tokio::net::TcpStream::connect(&self.authority).await?;
        let stream: Box<dyn Wire> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let host = self.authority.rsplit_once(':').map_or(&*self.authority, |(host, _)| host);
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned())?;
                Box::new(TlsConnector::from(config).connect(name, stream).await?)
            }
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.authority)
            .header("content-type", kind)
            .body(Full::new(Bytes::from(body)))?;
        if let Some(token) = token {
            request.headers_mut().insert("authorization", token);
        }
        let response = sender.send_request(request).await?;
        let status = response.status().as_u16();
        let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        let bytes = Limited::new(response.into_body(), LIMIT).collect().await?.to_bytes();
        connection.abort();
        Ok((status, kind, bytes))
    }
}

/// In clear or over TLS.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// Status, type and bytes.
type Answer = (u16, String, Bytes);
type Error = Box<dyn std::error::Error + Send + Sync>;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_scheme_and_a_slash() {
        let plain = Admin::parse("127.0.0.1:9901").unwrap();
        assert_eq!(Admin::parse("http://127.0.0.1:9901/").unwrap(), plain);
        assert_eq!(Admin::parse("https://[::1]:9901").unwrap().link("/x"), "https://[::1]:9901/x");
        assert!(
            ["", "http://", "127.0.0.1", "https://a:1/b", "a b:1", "a:99999", "a:0", "a:+1"]
                .iter()
                .all(|url| Admin::parse(url).is_err())
        );
    }
}
