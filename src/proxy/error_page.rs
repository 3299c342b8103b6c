//! `customErrorResponsePolicy`: a client sees another page, another status, or both instead of an error [G 5.9, 5.10].
//!
//! It comes last, after all retries, whoever made the error: a member, or the proxy for a request that had been routed.
//! What ends the client's connection for the client's own fault (400, 408, 413 of ours) stays as it is.
//!
//! **Ours**: the page is what `errorService`, a backend service, answers with 200 to a GET of its path. It is asked once, by a
//! request of our own making (see [`super::aside`]) that has no policy: a page that cannot be had is never replaced by
//! another one. The client then gets Google's "Not Found", with the status that it would have had. Of the answer, status and
//! headers stay (`Set-Cookie`, `WWW-Authenticate`, CORS …), but for those that describe the body; these are the page's.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_LOCATION,
    CONTENT_RANGE, CONTENT_TYPE, ETAG, HOST, LAST_MODIFIED, TRAILER, TRANSFER_ENCODING, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, request};

use super::aside::{Aside, Terms};
use super::body::{RequestBody, ResponseBody};
use super::context::Current;
use super::headers;
use super::serve::{Client, HEAD_TIMEOUT};
use super::watch::NEVER;
use crate::clock;
use crate::ledger::service::Extra;
use crate::model::place::OriginId;
use crate::model::route::action::Action;
use crate::model::route::error_page::{ErrorPage, ErrorPages};
use crate::model::unit::Span;

/// Largest page, in bytes.
pub(crate) const MAX_PAGE: usize = 256 * 1024;
/// Pages under way on a worker. Above, "Not Found" is what the client gets.
pub(crate) const MAX_PAGES: usize = 128;
/// How long a page may take, if the `timeoutSec` of its service is not shorter.
pub(crate) const PAGE_TIMEOUT: Span = Span::secs(5);

/// What a page is asked for with, kept until there is an answer.
pub(crate) struct Asked {
    pages: Arc<ErrorPages>,
    /// `Host` and `Via` of the client's request: the first is whose pages they are, the second ends loops.
    headers: HeaderMap,
    origin: OriginId,
}

impl Asked {
    /// `None` where the route has no policy.
    pub(super) fn of(
        action: &Action,
        head: &request::Parts,
        origin: impl FnOnce() -> OriginId,
    ) -> Option<Box<Self>> {
        let pages = action.errors.clone()?;
        let mut kept = HeaderMap::new();
        for name in [HOST, VIA] {
            for value in head.headers.get_all(&name) {
                kept.append(name.clone(), value.clone());
            }
        }
        kept.append(VIA, HeaderValue::from_static(headers::OUR_VIA));
        Some(Box::new(Self { pages, headers: kept, origin: origin() }))
    }
}

/// The answer that will be, once its page is here.
pub(super) type Coming = Pin<Box<dyn Future<Output = Response<ResponseBody>>>>;

/// Whether a policy may have something to say about an answer.
pub(super) fn is_due(answer: &Response<ResponseBody>) -> bool {
    let status = answer.status().as_u16();
    let ends_connection = || answer.body().is_own() && matches!(status, 400 | 408 | 413);
    status >= 400
        && answer.body().record().is_some_and(|record| record.errors.is_some())
        && !ends_connection()
}

/// Gives an answer the status that the policy wants. `Err`: its page must be fetched.
pub(super) fn applied(mut answer: Response<ResponseBody>) -> Result<Response<ResponseBody>, Coming> {
    let status = answer.status();
    let Some(record) = answer.body_mut().record_mut() else { return Ok(answer) };
    let Some(asked) = record.errors.take() else { return Ok(answer) };
    let Some(rule) = asked.pages.find(status.as_u16()) else { return Ok(answer) };
    let status = rule.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(status);
    record.status = Some(status.as_u16());
    *answer.status_mut() = status;
    match rule.page.clone() {
        Some(page) => Err(Box::pin(with_page(answer, page, asked))),
        None => Ok(answer),
    }
}

