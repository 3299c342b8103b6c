//! What is asked: a request that nobody sends.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use serde::{Deserialize, Serialize};

/// Headers that a question may hold.
const MAX_HEADERS: usize = 100;

/// As it travels to the admin address; unknown keys are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Words {
    /// `GET http://shop.test/cart`; method, scheme and host may be missing.
    pub(crate) request: String,
    /// Address of the client; the proxy's own host if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_ip: Option<IpAddr>,
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
    pub(super) method: Method,
    /// Authority as a Host header has it; `None` when the request names none.
    pub(super) host: Option<String>,
    pub(super) port: Option<u16>,
    pub(super) path: String,
    pub(super) client: IpAddr,
    pub(super) headers: HeaderMap,
    pub(super) rule: Option<String>,
}

impl Question {
    /// # Errors
    /// What is wrong with the words, and what would be right.
    pub(super) fn read(words: &Words) -> Result<Self, String> {
        let (method, target) = match words.request.trim().split_once(' ') {
            Some((method, target)) => (method, target.trim()),
            None => ("GET", words.request.trim()),
        };
        let bad = || format!("`{}` is no request such as `GET http://shop.test/cart`", words.request);
        let method = method.parse::<Method>().map_err(|_| bad())?;
        if !target.starts_with('/') && !target.starts_with("http://") && !target.starts_with("https://") {
            return Err(bad());
        }
        let uri = target.parse::<Uri>().map_err(|_| bad())?;
        let host = uri.authority().map(|authority| authority.as_str().to_owned());
        let path = if uri.path().is_empty() { "/" } else { uri.path() };
        let mut question = Self {
            method,
            port: uri.port_u16(),
            path: path.to_owned(),
            host,
            client: words.client_ip.unwrap_or(IpAddr::from([127, 0, 0, 1])).to_canonical(),
            headers: HeaderMap::new(),
            rule: words.forwarding_rule.clone(),
        };
        question.read_headers(&words.headers)?;
        Ok(question)
    }

    fn read_headers(&mut self, lines: &[String]) -> Result<(), String> {
        if lines.len() > MAX_HEADERS {
            return Err(format!("{} headers, and at most {MAX_HEADERS} are read", lines.len()));
        }
        for line in lines {
            let bad = || format!("`{line}` is no header such as `cookie: GCLB=…`");
            let (name, value) = line.split_once(':').ok_or_else(bad)?;
            let name = name.trim().parse::<HeaderName>().map_err(|_| bad())?;
            let value = HeaderValue::from_str(value.trim()).map_err(|_| bad())?;
            if name == http::header::HOST {
                self.host = value.to_str().ok().map(str::to_owned);
            }
            self.headers.append(name, value);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn read(request: &str, headers: &[&str]) -> Result<Question, String> {
        let headers = headers.iter().map(|line| (*line).to_owned()).collect();
        Question::read(&Words { request: request.to_owned(), headers, ..Words::default() })
    }

    #[test]
    fn a_request_may_be_a_path_a_url_or_have_a_method() {
        for (words, method, host, path) in [
            ("/a?b=c", "GET", None, "/a"),
            ("http://shop.test", "GET", Some("shop.test"), "/"),
            ("POST http://shop.test:8080/cart", "POST", Some("shop.test:8080"), "/cart"),
        ] {
            let question = read(words, &[]).unwrap();
            let got = (question.method.as_str(), question.host.as_deref(), &*question.path);
            assert_eq!(got, (method, host, path), "{words}");
        }
        assert_eq!(read("/", &["Host: a.test"]).unwrap().host.as_deref(), Some("a.test"));
    }

    #[test]
    fn what_is_no_request_is_said_to_be_none() {
        for bad in ["", "GET", "G(T /", "GET http://", "a b c"] {
            assert!(read(bad, &[]).is_err(), "{bad}");
        }
        assert!(read("/", &["no colon"]).unwrap_err().contains("no header such as"));
    }
}
