//! `updateMask` of a PATCH: which fields it is about. What the API does not have is refused by name, as a field of a
//! body is; nobody should find out later that a change was not made.

use serde_json::{Map, Value as Json};

use super::error::ApiError;
use crate::wire::schema::{Kind, Table};

/// The patch [G 12.2] that says of a body what its mask names: what a mask names and the body lacks is cleared, an object
/// that is named counts as a whole. Without a mask, or with `*`, all of the body.
///
/// # Errors
/// 400 for what is no field of `table`, in the body or in the mask.
pub(super) fn masked(body: Json, mask: Option<&str>, table: &Table) -> Result<Json, ApiError> {
    if let Some(stranger) = stranger(&body, table) {
        return Err(ApiError::invalid_field(
            &format!("resource.{stranger}"),
            &stranger,
            "There is no such field.",
        ));
    }
    let Some(mask) = mask.filter(|mask| *mask != "*") else { return Ok(body) };
    let mut patch = Json::Object(Map::new());
    // Not a change, but what the change is based on [G 12.3].
    if let Some(fingerprint) = body.get("fingerprint") {
        patch["fingerprint"] = fingerprint.clone();
    }
    for path in mask.split(',').map(str::trim).filter(|path| !path.is_empty()) {
        let names: Vec<String> = path.split('.').map(camel).collect();
        if !take(&body, &names, table, &mut patch) {
            return Err(ApiError::invalid_field("updateMask", path, "There is no such field."));
        }
    }
    Ok(patch)
}

/// The way to the first field of `body` that `table` does not have.
fn stranger(body: &Json, table: &Table) -> Option<String> {
    body.as_object()?.iter().find_map(|(key, value)| match table.find(key).map(|field| &field.kind) {
        None => Some(key.clone()),
        Some(Kind::Object(inner)) => stranger(value, inner).map(|rest| format!("{key}.{rest}")),
        Some(_) => None,
    })
}

/// Copies what the names lead to. Whether they lead to a field.
fn take(body: &Json, names: &[String], table: &Table, patch: &mut Json) -> bool {
    let Some((name, rest)) = names.split_first() else { return false };
    let Some(field) = table.find(name) else { return false };
    let value = body.get(name).unwrap_or(&Json::Null);
    match (rest, &field.kind) {
        ([], Kind::Object(inner)) if value.is_object() => {
            let mut whole: Map<String, Json> =
                inner.fields.iter().map(|field| (field.key.to_owned(), Json::Null)).collect();
            whole.extend(value.as_object().cloned().unwrap_or_default());
            patch[name.as_str()] = Json::Object(whole);
            true
        }
        ([], _) => {
            patch[name.as_str()] = value.clone();
            true
        }
        (rest, Kind::Object(inner)) => {
            if !patch[name.as_str()].is_object() {
                patch[name.as_str()] = Json::Object(Map::new());
            }
            take(value, rest, inner, &mut patch[name.as_str()])
        }
        // Labels and the like: by key.
        ([_], Kind::Map(_) | Kind::Note) => {
            patch[name.as_str()] = value.clone();
            true
        }
        _ => false,
    }
}

/// A field as JSON spells it: masks may say `auto_capacity_drain`.
fn camel(name: &str) -> String {
    let mut parts = name.split('_');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |mut name, part| {
        let mut letters = part.chars();
        name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
        name.push_str(letters.as_str());
        name
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::admin::compute::stored::fields;

    fn of(body: Json, mask: Option<&str>) -> Result<Json, String> {
        masked(body, mask, fields("serviceLbPolicies")).map_err(|error| error.message)
    }

    #[test]
    fn a_mask_names_what_is_changed_and_what_is_cleared() {
        let body = json!({"description": "d", "failoverConfig": {"failoverHealthThreshold": 5}});
        assert_eq!(of(body.clone(), None).unwrap(), body);
        assert_eq!(of(body.clone(), Some("*")).unwrap(), body);
        assert_eq!(of(body.clone(), Some("description")).unwrap(), json!({"description": "d"}));
        assert_eq!(
            of(body.clone(), Some("loadBalancingAlgorithm, failover_config.failover_health_threshold"))
                .unwrap(),
            json!({"loadBalancingAlgorithm": null, "failoverConfig": {"failoverHealthThreshold": 5}})
        );
        assert_eq!(
            of(json!({"isolationConfig": {"isolationMode": "STRICT"}}), Some("isolationConfig")).unwrap(),
            json!({"isolationConfig": {"isolationMode": "STRICT", "isolationGranularity": null}})
        );
        assert_eq!(
            of(json!({}), Some("isolationConfig.isolationMode")).unwrap(),
            json!({"isolationConfig": {"isolationMode": null}})
        );
    }

    #[test]
    fn g_12_3_the_fingerprint_counts_whether_it_is_in_the_mask_or_not() {
        let body = json!({"description": "d", "timeoutSec": 3, "fingerprint": "AAAAAAAAAAA="});
        let patch = masked(body, Some("description"), fields("backendServices")).unwrap();
        assert_eq!(patch, json!({"description": "d", "fingerprint": "AAAAAAAAAAA="}));
    }

    #[test]
    fn what_is_no_field_is_refused_by_name() {
        let nonsense = json!({"failoverConfig": {"nonsense": 1}});
        for mask in [None, Some("*"), Some("description")] {
            assert!(of(nonsense.clone(), mask).unwrap_err().contains("'resource.failoverConfig.nonsense'"));
        }
        for mask in ["nonsense", "description,nonsense", "failoverConfig.nonsense", "description.nonsense"] {
            let message = of(json!({"description": "d"}), Some(mask)).unwrap_err();
            assert!(message.contains("'updateMask'") && message.contains("nonsense"), "{message}");
        }
    }
}
