//! `proxy:`: the process itself.

use std::net::SocketAddr;
use std::sync::Arc;

use super::place::{PROXY, cidr};
use super::report::Report;
use crate::model::admin::AdminAccess;
use crate::model::config::{AccessLogTarget, Cidr, Http2Limits, ProcessLimits, ProxySettings, SessionKey};
use crate::model::place::RegionId;
use crate::model::unit::Span;
use crate::wire::flaw::quote;
use crate::wire::proxy::{Http2, Proxy, Workers};
use crate::wire::read::Section;

/// `trustedProxies`.
pub(super) fn trusted(proxy: &Section<Proxy>, report: &mut Report<'_>) -> Vec<Cidr> {
    let Section::Sound(Proxy { trusted_proxies: Some(list), .. }) = proxy else {
        return Vec::new();
    };
    let at = PROXY.key("trustedProxies");
    list.iter().enumerate().filter_map(|(index, text)| cidr(text, &at.item(index), report)).collect()
}

/// `accessLog`; a path that begins a file's name at least.
pub(super) fn access_log(proxy: &Section<Proxy>, report: &mut Report<'_>) -> AccessLogTarget {
    let Section::Sound(Proxy { access_log: Some(log), .. }) = proxy else {
        return AccessLogTarget::None;
    };
    match log.path.as_str() {
        "none" => AccessLogTarget::None,
        "stdout" => AccessLogTarget::Stdout,
        path => {
            if path.is_empty() || path.ends_with('/') || path.contains('\0') {
                let at = PROXY.key("accessLog");
                let message = format!("{} is no file", quote(path));
                report.error(&at.key("path"), "bad-path", message, "`stdout`, `none` or the path of a file");
            }
            AccessLogTarget::File(path.into())
        }
    }
}

/// `sessionKey` or `sessionKeyFile`. A key that is wrong is a secret all the same: neither its text nor its line is shown.
pub(super) fn session_key(proxy: &Section<Proxy>, report: &mut Report<'_>) -> SessionKey {
    let Section::Sound(Proxy { session_key, session_key_file, .. }) = proxy else {
        return SessionKey::Kept;
    };
    match (session_key, session_key_file) {
        (None, None) => SessionKey::Kept,
        (None, Some(path)) => {
            if path.is_empty() || path.ends_with('/') || path.contains('\0') {
                let message = format!("{} is no file", quote(path));
                report.error(&PROXY.key("sessionKeyFile"), "bad-path", message, "the path of a file");
            }
            SessionKey::File(path.as_str().into())
        }
        (Some(text), None) => SessionKey::parse(text).map_or_else(
            || {
                let message = "`sessionKey` is no key".to_owned();
                report.error(&PROXY, "bad-session-key", message, "64 hexadecimal digits, not all of them 0");
                SessionKey::Kept
            },
            SessionKey::Given,
        ),
        (Some(_), Some(_)) => {
            let message = "there are two keys, `sessionKey` and `sessionKeyFile`".to_owned();
            report.error(&PROXY, "two-session-keys", message, "at most one of them");
            SessionKey::Kept
        }
    }
}

/// The rest, which cannot be wrong.
pub(super) fn settings(
    proxy: &Section<Proxy>,
    (zone, region): (Arc<str>, RegionId),
    checked: Checked,
) -> ProxySettings {
    let workers = match proxy {
        Section::Sound(Proxy { workers: Some(Workers::Count(count)), .. }) => Some(*count),
        _ => None,
    };
    let Checked { admin: (admin, admin_access), access_log, trusted_proxies, session_key } = checked;
    let limits = limits(proxy);
    ProxySettings {
        zone,
        region,
        workers,
        admin,
        admin_access,
        access_log,
        trusted_proxies,
        session_key,
        limits,
    }
}

fn limits(proxy: &Section<Proxy>) -> ProcessLimits {
    let Section::Sound(proxy) = proxy else { return ProcessLimits::default() };
    let default = ProcessLimits::default();
    ProcessLimits {
        max_connections: proxy.max_connections,
        max_connections_per_address: proxy.max_connections_per_address,
        min_body_rate: proxy.min_body_rate.unwrap_or(default.min_body_rate),
        upgrade_timeout: proxy
            .upgrade_timeout_sec
            .map_or(default.upgrade_timeout, |seconds| Span::secs(seconds.into())),
        retry_budget: proxy.retry_budget_percent.unwrap_or(default.retry_budget),
        max_buffered: proxy.max_buffered_mi_b.map_or(default.max_buffered, |mebi| u64::from(mebi) << 20),
        http2: proxy.http2.map_or(default.http2, http2),
    }
}

fn http2(said: Http2) -> Http2Limits {
    let default = Http2Limits::default();
    Http2Limits {
        streams: said.max_concurrent_streams.unwrap_or(default.streams),
        requests: said.max_requests_per_second.unwrap_or(default.requests),
        resets: said.max_resets_per_second.unwrap_or(default.resets),
        pings: said.max_pings_per_second.unwrap_or(default.pings),
        settings: said.max_settings_per_second.unwrap_or(default.settings),
        control: said.max_control_frames_per_second.unwrap_or(default.control),
    }
}

/// The settings that can be wrong, checked.
pub(super) struct Checked {
    pub(super) admin: (Option<SocketAddr>, AdminAccess),
    pub(super) access_log: AccessLogTarget,
    pub(super) trusted_proxies: Vec<Cidr>,
    pub(super) session_key: SessionKey,
}
