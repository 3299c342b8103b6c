//! A request on its way to members: kept so that it can be sent again as long as that is possible.

use std::rc::Rc;

use http::{Request, request};

use super::body::{Progress, RequestBody, Source};
use super::floor::Floor;
use super::http1::member::Outgoing;
use super::http1::scratch::Scratch;
use super::kept::{Copying, Kept, Store};
use super::mirror::Mirror;
use super::record::Record;
use super::retry::BodyState;

/// The request, whole or spent.
pub(crate) struct Outbound {
    /// Ready to be sent. Boxed, and gone once it is: a request that waits for its answer should be small.
    request: Option<Box<Request<RequestBody>>>,
    /// What goes to a member of HTTP/1, and what it takes to send the request again; `None` when it was not sent yet, or
    /// has a body and went out on a stream.
    outgoing: Option<Outgoing>,
    is_idempotent: bool,
    /// `None` when the request has no body.
    progress: Option<Rc<Progress>>,
    /// The body is kept for another attempt.
    keeps_body: bool,
    /// Who gets a copy once it is sent.
    mirror: Option<Box<Mirror>>,
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
            outgoing: None,
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

    /// The next attempt's request, and how far its body has come; `None` when it cannot be sent again.
    pub(crate) fn next(&mut self, scratch: &Scratch) -> Option<(&mut Outgoing, Option<&Progress>)> {
        if let Some(mut request) = self.request.take() {
            self.copy_to_mirror(&request);
            match &mut self.outgoing {
                None => self.outgoing = Some(Outgoing::of(&mut request)),
                Some(outgoing) => outgoing.restore(std::mem::take(request.body_mut())),
            }
            scratch.give_map(std::mem::take(request.headers_mut()));
        }
        self.restore_kept()?;
        Some((self.outgoing.as_mut()?, self.progress.as_deref()))
    }

    /// The same for a stream of HTTP/2. A request without body leaves a copy whatever its method: the member may say
    /// that it did nothing with it.
    pub(crate) fn next_request(&mut self) -> Option<Box<Request<RequestBody>>> {
        let Some(request) = self.request.take() else {
            self.restore_kept()?;
            return self.outgoing.as_mut()?.request().map(Box::new);
        };
        if self.outgoing.is_none() && (self.keeps_body || self.progress.is_none()) {
            self.outgoing = Some(Outgoing::head_of(&request));
        }
        self.copy_to_mirror(&request);
        Some(request)
    }

    /// Puts the copy of a body in the place of the one that is gone; `None` when there is no copy.
    fn restore_kept(&mut self) -> Option<()> {
        let is_gone = self.progress.is_some() && !self.outgoing.as_ref()?.has_body();
        if is_gone {
            let kept = self.kept()?;
            self.outgoing.as_mut()?.restore(RequestBody::Kept(Some(kept)));
        }
        Some(())
    }

    fn copy_to_mirror(&mut self, request: &Request<RequestBody>) {
        if let Some(mirror) = self.mirror.take() {
            mirror.launch(request, self.progress.as_ref().and_then(|progress| progress.copying.get()));
        }
    }

    /// Takes back a request that never went out on a stream.
    pub(crate) fn restore(&mut self, unsent: Option<Box<Request<RequestBody>>>) {
        if unsent.is_some() {
            self.request = unsent;
        }
    }

    /// What became of the body.
    pub(crate) fn state(&self) -> BodyState {
        match &self.progress {
            None => BodyState::None,
            Some(progress) if self.is_whole() && !progress.is_touched.get() => BodyState::Untouched,
            Some(_) if self.outgoing.is_some() && self.kept().is_some() => BodyState::Kept,
            Some(_) => BodyState::Spent,
        }
    }

    /// Nothing of it has gone out.
    fn is_whole(&self) -> bool {
        self.request.is_some() || self.outgoing.as_ref().is_some_and(Outgoing::has_body)
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
