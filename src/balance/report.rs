//! Load reports of members.

use crate::model::unit::Ratio;

/// A report.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    cpu: Option<f64>,
}

/// A body that is no report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed;

/// Reads the body of a polled report.
///
/// # Errors
///
/// When it is none.
pub fn parse_body(text: &str) -> Result<Report, Malformed> {
    let value: serde_json::Value = serde_json::from_str(text).map_err(|_| Malformed)?;
    Ok(Report { cpu: value.get("cpu_utilization").and_then(serde_json::Value::as_f64) })
}

impl Report {
    /// The utilization to balance by.
    #[must_use]
    pub fn utilization(&self) -> Option<Ratio> {
        self.cpu.map(Ratio::new)
    }
}
/// Temporary.
///
/// # Errors
/// None.
pub fn parse_header(text: &str) -> Result<Report, Malformed> {
    parse_body(text)
}
/// Temporary.
///
/// # Errors
/// None.
pub fn parse_binary(text: &str) -> Result<Report, Malformed> {
    parse_body(text)
}
