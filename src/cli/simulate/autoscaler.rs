//! Autoscalers of a scenario: what Google refuses is refused [G 11.2].

use super::read::{Reader, span};
use super::schema;
use crate::model::target::RateTarget;
use crate::model::target::{Beside, Mode};
use crate::simulate::autoscaler::is_scalable;
use crate::simulate::scenario::{Autoscaler, ScaleIn};
use crate::wire::path::Path;

/// Google's defaults: the utilization target, the least number, and the periods in seconds.
const TARGET: f64 = 0.8;
const LEAST: u32 = 2;
const COOL_DOWN: f64 = 60.0;
const STABILIZATION: f64 = 600.0;

impl Reader<'_> {
    /// One autoscaler.
    pub(super) fn autoscaler(&mut self, written: &schema::Autoscaler, at: &Path<'_>) -> Autoscaler {
        self.scaled_group(&written.group, at);
        let policy = &written.autoscaling_policy;
        let of_policy = at.key("autoscalingPolicy");
        let max = policy.max_num_replicas;
        let min = policy.min_num_replicas.unwrap_or(LEAST.min(max));
        if min > max {
            let message = "the least is more than the most";
            self.error(&of_policy.key("minNumReplicas"), "out-of-range", message, "at most `maxNumReplicas`");
        }
        let scale_in = policy.scale_in_control.as_ref().map(|control| {
            let schema::MaxScaledInReplicas { fixed, percent } = control.max_scaled_in_replicas;
            if fixed.is_some() == percent.is_some() {
                let message = "replicas are a number or a percentage";
                let at = of_policy.key("scaleInControl");
                self.error(&at.key("maxScaledInReplicas"), "conflict", message, "`fixed` or `percent`");
            }
            ScaleIn { fixed, percent, window: span(control.time_window_sec) }
        });
        Autoscaler {
            group: written.group.as_str().into(),
            utilization_target: policy.load_balancing_utilization.utilization_target.unwrap_or(TARGET),
            min: min.max(1),
            max,
            initialization: span(policy.cool_down_period_sec.unwrap_or(COOL_DOWN)),
            stabilization: span(policy.stabilization_period_sec.unwrap_or(STABILIZATION)),
            scale_in,
        }
    }

    pub(super) fn scaled_group(&mut self, name: &str, at: &Path<'_>) {
        let config = self.config();
        let all = || config.services.iter().flat_map(|service| &service.backends);
        let users: Vec<_> = all().filter(|backend| *backend.group.name == *name).collect();
        let at = at.key("group");
        let refused = "[G 11.2]";
        if self.scaled.iter().any(|scaled| scaled == name) {
            let message = "the group has an autoscaler already";
            self.error(&at, "duplicate-autoscaler", message, "one autoscaler for each group");
            return;
        }
        self.scaled.push(name.to_owned());
        match users.as_slice() {
            [] => {
                let names = all().map(|backend| &*backend.group.name).collect();
                self.unknown("group", name, names, &at);
            }
            [only] if is_scalable(only) => {}
            [only] => {
                let is_of_group = matches!(
                    only.mode,
                    Mode::Rate(RateTarget::Group(_)) | Mode::Utilization { beside: Beside::Rate(_), .. }
                );
                let message = if is_of_group {
                    "UNSUPPORTED_MAX_RATE_LOAD_BALANCING_CONFIGURATION: the target is the group's, not a member's"
                } else {
                    "the group's balancing mode says nothing about a member's capacity"
                };
                let expected = format!("`maxRatePerInstance` or UTILIZATION {refused}");
                self.error(&at, "conflict", message, expected);
            }
            _ => {
                let message = "MORE_THAN_ONE_BACKEND_SERVICE: several backends use this group";
                self.error(&at, "conflict", message, format!("a group of one backend {refused}"));
            }
        }
    }
}
