//! Session affinity [G 3].

use super::report::Report;
use crate::model::service::{Affinity, Protocol};
use crate::model::unit::Span;
use crate::wire::backend_service::BackendService;
use crate::wire::path::Path;

/// A TTL next to another affinity is legal, since gcloud leaves it behind [G 3.11].
pub(super) fn affinity(
    service: &BackendService,
    protocol: Protocol,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Affinity {
    let affinity = match service.session_affinity.as_deref() {
        Some("CLIENT_IP") => Affinity::ClientIp,
        Some("GENERATED_COOKIE") => {
            Affinity::GeneratedCookie { ttl: Span::secs(service.affinity_cookie_ttl_sec.unwrap_or(0).into()) }
        }
        _ => Affinity::None,
    };
    let is_cookie = matches!(affinity, Affinity::GeneratedCookie { .. });
    if is_cookie && !protocol.is_http() {
        let message = format!(
            "service `{}` of protocol {} wants affinity by what stands in requests",
            service.name,
            protocol.as_str()
        );
        let expected = "NONE or CLIENT_IP: connections carry no cookies and no headers [G 3]";
        report.error(&at.key("sessionAffinity"), "forbidden-field", message, expected);
    }
    affinity
}
