//! Load reports in the three forms of the `endpoint-load-metrics` header [G 1.42–1.44].

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message;

use crate::model::unit::Tick;

/// How a report is written in a response header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `TEXT cpu_utilization=0.5,…`.
    Text,
    /// `JSON {…}`.
    Json,
    /// `BIN ` and a protobuf in base64.
    Bin,
    /// No header.
    None,
}

impl FromStr for Form {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            "bin" => Ok(Self::Bin),
            "none" => Ok(Self::None),
            _ => Err(format!("`{word}` is no form of report; there are: text, json, bin, none")),
        }
    }
}

/// The fields of `xds.data.orca.v3.OrcaLoadReport` that a toy fills in.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Report {
    #[prost(double, tag = "1")]
    pub(super) cpu_utilization: f64,
    #[prost(double, tag = "6")]
    pub(super) rps_fractional: f64,
    #[prost(double, tag = "9")]
    pub(super) application_utilization: f64,
}

impl Report {
    pub(super) fn new(utilization: f64, rate: f64) -> Self {
        Self { cpu_utilization: utilization, rps_fractional: rate, application_utilization: utilization }
    }

    /// Value of the header; `None` for [`Form::None`].
    pub(super) fn header(&self, form: Form) -> Option<String> {
        match form {
            Form::Text => Some(format!(
                "TEXT cpu_utilization={},application_utilization={},rps_fractional={}",
                self.cpu_utilization, self.application_utilization, self.rps_fractional
            )),
            Form::Json => Some(format!("JSON {}", self.json())),
            Form::Bin => Some(format!("BIN {}", STANDARD.encode(self.encode_to_vec()))),
            Form::None => None,
        }
    }

    pub(super) fn json(&self) -> String {
        format!(
            r#"{{"cpu_utilization":{},"application_utilization":{},"rps_fractional":{}}}"#,
            self.cpu_utilization, self.application_utilization, self.rps_fractional
        )
    }
}

/// Requests over the last second, in ten slots of 100 ms; the running slot does not count yet.
#[derive(Debug, Default)]
pub(super) struct Meter {
    slots: [u32; SLOTS],
    /// Number of the running slot since the start of time.
    current: u64,
}

/// One more than is summed: the running slot.
const SLOTS: usize = 11;
const SLOT_NANOS: u64 = 100_000_000;

impl Meter {
    pub(super) fn count(&mut self, now: Tick) {
        self.advance(now);
        if let Some(slot) = self.slots.get_mut(place(self.current)) {
            *slot = slot.saturating_add(1);
        }
    }

    pub(super) fn rate(&mut self, now: Tick) -> f64 {
        self.advance(now);
        let running = self.slots.get(place(self.current)).copied().unwrap_or(0);
        f64::from(self.slots.iter().sum::<u32>() - running)
    }

    fn advance(&mut self, now: Tick) {
        let slot = now.0 / SLOT_NANOS;
        for passed in (self.current + 1..=slot).rev().take(SLOTS) {
            if let Some(slot) = self.slots.get_mut(place(passed)) {
                *slot = 0;
            }
        }
        self.current = self.current.max(slot);
    }
}

fn place(slot: u64) -> usize {
    usize::try_from(slot % SLOTS as u64).unwrap_or(0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;
    use crate::model::unit::SECOND;

    #[test]
    fn a_report_is_written_in_all_three_forms() {
        let report = Report::new(0.25, 50.0);
        assert_eq!(
            report.header(Form::Text).unwrap(),
            "TEXT cpu_utilization=0.25,application_utilization=0.25,rps_fractional=50"
        );
        let json = report.header(Form::Json).unwrap();
        let value: serde_json::Value = serde_json::from_str(json.strip_prefix("JSON ").unwrap()).unwrap();
        assert_eq!(value["cpu_utilization"], 0.25);
        let bin = report.header(Form::Bin).unwrap();
        let bytes = STANDARD.decode(bin.strip_prefix("BIN ").unwrap()).unwrap();
        assert_eq!(Report::decode(&*bytes).unwrap(), report);
        assert_eq!(report.header(Form::None), None);
    }

    #[test]
    fn the_rate_is_that_of_the_last_second_and_forgets() {
        let mut meter = Meter::default();
        for n in 0..200 {
            meter.count(Tick(n * SECOND / 100));
        }
        assert_eq!(meter.rate(Tick(2 * SECOND)), 100.0);
        assert_eq!(meter.rate(Tick(2 * SECOND + SECOND / 2)), 50.0);
        assert_eq!(meter.rate(Tick(9 * SECOND)), 0.0);
    }
}
