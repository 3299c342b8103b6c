//! `routeRules` of a path matcher [G 7.5, 7b].

use super::error_page::{ERROR_POLICY, ErrorPolicy};
use super::resource;
use super::route_action::{
    HEADER_ACTION, HeaderAction, ROUTE_ACTION, RouteAction, URL_REDIRECT, UrlRedirect,
};
use super::schema::{Kind, Off, REFERENCE, Table, later, note, optional, required};

resource! {
    /// One entry of `routeRules`.
    RouteRule
    required {
        /// The lowest comes first.
        priority: u32,
        /// Any of them will do.
        match_rules: Vec<MatchRule>,
    }
    optional {
        /// Where it leads.
        service: String,
        /// What else becomes of the request.
        route_action: RouteAction,
        /// Where it is sent instead.
        url_redirect: UrlRedirect,
        /// Headers on the way.
        header_action: HeaderAction,
        /// What clients see instead of errors.
        custom_error_response_policy: ErrorPolicy,
    }
}

resource! {
    /// One entry of `matchRules`: all of it must hold.
    #[derive(Default)]
    MatchRule
    required {}
    optional {
        /// The path begins like this.
        prefix_match: String,
        /// The whole path.
        full_path_match: String,
        /// The path has this form.
        path_template_match: String,
        /// A regular expression.
        regex_match: String,
        /// Of the path alone.
        ignore_case: bool,
        /// Of headers.
        header_matches: Vec<HeaderMatch>,
        /// Of the query.
        query_parameter_matches: Vec<QueryParameterMatch>,
    }
}

resource! {
    /// One entry of `headerMatches`.
    HeaderMatch
    required {
        /// Or `:authority`, `:method`, `PORT`.
        header_name: String,
    }
    optional {
        /// The whole value.
        exact_match: String,
        /// Its beginning.
        prefix_match: String,
        /// Its end.
        suffix_match: String,
        /// It is there.
        present_match: bool,
        /// A whole number.
        range_match: RangeMatch,
        /// A regular expression.
        regex_match: String,
        /// The opposite.
        invert_match: bool,
    }
}

resource! {
    /// `rangeMatch`.
    RangeMatch
    required {
        /// The first number that matches.
        range_start: i64,
        /// The first number above that does not.
        range_end: i64,
    }
    optional {}
}

resource! {
    /// One entry of `queryParameterMatches`.
    QueryParameterMatch
    required {
        /// Of the parameter.
        name: String,
    }
    optional {
        /// The whole value.
        exact_match: String,
        /// It is there.
        present_match: bool,
        /// A regular expression.
        regex_match: String,
    }
}

/// Fields of one entry of `routeRules`.
pub(super) static ROUTE_RULE: Table = Table {
    noun: "a route rule",
    fields: &[
        required("priority", Kind::Integer(0, 2_147_483_647)).by("[G 7.5]"),
        note("description"),
        required("matchRules", Kind::List(&Kind::Object(&MATCH_RULE), 1000)).by("[G 7.5]"),
        optional("service", REFERENCE).by("[G 7.6]"),
        optional("routeAction", Kind::Object(&ROUTE_ACTION)).by("[G 7.6]"),
        optional("urlRedirect", Kind::Object(&URL_REDIRECT)).by("[G 7.6]"),
        optional("headerAction", Kind::Object(&HEADER_ACTION)).by("[G 7c]"),
        optional("customErrorResponsePolicy", Kind::Object(&ERROR_POLICY)).by("[G 5.10]"),
    ],
};

static MATCH_RULE: Table = Table {
    noun: "a match rule",
    fields: &[
        optional("prefixMatch", Kind::Text(1024)).by("[G 7b]"),
        optional("fullPathMatch", Kind::Text(1024)).by("[G 7b]"),
        optional("pathTemplateMatch", Kind::Text(1024)).by("[G 7b]"),
        optional("regexMatch", Kind::Text(250)).by("[G 7b]"),
        optional("ignoreCase", Kind::Flag),
        optional("headerMatches", Kind::List(&Kind::Object(&HEADER_MATCH), 1000)).by("[G 9]"),
        optional("queryParameterMatches", Kind::List(&Kind::Object(&QUERY_MATCH), 1000)).by("[G 9]"),
        later("metadataFilters", "which proxies of a service mesh get the rule", &[Off::Empty]),
    ],
};

static HEADER_MATCH: Table = Table {
    noun: "a header match",
    fields: &[
        required("headerName", Kind::Text(255)),
        optional("exactMatch", Kind::Text(2047)),
        optional("prefixMatch", Kind::Text(2047)),
        optional("suffixMatch", Kind::Text(2047)),
        optional("presentMatch", Kind::Flag),
        optional("rangeMatch", Kind::Object(&RANGE_MATCH)).by("[G 7b]"),
        optional("regexMatch", Kind::Text(250)).by("[G 7b]"),
        optional("invertMatch", Kind::Flag),
    ],
};

static RANGE_MATCH: Table = Table {
    noun: "a range",
    fields: &[
        required("rangeStart", Kind::Integer(i64::MIN, i64::MAX)).by("[G 7b]"),
        required("rangeEnd", Kind::Integer(i64::MIN, i64::MAX)).by("[G 7b]"),
    ],
};

static QUERY_MATCH: Table = Table {
    noun: "a query parameter match",
    fields: &[
        required("name", Kind::Text(1024)),
        optional("exactMatch", Kind::Text(2047)),
        optional("presentMatch", Kind::Flag),
        optional("regexMatch", Kind::Text(250)).by("[G 7b]"),
    ],
};
