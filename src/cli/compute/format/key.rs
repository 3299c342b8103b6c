//! The way to a value of a resource, such as `backends[0].group`, as `--format`, `--filter` and `--sort-by` have it.

use serde_json::Value;

/// A parsed key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Key(Vec<Step>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    /// `[2]`.
    Index(usize),
    /// `[]`: each entry.
    Each,
}

impl Key {
    /// # Errors
    /// What is wrong with it.
    pub(in super::super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no key such as name or backends[].group");
        let mut steps = Vec::new();
        for part in text.split('.') {
            let (name, mut rest) = part.split_at(part.find('[').unwrap_or(part.len()));
            if !name.is_empty() {
                let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
                steps.push(Step::Field(if is_name { name.to_owned() } else { return Err(wrong()) }));
            } else if rest.is_empty() {
                return Err(wrong());
            }
            while let Some(inner) = rest.strip_prefix('[') {
                let (index, after) = inner.split_once(']').ok_or_else(wrong)?;
                steps.push(if index.is_empty() {
                    Step::Each
                } else {
                    Step::Index(index.parse().map_err(|_| wrong())?)
                });
                rest = after;
            }
            if !rest.is_empty() {
                return Err(wrong());
            }
        }
        Ok(Self(steps))
    }

    /// The resource itself.
    pub(in super::super) const fn whole() -> Self {
        Self(Vec::new())
    }

    /// The value there; a list where the way forks; null where there is none.
    pub(in super::super) fn find(&self, resource: &Value) -> Value {
        find(&self.0, resource)
    }

    /// The last name on the way, in capitals and with underscores: `portName` → `PORT_NAME`.
    pub(in super::super) fn label(&self) -> String {
        let names = self.0.iter().rev().find_map(|step| match step {
            Step::Field(name) => Some(name.as_str()),
            Step::Index(_) | Step::Each => None,
        });
        let mut label = String::new();
        let mut was_small = false;
        for c in names.unwrap_or_default().chars() {
            if c.is_ascii_uppercase() && was_small {
                label.push('_');
            }
            was_small = c.is_ascii_lowercase() || c.is_ascii_digit();
            label.push(c.to_ascii_uppercase());
        }
        label
    }
}

fn find(steps: &[Step], value: &Value) -> Value {
    let Some((step, rest)) = steps.split_first() else { return value.clone() };
    match (step, value) {
        (Step::Field(name), Value::Object(object)) => {
            object.get(name).map_or(Value::Null, |value| find(rest, value))
        }
        // gcloud spreads a name over a list too.
        (Step::Field(_), Value::Array(list)) => {
            list.iter().map(|value| find(steps, value)).filter(|value| !value.is_null()).collect()
        }
        (Step::Each, Value::Array(list)) => {
            list.iter().map(|value| find(rest, value)).filter(|value| !value.is_null()).collect()
        }
        (Step::Index(index), Value::Array(list)) => {
            list.get(*index).map_or(Value::Null, |value| find(rest, value))
        }
        _ => Value::Null,
    }
}
