//! One JSON line for each request, in the shape of Google's log entry [G 8.2].
//!
//! Lines are written into a worker's own buffer and handed over in chunks; when the writer is behind, chunks are
//! dropped and their lines counted. A full disk never slows a request down. `Authorization` and `Cookie` are never
//! part of an entry.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::SyncSender;
use std::time::SystemTime;

use super::handshake::Secured;
use super::retry::Refused;
use crate::balance::pick::Reason;
use crate::ledger::service::Loss;
use crate::model::detail::StatusDetail;
use crate::model::service::LogFields;
use crate::model::timestamp::Timestamp;
use crate::model::unit::Span;

/// A request that has ended. Empty words and `None` are left out of the line.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Entry<'a> {
    /// When the request began.
    pub(crate) at: SystemTime,
    /// From then to the last byte of the answer.
    pub(crate) latency: Span,
    /// Empty when the request could not be read.
    pub(crate) method: &'a str,
    /// `HTTP/1.1`, `HTTP/2`; empty when the request could not be read.
    pub(crate) protocol: &'a str,
    /// `Host`, as bytes of the client.
    pub(crate) host: &'a [u8],
    /// Path and query, as bytes of the client.
    pub(crate) target: &'a [u8],
    /// Bytes from the client.
    pub(crate) request_size: u64,
    /// Bytes to the client.
    pub(crate) response_size: u64,
    /// What the client got; `None` = nothing, written as 0.
    pub(crate) status: Option<u16>,
    /// `User-Agent`.
    pub(crate) user_agent: Option<&'a [u8]>,
    /// `Referer`.
    pub(crate) referer: Option<&'a [u8]>,
    /// The client.
    pub(crate) remote_ip: IpAddr,
    /// Where it came in and went.
    pub(crate) way: Way<'a>,
    /// How it ended.
    pub(crate) detail: StatusDetail,
    /// Attempts sent to members.
    pub(crate) attempts: u32,
    /// Why its session left its member, if it did.
    pub(crate) affinity_loss: Option<Loss>,
    /// Why it was not tried again, if a limit stood in the way.
    pub(crate) retry_refused: Option<Refused>,
    /// `X-Cloud-Trace-Context`: `TRACE/SPAN;o=1`.
    pub(crate) trace: Option<&'a [u8]>,
    /// What was agreed on, if the client spoke TLS.
    pub(crate) secured: Option<Secured>,
    /// Which of that is shown.
    pub(crate) fields: LogFields,
}

/// Resources on a request's way; empty = not reached.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Way<'a> {
    /// Forwarding rule.
    pub(crate) forwarding_rule: &'a str,
    /// Target proxy.
    pub(crate) target_proxy: &'a str,
    /// URL map.
    pub(crate) url_map: &'a str,
    /// Backend service.
    pub(crate) service: &'a str,
    /// Group of the backend that was tried last.
    pub(crate) backend: &'a str,
    /// Its member, with its address.
    pub(crate) member: Option<(&'a str, SocketAddr)>,
    /// Why it was placed there.
    pub(crate) reason: Option<Reason>,
}

/// Google's word for a version.
pub(crate) const fn protocol(version: http::Version) -> &'static str {
    match version {
        http::Version::HTTP_10 => "HTTP/1.0",
        http::Version::HTTP_2 => "HTTP/2",
        http::Version::HTTP_3 => "HTTP/3",
        _ => "HTTP/1.1",
    }
}

