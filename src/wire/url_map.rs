//! `urlMaps` [G 7].

use super::resource;
use super::schema::{Kind, Off, REFERENCE, Table, later, note, optional, output, required};

resource! {
    /// A URL map.
    UrlMap
    required {
        /// Name, unique among URL maps.
        name: String,
        /// Service of what no host rule takes.
        default_service: String,
    }
    optional {
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
        /// Service of what no path rule takes.
        default_service: String,
    }
    optional {
        /// Paths with their service.
        path_rules: Vec<PathRule>,
    }
}

resource! {
    /// One entry of `pathRules`.
    PathRule
    required {
        /// Patterns.
        paths: Vec<String>,
        /// Where they go.
        service: String,
    }
    optional {}
}

/// Fields of a URL map.
pub static URL_MAP: Table = Table {
    noun: "a URL map",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        required("defaultService", REFERENCE).by("[G 7.6]"),
        optional("hostRules", Kind::List(&Kind::Object(&HOST_RULE), 1000)).by("[G 9]"),
        optional("pathMatchers", Kind::List(&Kind::Object(&PATH_MATCHER), 1000)).by("[G 9]"),
        later("defaultRouteAction", "rewrites, retries, weights, faults", &[Off::Empty]),
        later("defaultUrlRedirect", "redirects", &[Off::Empty]),
        later("defaultCustomErrorResponsePolicy", "error pages of your own", &[Off::Empty]),
        later("headerAction", "adding and removing headers", &[Off::Empty]),
        later("tests", "tests of routes", &[Off::Empty]),
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
        required("defaultService", REFERENCE).by("[G 7.6]"),
        optional("pathRules", Kind::List(&Kind::Object(&PATH_RULE), 1000)).by("[G 9]"),
        later("routeRules", "rules by header, query and priority", &[Off::Empty]),
        later("defaultRouteAction", "rewrites, retries, weights, faults", &[Off::Empty]),
        later("defaultUrlRedirect", "redirects", &[Off::Empty]),
        later("defaultCustomErrorResponsePolicy", "error pages of your own", &[Off::Empty]),
        later("headerAction", "adding and removing headers", &[Off::Empty]),
    ],
};

static PATH_RULE: Table = Table {
    noun: "a path rule",
    fields: &[
        required("paths", Kind::List(&Kind::Text(1024), 1000)).by("[G 9]"),
        required("service", REFERENCE).by("[G 7.6]"),
        later("routeAction", "rewrites, retries, weights, faults", &[Off::Empty]),
        later("urlRedirect", "redirects", &[Off::Empty]),
        later("customErrorResponsePolicy", "error pages of your own", &[Off::Empty]),
    ],
};
