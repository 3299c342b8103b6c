//! The query of a URL: parameters by name, none unknown, none twice [G 12.4, 12.5].

use serde_json::Value;

use super::error::ApiError;
use super::fields::Mask;
use super::operation::RequestId;
use super::path::decode;

/// Longest query that is read, in bytes.
const LONGEST: usize = 32 * 1024;
/// Most parameters that are read.
const MOST: usize = 64;

/// What every method takes, with or without `$` before it. Those about keys and quotas say nothing to this server.
const SYSTEM: &[&str] = &[
    "alt",
    "fields",
    "prettyPrint",
    "key",
    "quotaUser",
    "userIp",
    "access_token",
    "oauth_token",
    "uploadType",
    "upload_protocol",
    "xgafv",
    ".xgafv",
];
/// What lists take.
pub(crate) const LIST: &[&str] = &["filter", "maxResults", "orderBy", "pageToken", "returnPartialSuccess"];
/// What aggregated lists take.
pub(crate) const AGGREGATED: &[&str] = &[
    "filter",
    "maxResults",
    "orderBy",
    "pageToken",
    "returnPartialSuccess",
    "includeAllScopes",
    "serviceProjectNumber",
];
/// What lists of the Network Services API take.
pub(crate) const NETWORK_SERVICES_LIST: &[&str] =
    &["filter", "pageSize", "orderBy", "pageToken", "returnPartialSuccess"];
/// What changes take.
pub(crate) const CHANGE: &[&str] = &["requestId"];

/// The parameters of one request.
#[derive(Debug, Default)]
pub(crate) struct Query {
    /// By name, without `$`.
    parameters: Vec<(String, String)>,
}

impl Query {
    /// Reads what stands after `?`; `known` are the method's own parameters.
    ///
    /// # Errors
    ///
    /// 400 for a parameter that is unknown or stands twice with two values, and for wrong encoding.
    pub(crate) fn parse(text: &str, known: &[&str]) -> Result<Self, ApiError> {
        if text.len() > LONGEST {
            return Err(ApiError::too_large("The query", LONGEST));
        }
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (form(name), form(value)) else {
                return Err(ApiError::invalid("The query is not percent-encoded UTF-8"));
            };
            let plain = name.strip_prefix('$').filter(|name| SYSTEM.contains(name)).unwrap_or(&name);
            if !SYSTEM.contains(&plain) && !known.contains(&plain) {
                return Err(unknown(&name));
            }
            match parameters.iter().find(|(known, _)| known == plain) {
                Some((_, other)) if *other == value => continue,
                Some(_) => return Err(ApiError::invalid_field(plain, &value, "It has another value too.")),
                None => parameters.push((plain.to_owned(), value)),
            }
            if parameters.len() > MOST {
                return Err(ApiError::invalid(format!("More than {MOST} parameters")));
            }
        }
        let query = Self { parameters };
        query.check_alt()?;
        Ok(query)
    }

    /// JSON is all that is to be had.
    fn check_alt(&self) -> Result<(), ApiError> {
        // Python clients of newer APIs ask for numbers of enums in place of names, and read both.
        match self.text("alt").unwrap_or("json") {
            "json" | "json;enum-encoding=int" => Ok(()),
            other => Err(ApiError::invalid_field("alt", other, "Only json is to be had.")),
        }
    }

    /// A parameter's text, if there is any.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        let mut found = self.parameters.iter().filter(|(known, value)| known == name && !value.is_empty());
        found.next().map(|(_, value)| &**value)
    }

    /// A parameter that is true or false, in any case: gcloud says `True`.
    ///
    /// # Errors
    ///
    /// 400 for anything else.
    pub(crate) fn flag(&self, name: &str, default: bool) -> Result<bool, ApiError> {
        match self.text(name) {
            None => Ok(default),
            Some(text) if text.eq_ignore_ascii_case("true") || text == "1" => Ok(true),
            Some(text) if text.eq_ignore_ascii_case("false") || text == "0" => Ok(false),
            Some(text) => Err(ApiError::invalid_field(name, text, "Must be true or false.")),
        }
    }

    /// `requestId` [G 12.4].
    ///
    /// # Errors
    ///
    /// 400 for what is no UUID.
    pub(crate) fn request_id(&self) -> Result<Option<RequestId>, ApiError> {
        self.text("requestId").map(RequestId::parse).transpose()
    }

    /// How the answer is written.
    ///
    /// # Errors
    ///
    /// 400 for a wrong `fields` or `prettyPrint`.
    pub(crate) fn shape(&self) -> Result<Shape, ApiError> {
        let mask = self.text("fields").map(Mask::parse).transpose()?;
        Ok(Shape { mask, is_pretty: self.flag("prettyPrint", true)? })
    }
}

