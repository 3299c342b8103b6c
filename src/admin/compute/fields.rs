//! `fields`: the parts of an answer that are wanted, such as `items(name,backends/group),nextPageToken` [G 12.5].

use serde_json::Value;

use super::error::ApiError;

/// Longest mask, in bytes.
const LONGEST: usize = 4096;
/// Deepest mask, in fields within fields.
const DEEPEST: usize = 32;

/// The fields of one object that are wanted, and what of each; no fields: all of it.
#[derive(Debug, Default)]
pub(crate) struct Mask {
    wanted: Vec<(String, Self)>,
}

impl Mask {
    /// Reads a mask.
    ///
    /// # Errors
    ///
    /// 400 for a mask that is malformed, too long or too deep.
    pub(crate) fn parse(text: &str) -> Result<Self, ApiError> {
        let refused = |why: &str| ApiError::invalid_field("fields", text, why);
        if text.len() > LONGEST {
            return Err(refused("It is too long."));
        }
        let mut rest = text;
        let mask = list(&mut rest, DEEPEST).filter(|_| rest.is_empty());
        mask.ok_or_else(|| refused("Invalid field selection."))
    }

    /// What of `value` is wanted; each entry of a list counts as the value does.
    pub(crate) fn apply(&self, value: &Value) -> Value {
        pick(value, &[self]).unwrap_or(Value::Null)
    }
}

/// What any of `masks` wants of `value`; `None` if they want fields of what has none.
fn pick(value: &Value, masks: &[&Mask]) -> Option<Value> {
    if masks.iter().any(|mask| mask.wanted.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::Array(list) => Some(list.iter().filter_map(|entry| pick(entry, masks)).collect()),
        Value::Object(object) => {
            let wanted = object.iter().filter_map(|(key, value)| {
                let entries = masks.iter().flat_map(|mask| &mask.wanted);
                let of: Vec<&Mask> =
                    entries.filter(|(name, _)| name == key || name == "*").map(|(_, of)| of).collect();
                let part = if of.is_empty() { None } else { pick(value, &of) };
                Some((key.clone(), part?))
            });
            Some(wanted.collect())
        }
        _ => None,
    }
}

/// `a,b/c,d(e,f)`.
fn list(rest: &mut &str, depth: usize) -> Option<Mask> {
    let mut mask = Mask::default();
    loop {
        mask.wanted.push(entry(rest, depth)?);
        let Some(after) = rest.strip_prefix(',') else { return Some(mask) };
        *rest = after;
    }
}

fn entry(rest: &mut &str, depth: usize) -> Option<(String, Mask)> {
    let depth = depth.checked_sub(1)?;
    let end = rest.find([',', '/', '(', ')']).unwrap_or(rest.len());
    let (name, after) = rest.split_at_checked(end)?;
    let is_word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'*' | b'@');
    if name.is_empty() || !name.bytes().all(is_word) {
        return None;
    }
    let name = name.to_owned();
    *rest = after;
    let of = if let Some(after) = rest.strip_prefix('/') {
        *rest = after;
        Mask { wanted: vec![entry(rest, depth)?] }
    } else if let Some(after) = rest.strip_prefix('(') {
        *rest = after;
        let of = list(rest, depth)?;
        *rest = rest.strip_prefix(')')?;
        of
    } else {
        Mask::default()
    };
    Some((name, of))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::proptest;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_is_wanted_is_left() {
        let value = json!({
            "kind": "k",
            "items": [{"name": "a", "backends": [{"group": "g", "mode": 1}]}, {"name": "b", "port": 2}],
            "nextPageToken": "t",
        });
        let cases = [
            ("*", value.clone()),
            ("kind", json!({"kind": "k"})),
            (
                "items/name,nextPageToken",
                json!({"items": [{"name": "a"}, {"name": "b"}], "nextPageToken": "t"}),
            ),
            (
                "items(name,backends/group)",
                json!({"items": [{"name": "a", "backends": [{"group": "g"}]}, {"name": "b"}]}),
            ),
            ("items/backends/mode,items/port", json!({"items": [{"backends": [{"mode": 1}]}, {"port": 2}]})),
            ("items/*/group", json!({"items": [{"backends": [{"group": "g"}]}, {}]})),
            ("nothing", json!({})),
        ];
        for (mask, expected) in cases {
            assert_eq!(Mask::parse(mask).unwrap().apply(&value), expected, "{mask}");
        }
    }

    #[test]
    fn a_malformed_mask_is_400() {
        let deep = "a/".repeat(DEEPEST) + "a";
        for bad in [
            "",
            ",",
            "a,",
            "a(",
            "a(b",
            "a)b",
            "a(b)c",
            "a b",
            "/a",
            "a//b",
            "a()",
            &deep,
            &"a".repeat(LONGEST + 1),
        ] {
            assert_eq!(Mask::parse(bad).map(|_| ()).unwrap_err().status.as_u16(), 400, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_mask_breaks_the_reader(text in "[a-b/(),*. ä]{0,40}") {
            if let Ok(mask) = Mask::parse(&text) {
                mask.apply(&json!({"a": {"b": [1, {"a": 2}]}, "b": null}));
            }
        }
    }
}
