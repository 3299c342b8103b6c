//! One JSON line for each connection of a TCP or SSL proxy, beside the lines of requests in [`super::access_log`].
//!
//! The shape is that of Google's entries for proxies of connections: no `httpRequest`, but `connection` with its two
//! ends, when it began and ended, and the bytes each way.

use std::net::{IpAddr, SocketAddr};
use std::time::SystemTime;

use super::access_log::{Line, Way};
use crate::balance::pick::Reason;
use crate::ledger::service::Loss;
use crate::model::detail::StatusDetail;
use crate::model::timestamp::Timestamp;
use crate::model::unit::Span;

/// A connection that has ended.
#[derive(Debug)]
pub(crate) struct Entry<'a> {
    /// When it ended.
    pub(crate) at: SystemTime,
    /// How long it lasted.
    pub(crate) duration: Span,
    /// Who connected.
    pub(crate) client: SocketAddr,
    /// Where it came in and went. Its URL map is empty.
    pub(crate) way: Way<'a>,
    /// How it ended.
    pub(crate) detail: StatusDetail,
    /// Whether it ended as it should.
    pub(crate) is_good: bool,
    /// Bytes from the client.
    pub(crate) bytes_up: u64,
    /// Bytes to the client.
    pub(crate) bytes_down: u64,
    /// Members that were tried.
    pub(crate) attempts: u32,
    /// Why its session left its member, if it did.
    pub(crate) affinity_loss: Option<Loss>,
}

impl Entry<'_> {
    /// Appends the line with its line end.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let mut line = Line { out };
        let started = self.at.checked_sub(self.duration.to_std()).unwrap_or(self.at);
        line.display(format_args!("{{\"timestamp\":\"{}\",\"severity\":\"", Timestamp(started)));
        line.raw(if self.is_good { "INFO" } else { "WARNING" });
        line.raw("\",\"resource\":{\"type\":\"l4_proxy_rule\",\"labels\":{\"zone\":\"global\"");
        for (key, value) in [
            (",\"backend_service_name\":", self.way.service),
            (",\"forwarding_rule_name\":", self.way.forwarding_rule),
            (",\"target_proxy_name\":", self.way.target_proxy),
        ] {
            line.word(key, value);
        }
        line.raw("}},\"jsonPayload\":{\"@type\":\"");
        line.raw("type.googleapis.com/google.cloud.loadbalancing.type.LoadBalancerLogEntry\"");
        self.connection(&mut line);
        line.display(format_args!(
            ",\"startTime\":\"{}\",\"endTime\":\"{}\",\"bytesReceived\":\"{}\",\"bytesSent\":\"{}\"",
            Timestamp(started),
            Timestamp(self.at),
            self.bytes_up,
            self.bytes_down
        ));
        line.word(",\"statusDetails\":", self.detail.as_str());
        line.word(",\"backend\":", self.way.backend);
        if let Some((member, address)) = self.way.member {
            line.word(",\"member\":", member);
            line.display(format_args!(",\"memberAddress\":\"{address}\""));
        }
        line.word(",\"spillReason\":", self.way.reason.map_or("", Reason::as_str));
        line.display(format_args!(",\"attempts\":{}", self.attempts));
        line.word(",\"affinityLoss\":", self.affinity_loss.map_or("", Loss::as_str));
        line.raw("}}\n");
    }

    /// `protocol` is the number of TCP.
    fn connection(&self, line: &mut Line<'_>) {
        let plain = |address: SocketAddr| -> (IpAddr, u16) { (address.ip().to_canonical(), address.port()) };
        let (ip, port) = plain(self.client);
        line.display(format_args!(
            ",\"connection\":{{\"protocol\":6,\"clientIp\":\"{ip}\",\"clientPort\":{port}"
        ));
        if let Some((_, member)) = self.way.member {
            let (ip, port) = plain(member);
            line.display(format_args!(",\"serverIp\":\"{ip}\",\"serverPort\":{port}"));
        }
        line.raw("}");
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn a_line_names_both_ends_the_times_the_bytes_and_the_way() {
        let entry = Entry {
            at: UNIX_EPOCH + Duration::from_millis(2500),
            duration: Span::millis(1500),
            client: "192.0.2.7:4711".parse().unwrap(),
            way: Way {
                forwarding_rule: "db",
                target_proxy: "db-proxy",
                service: "db",
                backend: "ig-near",
                member: Some(("db-1", "[::1]:5432".parse().unwrap())),
                reason: Some(Reason::Full),
                ..Way::default()
            },
            detail: StatusDetail::ResponseSentByBackend,
            is_good: true,
            bytes_up: 10,
            bytes_down: 1 << 40,
            attempts: 2,
            affinity_loss: None,
        };
        let mut out = Vec::new();
        entry.write(&mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        let payload = &value["jsonPayload"];
        assert_eq!(
            payload["connection"],
            serde_json::json!({"protocol": 6, "clientIp": "192.0.2.7", "clientPort": 4711, "serverIp": "::1", "serverPort": 5432})
        );
        assert_eq!(payload["startTime"], "1970-01-01T00:00:01.000000Z");
        assert_eq!(payload["endTime"], "1970-01-01T00:00:02.500000Z");
        assert_eq!(
            (&payload["bytesReceived"], &payload["bytesSent"]),
            (&"10".into(), &"1099511627776".into())
        );
        assert_eq!((&payload["spillReason"], &payload["attempts"]), (&"full".into(), &2.into()));
        assert_eq!(value["resource"]["labels"]["target_proxy_name"], "db-proxy");
        assert!(value.get("httpRequest").is_none() && payload.get("affinityLoss").is_none());
        assert_eq!(out.last(), Some(&b'\n'));
    }
}