/// How an answer is written: `fields` and `prettyPrint` [G 12.5].
#[derive(Debug)]
pub(crate) struct Shape {
    mask: Option<Mask>,
    is_pretty: bool,
}

impl Shape {
    /// The body of an answer.
    pub(crate) fn write(&self, value: Value) -> String {
        let value = match &self.mask {
            Some(mask) => mask.apply(&value),
            None => value,
        };
        if self.is_pretty { format!("{value:#}\n") } else { value.to_string() }
    }
}

fn unknown(name: &str) -> ApiError {
    // As Google says it.
    let name: String = name.chars().take(100).collect();
    let message = format!(
        "Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter. \
         Field '{name}' could not be found in request message."
    );
    ApiError::invalid(message).at(&name)
}

/// Percent-decoding with `+` for a space, as forms have it.
fn form(text: &str) -> Option<String> {
    Some(decode(&text.replace('+', " "))?.into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::{any, proptest};
    use serde_json::json;

    use super::*;

    #[test]
    fn parameters_of_gcloud_are_read() {
        // [G 10b]: list.
        let query = "alt=json&includeAllScopes=True&maxResults=500&returnPartialSuccess=True&filter=name+eq+%22a%2Bb%22";
        let query = Query::parse(query, AGGREGATED).unwrap();
        assert_eq!(query.flag("includeAllScopes", false), Ok(true));
        assert_eq!(query.flag("other", true), Ok(true));
        assert_eq!((query.text("filter"), query.text("pageToken")), (Some("name eq \"a+b\""), None));
        let none = Query::parse("$alt=json;enum-encoding=int&&$fields=a&pageToken=", LIST).unwrap();
        assert_eq!((none.text("pageToken"), none.text("fields")), (None, Some("a")));
    }

    #[test]
    fn what_is_unknown_or_ambiguous_or_wrong_is_400() {
        for bad in [
            "maxresult=1",
            "$filter=a",
            "alt=media",
            "%zz=1",
            "filter=%ff",
            "maxResults=1&maxResults=2",
            "callback=x",
        ] {
            assert_eq!(Query::parse(bad, LIST).unwrap_err().status.as_u16(), 400, "{bad}");
        }
        let many: String = (0..100).map(|n| format!("p{n}=1&")).collect();
        let names: Vec<String> = (0..100).map(|n| format!("p{n}")).collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        assert_eq!(Query::parse(&many, &names).unwrap_err().status.as_u16(), 400);
        assert_eq!(Query::parse(&"a".repeat(LONGEST + 1), LIST).unwrap_err().status.as_u16(), 413);
        assert!(Query::parse("requestId=0", CHANGE).unwrap().request_id().is_err());
        assert!(Query::parse("", CHANGE).unwrap().request_id().unwrap().is_none());
        assert!(Query::parse("prettyPrint=maybe", LIST).unwrap().shape().is_err());
        assert!(
            Query::parse("returnPartialSuccess=2", LIST)
                .unwrap()
                .flag("returnPartialSuccess", false)
                .is_err()
        );
    }

    #[test]
    fn an_answer_is_pretty_unless_asked_otherwise_and_has_the_fields_asked_for() {
        let shape = |query: &str| Query::parse(query, LIST).unwrap().shape().unwrap();
        let value = json!({"a": 1, "b": 2});
        assert_eq!(shape("").write(value.clone()), "{\n  \"a\": 1,\n  \"b\": 2\n}\n");
        assert_eq!(shape("prettyPrint=false&fields=b").write(value), "{\"b\":2}");
    }

    proptest! {
        #[test]
        fn no_query_breaks_the_reader(text in any::<String>(), pairs in "[a-z$%&=+0-9]{0,60}") {
            let _ = Query::parse(&text, LIST);
            let _ = Query::parse(&pairs, LIST);
        }
    }
}
