//! `forwardingRules`, and the target proxies that they lead to.

use serde::{Deserialize, Serialize};

use super::backend_service::SCHEMES;
use super::resource;
use super::schema::{Kind, Off, REFERENCE, Table, Word, later, never, note, optional, output, required};

/// A forwarding rule. Written out, since one of its keys is not camelCase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ForwardingRule {
    /// Name, unique among forwarding rules.
    pub name: String,
    /// Address to listen on.
    #[serde(rename = "IPAddress")]
    pub ip_address: String,
    /// One port, as `80` or `80-80`.
    pub port_range: String,
    /// Reference to a target proxy.
    pub target: String,
    /// EXTERNAL, EXTERNAL_MANAGED or INTERNAL_MANAGED.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load_balancing_scheme: Option<String>,
    /// IPV4 or IPV6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_version: Option<String>,
    /// TCP.
    #[serde(rename = "IPProtocol", default, skip_serializing_if = "Option::is_none")]
    pub ip_protocol: Option<String>,
    /// **Ours**: connections begin with a header of the PROXY protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
}

resource! {
    /// `proxyProtocol`.
    #[derive(Eq)]
    ProxyProtocol
    required {
        /// Addresses and ranges of those who send it; nobody else may connect.
        from: Vec<String>,
    }
    optional {}
}

resource! {
    /// A target HTTP proxy.
    TargetHttpProxy
    required {
        /// Name, unique among target HTTP proxies.
        name: String,
        /// Reference to a URL map.
        url_map: String,
    }
    optional {
        /// Seconds that an idle client connection is kept.
        http_keep_alive_timeout_sec: u32,
    }
}

resource! {
    /// A target HTTPS proxy.
    TargetHttpsProxy
    required {
        /// Name, unique among target HTTPS proxies.
        name: String,
        /// Reference to a URL map.
        url_map: String,
    }
    optional {
        /// References; the first one is for clients that name no server, or none that a certificate is for.
        ssl_certificates: Vec<String>,
        /// Reference to an SSL policy.
        ssl_policy: String,
        /// Reference to a server TLS policy: certificates of clients.
        server_tls_policy: String,
        /// NONE, ENABLE or DISABLE.
        quic_override: String,
        /// DISABLED.
        tls_early_data: String,
        /// Seconds that an idle client connection is kept.
        http_keep_alive_timeout_sec: u32,
    }
}

resource! {
    /// A target TCP proxy.
    TargetTcpProxy
    required {
        /// Name, unique among target TCP proxies.
        name: String,
        /// Reference to a backend service of protocol TCP or SSL.
        service: String,
    }
    optional {
        /// NONE or PROXY_V1.
        proxy_header: String,
    }
}

resource! {
    /// A target SSL proxy.
    TargetSslProxy
    required {
        /// Name, unique among target SSL proxies.
        name: String,
        /// Reference to a backend service of protocol TCP or SSL.
        service: String,
        /// References; the first one is for clients that name no server, or none that a certificate is for.
        ssl_certificates: Vec<String>,
    }
    optional {
        /// NONE or PROXY_V1.
        proxy_header: String,
        /// Reference to an SSL policy.
        ssl_policy: String,
    }
}

/// Fields of a forwarding rule.
pub static FORWARDING_RULE: Table = Table {
    noun: "a forwarding rule",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        required("IPAddress", Kind::Text(64)),
        required("portRange", Kind::Ports),
        required("target", REFERENCE),
        optional("loadBalancingScheme", Kind::Word(SCHEMES)),
        optional("ipVersion", Kind::Word(&[Word::Known("IPV4"), Word::Known("IPV6")])),
        optional("IPProtocol", Kind::Word(PROTOCOLS)),
        optional("proxyProtocol", Kind::Object(&PROXY_PROTOCOL)),
        note("labels"),
        later("networkTier", "a choice of network", &[Off::Word("PREMIUM")]),
        never("ports", "forwarding of packets; portRange holds the one port", &[Off::Empty]),
        never("allPorts", "forwarding of packets", &[Off::False]),
        never("backendService", "forwarding of packets; target names the proxy", &[Off::Empty]),
        later("allowGlobalAccess", "access from other regions", &[Off::False]),
        later("allowPscGlobalAccess", "private service connect", &[Off::False]),
        never("isMirroringCollector", "mirroring of packets", &[Off::False]),
        later("metadataFilters", "a service mesh", &[Off::Empty]),
        later("sourceIpRanges", "forwarding by source", &[Off::Empty]),
        later("serviceDirectoryRegistrations", "Service Directory", &[Off::Empty]),
        later("serviceLabel", "names in DNS", &[Off::Empty]),
        later(
            "externalManagedBackendBucketMigrationState",
            "moving from the classic balancer",
            &[Off::Empty],
        ),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("selfLinkWithId"),
        output("creationTimestamp"),
        output("fingerprint"),
        output("labelFingerprint"),
        output("region"),
        output("network"),
        output("subnetwork"),
        output("serviceName"),
        output("baseForwardingRule"),
        output("pscConnectionId"),
        output("pscConnectionStatus"),
    ],
};

