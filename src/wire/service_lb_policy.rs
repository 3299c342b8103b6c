//! `serviceLbPolicies`, of the Network Services API [G 2b].

use super::resource;
use super::schema::{Kind, Table, Word, note, optional, output, required};

resource! {
    /// A service load balancing policy.
    ServiceLbPolicy
    required {
        /// `NAME`, or `projects/…/locations/global/serviceLbPolicies/NAME`.
        name: String,
    }
    optional {
        /// WATERFALL_BY_REGION, SPRAY_TO_REGION, WATERFALL_BY_ZONE or SPRAY_TO_WORLD.
        load_balancing_algorithm: String,
        /// Draining groups of few healthy members.
        auto_capacity_drain: AutoCapacityDrain,
        /// When other backends help.
        failover_config: FailoverConfig,
        /// Whether requests leave their region.
        isolation_config: IsolationConfig,
    }
}

resource! {
    /// `autoCapacityDrain`.
    AutoCapacityDrain
    required {}
    optional {
        /// Whether it is done.
        enable: bool,
    }
}

resource! {
    /// `failoverConfig`.
    FailoverConfig
    required {}
    optional {
        /// Percent of healthy members, 1 to 99.
        failover_health_threshold: u32,
    }
}

resource! {
    /// `isolationConfig`.
    IsolationConfig
    required {}
    optional {
        /// REGION.
        isolation_granularity: String,
        /// NEAREST or STRICT.
        isolation_mode: String,
    }
}

/// Fields of a service load balancing policy.
pub static SERVICE_LB_POLICY: Table = Table {
    noun: "a service load balancing policy",
    fields: &[
        required("name", Kind::Text(2048)),
        optional("description", Kind::LimitedNote(1024)).by("[G 2b]"),
        note("labels"),
        optional("loadBalancingAlgorithm", Kind::Word(ALGORITHMS)).by("[G 2b]"),
        optional("autoCapacityDrain", Kind::Object(&AUTO_CAPACITY_DRAIN)).by("[G 2.13]"),
        optional("failoverConfig", Kind::Object(&FAILOVER_CONFIG)).by("[G 2.14]"),
        optional("isolationConfig", Kind::Object(&ISOLATION_CONFIG)).by("[G 2.15]"),
        output("createTime"),
        output("updateTime"),
    ],
};

static AUTO_CAPACITY_DRAIN: Table =
    Table { noun: "autoCapacityDrain", fields: &[optional("enable", Kind::Flag)] };

static FAILOVER_CONFIG: Table = Table {
    noun: "failoverConfig",
    fields: &[optional("failoverHealthThreshold", Kind::Integer(1, 99)).by("[G 2b]")],
};

static ISOLATION_CONFIG: Table = Table {
    noun: "isolationConfig",
    fields: &[
        optional("isolationGranularity", Kind::Word(GRANULARITIES)).by("[G 2.15]"),
        optional("isolationMode", Kind::Word(ISOLATION_MODES)).by("[G 2.15]"),
    ],
};

static ALGORITHMS: &[Word] = &[
    Word::Known("WATERFALL_BY_REGION"),
    Word::Known("SPRAY_TO_REGION"),
    Word::Known("WATERFALL_BY_ZONE"),
    Word::Known("SPRAY_TO_WORLD"),
    Word::Known("LOAD_BALANCING_ALGORITHM_UNSPECIFIED"),
];

static GRANULARITIES: &[Word] = &[Word::Known("REGION"), Word::Known("ISOLATION_GRANULARITY_UNSPECIFIED")];

static ISOLATION_MODES: &[Word] =
    &[Word::Known("NEAREST"), Word::Known("STRICT"), Word::Known("ISOLATION_MODE_UNSPECIFIED")];
