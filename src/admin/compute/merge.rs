//! JSON merge patch (RFC 7396): what is absent stays, null clears, a list replaces the whole list [G 12.2].

use serde_json::{Map, Value};

use super::error::ApiError;

/// Deepest patch that is read, in objects and lists within each other; no resource is half as deep.
pub(crate) const DEEPEST: usize = 64;

/// Merges `patch` into `target`.
///
/// # Errors
///
/// 400 for a patch deeper than [`DEEPEST`]; `target` is then as it was.
pub(crate) fn merge(target: &mut Value, patch: Value) -> Result<(), ApiError> {
    if is_deeper(&patch, DEEPEST) {
        return Err(ApiError::invalid(format!("The request is nested deeper than {DEEPEST} levels")));
    }
    merge_into(target, patch);
    Ok(())
}

/// Whether `value` has more than `limit` objects and lists within each other.
fn is_deeper(value: &Value, limit: usize) -> bool {
    let deeper = |inner: &Value| limit == 0 || is_deeper(inner, limit - 1);
    match value {
        Value::Object(object) => limit == 0 || object.values().any(deeper),
        Value::Array(list) => limit == 0 || list.iter().any(deeper),
        _ => false,
    }
}

fn merge_into(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(object) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            object.remove(&key);
        } else {
            merge_into(object.entry(key).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};
    use serde_json::json;

    use super::*;

    fn merged(target: &Value, patch: &Value) -> Value {
        let mut target = target.clone();
        merge(&mut target, patch.clone()).unwrap();
        target
    }

    #[test]
    fn the_examples_of_the_rfc_hold() {
        // RFC 7396, appendix A: original, patch, result.
        let cases = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (json!({"a": "foo"}), json!(null), json!(null)),
            (json!({"a": "foo"}), json!("bar"), json!("bar")),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!([1, 2]), json!({"a": "b", "c": null}), json!({"a": "b"})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ];
        for (target, patch, expected) in cases {
            assert_eq!(merged(&target, &patch), expected, "{target} {patch}");
        }
    }

    #[test]
    fn a_patch_that_is_too_deep_changes_nothing() {
        let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!({ "a": inner }));
        let mut target = json!({"a": 1});
        assert!(merge(&mut target, nested(DEEPEST + 1)).is_err());
        assert_eq!(target, json!({"a": 1}));
        let lists = (0..=DEEPEST).fold(json!(1), |inner, _| json!([inner]));
        assert!(merge(&mut target, lists).is_err());
        assert!(merge(&mut target, nested(DEEPEST)).is_ok());
        assert_eq!(target, nested(DEEPEST));
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let object = prop::collection::btree_map("[a-d]", inner.clone(), 0..4);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                object.prop_map(|object| Value::Object(object.into_iter().collect())),
            ]
        })
    }

    /// What a merge leaves, by the RFC's own words, over two values side by side.
    fn expected(target: &Value, patch: &Value) -> Value {
        let Value::Object(patch) = patch else { return patch.clone() };
        let empty = Map::new();
        let target = target.as_object().unwrap_or(&empty);
        let kept = target.iter().filter(|(key, _)| !patch.contains_key(*key));
        let changed = patch.iter().filter(|(_, value)| !value.is_null());
        let changed = changed
            .map(|(key, value)| (key.clone(), expected(target.get(key).unwrap_or(&Value::Null), value)));
        kept.map(|(key, value)| (key.clone(), value.clone())).chain(changed).collect()
    }

    proptest! {
        #[test]
        fn a_merge_is_what_the_rfc_says(target in value(), patch in value()) {
            assert_eq!(merged(&target, &patch), expected(&target, &patch));
        }

        #[test]
        fn the_same_patch_twice_is_the_patch_once(target in value(), patch in value()) {
            let once = merged(&target, &patch);
            assert_eq!(merged(&once, &patch), once);
        }

        #[test]
        fn an_empty_patch_changes_no_object(target in value()) {
            if target.is_object() {
                assert_eq!(merged(&target, &json!({})), target);
            }
        }
    }
}
