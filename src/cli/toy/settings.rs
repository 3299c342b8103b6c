//! What may change while a toy backend runs.

use std::time::Duration;

use super::fault::{Faults, GOLDEN, spread};
use super::report::Form;
use crate::cli::words;

/// Read anew for each request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// How long an answer waits. Default 0.
    pub latency: Duration,
    /// Each wait is between half and one and a half times the latency.
    pub has_jitter: bool,
    /// CPU burnt for each request. Default 0.
    pub cpu: Duration,
    /// Status of an answer. Default 200.
    pub status: u16,
    /// Status of `/healthz`. Default 200.
    pub health_status: u16,
    /// Length of a body. Default 128.
    pub body_bytes: usize,
    /// What it says about its load.
    pub utilization: Utilization,
    /// How it says so in a response header.
    pub report: Form,
    /// What goes wrong on purpose. Default nothing.
    pub faults: Faults,
}

/// Where the reported utilization comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Utilization {
    /// Nothing is reported.
    None,
    /// Always the same.
    Fixed(f64),
    /// Own requests of the last second ÷ this.
    OfRate(f64),
    /// CPU time of its serving threads over the last second ÷ so many cores. Linux only; elsewhere nothing is reported.
    OfCpu(f64),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            has_jitter: false,
            cpu: Duration::ZERO,
            status: 200,
            health_status: 200,
            body_bytes: 128,
            utilization: Utilization::None,
            report: Form::Text,
            faults: Faults::default(),
        }
    }
}

impl Settings {
    /// The wait of the request numbered `number`.
    pub(super) fn wait(&self, number: u64) -> Duration {
        if !self.has_jitter {
            return self.latency;
        }
        self.latency.mul_f64(0.5 + spread(number, GOLDEN))
    }

    /// Applies the query of `/_set`, all or nothing.
    ///
    /// # Errors
    /// What is wrong, in one sentence.
    pub(super) fn edited(mut self, query: &str) -> Result<Self, String> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            match key {
                "health" => self.health_status = words::status(value)?,
                "status" => self.status = words::status(value)?,
                "latency" => self.latency = words::duration(value)?,
                "cpu" => self.cpu = words::duration(value)?,
                "jitter" => self.has_jitter = value != "0" && value != "false",
                "body-bytes" => self.body_bytes = words::body_bytes(value)?,
                "utilization" => self.utilization = Utilization::Fixed(words::positive(value)?),
                "capacity" => self.utilization = Utilization::OfRate(words::positive(value)?),
                "cores" => self.utilization = Utilization::OfCpu(words::positive(value)?),
                "report" => self.report = value.parse()?,
                "fault" => self.faults = value.parse()?,
                _ => {
                    let known = "health, status, latency, cpu, jitter, body-bytes, utilization, capacity, cores, report, fault";
                    return Err(format!("no setting is called `{key}`; there are: {known}"));
                }
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_query_changes_what_it_names_and_nothing_else() {
        let edited = Settings::default().edited("health=503&latency=5ms&capacity=100&report=bin").unwrap();
        let expected = Settings {
            health_status: 503,
            latency: Duration::from_millis(5),
            utilization: Utilization::OfRate(100.0),
            report: Form::Bin,
            ..Settings::default()
        };
        assert_eq!(edited, expected);
    }

    #[test]
    fn a_bad_query_names_what_is_wrong() {
        assert!(Settings::default().edited("healht=1").unwrap_err().contains("healht"));
        assert!(Settings::default().edited("status=99").unwrap_err().contains("99"));
    }

    #[test]
    fn jitter_stays_between_half_and_one_and_a_half() {
        let s = Settings { latency: Duration::from_millis(10), has_jitter: true, ..Settings::default() };
        let waits: Vec<_> = (0..1000).map(|n| s.wait(n)).collect();
        assert!(waits.iter().all(|w| (5..=15).contains(&w.as_millis())));
        assert!(waits.iter().any(|w| w.as_millis() < 6) && waits.iter().any(|w| w.as_millis() >= 14));
    }
}
