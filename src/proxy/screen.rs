//! What the proxy answers by itself to a request that is routed nowhere: for `explain`, by the very code that serves.

use http::request;

use super::failure::{Failure, WITHOUT_SERVICE};
use super::guard::{Guard, MAX_HEAD};
use super::handle::{self, Turned};
use super::headers::Seen;
use crate::model::detail::StatusDetail;

/// An answer of the proxy's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) status: u16,
    pub(crate) detail: StatusDetail,
    /// Where a redirect leads.
    pub(crate) location: Option<String>,
    /// What is wrong with the bytes, where that is known.
    pub(crate) why: Option<&'static str>,
}

/// The answer to an HTTP/1.1 request with this head; `None` when it is routed.
pub(crate) fn own_answer(head: &request::Parts) -> Option<Own> {
    if let Some(refusal) = Guard::refusal_of(MAX_HEAD, &as_sent(head)) {
        let (status, detail) = refusal.answer();
        return Some(Own { status, detail, location: None, why: Some(refusal.why()) });
    }
    match handle::screen(head, Seen::survey(&head.headers)).err()? {
        Turned::To(status, location) => {
            Some(Own { status, detail: StatusDetail::DirectResponse, location: Some(location), why: None })
        }
        // That takes a route.
        Turned::Preflight => None,
        Turned::Away(failure) => {
            Some(Own { status: unrouted(failure), detail: failure.detail, location: None, why: None })
        }
    }
}

/// The status of a failure that no service has met.
const fn unrouted(failure: Failure) -> u16 {
    failure.status(WITHOUT_SERVICE)
}

/// The head as a client sends it.
fn as_sent(head: &request::Parts) -> Vec<u8> {
    let mut bytes = format!("{} {} HTTP/1.1\r\n", head.method, head.uri).into_bytes();
    for (name, value) in &head.headers {
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            bytes.extend_from_slice(part);
        }
    }
    bytes.extend_from_slice(b"\r\n");
    bytes
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::Request;

    use super::*;

    fn answer(method: &str, uri: &str, headers: &[(&str, &str)]) -> Option<(u16, &'static str)> {
        let mut request = Request::builder().method(method).uri(uri).header("host", "shop.test");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let own = own_answer(&request.body(()).unwrap().into_parts().0)?;
        Some((own.status, own.detail.as_str()))
    }

    #[test]
    fn g_6b_what_is_refused_or_redirected_is_answered_and_all_else_is_routed() {
        assert_eq!(answer("GET", "/cart?a=b", &[]), None);
        assert_eq!(answer("GET", "/", &[("connection", "upgrade"), ("upgrade", "websocket")]), None);
        let other = [("connection", "upgrade"), ("upgrade", "other")];
        assert_eq!(answer("GET", "/", &other), Some((400, "upgrade_header_rejected")));
        assert_eq!(answer("GET", "/", &other[1..]), None, "an Upgrade that Connection does not name");
        assert_eq!(answer("TRACE", "/", &[]), Some((400, "unsupported_method")));
        assert_eq!(answer("CONNECT", "shop.test:443", &[]), Some((400, "unsupported_method")));
        assert_eq!(answer("GET", "/a/../b", &[]), Some((302, "direct_response")));
        let two = [("content-length", "5"), ("transfer-encoding", "chunked")];
        assert_eq!(answer("POST", "/", &two), Some((400, "invalid_request_headers")));
        let via = [("via", "1.1 google"); 11];
        assert_eq!(answer("GET", "/", &via), Some((503, "request_loop_detected")));
    }

    #[test]
    fn a_redirect_keeps_the_query() {
        let request = Request::get("/a/../b?c=d").header("host", "a.test").body(()).unwrap();
        let own = own_answer(&request.into_parts().0).unwrap();
        assert_eq!(own.location.as_deref(), Some("/b?c=d"));
    }
}
