//! Answers of our own: the only place where a failure becomes a status and a body.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER, VIA};
use http::{HeaderValue, Response, StatusCode};

use super::body::ResponseBody;
use super::failure::{Failure, WITHOUT_SERVICE};
use super::record::Record;
use crate::model::detail::StatusDetail;

/// Answers a failed request. Whatever the client did wrong ends its connection.
pub(crate) fn failure(mut record: Box<Record>, failure: Failure) -> Response<ResponseBody> {
    let scheme = record.live_service().map_or(WITHOUT_SERVICE, |s| s.config.scheme);
    let status = failure.status(scheme);
    record.detail = Some(failure.detail);
    let closes = status == 400 || status == 408 || status == 413 || record.client.context.is_draining.get();
    let mut response = own(record, status, Bytes::from(page(status, failure.detail)), closes);
    if failure.detail == StatusDetail::Overloaded {
        response.headers_mut().insert(RETRY_AFTER, SOON);
    }
    response
}

/// Seconds after which a backend that was full has room again: a rate target counts by the second.
const SOON: HeaderValue = HeaderValue::from_static("1");

/// Sends the client elsewhere: to the normal form of its path [G 6b], or where the URL map says.
pub(crate) fn redirect(record: Box<Record>, status: u16, target: &str) -> Response<ResponseBody> {
    let mut response = direct(record, status);
    if let Ok(target) = HeaderValue::from_bytes(target.as_bytes()) {
        response.headers_mut().insert(LOCATION, target);
    }
    response
}

/// Answers by itself, with nothing but headers.
pub(super) fn direct(mut record: Box<Record>, status: u16) -> Response<ResponseBody> {
    record.detail = Some(StatusDetail::DirectResponse);
    own(record, status, Bytes::new(), false)
}

/// Answers in the place of a service: `faultInjectionPolicy` [G 7c].
pub(crate) fn abort(mut record: Box<Record>, status: u16) -> Response<ResponseBody> {
    let detail = StatusDetail::FaultFilterAbort;
    record.detail = Some(detail);
    let body = if status < 400 { Bytes::new() } else { Bytes::from(page(status, detail)) };
    own(record, status, body, false)
}

/// The same as [`failure`], as bytes, for what never became a request.
pub(crate) fn raw(status: u16, detail: StatusDetail) -> Vec<u8> {
    let body = page(status, detail);
    format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: text/html; charset=UTF-8\r\nreferrer-policy: no-referrer\r\n\
         content-length: {}\r\nvia: 1.1 google\r\nconnection: close\r\n\r\n{body}",
        reason(status),
        body.len(),
    )
    .into_bytes()
}

fn own(mut record: Box<Record>, status: u16, body: Bytes, closes: bool) -> Response<ResponseBody> {
    // Nobody is there to get it.
    let is_heard = record.detail != Some(StatusDetail::ClientDisconnectedBeforeAny);
    record.status = is_heard.then_some(status);
    let closes = closes || record.client.owes_body();
    let length = body.len();
    // Where nobody else knows that the answer to a HEAD has no body.
    let is_head = record.client.is_head();
    let cors = record.cors.take();
    let body = ResponseBody::own((!body.is_empty() && !is_head).then_some(body), record);
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=UTF-8"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(VIA, HeaderValue::from_static("1.1 google"));
    if is_head {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
    if let Some(cors) = cors {
        cors.write(headers);
    }
    if closes {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The body in the manner of Google's [G 5.11], with our word for what happened.
fn page(status: u16, detail: StatusDetail) -> String {
    let what = match status {
        400..=499 => "Your client has issued a request that this server cannot answer.",
        _ => {
            "The server encountered a temporary error and could not complete your request.\
             <p>Please try again in 30 seconds."
        }
    };
    let name = if status >= 500 { "Server Error" } else { reason(status) };
    format!(
        "<html><head>\n<title>{status} {name}</title>\n</head><body text=#000000 bgcolor=#ffffff>\n\
         <h1>Error: {name}</h1>\n<h2>{what}</h2>\n<p>{}</p>\n</body></html>\n",
        detail.as_str(),
    )
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Error")
}
