//! A request on its way to members: kept so that it can be sent again as long as that is possible.

use std::rc::Rc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, request};

use super::body::{Progress, RequestBody, Source};
use super::floor::Floor;
use super::kept::{Copying, Kept, Store};
use super::mirror::Mirror;
use super::record::Record;
use super::retry::BodyState;

/// The request, whole or spent.
pub(crate) struct Outbound {
    /// Ready to be sent. Boxed, and gone once it is: a request that waits for its answer should be small.
    request: Option<Box<Request<RequestBody>>>,
    /// As it was sent, without its body.
    spent: Option<Box<Request<RequestBody>>>,
    /// The same where it is used up by being sent, on a stream of HTTP/2.
    copy: Option<Copy>,
    is_idempotent: bool,
    /// `None` when the request has no body.
    progress: Option<Rc<Progress>>,
    /// The body is kept for another attempt.
    keeps_body: bool,
    /// Who gets a copy once it is sent.
    mirror: Option<Box<Mirror>>,
}

/// A head without a body, as text. It costs one allocation; a copy of the map would cost several, and a count
/// up and down for each of its values.
struct Copy {
    method: Method,
    text: Vec<u8>,
}

impl Outbound {
    /// `floor`: how slowly its body may come, if it has one.
    pub(crate) fn new(
        head: request::Parts,
        incoming: Source,
        record: &Record,
        floor: impl FnOnce() -> Option<Floor>,
    ) -> Self {
        let context = &record.client.context;
        let begun = || Progress::new(context.buffer.clone(), context.most_buffered(&record.world), floor());
        let progress = (!incoming.is_end_stream()).then(|| Rc::new(begun()));
        let body = match &progress {
            Some(progress) => RequestBody::Streaming(Box::new((incoming, progress.clone()))),
            None => RequestBody::Empty,
        };
        let is_idempotent = head.method.is_idempotent();
        let mut request = Box::new(Request::new(body));
        *request.method_mut() = head.method;
        *request.uri_mut() = head.uri;
        *request.headers_mut() = head.headers;
        Self {
            request: Some(request),
            spent: None,
            copy: None,
            is_idempotent,
            progress,
            keeps_body: false,
            mirror: None,
        }
    }

    /// Keeps the body as it passes, for another attempt. Without a body, there is nothing to be done.
    pub(crate) fn keep_body(&mut self, store: &Rc<Store>) {
        if let Some(progress) = &self.progress {
            progress.copying.get_or_init(|| Copying::new(store));
            self.keeps_body = true;
        }
    }

    /// When the request is sent first, it is copied.
    pub(crate) fn mirror(&mut self, mirror: Box<Mirror>, store: &Rc<Store>) {
        if let Some(progress) = &self.progress {
            progress.copying.get_or_init(|| Copying::new(store));
        }
        self.mirror = Some(mirror);
    }

    /// The next attempt's request; `None` when it cannot be sent again.
    pub(crate) fn next(&mut self) -> Option<Box<Request<RequestBody>>> {
        let Some(request) = self.request.take() else {
            let again = || Some(Box::new(self.copy.as_ref()?.request()?));
            let mut request = self.spent.take().or_else(again)?;
            if let Some(kept) = self.kept() {
                *request.body_mut() = RequestBody::Kept(Some(kept));
            }
            return Some(request);
        };
        if let Some(mirror) = self.mirror.take() {
            mirror.launch(&request, self.progress.as_ref().and_then(|progress| progress.copying.get()));
        }
        Some(request)
    }

    /// The same for a stream of HTTP/2: the member may say that it did nothing with the request, and then it is sent
    /// again whatever its method.
    pub(crate) fn next_of_any(&mut self) -> Option<Box<Request<RequestBody>>> {
        if self.copy.is_none() && (self.progress.is_none() || self.keeps_body) {
            self.copy = self.request.as_deref().map(Copy::of);
        }
        self.next()
    }

    /// Takes back what was sent of a request, since it may have to be retried [G 5.7].
    pub(crate) fn take_back(&mut self, spent: Option<Box<Request<RequestBody>>>) {
        if self.keeps_body || self.progress.is_none() && self.is_idempotent {
            self.spent = spent;
        }
    }

