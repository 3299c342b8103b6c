//! A request on its way to members: kept so that it can be sent again as long as that is possible.

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, request};
use hyper::body::{Body, Incoming};

use super::body::{Progress, RequestBody};
use super::retry::BodyState;

/// The request, whole or spent.
pub(crate) struct Outbound {
    method: Method,
    uri: Uri,
    /// `None` while an attempt has them.
    headers: Option<HeaderMap>,
    /// A copy for another attempt, made when a request without body goes out. A list costs a third of a map.
    copy: Vec<(HeaderName, HeaderValue)>,
    body: Option<Incoming>,
    /// `None` when the request has no body.
    progress: Option<Rc<Progress>>,
}

impl Outbound {
    pub(crate) fn new(head: request::Parts, incoming: Incoming) -> Self {
        let has_body = !incoming.is_end_stream();
        Self {
            method: head.method,
            uri: head.uri,
            headers: Some(head.headers),
            copy: Vec::new(),
            body: has_body.then_some(incoming),
            progress: has_body.then(Rc::default),
        }
    }

    /// The next attempt's request; `None` when it cannot be sent again. A request without body keeps a copy of its
    /// head, since it may have to be retried [G 5.7].
    pub(crate) fn next(&mut self) -> Option<Request<RequestBody>> {
        let headers = self.take_headers();
        let body = match (&self.progress, self.body.take()) {
            (None, _) => RequestBody::Empty,
            (Some(progress), Some(incoming)) => RequestBody::Streaming(incoming, progress.clone()),
            (Some(_), None) => return None,
        };
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = headers;
        Some(request)
    }

    fn take_headers(&mut self) -> HeaderMap {
        let Some(headers) = self.headers.take() else {
            return self.copy.iter().cloned().fold(HeaderMap::new(), |mut map, (name, value)| {
                map.append(name, value);
                map
            });
        };
        if self.progress.is_none() && self.copy.is_empty() {
            self.copy = headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        }
        headers
    }

    /// Takes back a request that never went out.
    pub(crate) fn restore(&mut self, unsent: Option<Box<Request<RequestBody>>>) {
        let Some(request) = unsent else { return };
        let (head, body) = request.into_parts();
        self.headers = Some(head.headers);
        if let RequestBody::Streaming(incoming, _) = body {
            self.body = Some(incoming);
        }
    }

    /// What became of the body.
    pub(crate) fn state(&self) -> BodyState {
        match &self.progress {
            None => BodyState::None,
            Some(progress) if self.body.is_some() && !progress.is_touched.get() => BodyState::Untouched,
            Some(_) => BodyState::Spent,
        }
    }

    /// Methods that may be sent twice [RFC 9110 9.2.2].
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// How far the body has come.
    pub(crate) fn progress(&self) -> Option<&Progress> {
        self.progress.as_deref()
    }

    /// The same, for the answer, which may come before the body has ended.
    pub(crate) fn into_progress(self) -> Option<Rc<Progress>> {
        self.progress
    }

    /// Body bytes handed on so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.progress.as_ref().map_or(0, |progress| progress.bytes.get())
    }
}
