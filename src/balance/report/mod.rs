//! Load reports of members: ORCA in its TEXT, JSON and binary forms [G 1.41–1.45].
//!
//! A report comes from outside and is believed whole or not at all: a duplicate key, a value that is no number, an
//! unknown key or a negative utilization discards it [G 1.43]. The sender is told nothing; the caller counts.

mod json;
mod orca;
mod text;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use prost::Message as _;

use crate::model::unit::Ratio;

/// The longest report that is read.
pub const MAX_BYTES: usize = 8 * 1024;

/// The most fields and named values of one report.
pub const MAX_ENTRIES: usize = 64;

/// What a member says about itself. All values are finite and 0 or more.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// `cpu_utilization`; may exceed 1.
    pub cpu_utilization: Option<f64>,
    /// `application_utilization`; may exceed 1.
    pub application_utilization: Option<f64>,
    /// `mem_utilization`, 0 to 1.
    pub mem_utilization: Option<f64>,
    /// `rps_fractional`, or the older `rps`.
    pub rps_fractional: Option<f64>,
    /// `eps`: errors per second.
    pub eps: Option<f64>,
    /// (full name, value): `named_metrics.x`, `utilization.x`, `request_cost.x`.
    pub named: Vec<(Box<str>, f64)>,
}

/// Why a report was discarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// More than [`MAX_BYTES`] or [`MAX_ENTRIES`].
    TooLarge,
    /// Neither `TEXT`, `JSON` nor `BIN`.
    UnknownForm,
    /// Not of the form that it says it is.
    Syntax,
    /// A key that ORCA does not have.
    UnknownKey,
    /// The same key twice.
    Duplicate,
    /// NaN, infinite, negative or out of its range.
    Value,
}

impl Report {
    /// The utilization that balancing goes by: application first, then CPU [G 1.45]; `None` when it has neither. An
    /// application utilization of zero yields to a CPU utilization, as senders of the binary form cannot leave it out.
    #[must_use]
    pub fn utilization(&self) -> Option<Ratio> {
        let application = self.application_utilization.filter(|value| *value > 0.0);
        application.or(self.cpu_utilization).or(self.application_utilization).map(Ratio::new)
    }

    /// A value by the name of a custom metric [G 1.39]: `orca.` and a field's name in the protocol with the prefix of
    /// its map, the same without `orca.`, or the bare name of a named metric, else of a utilization. `None` when the
    /// report does not have it. Where a field and a named metric have one name, the field is meant.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let field = name.strip_prefix("orca.").unwrap_or(name);
        let value = match field {
            "cpu_utilization" => self.cpu_utilization,
            "application_utilization" => self.application_utilization,
            "mem_utilization" => self.mem_utilization,
            _ => None,
        };
        let find = |is_it: &dyn Fn(&str) -> bool| {
            self.named.iter().find(|(known, _)| is_it(known)).map(|(_, value)| *value)
        };
        value
            .or_else(|| find(&|known| known == field))
            .or_else(|| find(&|known| known.strip_prefix("named_metrics.") == Some(name)))
            .or_else(|| find(&|known| known.strip_prefix("utilization.") == Some(name)))
    }

    /// Takes in one field by its name in the protocol, with the prefix of its map.
    fn set(&mut self, key: &str, value: f64) -> Result<(), Malformed> {
        let field = match key {
            "cpu_utilization" => &mut self.cpu_utilization,
            "application_utilization" => &mut self.application_utilization,
            "mem_utilization" => &mut self.mem_utilization,
            "rps_fractional" | "rps" => &mut self.rps_fractional,
            "eps" => &mut self.eps,
            _ => return self.set_named(key, value),
        };
        let most = if key == "mem_utilization" { 1.0 } else { f64::MAX };
        if !(0.0..=most).contains(&value) {
            return Err(Malformed::Value);
        }
        match field.replace(value) {
            Some(_) => Err(Malformed::Duplicate),
            None => Ok(()),
        }
    }

    fn set_named(&mut self, key: &str, value: f64) -> Result<(), Malformed> {
        let (map, name) = key.split_once('.').ok_or(Malformed::UnknownKey)?;
        let most = match map {
            "named_metrics" | "request_cost" => f64::MAX,
            "utilization" => 1.0,
            _ => return Err(Malformed::UnknownKey),
        };
        if name.is_empty() {
            return Err(Malformed::UnknownKey);
        }
        let least = if map == "utilization" { 0.0 } else { f64::MIN };
        if !(least..=most).contains(&value) {
            return Err(Malformed::Value);
        }
        if self.named.iter().any(|(known, _)| **known == *key) {
            return Err(Malformed::Duplicate);
        }
        if self.named.len() >= MAX_ENTRIES {
            return Err(Malformed::TooLarge);
        }
        self.named.push((key.into(), value));
        Ok(())
    }
}

