//! `customErrorResponsePolicy` of rules, `defaultCustomErrorResponsePolicy` of maps and matchers [G 5.10].

use super::resource;
use super::schema::{Kind, REFERENCE, Table, optional, required};

resource! {
    /// A policy.
    #[derive(Default)]
    ErrorPolicy
    required {}
    optional {
        /// Whose pages they are. **Ours**: a backend service.
        error_service: String,
        /// What for which answers.
        error_response_rules: Vec<ErrorRule>,
    }
}

resource! {
    /// One entry of `errorResponseRules`.
    ErrorRule
    required {
        /// Numbers from 400 to 599, `4xx`, `5xx`.
        match_response_codes: Vec<String>,
    }
    optional {
        /// Of a page.
        path: String,
        /// In place of the answer's own status.
        override_response_code: u16,
    }
}

pub(super) static ERROR_POLICY: Table = Table {
    noun: "a policy for errors",
    fields: &[
        optional("errorService", REFERENCE).by("[G 5.10]"),
        optional("errorResponseRules", Kind::List(&Kind::Object(&ERROR_RULE), 100)).by("[G 5.10]"),
    ],
};

static ERROR_RULE: Table = Table {
    noun: "a rule for errors",
    fields: &[
        required("matchResponseCodes", Kind::List(&Kind::Text(3), 200)).by("[G 5.10]"),
        optional("path", Kind::Text(1024)).by("[G 5.10]"),
        optional("overrideResponseCode", Kind::Integer(200, 599)).by("[G 5.10]"),
    ],
};
