//! What is asked: a request that nobody sends, or a connection that nobody opens.

use std::net::IpAddr;

use http::header::HOST;
use http::uri::{Authority, PathAndQuery};
use http::{HeaderName, HeaderValue, Method, Request, Uri, request};
use serde::{Deserialize, Serialize};

/// Headers that a question may hold.
const MAX_HEADERS: usize = 100;

/// As it travels to the admin address; unknown keys are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Words {
    /// `GET http://shop.test/cart`, where method, scheme and host may be missing; or `tcp://HOST:PORT`.
    pub(crate) request: String,
    /// Address of the client; the proxy's own host if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_ip: Option<IpAddr>,
    /// Address of ours that the client connects to; that of the request's URL or of the forwarding rule if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<IpAddr>,
    /// `name: value`, each.
    #[serde(default)]
    pub(crate) headers: Vec<String>,
    /// Which forwarding rule it comes in at; by the port of the request if absent, else the first for HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forwarding_rule: Option<String>,
}

/// The same, understood.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) kind: Kind,
    /// What stands before `://`, if anything does.
    pub(super) scheme: Option<String>,
    /// What stands behind it.
    pub(super) authority: Option<Authority>,
    pub(super) client: IpAddr,
    pub(super) to: Option<IpAddr>,
    pub(super) rule: Option<String>,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A request in origin form. Without a `Host` where the words name none.
    Http(Box<request::Parts>),
    /// A connection of a TCP or SSL proxy.
    Connection,
}

impl Question {
    /// # Errors
    /// What is wrong with the words, and what would be right.
    pub(super) fn read(words: &Words) -> Result<Self, String> {
        let request = words.request.trim();
        let question = |kind, scheme: Option<&str>, authority| Self {
            kind,
            scheme: scheme.map(str::to_owned),
            authority,
            client: words.client_ip.unwrap_or(IpAddr::from([127, 0, 0, 1])).to_canonical(),
            to: words.to,
            rule: words.forwarding_rule.clone(),
        };
        if let Some((scheme @ ("tcp" | "ssl"), to)) = request.split_once("://") {
            let bad = || format!("`{request}` is no connection such as `{scheme}://db.test:5432`");
            let authority: Authority = to.trim_end_matches('/').parse().map_err(|_| bad())?;
            if let Some(header) = words.headers.first() {
                return Err(format!("a connection has no headers such as `{header}`"));
            }
            return Ok(question(Kind::Connection, Some(scheme), Some(authority)));
        }
        let (head, uri) = head(request)?;
        let authority = uri.authority().cloned();
        let mut question = question(Kind::Http(Box::new(head)), uri.scheme_str(), authority);
        question.read_headers(&words.headers)?;
        Ok(question)
    }

    /// The port that the words name.
    pub(super) fn port(&self) -> Option<u16> {
        self.authority.as_ref().and_then(Authority::port_u16)
    }

    /// The address that the words name. One that stands for all of a machine is none that a client connects to.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        let host = self.authority.as_ref()?.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        bare.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified())
    }

    fn read_headers(&mut self, lines: &[String]) -> Result<(), String> {
        let Kind::Http(head) = &mut self.kind else { return Ok(()) };
        if lines.len() > MAX_HEADERS {
            return Err(format!("{} headers, and at most {MAX_HEADERS} are read", lines.len()));
        }
        for line in lines {
            let bad = || format!("`{line}` is no header such as `cookie: GCLB=…`");
            let (name, value) = line.split_once(':').ok_or_else(bad)?;
            let name = name.trim().parse::<HeaderName>().map_err(|_| bad())?;
            let value = HeaderValue::from_str(value.trim()).map_err(|_| bad())?;
            head.headers.append(name, value);
        }
        // As clients do, unless they are told otherwise.
        if let (false, Some(authority)) = (head.headers.contains_key(HOST), &self.authority) {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|error| error.to_string())?;
            head.headers.insert(HOST, host);
        }
        Ok(())
    }
}