/// The value of an `endpoint-load-metrics` header: `TEXT …`, `JSON …` or `BIN …` [G 1.42].
///
/// # Errors
/// [`Malformed`]: the whole report is discarded.
pub fn parse_header(value: &str) -> Result<Report, Malformed> {
    let value = within_bounds(value)?;
    match value.split_once(' ') {
        Some(("TEXT", text)) => text::parse(text),
        Some(("JSON", json)) => json::parse(json),
        Some(("BIN", base64)) => parse_binary(base64),
        _ => Err(Malformed::UnknownForm),
    }
}

/// The value of an `endpoint-load-metrics-bin` header: base64 of the protobuf, padded or not.
///
/// # Errors
/// [`Malformed`]: the whole report is discarded.
pub fn parse_binary(base64: &str) -> Result<Report, Malformed> {
    let base64 = within_bounds(base64)?.as_bytes();
    let engine = if base64.ends_with(b"=") { &STANDARD } else { &STANDARD_NO_PAD };
    let bytes = engine.decode(base64).map_err(|_| Malformed::Syntax)?;
    orca::OrcaLoadReport::decode(bytes.as_slice()).map_err(|_| Malformed::Syntax)?.into_report()
}

/// The body of a polled report: JSON, or TEXT with or without its prefix, or any form with its prefix.
///
/// # Errors
/// [`Malformed`]: the whole report is discarded.
pub fn parse_body(content: &str) -> Result<Report, Malformed> {
    let content = within_bounds(content)?;
    match parse_header(content) {
        Err(Malformed::UnknownForm) if content.starts_with('{') => json::parse(content),
        Err(Malformed::UnknownForm) => text::parse(content),
        decided => decided,
    }
}

