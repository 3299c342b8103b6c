//! `httpHealthChecks` and `httpsHealthChecks`: the flat checks of older load balancers [G 4.1a, 4.11].

use super::resource;
use super::schema::{Kind, PORT, Table, note, optional, output, required};

resource! {
    /// A legacy health check.
    LegacyHealthCheck
    required {
        /// Name, unique in its collection.
        name: String,
    }
    optional {
        /// `Host`.
        host: String,
        /// Port; 80, or 443 over TLS.
        port: u16,
        /// Path, without a query.
        request_path: String,
        /// Seconds from start to start.
        check_interval_sec: u32,
        /// Seconds for one probe.
        timeout_sec: u32,
        /// Successes in a row.
        healthy_threshold: u32,
        /// Failures in a row.
        unhealthy_threshold: u32,
    }
}

/// Fields of a legacy health check.
pub static LEGACY_HEALTH_CHECK: Table = Table {
    noun: "a legacy health check",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        optional("host", Kind::Text(255)),
        optional("port", PORT).by("[G 4b]"),
        optional("requestPath", Kind::Text(1024)).by("[G 4b]"),
        optional("checkIntervalSec", Kind::Integer(1, 300)).by("[G 4a]"),
        optional("timeoutSec", Kind::Integer(1, 300)).by("[G 4a]"),
        optional("healthyThreshold", Kind::Integer(1, 10)).by("[G 4a]"),
        optional("unhealthyThreshold", Kind::Integer(1, 10)).by("[G 4a]"),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("creationTimestamp"),
    ],
};