/// A head without headers, in origin form but for CONNECT and `OPTIONS *`, and the target as it was written.
fn head(words: &str) -> Result<(request::Parts, Uri), String> {
    let bad = || format!("`{words}` is no request such as `GET http://shop.test/cart`");
    let (method, target) = match words.split_once(' ') {
        Some((method, target)) => (method, target.trim()),
        None => ("GET", words),
    };
    let method = method.parse::<Method>().map_err(|_| bad())?;
    let is_special = method == Method::CONNECT || target == "*" && method == Method::OPTIONS;
    let is_usual = ["/", "http://", "https://"].iter().any(|start| target.starts_with(start));
    if !is_usual && !is_special {
        return Err(bad());
    }
    let uri = target.parse::<Uri>().map_err(|_| bad())?;
    let path = uri.path_and_query().cloned().filter(|path| !path.as_str().is_empty());
    let sent = if is_usual { Uri::from(path.unwrap_or(PathAndQuery::from_static("/"))) } else { uri.clone() };
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut()) = (method, sent);
    Ok((request.into_parts().0, uri))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn read(request: &str, headers: &[&str]) -> Result<Question, String> {
        let headers = headers.iter().map(|line| (*line).to_owned()).collect();
        Question::read(&Words { request: request.to_owned(), headers, ..Words::default() })
    }

    fn head_of(question: &Question) -> &request::Parts {
        let Kind::Http(head) = &question.kind else { panic!("{question:?}") };
        head
    }

    #[test]
    fn a_request_may_be_a_path_a_url_or_have_a_method() {
        for (words, method, host, path) in [
            ("/a?b=c", "GET", None, "/a?b=c"),
            ("http://shop.test", "GET", Some("shop.test"), "/"),
            ("POST http://shop.test:8080/cart", "POST", Some("shop.test:8080"), "/cart"),
            ("CONNECT shop.test:443", "CONNECT", Some("shop.test:443"), "shop.test:443"),
            ("OPTIONS *", "OPTIONS", None, "*"),
        ] {
            let question = read(words, &[]).unwrap();
            let head = head_of(&question);
            let got_host = head.headers.get(HOST).map(|host| host.to_str().unwrap());
            assert_eq!((head.method.as_str(), got_host, &*head.uri.to_string()), (method, host, path));
        }
        let named = read("http://127.0.0.1:8080/", &["Host: a.test"]).unwrap();
        assert_eq!(head_of(&named).headers[HOST], "a.test");
        assert_eq!((named.ip(), named.port()), (Some(IpAddr::from([127, 0, 0, 1])), Some(8080)));
        assert_eq!(read("http://0.0.0.0/", &[]).unwrap().ip(), None);
        assert_eq!(read("http://[::1]/", &[]).unwrap().ip(), Some("::1".parse().unwrap()));
    }

    #[test]
    fn a_connection_is_asked_for_by_its_port() {
        let question = read("tcp://db.test:5432", &[]).unwrap();
        assert!(matches!(question.kind, Kind::Connection));
        assert_eq!((question.scheme.as_deref(), question.port()), (Some("tcp"), Some(5432)));
        assert_eq!(read("ssl://127.0.0.1:443/", &[]).unwrap().port(), Some(443));
        assert!(read("tcp://", &[]).unwrap_err().contains("no connection such as `tcp://db.test:5432`"));
        assert!(read("tcp://a:1/b", &[]).is_err());
        assert!(read("tcp://a:1", &["a: b"]).unwrap_err().contains("no headers such as `a: b`"));
    }

    #[test]
    fn what_is_no_request_is_said_to_be_none() {
        for bad in ["", "GET", "G(T /", "GET http://", "a b c", "GET tcp://a:1", "GET *", "*"] {
            assert!(read(bad, &[]).is_err(), "{bad}");
        }
        assert!(read("/", &["no colon"]).unwrap_err().contains("no header such as"));
    }
}
