//! `routeAction`, `urlRedirect` and `headerAction` [G 7c].

use super::duration::{DURATION, Duration};
use super::resource;
use super::schema::{Kind, Off, REFERENCE, Table, Word, later, optional, required};

resource! {
    /// `routeAction`.
    #[derive(Default)]
    RouteAction
    required {}
    optional {
        /// Several services by weight.
        weighted_backend_services: Vec<WeightedBackendService>,
        /// What the service sees.
        url_rewrite: UrlRewrite,
        /// In place of the service's.
        timeout: Duration,
        /// In place of the built-in rules.
        retry_policy: RetryPolicy,
        /// Faults made on purpose.
        fault_injection_policy: FaultInjectionPolicy,
        /// Another service that gets a copy.
        request_mirror_policy: RequestMirrorPolicy,
        /// What pages of other origins may do.
        cors_policy: CorsPolicy,
        /// All of a request, retries included; in place of the services' own.
        max_stream_duration: Duration,
    }
}

resource! {
    /// `requestMirrorPolicy`.
    RequestMirrorPolicy
    required {
        /// Who gets the copies.
        backend_service: String,
    }
    optional {
        /// Of requests; all if absent.
        mirror_percent: f64,
    }
}

resource! {
    /// `corsPolicy`.
    #[derive(Default)]
    CorsPolicy
    required {}
    optional {
        /// `*`, or origins to the letter.
        allow_origins: Vec<String>,
        /// Regular expressions.
        allow_origin_regexes: Vec<String>,
        /// Of requests.
        allow_methods: Vec<String>,
        /// Names that requests may have.
        allow_headers: Vec<String>,
        /// Names that pages may read.
        expose_headers: Vec<String>,
        /// Seconds that the answer to a preflight holds.
        max_age: i32,
        /// Cookies, and what else tells who asks.
        allow_credentials: bool,
        /// As if there were none.
        disabled: bool,
    }
}

resource! {
    /// One entry of `weightedBackendServices`.
    WeightedBackendService
    required {
        /// The service.
        backend_service: String,
        /// Its share is this, of the sum of all.
        weight: u32,
    }
    optional {
        /// Headers on the way.
        header_action: HeaderAction,
    }
}

resource! {
    /// `urlRewrite`.
    #[derive(Default)]
    UrlRewrite
    required {}
    optional {
        /// The new host.
        host_rewrite: String,
        /// In place of the matched part.
        path_prefix_rewrite: String,
        /// From the variables of a template.
        path_template_rewrite: String,
        /// What a regular expression finds, by something else.
        regex_rewrite: RegexRewrite,
    }
}

resource! {
    /// `regexRewrite`.
    RegexRewrite
    required {
        /// What is found in the path.
        path_pattern: String,
        /// What stands there instead.
        path_substitution: String,
    }
    optional {}
}

resource! {
    /// `retryPolicy`.
    RetryPolicy
    required {
        /// Words for what is tried again.
        retry_conditions: Vec<String>,
    }
    optional {
        /// After the first attempt.
        num_retries: u32,
        /// Of each attempt.
        per_try_timeout: Duration,
    }
}

resource! {
    /// `urlRedirect`.
    #[derive(Default)]
    UrlRedirect
    required {}
    optional {
        /// The new host.
        host_redirect: String,
        /// The new path.
        path_redirect: String,
        /// In place of the matched part.
        prefix_redirect: String,
        /// Over TLS.
        https_redirect: bool,
        /// Without the query.
        strip_query: bool,
        /// A word for a status.
        redirect_response_code: String,
    }
}

resource! {
    /// `faultInjectionPolicy`.
    #[derive(Default)]
    FaultInjectionPolicy
    required {}
    optional {
        /// Answers instead of services.
        abort: FaultAbort,
        /// Waits first.
        delay: FaultDelay,
    }
}

resource! {
    /// `abort`.
    FaultAbort
    required {
        /// The answer.
        http_status: u16,
        /// Of requests.
        percentage: f64,
    }
    optional {}
}

