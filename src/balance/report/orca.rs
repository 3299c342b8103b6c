//! The protobuf `xds.data.orca.v3.OrcaLoadReport` [G 1.44], written down by hand: no compiler for nine fields.

use std::collections::BTreeMap;

use super::{Malformed, Report};

/// Fields as the protocol numbers them. Zero stands for "not said" in proto3.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct OrcaLoadReport {
    #[prost(double, tag = "1")]
    pub(super) cpu_utilization: f64,
    #[prost(double, tag = "2")]
    pub(super) mem_utilization: f64,
    /// Deprecated.
    #[prost(uint64, tag = "3")]
    pub(super) rps: u64,
    #[prost(btree_map = "string, double", tag = "4")]
    pub(super) request_cost: BTreeMap<String, f64>,
    #[prost(btree_map = "string, double", tag = "5")]
    pub(super) utilization: BTreeMap<String, f64>,
    #[prost(double, tag = "6")]
    pub(super) rps_fractional: f64,
    #[prost(double, tag = "7")]
    pub(super) eps: f64,
    #[prost(btree_map = "string, double", tag = "8")]
    pub(super) named_metrics: BTreeMap<String, f64>,
    #[prost(double, tag = "9")]
    pub(super) application_utilization: f64,
}

impl OrcaLoadReport {
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn into_report(self) -> Result<Report, Malformed> {
        let rps = if self.rps_fractional == 0.0 { self.rps as f64 } else { self.rps_fractional };
        let fields = [
            ("cpu_utilization", self.cpu_utilization),
            ("mem_utilization", self.mem_utilization),
            ("application_utilization", self.application_utilization),
            ("rps_fractional", rps),
            ("eps", self.eps),
        ];
        let maps = [
            ("request_cost", self.request_cost),
            ("utilization", self.utilization),
            ("named_metrics", self.named_metrics),
        ];
        let mut report = Report::default();
        for (key, value) in fields.into_iter().filter(|(_, value)| *value != 0.0) {
            report.set(key, value)?;
        }
        for (map, entries) in maps {
            for (name, value) in entries {
                report.set(&format!("{map}.{name}"), value)?;
            }
        }
        Ok(report)
    }
}
