//! What a client wants changed, as the fewest edits of the file: fields that differ, entries that come and go.
//!
//! Three canonical forms go in: the resource as it is with its defaults, as it is in the file, and as it should be.
//! What should be and is already, be it only by default, is no edit; so an echo changes nothing.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::typed::is_same;
use crate::wire::edit::{Edit, Step};

/// The edits that turn a resource at `at` from one form into the other.
pub(super) fn edits(at: &[Step], whole: &Json, file: &Json, wanted: &Json) -> Vec<Edit> {
    let mut edits = Vec::new();
    let mut at = at.to_vec();
    compare(&mut at, whole, Some(file), wanted, &mut edits);
    edits
}

fn compare(at: &mut Vec<Step>, whole: &Json, file: Option<&Json>, wanted: &Json, edits: &mut Vec<Edit>) {
    if is_same(whole, wanted) {
        return;
    }
    match (whole, file, wanted) {
        (Json::Object(whole), Some(Json::Object(file)), Json::Object(wanted)) => {
            for (key, value) in wanted {
                at.push(Step::Key(key.clone()));
                match whole.get(key) {
                    Some(was) => compare(at, was, file.get(key), value, edits),
                    None => edits.push(Edit::Set { at: at.clone(), value: value.clone() }),
                }
                at.pop();
            }
            for key in file.keys().filter(|key| !wanted.contains_key(*key)) {
                at.push(Step::Key(key.clone()));
                edits.push(Edit::Remove { at: at.clone() });
                at.pop();
            }
        }
        (Json::Array(whole), Some(Json::Array(file)), Json::Array(wanted)) if whole.len() == file.len() => {
            list(at, (whole, file), wanted, edits);
        }
        _ => edits.push(Edit::Set { at: at.clone(), value: wanted.clone() }),
    }
}

/// Entries go by what names them. When those that stay keep their order, only the others are touched.
fn list(at: &mut Vec<Step>, (whole, file): (&[Json], &[Json]), wanted: &[Json], edits: &mut Vec<Edit>) {
    let (before, after): (Vec<_>, Vec<_>) =
        (whole.iter().map(identity).collect(), wanted.iter().map(identity).collect());
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), after.iter().collect());
    let stay_before = before.iter().filter(|name| new.contains(name));
    let stay_after = after.iter().filter(|name| old.contains(name));
    let are_names = old.len() == before.len() && new.len() == after.len();
    if !are_names || !stay_before.eq(stay_after) {
        edits.push(Edit::Set { at: at.clone(), value: Json::from(wanted.to_vec()) });
        return;
    }
    for (index, name) in before.iter().enumerate() {
        let Some(wanted) = after.iter().position(|other| other == name).and_then(|i| wanted.get(i)) else {
            continue;
        };
        let (Some(whole), file) = (whole.get(index), file.get(index)) else { continue };
        at.push(Step::Index(index));
        compare(at, whole, file, wanted, edits);
        at.pop();
    }
    for (index, _) in before.iter().enumerate().rev().filter(|(_, name)| !new.contains(name)) {
        at.push(Step::Index(index));
        edits.push(Edit::Remove { at: at.clone() });
        at.pop();
    }
    for (index, value) in wanted.iter().enumerate() {
        if after.get(index).is_some_and(|name| !old.contains(name)) {
            edits.push(Edit::Insert { at: at.clone(), index, value: value.clone() });
        }
    }
}

/// What an entry goes by: its group, name, instance or address; else all of it.
fn identity(entry: &Json) -> String {
    let Json::Object(fields) = entry else { return entry.to_string() };
    if let Some(name) = ["group", "name", "instance"].iter().find_map(|key| fields.get(*key)) {
        // An endpoint's instance may serve on several ports.
        return format!("{name} {:?}", fields.get("port"));
    }
    if fields.contains_key("ipAddress") || fields.contains_key("fqdn") {
        return format!("{:?} {:?} {:?}", fields.get("ipAddress"), fields.get("fqdn"), fields.get("port"));
    }
    entry.to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn at(steps: &[&str]) -> Vec<Step> {
        let step = |step: &&str| match step.parse() {
            Ok(index) => Step::Index(index),
            Err(_) => Step::Key((*step).to_owned()),
        };
        steps.iter().map(step).collect()
    }

    fn set(steps: &[&str], value: Json) -> Edit {
        Edit::Set { at: at(steps), value }
    }

    #[test]
    fn an_echo_is_no_edit_not_even_of_a_default() {
        let (file, whole) = (json!({"name": "a"}), json!({"name": "a", "timeoutSec": 30, "d": {"s": 0}}));
        assert_eq!(edits(&[], &whole, &file, &whole), []);
        assert_eq!(edits(&[], &whole, &file, &file), []);
    }

    #[test]
    fn a_field_that_differs_is_set_and_one_that_is_gone_is_removed() {
        let file = json!({"name": "a", "c": "x", "e": {"f": 1, "g": 2}});
        let whole = json!({"name": "a", "c": "x", "e": {"f": 1, "g": 2}, "d": {"s": 0, "t": 1}});
        let wanted = json!({"name": "a", "d": {"s": 60, "t": 1}, "e": {"f": 1, "g": 3, "h": null}});
        let expected = [
            set(&["r", "d"], json!({"s": 60, "t": 1})),
            set(&["r", "e", "g"], json!(3)),
            set(&["r", "e", "h"], Json::Null),
            Edit::Remove { at: at(&["r", "c"]) },
        ];
        assert_eq!(edits(&at(&["r"]), &whole, &file, &wanted), expected);
    }

    #[test]
    fn backends_come_and_go_by_their_group() {
        let whole = json!([{"group": "a", "s": 1.0}, {"group": "b"}, {"group": "c"}]);
        let file = json!([{"group": "a"}, {"group": "b"}, {"group": "c"}]);
        let wanted = json!([{"group": "a", "s": 0.0}, {"group": "n"}, {"group": "c"}, {"group": "m"}]);
        let insert = |index, value| Edit::Insert { at: Vec::new(), index, value };
        let expected = [
            set(&["0", "s"], json!(0.0)),
            Edit::Remove { at: at(&["1"]) },
            insert(1, json!({"group": "n"})),
            insert(3, json!({"group": "m"})),
        ];
        assert_eq!(edits(&[], &whole, &file, &wanted), expected);
    }

    #[test]
    fn a_list_in_another_order_is_written_anew() {
        let (was, wanted) = (json!(["x", "y"]), json!(["y", "x"]));
        assert_eq!(edits(&[], &was, &was, &wanted), [set(&[], wanted)]);
        let (was, wanted) = (json!([{"name": "a"}, {"name": "a"}]), json!([{"name": "a"}]));
        assert_eq!(edits(&[], &was, &was, &wanted), [set(&[], wanted)]);
        assert_eq!(
            edits(&[], &json!(["x"]), &json!(["x"]), &json!(["x", "z"])),
            [Edit::Insert { at: Vec::new(), index: 1, value: json!("z") }]
        );
    }
}