resource! {
    /// `delay`.
    FaultDelay
    required {
        /// How long.
        fixed_delay: Duration,
        /// Of requests.
        percentage: f64,
    }
    optional {}
}

resource! {
    /// `headerAction`.
    #[derive(Default)]
    HeaderAction
    required {}
    optional {
        /// To the service.
        request_headers_to_add: Vec<HeaderOption>,
        /// Names.
        request_headers_to_remove: Vec<String>,
        /// To the client.
        response_headers_to_add: Vec<HeaderOption>,
        /// Names.
        response_headers_to_remove: Vec<String>,
    }
}

resource! {
    /// A header to add.
    HeaderOption
    required {
        /// Its name.
        header_name: String,
    }
    optional {
        /// Its value.
        header_value: String,
        /// Instead of others of its name.
        replace: bool,
    }
}

pub(super) static ROUTE_ACTION: Table = Table {
    noun: "a route action",
    fields: &[
        optional("weightedBackendServices", Kind::List(&Kind::Object(&WEIGHTED), 1000)).by("[G 7c]"),
        optional("urlRewrite", Kind::Object(&URL_REWRITE)).by("[G 7c]"),
        optional("timeout", Kind::Object(&DURATION)).by("[G 5.2]"),
        optional("faultInjectionPolicy", Kind::Object(&FAULT)).by("[G 7c]"),
        optional("retryPolicy", Kind::Object(&RETRY_POLICY)).by("[G 5]"),
        optional("requestMirrorPolicy", Kind::Object(&MIRROR)).by("[G 7c]"),
        optional("corsPolicy", Kind::Object(&CORS)).by("[G 7c]"),
        optional("maxStreamDuration", Kind::Object(&DURATION)).by("[G 7c]"),
        later("cachePolicy", "caching", &[Off::Empty]),
        later(
            "dynamicCompressionPolicy",
            "compression by route; compressionMode of the service does it for all of its answers",
            &[Off::Empty],
        ),
        later("imageOptimizationPolicy", "images made smaller", &[Off::Empty]),
    ],
};

static WEIGHTED: Table = Table {
    noun: "a weighted backend service",
    fields: &[
        required("backendService", REFERENCE).by("[G 7c]"),
        required("weight", Kind::Integer(0, 1000)).by("[G 7c]"),
        optional("headerAction", Kind::Object(&HEADER_ACTION)).by("[G 7c]"),
    ],
};

static URL_REWRITE: Table = Table {
    noun: "a URL rewrite",
    fields: &[
        optional("hostRewrite", Kind::Text(255)).by("[G 7c]"),
        optional("pathPrefixRewrite", Kind::Text(1024)).by("[G 7c]"),
        optional("pathTemplateRewrite", Kind::Text(255)).by("[G 7c]"),
        optional("regexRewrite", Kind::Object(&REGEX_REWRITE)).by("[G 7c]"),
    ],
};

static REGEX_REWRITE: Table = Table {
    noun: "a rewrite by a regular expression",
    fields: &[
        required("pathPattern", Kind::Text(250)).by("[G 7b, 7c]"),
        required("pathSubstitution", Kind::Text(1024)).by("[G 7c]"),
    ],
};

static MIRROR: Table = Table {
    noun: "a request mirror policy",
    fields: &[
        required("backendService", REFERENCE).by("[G 7c]"),
        optional("mirrorPercent", PERCENTAGE).by("[G 7c]"),
    ],
};

static CORS: Table = Table {
    noun: "a CORS policy",
    fields: &[
        optional("allowOrigins", Kind::List(&Kind::Text(255), 1000)).by("[G 7c]"),
        optional("allowOriginRegexes", Kind::List(&Kind::Text(250), 5)).by("[G 7b, 7c]"),
        optional("allowMethods", Kind::List(&Kind::Text(32), 100)).by("[G 7c]"),
        optional("allowHeaders", Kind::List(&Kind::Text(255), 100)).by("[G 7c]"),
        optional("exposeHeaders", Kind::List(&Kind::Text(255), 100)).by("[G 7c]"),
        optional("maxAge", Kind::Integer(-1, 2_147_483_647)).by("[G 7c]"),
        optional("allowCredentials", Kind::Flag).by("[G 7c]"),
        optional("disabled", Kind::Flag).by("[G 7c]"),
    ],
};