fn within_bounds(value: &str) -> Result<&str, Malformed> {
    if value.len() > MAX_BYTES { Err(Malformed::TooLarge) } else { Ok(value.trim()) }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn g_1_43_text_is_read_with_equals_signs_and_with_colons() {
        let all = "TEXT cpu_utilization=0.7,mem_utilization=0.9,application_utilization=0.8,rps_fractional=1000,\
                   eps=2,named_metrics.foo=123,utilization.x=0.5";
        let report = parse_header(all).unwrap();
        assert_eq!(report.utilization(), Some(Ratio::new(0.8)));
        assert_eq!(
            (report.mem_utilization, report.rps_fractional, report.eps),
            (Some(0.9), Some(1000.0), Some(2.0))
        );
        assert_eq!(report.named, [("named_metrics.foo".into(), 123.0), ("utilization.x".into(), 0.5)]);
        assert_eq!(
            parse_header("TEXT cpu_utilization:0.3, eps:1").unwrap().utilization(),
            Some(Ratio::new(0.3))
        );
    }

    #[test]
    fn g_1_42_json_is_read_in_both_spellings() {
        let snake = r#"JSON {"cpu_utilization": 1.5, "named_metrics": {"q": 3}, "rps": 7}"#;
        let camel = r#"JSON {"cpuUtilization": 1.5, "namedMetrics": {"q": 3}, "rps": "7"}"#;
        assert_eq!(parse_header(snake), parse_header(camel));
        assert_eq!(parse_header(snake).unwrap().cpu_utilization, Some(1.5));
    }

    #[test]
    fn g_1_43_a_report_is_discarded_whole() {
        for (value, why) in [
            ("cpu_utilization=0.7", Malformed::UnknownForm),
            ("TEXT cpu_utilization=0.7,cpu_utilization=0.7", Malformed::Duplicate),
            ("TEXT named_metrics.a=1,named_metrics.a=1", Malformed::Duplicate),
            ("TEXT cpu_utilization=NaN", Malformed::Value),
            ("TEXT cpu_utilization=inf", Malformed::Value),
            ("TEXT cpu_utilization=-0.1", Malformed::Value),
            ("TEXT mem_utilization=1.1", Malformed::Value),
            ("TEXT utilization.x=1.1", Malformed::Value),
            ("TEXT cpu=0.1", Malformed::UnknownKey),
            ("TEXT named_metrics.=0.1", Malformed::UnknownKey),
            ("TEXT cpu_utilization", Malformed::Syntax),
            ("TEXT cpu_utilization=x", Malformed::Syntax),
            ("TEXT ", Malformed::UnknownForm),
            (r#"JSON {"cpu_utilization": "x"}"#, Malformed::Syntax),
            (r#"JSON {"cpu_utilization": 1, "cpuUtilization": 1}"#, Malformed::Duplicate),
            (r#"JSON {"cpu_utilization": 1, "cpu_utilization": 1}"#, Malformed::Duplicate),
            (r#"JSON {"load": 1}"#, Malformed::UnknownKey),
            ("JSON []", Malformed::Syntax),
            ("BIN *", Malformed::Syntax),
            ("BIN CQ==", Malformed::Syntax),
        ] {
            assert_eq!(parse_header(value), Err(why), "{value}");
        }
    }

    #[test]
    fn reports_have_a_size() {
        let many: Vec<_> = (0..65).map(|n| format!("named_metrics.{n}=1")).collect();
        assert_eq!(parse_header(&format!("TEXT {}", many.join(","))), Err(Malformed::TooLarge));
        assert!(parse_header(&format!("TEXT {}", many[..64].join(","))).is_ok());
        assert_eq!(parse_header(&format!("TEXT {}", " ".repeat(MAX_BYTES))), Err(Malformed::TooLarge));
    }

    #[test]
    fn g_1_44_the_binary_form_is_read_padded_or_not() {
        let message = orca::OrcaLoadReport {
            cpu_utilization: 0.25,
            application_utilization: 0.5,
            rps_fractional: 10.0,
            named_metrics: [("a".to_owned(), 2.0)].into(),
            ..orca::OrcaLoadReport::default()
        };
        let bytes = message.encode_to_vec();
        for text in [STANDARD.encode(&bytes), STANDARD_NO_PAD.encode(&bytes)] {
            let report = parse_binary(&text).unwrap();
            assert_eq!(parse_header(&format!("BIN {text}")).unwrap(), report);
            assert_eq!((report.cpu_utilization, report.utilization()), (Some(0.25), Some(Ratio::new(0.5))));
            assert_eq!(report.named, [("named_metrics.a".into(), 2.0)]);
        }
        assert_eq!(
            parse_binary(&STANDARD.encode([0x09, 0, 0, 0, 0, 0, 0, 0xF8, 0x7F])),
            Err(Malformed::Value)
        );
    }

    #[test]
    fn a_report_without_a_utilization_has_none() {
        assert_eq!(parse_header("TEXT eps=1").unwrap().utilization(), None);
        assert_eq!(parse_binary("").unwrap(), Report::default());
    }

    #[test]
    fn a_polled_body_is_json_or_text() {
        for body in ["{\"cpu_utilization\":0.5}\n", "cpu_utilization=0.5\n", "TEXT cpu_utilization=0.5"] {
            assert_eq!(parse_body(body).unwrap().utilization(), Some(Ratio::new(0.5)), "{body}");
        }
        assert_eq!(parse_body("<html>"), Err(Malformed::Syntax));
        assert_eq!(parse_body(""), Err(Malformed::Syntax));
    }

    #[test]
    fn g_1_39_a_metric_is_found_by_its_well_known_name_or_as_reported() {
        let text = "TEXT cpu_utilization=0.1,mem_utilization=0.2,application_utilization=0.3,named_metrics.queue=0.4,\
                    utilization.gpu=0.5,named_metrics.gpu=0.6,named_metrics.a.b=7";
        let report = parse_header(text).unwrap();
        for (name, value) in [
            ("orca.cpu_utilization", 0.1),
            ("cpu_utilization", 0.1),
            ("orca.mem_utilization", 0.2),
            ("orca.application_utilization", 0.3),
            ("orca.named_metrics.queue", 0.4),
            ("named_metrics.queue", 0.4),
            ("queue", 0.4),
            ("orca.utilization.gpu", 0.5),
            ("gpu", 0.6),
            ("a.b", 7.0),
        ] {
            assert_eq!(report.metric(name), Some(value), "{name}");
        }
        for name in
            ["orca.queue", "orca.named_metrics.gone", "gone", "orca.", "named_metrics.", "utilization"]
        {
            assert_eq!(report.metric(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn nothing_from_outside_panics(
            form in prop::sample::select(vec!["", "TEXT ", "JSON ", "BIN ", "JSON {", "TEXT cpu_utilization="]),
            rest in ".{0,80}",
            bytes in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let value = format!("{form}{rest}");
            let all = [parse_header(&value), parse_body(&value), parse_binary(&STANDARD.encode(&bytes))];
            for report in all.into_iter().flatten() {
                prop_assert!(report.utilization().is_none_or(|value| value.get().is_finite()));
            }
        }
    }
}
