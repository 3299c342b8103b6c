//! A refusal in the shape of Google's error body [G 12.10].

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::kinds::Kind;

/// Longest piece of a request that a message repeats, in bytes.
const REPEATED: usize = 256;

/// One refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// Status of the response, and of the operation that carries this.
    pub(crate) status: StatusCode,
    /// Google's word for it, such as `notFound`.
    pub(crate) reason: &'static str,
    /// A sentence for the user; gcloud prints it as it is.
    pub(crate) message: String,
    /// The field or parameter that is at fault, when known.
    pub(crate) location: Option<String>,
    /// What else is wrong with the same request.
    pub(crate) errors: Vec<Detail>,
    /// Methods of the path, on a 405 alone.
    pub(crate) allow: Option<String>,
}

/// One more flaw of a refused request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Detail {
    /// Google's word for it.
    pub(crate) reason: &'static str,
    /// A sentence for the user.
    pub(crate) message: String,
    /// The field or parameter that is at fault, when known.
    pub(crate) location: Option<String>,
}

impl ApiError {
    /// A refusal without a place.
    pub(crate) fn new(status: StatusCode, reason: &'static str, message: impl Into<String>) -> Self {
        Self { status, reason, message: message.into(), location: None, errors: Vec::new(), allow: None }
    }

    /// 404 for a resource; `path` starts with `projects/`.
    pub(crate) fn not_found(path: &str) -> Self {
        let message = format!("The resource '{}' was not found", short(path));
        Self::new(StatusCode::NOT_FOUND, "notFound", message)
    }

    /// 404 for a URL that is no part of the API.
    pub(crate) fn no_such_url(path: &str) -> Self {
        let message = format!("The requested URL {} was not found on this server.", short(path));
        Self::new(StatusCode::NOT_FOUND, "notFound", message)
    }

    /// 409 on an insert; `path` starts with `projects/`.
    pub(crate) fn already_exists(path: &str) -> Self {
        let message = format!("The resource '{}' already exists", short(path));
        Self::new(StatusCode::CONFLICT, "alreadyExists", message)
    }

    /// 400 with a whole sentence.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// 400 for one field or parameter; `why` is a sentence.
    pub(crate) fn invalid_field(field: &str, value: &str, why: &str) -> Self {
        let message = format!("Invalid value for field '{}': '{}'. {why}", short(field), short(value));
        Self::invalid(message).at(field)
    }

    /// 400 for a field that must be there.
    pub(crate) fn required(field: &str) -> Self {
        let message = format!("Required field '{}' not specified", short(field));
        Self::new(StatusCode::BAD_REQUEST, "required", message).at(field)
    }

    /// 412: the fingerprint is not that of the resource as it is now [G 12.3].
    pub(crate) fn condition_not_met() -> Self {
        let message = "Invalid fingerprint: the resource has changed since it was read.";
        Self::new(StatusCode::PRECONDITION_FAILED, "conditionNotMet", message).at("fingerprint")
    }

    /// 400: `path` cannot be deleted while `by` refers to it; both start with `projects/` [G 12.11].
    pub(crate) fn in_use(kind: &Kind, path: &str, by: &str) -> Self {
        let (path, by) = (short(path), short(by));
        let message = format!("The {} resource '{path}' is already being used by '{by}'", kind.singular);
        Self::new(StatusCode::BAD_REQUEST, "resourceInUseByAnotherResource", message)
    }

    /// 405 with the methods that the path has.
    pub(crate) fn method_not_allowed(method: &str, allowed: &[&str]) -> Self {
        let allow = allowed.join(", ");
        let message = format!("The method {} is not allowed here; allowed: {allow}", short(method));
        let error = Self::new(StatusCode::METHOD_NOT_ALLOWED, "httpMethodNotAllowed", message);
        Self { allow: Some(allow), ..error }
    }

