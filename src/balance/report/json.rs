//! The JSON form of the protobuf: camelCase, or the names of the protocol [G 1.42].

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::{Malformed, Report};

pub(super) fn parse(json: &str) -> Result<Report, Malformed> {
    let Entries(entries) = serde_json::from_str(json).map_err(|_| Malformed::Syntax)?;
    let mut report = Report::default();
    let mut count = 0;
    for (key, value) in entries {
        let key = protocol_name(&key).ok_or(Malformed::UnknownKey)?;
        match value {
            Value::Number(value) => {
                report.set(key, value)?;
                count += 1;
            }
            Value::Map(Entries(entries)) => {
                for (name, value) in entries {
                    let Value::Number(value) = value else { return Err(Malformed::Syntax) };
                    report.set(&format!("{key}.{name}"), value)?;
                    count += 1;
                }
            }
        }
        if count > super::MAX_ENTRIES {
            return Err(Malformed::TooLarge);
        }
    }
    Ok(report)
}

fn protocol_name(key: &str) -> Option<&'static str> {
    Some(match key {
        "cpuUtilization" | "cpu_utilization" => "cpu_utilization",
        "applicationUtilization" | "application_utilization" => "application_utilization",
        "memUtilization" | "mem_utilization" => "mem_utilization",
        "rpsFractional" | "rps_fractional" => "rps_fractional",
        "rps" => "rps",
        "eps" => "eps",
        "requestCost" | "request_cost" => "request_cost",
        "utilization" => "utilization",
        "namedMetrics" | "named_metrics" => "named_metrics",
        _ => return None,
    })
}

/// A JSON object in its order, with doubles kept: a map would hide them.
struct Entries(Vec<(String, Value)>);

enum Value {
    Number(f64),
    Map(Entries),
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_map(Read)? {
            Value::Map(entries) => Ok(entries),
            Value::Number(_) => Err(serde::de::Error::custom("not an object")),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Read)
    }
}

struct Read;

impl<'de> Visitor<'de> for Read {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or an object of numbers")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value))
    }

    #[allow(clippy::cast_precision_loss)]
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    #[allow(clippy::cast_precision_loss)]
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value as f64))
    }

    /// 64-bit integers are strings in the JSON form of protobuf.
    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        value.parse().map(Value::Number).map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Map(Entries(entries)))
    }
}
