//! `headerAction`: headers that are added and removed on the way to a service and back [G 7c].

use http::{HeaderMap, HeaderName, HeaderValue};

/// What all levels say together, in their order: weighted service, route rule, path matcher, URL map. In one level,
/// headers are removed before others are added.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeaderEdits {
    /// Of requests.
    pub request: Vec<Edit>,
    /// Of answers.
    pub response: Vec<Edit>,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// All lines of that name go.
    Remove(HeaderName),
    /// This line instead of all others of that name: `replace: true`, the default.
    Set(HeaderName, HeaderValue),
    /// This line beside the others: `replace: false`.
    Add(HeaderName, HeaderValue),
}

impl HeaderEdits {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

/// Makes all changes, one after the other.
pub fn apply(edits: &[Edit], headers: &mut HeaderMap) {
    for edit in edits {
        match edit {
            Edit::Remove(name) => {
                headers.remove(name);
            }
            Edit::Set(name, value) => {
                headers.insert(name, value.clone());
            }
            Edit::Add(name, value) => {
                headers.append(name, value.clone());
            }
        }
    }
}
