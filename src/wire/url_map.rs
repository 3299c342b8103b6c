//! `urlMaps` [G 7].

use super::error_page::{ERROR_POLICY, ErrorPolicy};
use super::resource;
use super::route_action::{
    HEADER_ACTION, HeaderAction, ROUTE_ACTION, RouteAction, URL_REDIRECT, UrlRedirect,
};
use super::route_rule::{ROUTE_RULE, RouteRule};
use super::schema::{Kind, REFERENCE, Table, note, optional, output, required};

resource! {
    /// A URL map.
    UrlMap
    required {
        /// Name, unique among URL maps.
        name: String,
    }
    optional {
        /// Service of what no host rule takes.
        default_service: String,
        /// What else becomes of it.
        default_route_action: RouteAction,
        /// Where it is sent instead.
        default_url_redirect: UrlRedirect,
        /// For all requests to a service.
        header_action: HeaderAction,
        /// What clients see instead of errors.
        default_custom_error_response_policy: ErrorPolicy,
        /// Checked before the map is used.
        tests: Vec<Test>,
        /// Hosts → path matchers.
        host_rules: Vec<HostRule>,
        /// Paths → services.
        path_matchers: Vec<PathMatcher>,
    }
}

resource! {
    /// One entry of `hostRules`.
    HostRule
    required {
        /// Patterns.
        hosts: Vec<String>,
        /// Name of a path matcher of this map.
        path_matcher: String,
    }
    optional {}
}

resource! {
    /// One entry of `pathMatchers`.
    PathMatcher
    required {
        /// Name, unique in its map.
        name: String,
    }
    optional {
        /// Service of what no rule takes.
        default_service: String,
        /// What else becomes of it.
        default_route_action: RouteAction,
        /// Where it is sent instead.
        default_url_redirect: UrlRedirect,
        /// For all requests to a service.
        header_action: HeaderAction,
        /// What clients see instead of errors.
        default_custom_error_response_policy: ErrorPolicy,
        /// Paths with their service.
        path_rules: Vec<PathRule>,
        /// Rules by priority.
        route_rules: Vec<RouteRule>,
    }
}

resource! {
    /// One entry of `pathRules`.
    PathRule
    required {
        /// Patterns.
        paths: Vec<String>,
    }
    optional {
        /// Where they go.
        service: String,
        /// What else becomes of them.
        route_action: RouteAction,
        /// Where they are sent instead.
        url_redirect: UrlRedirect,
        /// What clients see instead of errors.
        custom_error_response_policy: ErrorPolicy,
    }
}

resource! {
    /// One entry of `tests`.
    Test
    required {
        /// Host of the request.
        host: String,
        /// Its path, with a query if need be.
        path: String,
    }
    optional {
        /// Its headers.
        headers: Vec<TestHeader>,
        /// Where it should go.
        service: String,
        /// The redirect that should answer it.
        expected_redirect_response_code: u16,
        /// The URL that a service, or a client that is redirected, should see.
        expected_output_url: String,
    }
}

resource! {
    /// A header of a test's request.
    TestHeader
    required {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    }
    optional {}
}

/// Fields of a URL map.
pub static URL_MAP: Table = Table {
    noun: "a URL map",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        optional("defaultService", REFERENCE).by("[G 7.6]"),
        optional("hostRules", Kind::List(&Kind::Object(&HOST_RULE), 1000)).by("[G 9]"),
        optional("pathMatchers", Kind::List(&Kind::Object(&PATH_MATCHER), 1000)).by("[G 9]"),
        optional("defaultRouteAction", Kind::Object(&ROUTE_ACTION)).by("[G 7.6]"),
        optional("defaultUrlRedirect", Kind::Object(&URL_REDIRECT)).by("[G 7.6]"),
        optional("defaultCustomErrorResponsePolicy", Kind::Object(&ERROR_POLICY)).by("[G 5.10]"),
        optional("headerAction", Kind::Object(&HEADER_ACTION)).by("[G 7c]"),
        optional("tests", Kind::List(&Kind::Object(&TEST), 100)).by("[G 7.9]"),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("creationTimestamp"),
        output("fingerprint"),
        output("region"),
    ],
};

static HOST_RULE: Table = Table {
    noun: "a host rule",
    fields: &[
        required("hosts", Kind::List(&Kind::Text(255), 1000)).by("[G 9]"),
        required("pathMatcher", Kind::Name),
        note("description"),
    ],
};

static PATH_MATCHER: Table = Table {
    noun: "a path matcher",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        optional("defaultService", REFERENCE).by("[G 7.6]"),
        optional("pathRules", Kind::List(&Kind::Object(&PATH_RULE), 1000)).by("[G 9]"),
        optional("routeRules", Kind::List(&Kind::Object(&ROUTE_RULE), 1000)).by("[G 9]"),
        optional("defaultRouteAction", Kind::Object(&ROUTE_ACTION)).by("[G 7.6]"),
        optional("defaultUrlRedirect", Kind::Object(&URL_REDIRECT)).by("[G 7.6]"),
        optional("defaultCustomErrorResponsePolicy", Kind::Object(&ERROR_POLICY)).by("[G 5.10]"),
        optional("headerAction", Kind::Object(&HEADER_ACTION)).by("[G 7c]"),
    ],
};

static PATH_RULE: Table = Table {
    noun: "a path rule",
    fields: &[
        required("paths", Kind::List(&Kind::Text(1024), 1000)).by("[G 9]"),
        optional("service", REFERENCE).by("[G 7.6]"),
        optional("routeAction", Kind::Object(&ROUTE_ACTION)).by("[G 7.6]"),
        optional("urlRedirect", Kind::Object(&URL_REDIRECT)).by("[G 7.6]"),
        optional("customErrorResponsePolicy", Kind::Object(&ERROR_POLICY)).by("[G 5.10]"),
    ],
};

static TEST: Table = Table {
    noun: "a test",
    fields: &[
        note("description"),
        required("host", Kind::Text(255)).by("[G 7.9]"),
        required("path", Kind::Text(2047)).by("[G 7.9]"),
        optional("headers", Kind::List(&Kind::Object(&TEST_HEADER), 100)).by("[G 7.9]"),
        optional("service", REFERENCE).by("[G 7.9]"),
        optional("expectedRedirectResponseCode", Kind::Integer(300, 399)).by("[G 7.9]"),
        optional("expectedOutputUrl", Kind::Text(2047)).by("[G 7.9]"),
    ],
};

static TEST_HEADER: Table = Table {
    noun: "a header",
    fields: &[required("name", Kind::Text(255)), required("value", Kind::Text(2047))],
};
