//! What a scenario file may say, key by key.

use serde::Deserialize;

use crate::wire::schema::{Field, Kind, Table, Word, optional, required};

/// Longest run: ten days.
const LONGEST: f64 = 864_000.0;
const SECONDS: Kind = Kind::Number(0.0, LONGEST);
const POSITIVE: Kind = Kind::Number(0.001, LONGEST);
const PART: Kind = Kind::Number(0.0, 1.0);
const RATE: Kind = Kind::Number(0.0, 1e9);
const NAME: Kind = Kind::Text(NAME_LENGTH);

/// Characters of a name.
pub(super) const NAME_LENGTH: usize = 200;

/// Entries of a list.
pub(super) const MOST: usize = 10_000;

/// A whole scenario.
pub(super) const SCENARIO: Table = Table {
    noun: "a scenario",
    fields: &[
        optional("title", Kind::Text(200)),
        optional("seed", Kind::Integer(0, i64::MAX)),
        required("durationSec", Kind::Number(1.0, LONGEST)),
        optional("rowSec", Kind::Number(0.1, LONGEST)),
        optional("tickMs", Kind::Integer(10, 60_000)),
        optional("reports", Kind::Object(&REPORTS)),
        optional("proxies", Kind::Integer(1, 100)),
        required("demand", Kind::List(&Kind::Object(&DEMAND), MOST)),
        optional("members", Kind::List(&Kind::Object(&MEMBERS), MOST)),
        optional("events", Kind::List(&Kind::Object(&EVENT), MOST)),
        optional("autoscalers", Kind::List(&Kind::Object(&AUTOSCALER), 1000)),
    ],
};

const MEMBERS_OF_GROUP: Kind = Kind::Integer(0, 100_000);

pub(super) const AUTOSCALER: Table = Table {
    noun: "an autoscaler",
    fields: &[required("group", NAME), required("autoscalingPolicy", Kind::Object(&POLICY))],
};

const POLICY: Table = Table {
    noun: "an autoscaling policy",
    fields: &[
        required("maxNumReplicas", Kind::Integer(1, 100_000)),
        optional("minNumReplicas", MEMBERS_OF_GROUP),
        required("loadBalancingUtilization", Kind::Object(&LOAD_BALANCING_UTILIZATION)),
        optional("coolDownPeriodSec", SECONDS),
        optional("stabilizationPeriodSec", SECONDS),
        optional("scaleInControl", Kind::Object(&SCALE_IN_CONTROL)),
    ],
};

const LOAD_BALANCING_UTILIZATION: Table = Table {
    noun: "a load balancing utilization",
    fields: &[optional("utilizationTarget", Kind::Number(0.01, 10.0))],
};

const SCALE_IN_CONTROL: Table = Table {
    noun: "a scale-in control",
    fields: &[
        required("maxScaledInReplicas", Kind::Object(&MAX_SCALED_IN)),
        required("timeWindowSec", SECONDS),
    ],
};

const MAX_SCALED_IN: Table = Table {
    noun: "a number of replicas",
    fields: &[optional("fixed", MEMBERS_OF_GROUP), optional("percent", Kind::Number(0.0, 100.0))],
};

const REPORTS: Table = Table {
    noun: "reports",
    fields: &[
        optional("intervalSec", Kind::Number(0.01, 3600.0)),
        optional("delaySec", Kind::Number(0.0, 3600.0)),
        optional("noise", PART),
    ],
};

pub(super) const DEMAND: Table = Table {
    noun: "a demand",
    fields: &[
        optional("service", NAME),
        optional("region", NAME),
        required("rate", RATE),
        optional("changes", Kind::List(&Kind::Object(&CHANGE), MOST)),
        optional("daily", Kind::Object(&DAILY)),
        optional("noise", Kind::Object(&NOISE)),
        optional("arrivals", Kind::Word(ARRIVALS)),
        optional("sessions", Kind::Integer(1, 1_000_000_000)),
        optional("proxy", Kind::Integer(1, 100)),
    ],
};

const ARRIVALS: &[Word] = &[Word::Known("RANDOM"), Word::Known("EVEN")];

const CHANGE: Table = Table {
    noun: "a change",
    fields: &[required("atSec", SECONDS), required("rate", RATE), optional("overSec", SECONDS)],
};

const DAILY: Table = Table {
    noun: "a daily curve",
    fields: &[required("part", PART), optional("periodSec", POSITIVE), optional("peakSec", SECONDS)],
};

const NOISE: Table =
    Table { noun: "noise", fields: &[required("part", PART), optional("everySec", POSITIVE)] };

pub(super) const MEMBERS: Table = Table {
    noun: "an entry of members",
    fields: &[
        optional("service", NAME),
        optional("region", NAME),
        optional("group", NAME),
        optional("member", NAME),
        optional("serviceMs", Kind::Number(0.0, 3_600_000.0)),
        optional("cpuMs", Kind::Number(0.0, 3_600_000.0)),
        optional("cores", Kind::Integer(1, 256)),
        optional("times", Kind::Word(TIMES)),
        optional("sigma", Kind::Number(0.0, 4.0)),
        optional("errors", PART),
        optional("baseUtilization", Kind::Number(0.0, 0.99)),
    ],
};

const TIMES: &[Word] = &[Word::Known("CONSTANT"), Word::Known("EXPONENTIAL"), Word::Known("LOGNORMAL")];