static RETRY_POLICY: Table = Table {
    noun: "a retry policy",
    fields: &[
        optional("numRetries", Kind::Integer(1, 25)).by("[G 5]"),
        optional("perTryTimeout", Kind::Object(&DURATION)).by("[G 5]"),
        required("retryConditions", Kind::List(&Kind::Word(RETRY_CONDITIONS), 100)).by("[G 5]"),
    ],
};

const RETRY_CONDITIONS: &[Word] = &[
    Word::Known("5xx"),
    Word::Known("gateway-error"),
    Word::Known("connect-failure"),
    Word::Known("retriable-4xx"),
    Word::Known("refused-stream"),
    Word::Known("cancelled"),
    Word::Known("deadline-exceeded"),
    Word::Known("internal"),
    Word::Known("resource-exhausted"),
    Word::Known("unavailable"),
];

pub(super) static URL_REDIRECT: Table = Table {
    noun: "a URL redirect",
    fields: &[
        optional("hostRedirect", Kind::Text(255)).by("[G 7c]"),
        optional("pathRedirect", Kind::Text(1024)).by("[G 7c]"),
        optional("prefixRedirect", Kind::Text(1024)).by("[G 7c]"),
        optional("httpsRedirect", Kind::Flag).by("[G 7c]"),
        optional("stripQuery", Kind::Flag).by("[G 7c]"),
        optional(
            "redirectResponseCode",
            Kind::Word(&[
                Word::Known("MOVED_PERMANENTLY_DEFAULT"),
                Word::Known("FOUND"),
                Word::Known("SEE_OTHER"),
                Word::Known("TEMPORARY_REDIRECT"),
                Word::Known("PERMANENT_REDIRECT"),
            ]),
        )
        .by("[G 7c]"),
    ],
};

const PERCENTAGE: Kind = Kind::Number(0.0, 100.0);

static FAULT: Table = Table {
    noun: "a fault injection policy",
    fields: &[
        optional("abort", Kind::Object(&FAULT_ABORT)).by("[G 7c]"),
        optional("delay", Kind::Object(&FAULT_DELAY)).by("[G 7c]"),
    ],
};

static FAULT_ABORT: Table = Table {
    noun: "an abort",
    fields: &[
        required("httpStatus", Kind::Integer(200, 599)).by("[G 7c]"),
        required("percentage", PERCENTAGE).by("[G 7c]"),
    ],
};

static FAULT_DELAY: Table = Table {
    noun: "a delay",
    fields: &[
        required("fixedDelay", Kind::Object(&DURATION)).by("[G 7c]"),
        required("percentage", PERCENTAGE).by("[G 7c]"),
    ],
};

pub(super) static HEADER_ACTION: Table = Table {
    noun: "a header action",
    fields: &[
        optional("requestHeadersToAdd", Kind::List(&Kind::Object(&HEADER_OPTION), 100)),
        optional("requestHeadersToRemove", Kind::List(&Kind::Text(255), 100)),
        optional("responseHeadersToAdd", Kind::List(&Kind::Object(&HEADER_OPTION), 100)),
        optional("responseHeadersToRemove", Kind::List(&Kind::Text(255), 100)),
    ],
};

static HEADER_OPTION: Table = Table {
    noun: "a header",
    fields: &[
        required("headerName", Kind::Text(255)).by("[G 6.8]"),
        optional("headerValue", Kind::Text(2047)).by("[G 6.7]"),
        optional("replace", Kind::Flag).by("[G 7c]"),
    ],
};
