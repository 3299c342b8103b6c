//! `proxy:`, which is ours: this process, and where the world's places are.

use serde::{Deserialize, Serialize};

use super::resource;
use super::schema::{Kind, Table, Word, optional, required};

resource! {
    /// `proxy:`.
    Proxy
    required {}
    optional {
        /// Zone where this proxy stands.
        zone: String,
        /// `auto` or a number of threads.
        workers: Workers,
        /// Admin listener or `none`.
        admin: Admin,
        /// Request log.
        access_log: AccessLog,
        /// Where clients come from.
        client_locations: Vec<ClientLocation>,
        /// Places that are no Google region.
        regions: Vec<Region>,
        /// Addresses and ranges whose `X-Forwarded-For` is believed.
        trusted_proxies: Vec<String>,
        /// What strong cookies are signed with.
        session_key: String,
        /// The same in a file.
        session_key_file: String,
        /// Client connections at a time.
        max_connections: u32,
        /// The same of one address.
        max_connections_per_address: u32,
        /// Bytes per second of a request's body.
        min_body_rate: u32,
        /// How long a new binary may take to be ready.
        upgrade_timeout_sec: u32,
        /// Retries under way, of requests under way.
        retry_budget_percent: u8,
        /// Answers that wait for slow clients, in MiB.
        max_buffered_mi_b: u32,
        /// What one connection of HTTP/2 may ask for.
        http2: Http2,
    }
}

/// `workers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Workers {
    /// A number.
    Count(usize),
    /// `auto`: one per core.
    Auto(String),
}

/// `admin`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Admin {
    /// An address.
    At(AdminAddress),
    /// `none`: no admin listener.
    Off(String),
}

resource! {
    /// `admin: {…}`.
    #[derive(Eq)]
    AdminAddress
    required {}
    optional {
        /// `ip:port`.
        address: String,
        /// Whether changes are refused.
        read_only: bool,
        /// Who may ask.
        tokens: Vec<AdminToken>,
        /// Encryption, and clients' certificates.
        tls: AdminTls,
    }
}

resource! {
    /// One of `admin.tokens`; the token itself stands in no configuration.
    #[derive(Eq)]
    AdminToken
    required {
        /// What the audit log calls it.
        name: String,
        /// `READ_ONLY` or `READ_WRITE`.
        access: String,
    }
    optional {
        /// A file that holds the token.
        file: String,
        /// SHA-256 of the token, in hexadecimal digits.
        sha256: String,
    }
}

resource! {
    /// `admin.tls`: files.
    #[derive(Eq)]
    AdminTls
    required {
        /// PEM: the server's own certificate first.
        certificate: String,
        /// PEM.
        private_key: String,
    }
    optional {
        /// PEM: authorities whose clients may ask.
        client_ca: String,
    }
}

resource! {
    /// `accessLog`.
    AccessLog
    required {
        /// `stdout`, `none` or a file.
        path: String,
    }
    optional {
        /// json.
        format: String,
    }
}

resource! {
    /// `http2`.
    #[derive(Copy, Eq)]
    Http2
    required {}
    optional {
        /// Streams at a time.
        max_concurrent_streams: u32,
        /// HEADERS that open streams.
        max_requests_per_second: u32,
        /// RST_STREAM.
        max_resets_per_second: u32,
        /// PING.
        max_pings_per_second: u32,
        /// SETTINGS.
        max_settings_per_second: u32,
        /// All other frames that carry nothing.
        max_control_frames_per_second: u32,
    }
}

resource! {
    /// One entry of `clientLocations`.
    ClientLocation
    required {
        /// Addresses.
        cidr: String,
        /// Their region.
        region: String,
    }
    optional {}
}

resource! {
    /// One entry of `regions`.
    Region
    required {
        /// Name.
        name: String,
        /// Degrees north.
        latitude: f64,
        /// Degrees east.
        longitude: f64,
    }
    optional {}
}

/// Fields of `proxy:`.
pub static PROXY: Table = Table {
    noun: "proxy",
    fields: &[
        optional("zone", Kind::Name),
        optional("workers", Kind::WordOr("auto", &Kind::Integer(1, 256))),
        optional("admin", Kind::WordOr("none", &Kind::Object(&ADMIN))),
        optional("accessLog", Kind::Object(&ACCESS_LOG)),
        optional("clientLocations", Kind::List(&Kind::Object(&CLIENT_LOCATION), 10_000)),
        optional("regions", Kind::List(&Kind::Object(&REGION), 1000)),
        optional("trustedProxies", Kind::List(&Kind::Text(64), 1000)),
        optional("sessionKey", Kind::Text(1024)),
        optional("sessionKeyFile", Kind::Text(1024)),
        optional("maxConnections", Kind::Integer(1, 10_000_000)),
        optional("maxConnectionsPerAddress", Kind::Integer(1, 10_000_000)),
        optional("minBodyRate", Kind::Integer(0, 1_000_000_000)).by("[G 5.6]"),
        optional("upgradeTimeoutSec", Kind::Integer(1, 3600)),
        optional("retryBudgetPercent", Kind::Integer(0, 100)),
        optional("maxBufferedMiB", Kind::Integer(1, 1_048_576)),
        optional("http2", Kind::Object(&HTTP2)),
    ],
};

static HTTP2: Table = Table {
    noun: "http2",
    fields: &[
        optional("maxConcurrentStreams", Kind::Integer(1, 1000)),
        optional("maxRequestsPerSecond", Kind::Integer(1, 10_000_000)),
        optional("maxResetsPerSecond", Kind::Integer(1, 100_000)),
        optional("maxPingsPerSecond", Kind::Integer(1, 100_000)),
        optional("maxSettingsPerSecond", Kind::Integer(1, 100_000)),
        optional("maxControlFramesPerSecond", Kind::Integer(1, 1_000_000)),
    ],
};

static ADMIN: Table = Table {
    noun: "admin",
    fields: &[
        optional("address", Kind::Text(64)),
        optional("readOnly", Kind::Flag),
        optional("tokens", Kind::List(&Kind::Object(&ADMIN_TOKEN), 100)),
        optional("tls", Kind::Object(&ADMIN_TLS)),
    ],
};

static ADMIN_TOKEN: Table = Table {
    noun: "a token of the admin API",
    fields: &[
        required("name", Kind::Name),
        required("access", Kind::Word(&[Word::Known("READ_ONLY"), Word::Known("READ_WRITE")])),
        optional("file", Kind::Text(1024)),
        optional("sha256", Kind::Text(64)),
    ],
};

static ADMIN_TLS: Table = Table {
    noun: "tls",
    fields: &[
        required("certificate", Kind::Text(1024)),
        required("privateKey", Kind::Text(1024)),
        optional("clientCa", Kind::Text(1024)),
    ],
};

static ACCESS_LOG: Table = Table {
    noun: "accessLog",
    fields: &[
        required("path", Kind::Text(1024)),
        optional("format", Kind::Word(&[Word::Known("json"), Word::Later("text", "lines for people")])),
    ],
};

static CLIENT_LOCATION: Table = Table {
    noun: "a client location",
    fields: &[required("cidr", Kind::Text(64)), required("region", Kind::Name)],
};

static REGION: Table = Table {
    noun: "a region",
    fields: &[
        required("name", Kind::Name),
        required("latitude", Kind::Number(-90.0, 90.0)),
        required("longitude", Kind::Number(-180.0, 180.0)),
    ],
};