static PROTOCOLS: &[Word] = &[
    Word::Known("TCP"),
    Word::Never("UDP", "forwarding of packets"),
    Word::Never("ESP", "forwarding of packets"),
    Word::Never("AH", "forwarding of packets"),
    Word::Never("SCTP", "forwarding of packets"),
    Word::Never("ICMP", "forwarding of packets"),
    Word::Never("L3_DEFAULT", "forwarding of packets"),
];

/// Fields of a target HTTP proxy.
pub static TARGET_HTTP_PROXY: Table = Table {
    noun: "a target HTTP proxy",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        required("urlMap", REFERENCE),
        optional("httpKeepAliveTimeoutSec", Kind::Integer(5, 1200)).by("[G 5]"),
        later("proxyBind", "a service mesh", &[Off::False]),
        later("httpFilters", "filters of a service mesh", &[Off::Empty]),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("creationTimestamp"),
        output("fingerprint"),
        output("region"),
    ],
};

/// Fields of a target HTTPS proxy.
pub static TARGET_HTTPS_PROXY: Table = Table {
    noun: "a target HTTPS proxy",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        required("urlMap", REFERENCE),
        optional("sslCertificates", Kind::List(&REFERENCE, 15)).by("[G 6.13]"),
        optional("sslPolicy", REFERENCE),
        optional("serverTlsPolicy", REFERENCE),
        optional("quicOverride", Kind::Word(QUIC_OVERRIDES)),
        optional("tlsEarlyData", Kind::Word(EARLY_DATA)),
        optional("httpKeepAliveTimeoutSec", Kind::Integer(5, 1200)).by("[G 5]"),
        later("certificateMap", "maps of certificates; sslCertificates lists them", &[Off::Empty]),
        later("authorizationPolicy", "a service mesh", &[Off::Empty]),
        later("proxyBind", "a service mesh", &[Off::False]),
        later("httpFilters", "filters of a service mesh", &[Off::Empty]),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("creationTimestamp"),
        output("fingerprint"),
        output("region"),
    ],
};

static QUIC_OVERRIDES: &[Word] = &[Word::Known("NONE"), Word::Known("DISABLE"), Word::Known("ENABLE")];

const REPLAYS: &str = "early data, which whoever has recorded it may send again";

static EARLY_DATA: &[Word] = &[
    Word::Known("DISABLED"),
    Word::Later("STRICT", REPLAYS),
    Word::Later("PERMISSIVE", REPLAYS),
    Word::Later("UNRESTRICTED", REPLAYS),
];

/// Fields of a target TCP proxy.
pub static TARGET_TCP_PROXY: Table = Table {
    noun: "a target TCP proxy",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        required("service", REFERENCE),
        optional("proxyHeader", Kind::Word(PROXY_HEADERS)),
        later("proxyBind", "a service mesh", &[Off::False]),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("creationTimestamp"),
        output("region"),
    ],
};

/// Fields of a target SSL proxy.
pub static TARGET_SSL_PROXY: Table = Table {
    noun: "a target SSL proxy",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        required("service", REFERENCE),
        required("sslCertificates", Kind::List(&REFERENCE, 15)).by("[G 6.13]"),
        optional("proxyHeader", Kind::Word(PROXY_HEADERS)),
        optional("sslPolicy", REFERENCE),
        later("certificateMap", "maps of certificates", &[Off::Empty]),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("creationTimestamp"),
    ],
};

/// **Ours**.
static PROXY_PROTOCOL: Table =
    Table { noun: "proxyProtocol", fields: &[required("from", Kind::List(&Kind::Text(64), 1000))] };

static PROXY_HEADERS: &[Word] = &[Word::Known("NONE"), Word::Known("PROXY_V1")];
