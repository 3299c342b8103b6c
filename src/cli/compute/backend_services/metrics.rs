//! `--custom-metrics 'name=x,maxUtilization=0.8,dryRun=true'`, the same as JSON, or a file of it.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

use crate::cli::compute::document;
use crate::cli::compute::fault::Fault;
use crate::cli::compute::flag::{self, is_set, pairs};

/// Adds the flags.
pub(super) fn onto(command: Command, can_clear: bool) -> Command {
    let metrics = Arg::new("custom-metrics")
        .long("custom-metrics")
        .value_name("METRICS")
        .action(ArgAction::Append)
        .help("name=NAME,maxUtilization=0.8,dryRun=true; several times; or a JSON list of such");
    let file = Arg::new("custom-metrics-file")
        .long("custom-metrics-file")
        .value_name("FILE")
        .help("File with a JSON list of metrics");
    let clear = Arg::new("clear-custom-metrics")
        .long("clear-custom-metrics")
        .action(ArgAction::SetTrue)
        .help("Take all metrics away");
    let command = command.arg(metrics).arg(file);
    if can_clear {
        let names = &["custom-metrics", "custom-metrics-file", "clear-custom-metrics"];
        flag::exclusive(command.arg(clear), "metrics", names)
    } else {
        flag::exclusive(command, "metrics", &["custom-metrics", "custom-metrics-file"])
    }
}

/// What the flags say; an empty list clears.
///
/// # Errors
/// What does not fit.
pub(super) fn of(matches: &ArgMatches) -> Result<Option<Value>, Fault> {
    if is_set(matches, "clear-custom-metrics") {
        return Ok(Some(json!([])));
    }
    if let Some(path) = flag::text(matches, "custom-metrics-file") {
        let text = document::text_of(path)?;
        return list(&text).map(Some).map_err(|why| Fault::of_flag("--custom-metrics-file", &why));
    }
    let Some(texts) = flag::texts(matches, "custom-metrics") else { return Ok(None) };
    let mut all = Vec::new();
    for text in texts {
        let found = if text.trim_start().starts_with(['[', '{']) {
            list(text)
        } else {
            spelled(text).map(|one| json!([one]))
        };
        let found = found.map_err(|why| Fault::of_flag("--custom-metrics", &why))?;
        all.extend(found.as_array().into_iter().flatten().cloned());
    }
    Ok(Some(all.into()))
}

/// A JSON list of metrics, or one.
fn list(text: &str) -> Result<Value, String> {
    let value = document::read_any(text)?;
    let list = if value.is_object() { json!([value]) } else { value };
    let entries = list.as_array().ok_or("a list of metrics is expected")?;
    let metrics = entries.iter().map(|entry| {
        let fields = entry.as_object().ok_or("a metric is an object with name, maxUtilization and dryRun")?;
        let typed = fields.iter().map(|(key, value)| field(key, value).map(|value| (key.clone(), value)));
        metric(typed.collect::<Result<_, _>>()?)
    });
    metrics.collect()
}

fn spelled(text: &str) -> Result<Value, String> {
    let mut fields = Map::new();
    for (key, value) in pairs(text) {
        let value = value.ok_or_else(|| format!("`{key}` has no value"))?;
        let value = document::read_any(value).unwrap_or_else(|_| value.into());
        fields.insert(key.to_owned(), field(key, &value)?);
    }
    metric(fields)
}

fn metric(fields: Map<String, Value>) -> Result<Value, String> {
    if fields.contains_key("name") { Ok(fields.into()) } else { Err("a metric needs a name".to_owned()) }
}

/// A field of a metric in the type that it has.
fn field(key: &str, value: &Value) -> Result<Value, String> {
    let wrong = |what: &str| format!("{key} is {what}, not {value}");
    match key {
        "name" => match value {
            Value::String(_) => Ok(value.clone()),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(wrong("text")),
            other => Ok(other.to_string().into()),
        },
        "maxUtilization" => value.as_f64().map(Value::from).ok_or_else(|| wrong("a number")),
        "dryRun" => value.as_bool().map(Value::from).ok_or_else(|| wrong("true or false")),
        _ => Err(format!("no field `{key}`; there are name, maxUtilization and dryRun")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_spelled_or_json() {
        let of = |line: &str| {
            let matches = onto(Command::new("x"), true).try_get_matches_from(line.split(' ')).unwrap();
            of(&matches)
        };
        let expected = json!([{"name": "a", "maxUtilization": 0.8, "dryRun": true}, {"name": "b"}]);
        assert_eq!(
            of("x --custom-metrics name=a,maxUtilization=0.8,dryRun=true --custom-metrics name=b")
                .unwrap()
                .unwrap(),
            expected
        );
        let json = format!("x --custom-metrics {}", expected.to_string().replace(' ', ""));
        assert_eq!(of(&json).unwrap().unwrap(), expected);
        assert_eq!(of("x --clear-custom-metrics").unwrap().unwrap(), json!([]));
        assert_eq!(of("x").unwrap(), None);
        for wrong in ["maxUtilization=1", "name=a,x=1", "name=a,dryRun=2", "name", "[1]", "[{}]"] {
            assert!(of(&format!("x --custom-metrics {wrong}")).is_err(), "{wrong}");
        }
    }
}
