//! One request to a toy backend.

use std::convert::Infallible;
use std::hint::black_box;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;

use super::Live;
use super::fault::{Fault, Order};
use super::report::Report;
use super::settings::{Settings, Utilization};
use crate::clock;
use crate::model::unit::Span;

type Body = Either<Full<Bytes>, Incoming>;

pub(super) async fn answer(
    live: &Live,
    order: &Order,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let query = request.uri().query().unwrap_or("");
    order.set(None);
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz") => {
            let status = live.settings().health_status;
            said(status, format!("health {status}\n"))
        }
        (&Method::GET | &Method::HEAD, "/load") => load(live),
        (&Method::POST, "/_set") => set(live, query),
        _ => serve(live, order, request).await,
    })
}

async fn serve(live: &Live, order: &Order, request: Request<Incoming>) -> Response<Body> {
    let settings = *live.settings();
    let number = live.requests.fetch_add(1, Relaxed);
    live.meter().count(clock::now());
    let _under_way = UnderWay::begin(live);
    let fault = settings.faults.of(number);
    order.set(fault);
    let is_early = fault == Some(Fault::Early);
    let wait = settings.wait(number) + settings.faults.wait(number);
    if !wait.is_zero() && !is_early {
        tokio::time::sleep(wait).await;
    }
    burn(settings.cpu);
    let is_echo = !is_early && request.uri().query().is_some_and(|q| q.split('&').any(|pair| pair == "echo"));
    let mut sent = request.into_body();
    let body = if is_echo {
        Either::Right(sent)
    } else {
        // As most servers do. An answer before the end of a request breaks the request off, which few clients of
        // HTTP/2 take well.
        while !is_early && matches!(sent.frame().await, Some(Ok(_))) {}
        Either::Left(Full::new(body(&live.name, settings.body_bytes)))
    };
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(settings.status).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if is_early {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    if let Ok(name) = HeaderValue::from_str(&live.name) {
        headers.insert("x-backend", name);
    }
    let report = report(live, &settings).and_then(|report| report.header(settings.report));
    if let Some(value) = report.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert("endpoint-load-metrics", value);
    }
    response
}

/// A request until its answer is made, or nobody waits for it any more.
struct UnderWay<'a>(&'a Live);

impl<'a> UnderWay<'a> {
    fn begin(live: &'a Live) -> Self {
        let now = live.under_way.fetch_add(1, Relaxed) + 1;
        live.most_under_way.fetch_max(now, Relaxed);
        Self(live)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

fn load(live: &Live) -> Response<Body> {
    let settings = *live.settings();
    let report = report(live, &settings).unwrap_or_else(|| Report::new(0.0, live.meter().rate(clock::now())));
    let mut response = said(200, report.json());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn set(live: &Live, query: &str) -> Response<Body> {
    let mut settings = live.settings();
    match settings.edited(query) {
        Ok(edited) => {
            *settings = edited;
            said(200, "set\n".to_owned())
        }
        Err(why) => said(400, why + "\n"),
    }
}

fn report(live: &Live, settings: &Settings) -> Option<Report> {
    let now = clock::now();
    let rate = live.meter().rate(now);
    match settings.utilization {
        Utilization::None => None,
        Utilization::Fixed(value) => Some(Report::new(value, rate)),
        Utilization::OfRate(capacity) => Some(Report::new(rate / capacity.max(f64::MIN_POSITIVE), rate)),
        Utilization::OfCpu(cores) => {
            live.cpu().busy(now).map(|busy| Report::new(busy / cores.max(f64::MIN_POSITIVE), rate))
        }
    }
}

/// Uses about `time` of CPU. A turn in which the thread lost the processor counts as a short one, so that on a busy
/// machine the work stays the same.
fn burn(time: Duration) {
    const LONGEST_TURN: Span = Span(40_000);
    let (mut spent, mut before) = (Span::ZERO, clock::now());
    while spent.to_std() < time {
        for n in 0..2_000_u64 {
            black_box(n.wrapping_mul(n));
        }
        let now = clock::now();
        spent = spent + now.since(before).min(LONGEST_TURN);
        before = now;
    }
}

/// The name and a line end, filled up with dots to `length`; cut when the name is longer.
fn body(name: &str, length: usize) -> Bytes {
    let mut body = Vec::with_capacity(length);
    body.extend(name.bytes().chain([b'\n']).take(length));
    body.resize(length, b'.');
    body.into()
}

fn said(status: u16, text: String) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from(text))));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    response
}