pub(super) const EVENT: Table = Table {
    noun: "an event",
    fields: &[
        required("atSec", SECONDS),
        required("what", Kind::Word(WHAT)),
        optional("service", NAME),
        optional("region", NAME),
        optional("group", NAME),
        optional("member", NAME),
        // Each belongs to some of the words.
        belongs("factor", Kind::Number(0.01, 1000.0)),
        belongs("part", PART),
        belongs("delaySec", Kind::Number(0.0, 3600.0)),
        belongs("scaler", PART),
        belongs("count", Kind::Integer(1, 100_000)),
        belongs("everySec", Kind::Number(0.1, LONGEST)),
        belongs("untilSec", SECONDS),
    ],
};

const fn belongs(key: &'static str, kind: Kind) -> Field {
    optional(key, kind)
}

const WHAT: &[Word] = &[
    Word::Known("LOST"),
    Word::Known("BACK"),
    Word::Known("UNHEALTHY"),
    Word::Known("HEALTHY"),
    Word::Known("SLOW"),
    Word::Known("FAILS_FAST"),
    Word::Known("ERRORS"),
    Word::Known("SERVES"),
    Word::Known("REPORTS_LATE"),
    Word::Known("REPORTS_STOP"),
    Word::Known("REPORTS_RESUME"),
    Word::Known("SCALER"),
    Word::Known("ADD"),
    Word::Known("REMOVE"),
    Word::Known("FLAPS"),
];

/// The field that a word needs, if it needs one.
pub(super) fn needs(what: &str) -> &'static [&'static str] {
    match what {
        "SLOW" => &["factor"],
        "ERRORS" => &["part"],
        "REPORTS_LATE" => &["delaySec"],
        "SCALER" => &["scaler"],
        "ADD" | "REMOVE" => &["count"],
        "FLAPS" => &["everySec", "untilSec"],
        _ => &[],
    }
}

/// Fields of an event that belong to some words only.
pub(super) const BELONGING: &[&str] =
    &["factor", "part", "delaySec", "scaler", "count", "everySec", "untilSec"];

/// A scenario as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Scenario {
    pub(super) title: Option<String>,
    pub(super) seed: Option<u64>,
    pub(super) duration_sec: f64,
    pub(super) row_sec: Option<f64>,
    pub(super) tick_ms: Option<u64>,
    #[serde(default)]
    pub(super) reports: Reports,
    pub(super) proxies: Option<usize>,
    pub(super) demand: Vec<Demand>,
    #[serde(default)]
    pub(super) members: Vec<Members>,
    #[serde(default)]
    pub(super) events: Vec<Event>,
    #[serde(default)]
    pub(super) autoscalers: Vec<Autoscaler>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Autoscaler {
    pub(super) group: String,
    pub(super) autoscaling_policy: AutoscalingPolicy,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AutoscalingPolicy {
    pub(super) max_num_replicas: u32,
    pub(super) min_num_replicas: Option<u32>,
    pub(super) load_balancing_utilization: LoadBalancingUtilization,
    pub(super) cool_down_period_sec: Option<f64>,
    pub(super) stabilization_period_sec: Option<f64>,
    pub(super) scale_in_control: Option<ScaleInControl>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LoadBalancingUtilization {
    pub(super) utilization_target: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ScaleInControl {
    pub(super) max_scaled_in_replicas: MaxScaledInReplicas,
    pub(super) time_window_sec: f64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct MaxScaledInReplicas {
    pub(super) fixed: Option<u32>,
    pub(super) percent: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Reports {
    pub(super) interval_sec: Option<f64>,
    pub(super) delay_sec: Option<f64>,
    pub(super) noise: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Demand {
    pub(super) service: Option<String>,
    pub(super) region: Option<String>,
    pub(super) rate: f64,
    #[serde(default)]
    pub(super) changes: Vec<Change>,
    pub(super) daily: Option<Daily>,
    pub(super) noise: Option<Noise>,
    pub(super) arrivals: Option<String>,
    pub(super) sessions: Option<u64>,
    pub(super) proxy: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Change {
    pub(super) at_sec: f64,
    pub(super) rate: f64,
    pub(super) over_sec: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Daily {
    pub(super) part: f64,
    pub(super) period_sec: Option<f64>,
    pub(super) peak_sec: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Noise {
    pub(super) part: f64,
    pub(super) every_sec: Option<f64>,
}

/// Which members.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Target {
    pub(super) service: Option<String>,
    pub(super) region: Option<String>,
    pub(super) group: Option<String>,
    pub(super) member: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Members {
    #[serde(flatten)]
    pub(super) target: Target,
    pub(super) service_ms: Option<f64>,
    pub(super) cpu_ms: Option<f64>,
    pub(super) cores: Option<u32>,
    pub(super) times: Option<String>,
    pub(super) sigma: Option<f64>,
    pub(super) errors: Option<f64>,
    pub(super) base_utilization: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) at_sec: f64,
    pub(super) what: String,
    #[serde(flatten)]
    pub(super) target: Target,
    pub(super) factor: Option<f64>,
    pub(super) part: Option<f64>,
    pub(super) delay_sec: Option<f64>,
    pub(super) scaler: Option<f64>,
    pub(super) count: Option<u32>,
    pub(super) every_sec: Option<f64>,
    pub(super) until_sec: Option<f64>,
}
