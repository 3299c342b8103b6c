//! A request of HTTP/3: its head made one of HTTP/1.1, and its body as it comes.
//!
//! h3 refuses names and values that are none, pseudo-headers that are unknown or missing, and hosts that differ. Of a
//! pseudo-header that comes twice it takes the last, wherever it stands; as one request with one value goes on from
//! here, no two readers can differ over it. What belongs to a connection of HTTP/1.1 is refused here, the rest by the
//! same code as for HTTP/2.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h3::error::Code;
use h3::server::RequestStream;
use http::header::{CONTENT_LENGTH, HeaderMap, TE};
use http::{Method, request};
use http_body::{Frame, SizeHint};

use super::signals::Signals;
use super::transport::Incoming;
use crate::model::detail::StatusDetail;
use crate::proxy::headers::is_of_a_connection;
use crate::proxy::http2;
use crate::proxy::watch::Watched;

/// Makes a head one of HTTP/1.1.
///
/// # Errors
/// Why it is refused; all of it is the client's fault.
pub(super) fn canonical(head: &mut request::Parts, max_head: usize) -> Result<(), StatusDetail> {
    if !is_plain(&head.headers) {
        return Err(StatusDetail::InvalidRequestHeaders);
    }
    // There is no CONNECT for a protocol: h3 says so in its settings.
    if head.method == Method::CONNECT {
        return Err(StatusDetail::UnsupportedMethod);
    }
    http2::request::canonical(head, max_head, || [0; 16]).map(|_| ())
}

/// Whether nothing belongs to a connection.
fn is_plain(headers: &HeaderMap) -> bool {
    let is_trailers = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"trailers");
    !headers.keys().any(is_of_a_connection) && headers.get_all(TE).iter().all(is_trailers)
}

/// How many bytes of body a head announces; `None` = it does not say. What is no number is refused later.
pub(super) fn announced(head: &request::Parts) -> Option<u64> {
    head.headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether a head without a length is that of a request without a body, as a rule.
pub(super) fn is_bodiless(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE)
}

/// What a client sends on a stream.
pub(super) type Inflow = RequestStream<Incoming, Bytes>;

/// A request's body.
pub(crate) struct Body {
    /// `None` = taken out by the drop.
    stream: Option<Inflow>,
    /// Bytes that are still to come, where the head has said.
    left: Option<u64>,
    /// Come already.
    first: Option<Bytes>,
    state: State,
    signals: Rc<Signals>,
    /// The stream's task, which a body that breaks ends.
    watched: Rc<Watched>,
    /// Frames of DATA without any that were passed over.
    empty: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Data,
    Trailers,
    Ended,
    /// The client's fault: the task ends, and no answer is made.
    Broken,
}

/// A body that broke off, or is not as long as its head says.
#[derive(Debug)]
pub(crate) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the client's body broke off")
    }
}

impl Error for Broken {}

impl Body {
    pub(super) fn new(
        stream: Inflow,
        announced: Option<u64>,
        signals: Rc<Signals>,
        watched: Rc<Watched>,
    ) -> Self {
        let state = State::Data;
        Self { stream: Some(stream), left: announced, first: None, state, signals, watched, empty: 0 }
    }

