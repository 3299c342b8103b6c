//! Edits of the text of a configuration: whatever is written how, the result is a text that means what was asked for.

use overspill::wire::document::{Node, Value as Written};
use overspill::wire::edit::{Edit, Refused, Step, apply};
use overspill::wire::flaw::Flaws;
use overspill::wire::yaml;
use serde_json::{Value, json};

use crate::run::{files, fuzz};
use crate::{kind, texts};

const WORDS: &[&str] = &[
    "&a ", "*a", "|\n", "|+\n", "|-\n", ">\n", "- ", "? ", ": ", ", ", "[", "]", "{", "}", "[]", "{}", "# c",
    "\r\n", "\r", "---\n", "...\n", "!!str ", "\"", "'", "~", "\t", "\u{feff}", "\u{2028}", "\u{85}", "\n\n",
    "\n  ",
];

#[test]
fn an_edit_of_any_text_is_made_as_asked_or_refused() {
    let is_yaml = |path: &std::path::Path| path.extension().is_some_and(|extension| extension == "yaml");
    let mut seeds = files("config", is_yaml);
    seeds.extend(texts(&[
        "a: &x {k: v, l: [1, 2]} # c\nb: *x\n\n# d\nc:\n- *x\n-   n: |+\n      t\n\n    m: >-\n      u\n? e\n: 'f'\n",
        "{\n  \"a\": [\n    {\"b\": 1},\n    {\"c\": null}\n  ]\n}\n",
        "a: [b: c, {d}, e: ,]\r\nf:\r\n  - - g\r\n    - h: &i\r\n",
        "# only a comment\n",
    ]));
    fuzz("edit", seeds, WORDS, |input| check(&String::from_utf8_lossy(input)));
}

fn check(text: &str) -> u64 {
    let mut flaws = Flaws::default();
    let root = yaml::parse(text, &mut flaws);
    let Some(root) = root.filter(|_| flaws.into_vec().is_empty()) else {
        let edit = Edit::Set { at: vec![Step::Key("new".to_owned())], value: json!(1) };
        return kind(apply(text, &[edit]).is_ok());
    };
    let mut ways = Vec::new();
    collect(&root, &mut Vec::new(), &mut ways);
    let mut kinds = Vec::new();
    // Where and what comes from the text, so that an input always does the same.
    let mut dice = kind(text);
    let mut roll = |sides: usize| {
        dice = kind(dice);
        usize::try_from(dice % sides.max(1) as u64).unwrap_or(0)
    };
    for _ in 0..3 {
        let at = ways.get(roll(ways.len())).cloned().unwrap_or_default();
        let value = value(roll(7));
        let edit = match roll(4) {
            0 => Edit::Remove { at },
            1 => Edit::Insert { at, index: roll(3), value },
            2 => Edit::Set { at: at.into_iter().chain([Step::Key("new".to_owned())]).collect(), value },
            _ => Edit::Set { at, value },
        };
        let made = apply(text, std::slice::from_ref(&edit));
        if let (Ok(made), Edit::Set { at, value }) = (&made, &edit) {
            assert!(means(made, at, value), "{edit:?} made {made:?}");
            let again = apply(made, std::slice::from_ref(&edit));
            assert_eq!(again.as_ref(), Ok(made), "what is there already changes nothing");
        }
        kinds.push(match made {
            Ok(_) => 0,
            Err(Refused::Unreadable(why)) => panic!("a text that can be read: {why}"),
            Err(Refused::Missing(_)) => 2,
            Err(Refused::TooLarge(_)) => 3,
            Err(Refused::Internal(_)) => 4,
        });
    }
    kind((kinds, ways.len().min(8), text.contains('&'), text.contains('[')))
}

fn collect(node: &Node, at: &mut Vec<Step>, out: &mut Vec<Vec<Step>>) {
    let mut below = |step: Step, node: &Node| {
        at.push(step);
        out.push(at.clone());
        collect(node, at, out);
        at.pop();
    };
    match &node.value {
        Written::Scalar(_) => {}
        Written::List(items) => {
            items.iter().enumerate().for_each(|(index, item)| below(Step::Index(index), item));
        }
        Written::Object(entries) => {
            entries.iter().for_each(|entry| below(Step::Key(entry.key.clone()), &entry.node));
        }
    }
}

fn value(number: usize) -> Value {
    match number {
        0 => json!("w"),
        1 => json!("a: [b # c"),
        2 => json!("two\nlines\n"),
        3 => json!([{"name": "x", "k": ["y"]}, 2]),
        4 => json!({"name": "x", "k": {"l": "\u{7f}\u{1f600}"}}),
        5 => json!(-1.5),
        _ => json!(null),
    }
}

/// Whether the text has this value there.
fn means(text: &str, at: &[Step], value: &Value) -> bool {
    let root = yaml::parse(text, &mut Flaws::default());
    let found = at.iter().try_fold(root.as_ref(), |node, step| {
        Some(match step {
            Step::Key(key) => node?.get(key),
            Step::Index(index) => node?.items().get(*index),
        })
    });
    found.flatten().is_some_and(|node| is(node, value))
}

fn is(node: &Node, value: &Value) -> bool {
    match (&node.value, value) {
        (Written::Scalar(scalar), Value::Null) => scalar.is_null(),
        (Written::Scalar(scalar), Value::Bool(flag)) => scalar.flag() == Some(*flag),
        (Written::Scalar(scalar), Value::Number(number)) => {
            scalar.is_plain && scalar.number() == number.as_f64()
        }
        (Written::Scalar(scalar), Value::String(text)) => scalar.text == *text && !scalar.is_null(),
        (Written::List(items), Value::Array(values)) => {
            items.len() == values.len() && items.iter().zip(values).all(|(item, value)| is(item, value))
        }
        (Written::Object(entries), Value::Object(values)) => {
            entries.len() == values.len()
                && entries
                    .iter()
                    .all(|entry| values.get(&entry.key).is_some_and(|value| is(&entry.node, value)))
        }
        _ => false,
    }
}
