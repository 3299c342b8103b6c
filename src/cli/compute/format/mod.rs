//! How a command writes what it found: `--format yaml|json|table(…)|value(…)|csv(…)`, as gcloud does.

mod key;
mod projection;
mod table;
mod yaml;

use serde_json::Value;

pub(super) use key::Key;
pub(super) use projection::{Column, Projection};

/// `--format`.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Format {
    /// One document for each resource, keys sorted.
    Yaml,
    /// One list, or one object where there is one.
    Json,
    /// Columns with headings; `None` for those of the kind.
    Table(Option<Projection>),
    /// Values alone, between tabs.
    Value(Projection),
    /// Values between commas, headings first unless `no-heading` is asked for.
    Csv { projection: Projection, has_heading: bool },
    /// Nothing: what was done stands on standard error.
    None,
}

impl Format {
    /// Reads the flag's value.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let name_ends = text.find(['(', '[']).unwrap_or(text.len());
        let (name, rest) = text.split_at(name_ends);
        let (attributes, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or("`[` is not closed")?,
            None => ("", rest),
        };
        let projection = match rest.strip_prefix('(') {
            Some(inner) => Some(Projection::parse(inner.strip_suffix(')').ok_or("`(` is not closed")?)?),
            None if rest.is_empty() => None,
            None => return Err(format!("`{rest}` follows the name of the format")),
        };
        let has_heading = match (attributes, name) {
            ("", _) => true,
            ("no-heading", "csv" | "table") => false,
            _ => return Err(format!("no attributes `{attributes}` here; csv has [no-heading]")),
        };
        match (name, projection) {
            ("yaml", None) => Ok(Self::Yaml),
            ("json", None) => Ok(Self::Json),
            ("none" | "disable", None) => Ok(Self::None),
            ("table", projection) if has_heading => Ok(Self::Table(projection)),
            ("value" | "get", Some(projection)) => Ok(Self::Value(projection)),
            ("csv", Some(projection)) => Ok(Self::Csv { projection, has_heading }),
            ("value" | "get" | "csv", None) => Err(format!("{name} needs keys, such as {name}(name)")),
            ("yaml" | "json", Some(_)) => Err(format!("{name} takes no keys here: it writes all")),
            _ => Err(format!(
                "no format `{name}`; there are yaml, json, table(KEYS), value(KEYS), csv(KEYS) and none"
            )),
        }
    }
}

/// Writes resources. `usual` are the columns of a table that says none.
pub(super) fn rows(format: &Format, rows: &[Value], usual: &Projection) -> String {
    match format {
        Format::Yaml => rows.iter().map(|row| format!("---\n{}", yaml::document(row))).collect(),
        Format::Json => json(&Value::from(rows.to_vec())),
        Format::Table(projection) => table::table(projection.as_ref().unwrap_or(usual), rows),
        Format::Value(projection) => table::values(projection, rows),
        Format::Csv { projection, has_heading } => table::csv(projection, rows, *has_heading),
        Format::None => String::new(),
    }
}

/// Writes one resource as `describe` does: not in a list.
pub(super) fn one(format: &Format, resource: &Value, usual: &Projection) -> String {
    match format {
        Format::Yaml => yaml::document(resource),
        Format::Json => json(resource),
        other => rows(other, std::slice::from_ref(resource), usual),
    }
}

/// One YAML document without `---`.
pub(super) fn yaml_of(value: &Value) -> String {
    yaml::document(value)
}

/// Indented by two, keys sorted, a newline at the end.
pub(super) fn json(value: &Value) -> String {
    let mut value = value.clone();
    yaml::with_floats(&mut value);
    let text = serde_json::to_string_pretty(&value).unwrap_or_default();
    format!("{text}\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    fn written(format: &str, resources: &[Value]) -> String {
        let usual =
            Projection::parse("name,backends[].group.scoped().list():label=BACKENDS,protocol").unwrap();
        rows(&Format::parse(format).unwrap(), resources, &usual)
    }

    #[test]
    fn each_format_writes_as_gcloud_does() {
        let all = [
            json!({"name": "web", "id": "12", "protocol": "HTTP", "timeoutSec": 30, "backends": [
                {"group": "http://h/compute/v1/projects/p/zones/z/instanceGroups/ig1", "capacityScaler": 1},
                {"group": "http://h/compute/v1/projects/p/zones/z/instanceGroups/ig2", "capacityScaler": 0.5}]}),
            json!({"name": "longer", "protocol": "HTTP2"}),
        ];
        assert_eq!(
            written("table", &all),
            "NAME    BACKENDS                                   PROTOCOL\n\
             web     z/instanceGroups/ig1,z/instanceGroups/ig2  HTTP\n\
             longer                                             HTTP2\n"
        );
        assert_eq!(written("value(name,timeoutSec)", &all), "web\t30\nlonger\t\n");
        assert_eq!(
            written("csv(name,backends[].capacityScaler)", &all),
            "name,capacity_scaler\nweb,1.0;0.5\nlonger,\n"
        );
        assert_eq!(written("csv[no-heading](name)", &all), "web\nlonger\n");
        assert_eq!(written("value(backends[0].group.basename(),backends.len())", &all), "ig1\t2\n\t0\n");
        assert_eq!(written("yaml", &all[1..]), "---\nname: longer\nprotocol: HTTP2\n");
        assert_eq!(
            written("json", &all[1..]),
            "[\n  {\n    \"name\": \"longer\",\n    \"protocol\": \"HTTP2\"\n  }\n]\n"
        );
    }

    #[test]
    fn what_we_cannot_write_is_refused() {
        for format in [
            "",
            "xml",
            "value",
            "value(name",
            "value(name.f())",
            "yaml(name)",
            "table[box](name)",
            "table(name) x",
        ] {
            assert!(Format::parse(format).is_err(), "{format}");
        }
    }
}
