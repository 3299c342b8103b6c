//! What is shown of a resource: keys with transforms and labels, `name,zone.basename():label=WHERE`.

use serde_json::Value;

use super::key::Key;
use crate::cli::compute::place::basename;

/// The columns of a table, or the values of a line.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Projection(pub(super) Vec<Column>);

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub(in super::super) struct Column {
    key: Key,
    transforms: Vec<Transform>,
    /// Heading.
    pub(super) label: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Transform {
    /// Last segment of a URL.
    Basename,
    /// `us-central1-a/instanceGroups/ig` of a URL; `backendServices/web` of a global one.
    Scoped,
    /// `collection/name` of a URL.
    Segment,
    /// Between commas, or what it is told.
    List(String),
    /// How many.
    Len,
    /// A word for true and one for what is false or not there.
    YesNo(String, String),
    /// Zone or region of the whole resource.
    Location,
    /// Whether that is a zone or a region.
    LocationScope,
}

impl Projection {
    /// # Errors
    /// What is wrong with it.
    pub(in super::super) fn parse(text: &str) -> Result<Self, String> {
        let columns = split(text).into_iter().map(|part| Column::parse(part.trim()));
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        if columns.is_empty() { Err("no keys".to_owned()) } else { Ok(Self(columns)) }
    }
}

impl Projection {
    /// The column with this heading, in any case.
    pub(in super::super) fn column(&self, heading: &str) -> Option<&Column> {
        self.0.iter().find(|column| column.label.eq_ignore_ascii_case(heading))
    }
}

impl Column {
    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = text.split(':');
        let path = parts.next().unwrap_or_default();
        let mut label = None;
        for attribute in parts {
            match attribute.split_once('=') {
                Some(("label", word)) => label = Some(word.trim_matches(['\'', '"']).to_owned()),
                _ => return Err(format!("no attribute `{attribute}`; there is label=WORD")),
            }
        }
        let (key, transforms) = calls(path)?;
        let label = label.unwrap_or_else(|| key.label());
        Ok(Self { key, transforms, label })
    }

    /// What it shows of a resource.
    pub(in super::super) fn value(&self, resource: &Value) -> Value {
        let found = self.key.find(resource);
        self.transforms.iter().fold(found, |value, transform| transform.apply(value))
    }

    /// The same as text: lists between `between`, nothing for null.
    pub(super) fn text(&self, resource: &Value, between: &str) -> String {
        text(&self.value(resource), between)
    }
}

/// A value in one line.
pub(super) fn text(value: &Value, between: &str) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Bool(flag) => if *flag { "True" } else { "False" }.to_owned(),
        Value::Array(list) => list.iter().map(|value| text(value, between)).collect::<Vec<_>>().join(between),
        Value::Object(_) | Value::Number(_) => value.to_string(),
    }
}

/// The key and the transforms behind it.
fn calls(path: &str) -> Result<(Key, Vec<Transform>), String> {
    let mut transforms = Vec::new();
    let Some(open) = path.find('(') else { return Ok((Key::parse(path)?, transforms)) };
    let name_starts = path.get(..open).and_then(|before| before.rfind('.')).map_or(0, |dot| dot + 1);
    let key = match name_starts {
        0 => Key::whole(),
        dot => Key::parse(path.get(..dot - 1).unwrap_or_default())?,
    };
    let mut rest = path.get(name_starts..).unwrap_or_default();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('(').ok_or_else(|| format!("`{rest}` follows a transform"))?;
        let (arguments, after) = after.split_once(')').ok_or("`(` is not closed")?;
        transforms.push(Transform::parse(name, arguments)?);
        rest = after.strip_prefix('.').unwrap_or(after);
    }
    Ok((key, transforms))
}

impl Transform {
    fn parse(name: &str, arguments: &str) -> Result<Self, String> {
        let mut words = arguments.split(',').map(|word| word.trim().trim_matches(['\'', '"']).to_owned());
        let mut word =
            |usual: &str| words.next().filter(|word| !word.is_empty()).unwrap_or_else(|| usual.to_owned());
        Ok(match name {
            "basename" => Self::Basename,
            "scoped" => Self::Scoped,
            "scope_segment" => Self::Segment,
            "list" => Self::List(word(",")),
            "join" => Self::List(word("/")),
            "len" => Self::Len,
            "yesno" => Self::YesNo(word("Yes"), word("No")),
            "location" => Self::Location,
            "location_scope" => Self::LocationScope,
            _ => {
                return Err(format!(
                    "no transform `{name}`; there are basename, scoped, list, join, len, yesno, location, location_scope"
                ));
            }
        })
    }

    fn apply(&self, value: Value) -> Value {
        let each = |value: Value, make: &dyn Fn(&str) -> String| match value {
            Value::String(text) => Value::from(make(&text)),
            Value::Array(list) => list
                .iter()
                .map(|value| value.as_str().map_or_else(|| value.clone(), |text| make(text).into()))
                .collect(),
            other => other,
        };
        match self {
            Self::Basename => each(value, &|url| basename(url).to_owned()),
            Self::Scoped => each(value, &scoped),
            Self::Segment => each(value, &|url| tail(url, 2)),
            Self::List(between) => match value {
                Value::Array(_) => Value::from(text(&value, between)),
                other => other,
            },
            Self::Len => Value::from(match &value {
                Value::Array(list) => list.len(),
                Value::Object(object) => object.len(),
                Value::String(text) => text.chars().count(),
                _ => 0,
            }),
            Self::YesNo(yes, no) => {
                let is_so =
                    !matches!(&value, Value::Null | Value::Bool(false)) && value != "" && value != "No";
                Value::from(if is_so { yes.clone() } else { no.clone() })
            }
            Self::Location => location(&value).map_or(Value::Null, |(_, name)| Value::from(name)),
            Self::LocationScope => location(&value).map_or(Value::Null, |(scope, _)| Value::from(scope)),
        }
    }
}

fn location(resource: &Value) -> Option<(&'static str, String)> {
    let of = |scope: &'static str| resource[scope].as_str().map(|url| (scope, basename(url).to_owned()));
    of("zone").or_else(|| of("region")).or_else(|| Some(("global", "global".to_owned())))
}

fn scoped(url: &str) -> String {
    let is_global = url.contains("/global/");
    tail(url, if is_global { 2 } else { 3 })
}

/// The last `n` segments.
fn tail(url: &str, n: usize) -> String {
    let segments: Vec<&str> = url.split('/').collect();
    segments.get(segments.len().saturating_sub(n)..).unwrap_or_default().join("/")
}

/// At commas outside parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut depth, mut start, mut parts) = (0_usize, 0, Vec::new());
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts.retain(|part| !part.trim().is_empty());
    parts
}