    /// 413: `what` is longer than `limit` bytes.
    pub(crate) fn too_large(what: &str, limit: usize) -> Self {
        let message = format!("{what} is longer than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "uploadTooLarge", message)
    }

    /// 403: this process takes no changes through the API; `why` is a sentence.
    pub(crate) fn read_only(why: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", why)
    }

    /// 501: Google's API has it, this server does not; `what` starts a sentence.
    pub(crate) fn not_supported(what: &str) -> Self {
        let message = format!("{} is not supported by this server", short(what));
        Self::new(StatusCode::NOT_IMPLEMENTED, "notImplemented", message)
    }

    /// 429: too many requests at once.
    pub(crate) fn rate_limited() -> Self {
        let message = "Too many requests to the API; try again in a moment";
        Self::new(StatusCode::TOO_MANY_REQUESTS, "rateLimitExceeded", message)
    }

    /// 500: the fault is here.
    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "backendError", message)
    }

    /// The same refusal, naming the field or parameter.
    pub(crate) fn at(mut self, location: &str) -> Self {
        self.location = Some(short(location).to_owned());
        self
    }

    /// The same refusal with one more flaw.
    pub(crate) fn with(mut self, detail: Detail) -> Self {
        self.errors.push(detail);
        self
    }

    /// The first flaw and the others, in order.
    pub(crate) fn details(&self) -> impl Iterator<Item = Detail> {
        let first =
            Detail { reason: self.reason, message: self.message.clone(), location: self.location.clone() };
        std::iter::once(first).chain(self.errors.iter().cloned())
    }

    /// Google's error body.
    pub(crate) fn body(&self) -> Value {
        let errors: Vec<Value> = self.details().map(|detail| entry(&detail)).collect();
        json!({"error": {"code": self.status.as_u16(), "message": self.message, "errors": errors}})
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}

fn entry(detail: &Detail) -> Value {
    let mut entry = json!({"message": detail.message, "domain": "global", "reason": detail.reason});
    if let Some(location) = &detail.location {
        entry["location"] = location.as_str().into();
    }
    entry
}

/// As much of `text` as a message repeats, cut between letters.
fn short(text: &str) -> &str {
    let end = (0..=REPEATED.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or(0)).unwrap_or("")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::kinds;
    use super::*;

    #[test]
    fn a_missing_resource_is_told_in_googles_words() {
        let error = ApiError::not_found("projects/p/global/backendServices/x");
        let message = "The resource 'projects/p/global/backendServices/x' was not found";
        // [G 12.10].
        assert_eq!(
            error.body(),
            json!({"error": {"code": 404, "message": message,
                "errors": [{"message": message, "domain": "global", "reason": "notFound"}]}})
        );
    }

    #[test]
    fn every_refusal_has_the_status_and_the_reason_of_the_table() {
        let kind = kinds::of_collection("backendServices").unwrap();
        let detail = Detail { reason: "invalid", message: "And that.".to_owned(), location: None };
        let cases = [
            (ApiError::already_exists("projects/p/x"), 409, "alreadyExists"),
            (ApiError::invalid("No.").with(detail), 400, "invalid"),
            (ApiError::invalid_field("a", "b", "No."), 400, "invalid"),
            (ApiError::required("name"), 400, "required"),
            (ApiError::condition_not_met(), 412, "conditionNotMet"),
            (ApiError::in_use(kind, "projects/a", "projects/b"), 400, "resourceInUseByAnotherResource"),
            (ApiError::method_not_allowed("PUT", &["GET"]), 405, "httpMethodNotAllowed"),
            (ApiError::too_large("The body", 7), 413, "uploadTooLarge"),
            (ApiError::read_only("No changes."), 403, "forbidden"),
            (ApiError::not_supported("IAM"), 501, "notImplemented"),
            (ApiError::rate_limited(), 429, "rateLimitExceeded"),
            (ApiError::internal("Oh."), 500, "backendError"),
            (ApiError::no_such_url("/x"), 404, "notFound"),
        ];
        for (error, status, reason) in cases {
            let body = error.body();
            assert_eq!(body["error"]["code"], status, "{error:?}");
            assert_eq!(body["error"]["errors"][0]["reason"], reason, "{error:?}");
            assert_eq!(body["error"]["errors"].as_array().unwrap().len(), 1 + error.errors.len());
            assert_eq!(error.into_response().status(), status);
        }
    }

    #[test]
    fn what_is_used_names_its_user() {
        let kind = kinds::of_collection("backendServices").unwrap();
        let error = ApiError::in_use(kind, "projects/p/a", "projects/p/b");
        // [G 12.10]: `The X resource 'projects/…' is already being used by 'projects/…'`.
        let message = "The backend_service resource 'projects/p/a' is already being used by 'projects/p/b'";
        assert_eq!(error.message, message);
    }

    #[test]
    fn a_405_says_what_is_allowed_and_a_field_is_named() {
        let response = ApiError::method_not_allowed("PUT", &["GET", "DELETE"]).into_response();
        assert_eq!(response.headers()[header::ALLOW], "GET, DELETE");
        assert_eq!(ApiError::required("name").body()["error"]["errors"][0]["location"], "name");
    }

    #[test]
    fn a_message_repeats_only_the_beginning_of_what_was_sent() {
        let error = ApiError::not_found(&"ä".repeat(100_000));
        assert!(error.message.len() < 2 * REPEATED, "{}", error.message.len());
    }
}
