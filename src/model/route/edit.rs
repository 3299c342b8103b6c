//! `headerAction` and custom headers of services: headers that are added and removed on the way to a service and back
//! [G 6c, 7c].

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::model::header::{Value, Variable};

/// Of a route, what all levels say together, in their order: weighted service, route rule, path matcher, URL map. In one
/// level, headers are removed before others are added. Of a service, `customRequestHeaders` and `customResponseHeaders`.
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
    /// This line instead of all others of that name: `replace: true`, the default without variables.
    Set(HeaderName, Value),
    /// This line beside the others: `replace: false`, the default with variables.
    Add(HeaderName, Value),
}

impl HeaderEdits {
    /// Whether there is nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.request.is_empty() && self.response.is_empty()
    }
}

impl Edit {
    /// What it adds.
    const fn added(&self) -> Option<(&HeaderName, &Value)> {
        match self {
            Self::Remove(_) => None,
            Self::Set(name, value) | Self::Add(name, value) => Some((name, value)),
        }
    }

    /// Whether it adds lines of that name.
    fn adds(&self, name: &HeaderName) -> bool {
        self.added().is_some_and(|(own, _)| own == name)
    }
}

/// The values that have variables, in their order. Allocates nothing where there are none.
#[must_use]
pub fn fill(edits: &[Edit], write: &mut dyn FnMut(Variable, &mut Vec<u8>)) -> Vec<HeaderValue> {
    edits.iter().filter_map(|edit| edit.added()?.1.fill(write)).collect()
}

/// Makes all changes, one after the other. `filled` is what [`fill`] has made of the same edits.
pub fn apply(edits: &[Edit], filled: Vec<HeaderValue>, headers: &mut HeaderMap) {
    apply_beside(&[], edits, filled, headers);
}

/// The same, without those of headers that `first` sets: where URL map and service set the same header, the URL map's
/// is taken and the service's is ignored, as Google's page on custom headers has it.
pub fn apply_beside(first: &[Edit], edits: &[Edit], filled: Vec<HeaderValue>, headers: &mut HeaderMap) {
    let mut filled = filled.into_iter();
    // What is ignored takes its filled value all the same.
    let mut line = |value: &Value| match value {
        Value::Fixed(value) => value.clone(),
        Value::Template(_) => filled.next().unwrap_or(HeaderValue::from_static("")),
    };
    let is_taken = |name: &HeaderName| first.iter().any(|other| other.adds(name));
    for edit in edits {
        match edit {
            Edit::Remove(name) => {
                headers.remove(name);
            }
            Edit::Set(name, value) => {
                let value = line(value);
                if !is_taken(name) {
                    headers.insert(name, value);
                }
            }
            Edit::Add(name, value) => {
                let value = line(value);
                if !is_taken(name) {
                    headers.append(name, value);
                }
            }
        }
    }
}
