//! `sslPolicies`, and who may connect: `serverTlsPolicies` of the Network Security API, `trustConfigs` of the Certificate
//! Manager API.

use super::certificate::{FILE, PEM};
use super::resource;
use super::schema::{Kind, Off, REFERENCE, Table, Word, later, note, optional, output, required};

resource! {
    /// A choice of TLS versions and cipher suites.
    SslPolicy
    required {
        /// Name, unique among SSL policies.
        name: String,
    }
    optional {
        /// COMPATIBLE, MODERN, RESTRICTED, FIPS_202205 or CUSTOM.
        profile: String,
        /// TLS_1_0 to TLS_1_3.
        min_tls_version: String,
        /// Cipher suites, with CUSTOM alone.
        custom_features: Vec<String>,
        /// DEFAULT or DEFERRED.
        post_quantum_key_exchange: String,
    }
}

resource! {
    /// What is asked of clients.
    ServerTlsPolicy
    required {
        /// `NAME`, or `projects/…/locations/global/serverTlsPolicies/NAME`.
        name: String,
        /// Certificates of clients.
        mtls_policy: MtlsPolicy,
    }
    optional {}
}

resource! {
    /// `mtlsPolicy`.
    MtlsPolicy
    required {
        /// ALLOW_INVALID_OR_MISSING_CLIENT_CERT or REJECT_INVALID.
        client_validation_mode: String,
    }
    optional {
        /// Reference to a trust config.
        client_validation_trust_config: String,
    }
}

resource! {
    /// Whose certificates are believed.
    TrustConfig
    required {
        /// `NAME`, or `projects/…/locations/global/trustConfigs/NAME`.
        name: String,
        /// One.
        trust_stores: Vec<TrustStore>,
    }
    optional {}
}

resource! {
    /// One entry of `trustStores`.
    TrustStore
    required {
        /// Certificates of authorities.
        trust_anchors: Vec<Anchor>,
    }
    optional {
        /// Certificates between authorities and clients, for clients that do not send them.
        intermediate_cas: Vec<Anchor>,
    }
}

resource! {
    /// One certificate, or in a file several.
    Anchor
    required {}
    optional {
        /// PEM.
        pem_certificate: String,
        /// **Ours**: a file of PEM.
        pem_file: String,
    }
}

/// Fields of an SSL policy.
pub static SSL_POLICY: Table = Table {
    noun: "an SSL policy",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        optional("profile", Kind::Word(PROFILES)).by("[G 6.12]"),
        optional("minTlsVersion", Kind::Word(VERSIONS)).by("[G 6.12]"),
        optional("customFeatures", Kind::List(&Kind::Text(64), 64)),
        optional("postQuantumKeyExchange", Kind::Word(POST_QUANTUM)),
        output("enabledFeatures"),
        output("warnings"),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("creationTimestamp"),
        output("fingerprint"),
        output("region"),
    ],
};

static PROFILES: &[Word] = &[
    Word::Known("COMPATIBLE"),
    Word::Known("MODERN"),
    Word::Known("RESTRICTED"),
    Word::Known("FIPS_202205"),
    Word::Known("CUSTOM"),
];

static VERSIONS: &[Word] =
    &[Word::Known("TLS_1_0"), Word::Known("TLS_1_1"), Word::Known("TLS_1_2"), Word::Known("TLS_1_3")];

static POST_QUANTUM: &[Word] = &[
    Word::Known("DEFAULT"),
    Word::Known("DEFERRED"),
    Word::Later("ENABLED", "key exchange with ML-KEM, which ring does not have"),
];

/// Fields of a server TLS policy.
pub static SERVER_TLS_POLICY: Table = Table {
    noun: "a server TLS policy",
    fields: &[
        required("name", Kind::Text(2048)),
        note("description"),
        note("labels"),
        required("mtlsPolicy", Kind::Object(&MTLS_POLICY)),
        later("allowOpen", "a service mesh", &[Off::False]),
        later("serverCertificate", "a service mesh; sslCertificates of the proxy", &[Off::Empty]),
        output("createTime"),
        output("updateTime"),
    ],
};

static MTLS_POLICY: Table = Table {
    noun: "mtlsPolicy",
    fields: &[
        required("clientValidationMode", Kind::Word(MODES)),
        optional("clientValidationTrustConfig", REFERENCE),
        later("clientValidationCa", "a service mesh; clientValidationTrustConfig", &[Off::Empty]),
    ],
};

static MODES: &[Word] = &[Word::Known("ALLOW_INVALID_OR_MISSING_CLIENT_CERT"), Word::Known("REJECT_INVALID")];

/// Fields of a trust config.
pub static TRUST_CONFIG: Table = Table {
    noun: "a trust config",
    fields: &[
        required("name", Kind::Text(2048)),
        note("description"),
        note("labels"),
        required("trustStores", Kind::List(&Kind::Object(&TRUST_STORE), 1)),
        later("allowlistedCertificates", "certificates that are believed whatever they say", &[Off::Empty]),
        later("spiffeTrustStores", "SPIFFE", &[Off::Empty]),
        output("createTime"),
        output("updateTime"),
        output("etag"),
    ],
};

static TRUST_STORE: Table = Table {
    noun: "a trust store",
    fields: &[
        required("trustAnchors", Kind::List(&Kind::Object(&ANCHOR), 200)),
        optional("intermediateCas", Kind::List(&Kind::Object(&ANCHOR), 100)),
    ],
};

static ANCHOR: Table = Table {
    noun: "a certificate of an authority",
    fields: &[optional("pemCertificate", PEM), optional("pemFile", FILE)],
};