impl Entry<'_> {
    /// Appends the line with its line end.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut line = Line { out };
        let is_bad = self.status.is_none_or(|status| status >= 400);
        line.raw("{\"timestamp\":\"");
        line.display(format_args!("{}", Timestamp(self.at)));
        line.raw("\",\"severity\":\"");
        line.raw(if is_bad { "WARNING" } else { "INFO" });
        line.raw("\",\"httpRequest\":{");
        self.http_request(&mut line);
        line.raw("},\"resource\":{\"type\":\"http_load_balancer\",\"labels\":{\"zone\":\"global\"");
        for (key, value) in [
            (",\"backend_service_name\":", self.way.service),
            (",\"forwarding_rule_name\":", self.way.forwarding_rule),
            (",\"target_proxy_name\":", self.way.target_proxy),
            (",\"url_map_name\":", self.way.url_map),
        ] {
            line.word(key, value);
        }
        line.raw("}},\"jsonPayload\":{\"@type\":\"");
        line.raw("type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry\"");
        self.payload(&mut line);
        line.raw("}");
        self.trace(&mut line);
        line.raw("}\n");
    }

    fn http_request(&self, line: &mut Line<'_>) {
        // 64-bit numbers are strings in Google's JSON.
        line.display(format_args!(
            "\"status\":{},\"requestSize\":\"{}\",\"responseSize\":\"{}\"",
            self.status.unwrap_or(0),
            self.request_size,
            self.response_size
        ));
        line.word(",\"requestMethod\":", self.method);
        if !self.target.is_empty() {
            let https = self.secured.is_some();
            line.raw(if https { ",\"requestUrl\":\"https://" } else { ",\"requestUrl\":\"http://" });
            line.escaped(self.host);
            line.escaped(self.target);
            line.raw("\"");
        }
        line.word(",\"protocol\":", self.protocol);
        line.bytes(",\"userAgent\":", self.user_agent);
        line.bytes(",\"referer\":", self.referer);
        line.display(format_args!(",\"remoteIp\":\"{}\"", self.remote_ip.to_canonical()));
        if let Some(address) = self.server() {
            line.display(format_args!(",\"serverIp\":\"{}\"", address.ip()));
        }
        let micros = self.latency.0 / 1_000;
        line.display(format_args!(",\"latency\":\"{}.{:06}s\"", micros / 1_000_000, micros % 1_000_000));
    }

    /// Where the member is; an endpoint that is known by name alone has no address of its own.
    fn server(&self) -> Option<SocketAddr> {
        self.way.member.map(|(_, address)| address).filter(|address| !address.ip().is_unspecified())
    }

    fn payload(&self, line: &mut Line<'_>) {
        line.word(",\"statusDetails\":", self.detail.as_str());
        line.word(",\"backend\":", self.way.backend);
        if let Some((member, address)) = self.way.member {
            line.word(",\"member\":", member);
            if self.server().is_some() {
                line.display(format_args!(",\"memberAddress\":\"{address}\""));
            }
        }
        line.word(",\"spillReason\":", self.way.reason.map_or("", Reason::as_str));
        line.display(format_args!(",\"attempts\":{}", self.attempts));
        line.word(",\"affinityLoss\":", self.affinity_loss.map_or("", Loss::as_str));
        line.word(",\"retryRefused\":", self.retry_refused.map_or("", Refused::as_str));
        self.tls(line);
    }

    fn tls(&self, line: &mut Line<'_>) {
        let Some(secured) = self.secured else { return };
        let protocol = if self.fields.has_tls_protocol { secured.protocol } else { "" };
        let cipher = if self.fields.has_tls_cipher { secured.cipher } else { "" };
        if protocol.is_empty() && cipher.is_empty() {
            return;
        }
        line.raw(",\"tls\":{");
        line.word("\"protocol\":", protocol);
        line.raw(if protocol.is_empty() || cipher.is_empty() { "" } else { "," });
        line.word("\"cipher\":", cipher);
        line.raw("}");
    }

    fn trace(&self, line: &mut Line<'_>) {
        let Some(context) = self.trace else { return };
        let context = context.split(|b| *b == b';').next().unwrap_or(context);
        let mut parts = context.splitn(2, |b| *b == b'/');
        line.bytes(",\"trace\":", parts.next());
        line.bytes(",\"spanId\":", parts.next());
    }
}

/// A line in the making.
pub(super) struct Line<'a> {
    pub(super) out: &'a mut Vec<u8>,
}

impl Line<'_> {
    pub(super) fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
    }

    /// What needs no escaping.
    pub(super) fn display(&mut self, value: std::fmt::Arguments<'_>) {
        let _ = self.write_fmt(value);
    }

    pub(super) fn word(&mut self, key: &str, value: &str) {
        self.bytes(key, Some(value.as_bytes()));
    }

    fn bytes(&mut self, key: &str, value: Option<&[u8]>) {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            self.raw(key);
            self.raw("\"");
            self.escaped(value);
            self.raw("\"");
        }
    }

    /// As part of a JSON string. Bytes that are no UTF-8 become `\xNN` in words, so that any line is valid JSON.
    fn escaped(&mut self, bytes: &[u8]) {
        if bytes.iter().all(|b| is_plain(*b)) {
            self.out.extend_from_slice(bytes);
            return;
        }
        for chunk in bytes.utf8_chunks() {
            for byte in chunk.valid().bytes() {
                match byte {
                    b'"' => self.raw("\\\""),
                    b'\\' => self.raw("\\\\"),
                    b'\n' => self.raw("\\n"),
                    b'\r' => self.raw("\\r"),
                    b'\t' => self.raw("\\t"),
                    0..0x20 | 0x7f => self.display(format_args!("\\u{byte:04x}")),
                    byte => self.out.push(byte),
                }
            }
            for byte in chunk.invalid() {
                self.display(format_args!("\\\\x{byte:02x}"));
            }
        }
    }
}