async fn with_page(
    answer: Response<ResponseBody>,
    page: ErrorPage,
    asked: Box<Asked>,
) -> Response<ResponseBody> {
    let (mut head, mut old) = answer.into_parts();
    let Some(record) = old.record_mut() else { return Response::from_parts(head, old) };
    let (client, world) = (record.client.clone(), record.world.clone());
    // Its member has done its work. What ends attempts does not end this.
    if let Some(placed) = &mut record.placed {
        placed.lease.pay_back();
    }
    client.watched.set_served_by(None);
    client.watched.set_limit(NEVER);
    client.watched.set_deadline(clock::now() + PAGE_TIMEOUT + HEAD_TIMEOUT);
    let mut fetched = pin!(fetch(&client, world, &page, asked));
    let fetched = poll_fn(|cx| {
        // Meanwhile, the rest of what nobody reads: its connection is then good for another request.
        old.discard(cx);
        fetched.as_mut().poll(cx)
    })
    .await;
    for name in OF_BODY {
        head.headers.remove(name);
    }
    let body = if let Some((headers, body)) = fetched {
        head.headers.extend(headers);
        body
    } else {
        head.headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
        Bytes::from_static(b"Not Found\n")
    };
    let mut record = match old.into_record() {
        Ok(record) => record,
        Err(old) => return Response::from_parts(head, old),
    };
    record.bytes_down = 0;
    // Where nobody else knows that the answer to a HEAD has no body.
    let is_head = record.client.is_head();
    if is_head {
        head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    let body = (!body.is_empty() && !is_head).then_some(body);
    Response::from_parts(head, ResponseBody::own(body, record))
}

/// Headers that describe a body.
const OF_BODY: [HeaderName; 16] = [
    ACCEPT_RANGES,
    CONTENT_DISPOSITION,
    CONTENT_ENCODING,
    CONTENT_LANGUAGE,
    CONTENT_LENGTH,
    CONTENT_LOCATION,
    CONTENT_RANGE,
    CONTENT_TYPE,
    ETAG,
    LAST_MODIFIED,
    TRAILER,
    TRANSFER_ENCODING,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];
/// Those of them that a page brings.
const OF_PAGE: [HeaderName; 3] = [CONTENT_TYPE, CONTENT_ENCODING, CONTENT_LANGUAGE];

/// A page with what describes it. `None`: there is none to be had.
async fn fetch(
    client: &Client,
    world: Rc<Current>,
    page: &ErrorPage,
    asked: Box<Asked>,
) -> Option<(HeaderMap, Bytes)> {
    let context = client.context.clone();
    let ledger = world.service(page.service)?.ledger.clone();
    let found = match Room::take(&context.pages) {
        Some(_room) => {
            let to = Aside::new(client, world, (page.service, asked.origin))?;
            let mut request = Request::get(&*page.path).body(RequestBody::Empty).ok()?;
            *request.headers_mut() = asked.headers;
            let said = to.ask(request, Terms { timeout: PAGE_TIMEOUT, most: MAX_PAGE, is_kept: true }).await;
            said.ok().filter(|said| said.is_whole && said.head.status == StatusCode::OK)
        }
        None => None,
    };
    ledger.count_extra(context.worker, if found.is_some() { Extra::Pages } else { Extra::PagesMissed });
    let said = found?;
    let mut described = HeaderMap::new();
    for name in OF_PAGE {
        if let Some(value) = said.head.headers.get(&name) {
            described.insert(name, value.clone());
        }
    }
    Some((described, said.body.into()))
}

/// One of the worker's pages under way; given back when dropped.
struct Room<'a>(&'a Cell<usize>);

impl<'a> Room<'a> {
    fn take(all: &'a Cell<usize>) -> Option<Self> {
        (all.get() < MAX_PAGES).then(|| {
            all.set(all.get() + 1);
            Self(all)
        })
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}