    /// Waits until it is known whether there is any.
    pub(super) fn poll_first(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.state == State::Data && self.first.is_none() {
            match self.poll_data(cx)? {
                Poll::Ready(Some(bytes)) => self.first = Some(bytes),
                // Trailers after nothing are nobody's.
                Poll::Ready(None) => self.state = State::Ended,
                // Nobody has answered anything yet.
                Poll::Pending if self.state == State::Broken => return Poll::Ready(Err(Broken)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Err(Broken)) };
        let data = loop {
            match ready!(stream.poll_recv_data(cx)) {
                Ok(Some(mut data)) => break Some(data.copy_to_bytes(data.remaining())),
                Ok(None) if self.empty < self.signals.empty() => self.empty += 1,
                Ok(None) => break None,
                Err(_) => return self.break_off(Code::H3_REQUEST_INCOMPLETE, cx).map(Err),
            }
        };
        let come = data.as_ref().map_or(0, |data| data.len() as u64);
        let left = self.left.map(|left| left.checked_sub(come));
        if matches!(left, Some(None)) || data.is_none() && matches!(left, Some(Some(1..))) {
            return self.break_off(Code::H3_MESSAGE_ERROR, cx).map(Err);
        }
        self.left = left.flatten();
        Poll::Ready(Ok(data))
    }

    fn poll_trailers(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(stream) = &mut self.stream else { return Poll::Ready(Some(Err(Broken))) };
        let trailers = ready!(stream.poll_recv_trailers(cx));
        self.state = State::Ended;
        let code = match trailers {
            Ok(None) => return Poll::Ready(None),
            Ok(Some(trailers)) if is_plain(&trailers) => {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            Ok(Some(_)) => Code::H3_MESSAGE_ERROR,
            Err(_) => Code::H3_REQUEST_INCOMPLETE,
        };
        self.break_off(code, cx).map(|broken| Some(Err(broken)))
    }

    /// The stream is to be reset with this code. Only a task that is over is told more: one that lives would take it
    /// for a failed attempt, and answer.
    fn break_off(&mut self, code: Code, cx: &Context<'_>) -> Poll<Broken> {
        if self.state != State::Broken {
            self.state = State::Broken;
            if let Some(stream) = &mut self.stream {
                stream.stop_sending(code);
            }
            self.signals.break_off(code);
            self.watched.wake();
        }
        self.signals.poll_over(cx).map(|()| Broken)
    }
}

impl Drop for Body {
    /// Behind the announced end there may be nothing but the stream's own.
    fn drop(&mut self) {
        if matches!(self.state, State::Data | State::Trailers)
            && self.left == Some(0)
            && let Some(stream) = self.stream.take()
        {
            self.signals.leave_rest(Rest { stream, empty: self.empty }, &self.watched);
        }
    }
}

/// What comes behind a body that is as long as its head says.
pub(super) struct Rest {
    stream: Inflow,
    /// Frames of DATA without any that were passed over.
    empty: u64,
}

impl Rest {
    /// Waits for the end of the body, of whose frames `empty` have carried nothing; whether nothing came before. The
    /// stream is stopped where something did.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, empty: u64) -> Poll<bool> {
        loop {
            match ready!(self.stream.poll_recv_data(cx)) {
                Ok(Some(data)) if data.has_remaining() => {
                    self.stream.stop_sending(Code::H3_MESSAGE_ERROR);
                    return Poll::Ready(false);
                }
                Ok(Some(_)) => {}
                Ok(None) if self.empty < empty => self.empty += 1,
                // A reset that comes now is heard elsewhere.
                Ok(None) | Err(_) => return Poll::Ready(true),
            }
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = self.get_mut();
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        if this.state == State::Data {
            match ready!(this.poll_data(cx)) {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => this.state = State::Trailers,
                Err(broken) => return Poll::Ready(Some(Err(broken))),
            }
        }
        match this.state {
            State::Trailers => this.poll_trailers(cx),
            State::Broken => this.signals.poll_over(cx).map(|()| Some(Err(Broken))),
            State::Data | State::Ended => Poll::Ready(None),
        }
    }

    /// At the announced end, too: trailers behind a length are not waited for.
    fn is_end_stream(&self) -> bool {
        self.first.is_none()
            && (self.state == State::Ended || self.left == Some(0) && self.state != State::Broken)
    }

    fn size_hint(&self) -> SizeHint {
        let first = self.first.as_ref().map_or(0, |first| first.len() as u64);
        if self.is_end_stream() {
            SizeHint::with_exact(0)
        } else {
            self.left.map_or(SizeHint::default(), |left| SizeHint::with_exact(left + first))
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::{Request, Version};

    use super::*;

    fn refused(method: &str, headers: &[(&str, &str)]) -> Option<&'static str> {
        let mut builder = Request::builder().method(method).version(Version::HTTP_3).uri("https://a.test/p");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let mut head = builder.body(()).unwrap().into_parts().0;
        canonical(&mut head, 1000).err().map(StatusDetail::as_str)
    }

    #[test]
    fn what_belongs_to_a_connection_is_refused() {
        assert_eq!(refused("GET", &[("te", "trailers"), ("x", "y")]), None);
        for (name, value) in [
            ("connection", "close"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
        ] {
            assert_eq!(refused("GET", &[(name, value)]), Some("invalid_request_headers"), "{name}");
        }
    }

    #[test]
    fn the_rest_is_as_strict_as_http_2() {
        let word = Some("invalid_http2_client_header_format");
        assert_eq!(refused("GET", &[("host", "b.test")]), word);
        assert_eq!(refused("GET", &[("content-length", "1"), ("content-length", "1")]), word);
        assert_eq!(refused("CONNECT", &[]), Some("unsupported_method"));
    }
}