    /// Takes back a request that never went out.
    pub(crate) fn restore(&mut self, unsent: Option<Box<Request<RequestBody>>>) {
        if unsent.is_some() {
            self.request = unsent;
        }
    }

    /// What became of the body.
    pub(crate) fn state(&self) -> BodyState {
        match &self.progress {
            None => BodyState::None,
            Some(progress) if self.request.is_some() && !progress.is_touched.get() => BodyState::Untouched,
            Some(_) if self.kept().is_some() && (self.spent.is_some() || self.copy.is_some()) => {
                BodyState::Kept
            }
            Some(_) => BodyState::Spent,
        }
    }

    /// The body, if it has come whole and was kept for another attempt.
    fn kept(&self) -> Option<Kept> {
        if !self.keeps_body {
            return None;
        }
        self.progress.as_ref()?.copying.get()?.whole()
    }

    /// Whether it may be sent twice [RFC 9110 9.2.2].
    pub(crate) const fn is_idempotent(&self) -> bool {
        self.is_idempotent
    }

    /// How far the body has come.
    pub(crate) fn progress(&self) -> Option<&Progress> {
        self.progress.as_deref()
    }

    /// The same, for the answer, which may come before the body has ended.
    pub(crate) fn into_progress(self) -> Option<Rc<Progress>> {
        if let Some(floor) = self.progress.as_ref().and_then(|progress| progress.floor.as_ref()) {
            floor.lift();
        }
        self.progress
    }

    /// Body bytes handed on so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.progress.as_ref().map_or(0, |progress| progress.bytes.get())
    }
}

impl Copy {
    /// Target behind its length; then each header behind the lengths of its name and its value.
    fn of(request: &Request<RequestBody>) -> Self {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str()).as_bytes();
        let headers = request.headers();
        let values: usize = headers.values().map(HeaderValue::len).sum();
        // Names are guessed: looking at them twice would cost more than the few bytes.
        let mut text = Vec::with_capacity(LENGTH + target.len() + headers.len() * (2 * LENGTH + 24) + values);
        text.extend_from_slice(&length(target));
        text.extend_from_slice(target);
        for (name, value) in headers {
            let (name, value) = (name.as_str().as_bytes(), value.as_bytes());
            text.reserve(2 * LENGTH + name.len() + value.len());
            text.extend_from_slice(&length(name));
            text.extend_from_slice(&length(value));
            text.extend_from_slice(name);
            text.extend_from_slice(value);
        }
        Self { method: request.method().clone(), text }
    }

    fn request(&self) -> Option<Request<RequestBody>> {
        let mut rest = &*self.text;
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = self.method.clone();
        let target = take_length(&mut rest)?;
        *request.uri_mut() = Uri::try_from(take(&mut rest, target)?).ok()?;
        let headers: &mut HeaderMap = request.headers_mut();
        while !rest.is_empty() {
            let (name, value) = (take_length(&mut rest)?, take_length(&mut rest)?);
            let name = HeaderName::from_bytes(take(&mut rest, name)?).ok()?;
            headers.append(name, HeaderValue::from_bytes(take(&mut rest, value)?).ok()?);
        }
        Some(request)
    }
}

/// Bytes of a length.
const LENGTH: usize = 4;

/// A head is at most 64 KiB long, so every part of it fits.
fn length(part: &[u8]) -> [u8; LENGTH] {
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes()
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let (length, behind) = rest.split_first_chunk::<LENGTH>()?;
    *rest = behind;
    usize::try_from(u32::from_le_bytes(*length)).ok()
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (part, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    Some(part)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_says_what_the_request_said() {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = Method::OPTIONS;
        *request.uri_mut() = "/a%20b?c=d".parse().unwrap();
        for (name, value) in [("host", "h"), ("x-empty", ""), ("accept", "a"), ("accept", "b")] {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        request.headers_mut().append("x-bytes", HeaderValue::from_bytes(b"\xff\xfe").unwrap());
        let again = Copy::of(&request).request().unwrap();
        assert_eq!((again.method(), again.uri()), (request.method(), request.uri()));
        assert_eq!(again.headers(), request.headers());
    }
}