impl std::fmt::Write for Line<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.raw(text);
        Ok(())
    }
}

const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x20..0x7f) && byte != b'"' && byte != b'\\'
}

/// Lines on their way to the writer.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Whole lines.
    pub(crate) bytes: Vec<u8>,
    /// How many.
    pub(crate) lines: u64,
}

/// The way to the writer; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Channel {
    /// Bounded: full means that the writer is behind.
    pub(crate) chunks: SyncSender<Chunk>,
    /// Lines that the writer could not write and that nobody has counted yet.
    pub(crate) lost: Arc<AtomicU64>,
}

/// A worker's buffer.
#[derive(Debug)]
pub(crate) struct LogBuffer {
    channel: Channel,
    bytes: Vec<u8>,
    lines: u64,
}

/// A chunk is handed over when it is at least this long.
const CHUNK: usize = 32 * 1024;

impl LogBuffer {
    /// Empty.
    pub(crate) const fn new(channel: Channel) -> Self {
        Self { channel, bytes: Vec::new(), lines: 0 }
    }

    /// Adds a line. Returns how many lines have been dropped, now or by the writer, since the last call: the caller
    /// counts them.
    #[must_use]
    pub(crate) fn append(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(CHUNK + CHUNK / 8);
        }
        write(&mut self.bytes);
        self.lines += 1;
        if self.bytes.len() < CHUNK { 0 } else { self.flush() }
    }

    /// Hands over what is there; called by a timer, so that a quiet proxy's lines appear too. Returns as `append`.
    #[must_use]
    pub(crate) fn flush(&mut self) -> u64 {
        let mut dropped = self.channel.lost.swap(0, Relaxed);
        if self.lines > 0 {
            let lines = std::mem::take(&mut self.lines);
            let chunk = Chunk { bytes: std::mem::take(&mut self.bytes), lines };
            if self.channel.chunks.try_send(chunk).is_err() {
                dropped += lines;
            }
        }
        dropped
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::mpsc::sync_channel;
    use std::time::{Duration, UNIX_EPOCH};

    use serde_json::{Value, json};

    use super::*;

    fn entry() -> Entry<'static> {
        Entry {
            at: UNIX_EPOCH + Duration::from_micros(1_772_366_400_000_042),
            latency: Span(1_234_567),
            method: "GET",
            protocol: "HTTP/1.1",
            host: b"h:8080",
            target: b"/a?b=c",
            request_size: 42,
            response_size: 1_000,
            status: Some(200),
            user_agent: Some(b"curl/8"),
            referer: None,
            remote_ip: IpAddr::from([127, 0, 0, 1]),
            way: Way {
                forwarding_rule: "web",
                target_proxy: "web-proxy",
                url_map: "web-map",
                service: "web",
                backend: "ig-far",
                member: Some(("www-3", SocketAddr::from(([10, 0, 0, 1], 80)))),
                reason: Some(Reason::Full),
            },
            detail: StatusDetail::ResponseSentByBackend,
            attempts: 1,
            affinity_loss: Some(Loss::Full),
            retry_refused: Some(Refused::RetryBudget),
            trace: Some(b"0af7651916cd43dd8448eb211c80319c/7;o=1"),
            secured: None,
            fields: LogFields::default(),
        }
    }

    fn line(entry: &Entry<'_>) -> Value {
        let mut out = Vec::new();
        entry.write(&mut out);
        assert_eq!(out.iter().filter(|b| **b == b'\n').count(), 1);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_line_has_googles_shape_and_our_reasons() {
        let expected = json!({
            "timestamp": "2026-03-01T12:00:00.000042Z",
            "severity": "INFO",
            "httpRequest": {
                "status": 200, "requestSize": "42", "responseSize": "1000", "requestMethod": "GET",
                "requestUrl": "http://h:8080/a?b=c", "protocol": "HTTP/1.1", "userAgent": "curl/8", "remoteIp": "127.0.0.1",
                "serverIp": "10.0.0.1", "latency": "0.001234s",
            },
            "resource": {"type": "http_load_balancer", "labels": {
                "zone": "global", "backend_service_name": "web", "forwarding_rule_name": "web",
                "target_proxy_name": "web-proxy", "url_map_name": "web-map",
            }},
            "jsonPayload": {
                "@type": "type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry",
                "statusDetails": "response_sent_by_backend", "backend": "ig-far", "member": "www-3",
                "memberAddress": "10.0.0.1:80", "spillReason": "full", "attempts": 1, "affinityLoss": "full",
                "retryRefused": "retry_budget",
            },
            "trace": "0af7651916cd43dd8448eb211c80319c",
            "spanId": "7",
        });
        assert_eq!(line(&entry()), expected);
    }

    #[test]
    fn a_request_that_reached_nothing_has_status_0_and_no_empty_fields() {
        let bare = Entry {
            method: "",
            protocol: "",
            target: b"",
            status: None,
            user_agent: None,
            way: Way::default(),
            detail: StatusDetail::ClientTimedOut,
            affinity_loss: None,
            retry_refused: None,
            trace: None,
            ..entry()
        };
        let line = line(&bare);
        assert_eq!((&line["httpRequest"]["status"], &line["severity"]), (&json!(0), &json!("WARNING")));
        assert_eq!(line["resource"]["labels"], json!({"zone": "global"}));
        assert!(line["httpRequest"].get("requestUrl").is_none() && line.get("trace").is_none());
    }

    /// [G 8.1]
    #[test]
    fn what_tls_agreed_on_is_shown_where_it_is_asked_for() {
        let secured = Some(Secured {
            protocol: "TLSv1.3",
            cipher: "TLS_AES_128_GCM_SHA256",
            suite: 0x1301,
            is_http2: false,
        });
        let shown = |has_tls_protocol, has_tls_cipher, secured| {
            let fields = LogFields { has_tls_protocol, has_tls_cipher };
            line(&Entry { secured, fields, ..entry() })
        };
        let both = shown(true, true, secured);
        assert_eq!(
            both["jsonPayload"]["tls"],
            json!({"protocol": "TLSv1.3", "cipher": "TLS_AES_128_GCM_SHA256"})
        );
        assert_eq!(both["httpRequest"]["requestUrl"], "https://h:8080/a?b=c");
        assert_eq!(shown(true, false, secured)["jsonPayload"]["tls"], json!({"protocol": "TLSv1.3"}));
        assert_eq!(shown(false, true, secured)["jsonPayload"]["tls"]["protocol"], json!(null));
        assert!(shown(false, false, secured)["jsonPayload"].get("tls").is_none());
        assert!(shown(true, true, None)["jsonPayload"].get("tls").is_none());
    }

    #[test]
    fn any_bytes_become_valid_json() {
        let all: Vec<u8> = (0..=255).chain("héllo\u{2028}".bytes()).collect();
        let line = line(&Entry { user_agent: Some(&all), target: b"/\xff\"", ..entry() });
        let agent = line["httpRequest"]["userAgent"].as_str().unwrap();
        assert!(
            agent.starts_with("\0\u{1}")
                && agent.contains("\n")
                && agent.contains("\"#")
                && agent.contains("\\x80")
        );
        assert!(agent.ends_with("héllo\u{2028}"));
        assert_eq!(line["httpRequest"]["requestUrl"], "http://h:8080/\\xff\"");
    }

    #[test]
    fn a_writer_that_is_behind_costs_lines_and_they_are_counted() {
        let (chunks, received) = sync_channel(1);
        let mut buffer = LogBuffer::new(Channel { chunks, lost: Arc::default() });
        let mut dropped = 0;
        for _ in 0..1_000 {
            dropped += buffer.append(|out| entry().write(out));
        }
        dropped += buffer.flush();
        let chunk = received.try_recv().unwrap();
        assert!(chunk.bytes.len() >= CHUNK && dropped > 0);
        assert_eq!(chunk.lines + dropped, 1_000);
        assert_eq!(bytecount(&chunk.bytes), chunk.lines);
    }

    #[test]
    fn what_the_writer_lost_is_handed_on_once() {
        let (chunks, _received) = sync_channel(1);
        let lost = Arc::new(AtomicU64::new(5));
        let mut buffer = LogBuffer::new(Channel { chunks, lost });
        assert_eq!((buffer.flush(), buffer.flush()), (5, 0));
    }

    fn bytecount(bytes: &[u8]) -> u64 {
        bytes.iter().filter(|b| **b == b'\n').count() as u64
    }
}
