//! Modes and their targets, table 1c of the rules.

use super::*;
use crate::model::target::CountTarget;

const TARGET: &str = "balancingMode: RATE, maxRatePerInstance: 100";

fn mode(fields: &str) -> Mode {
    good(&with(TARGET, fields)).services[0].backends[0].mode.clone()
}

#[test]
fn in_flight_counts_the_group_or_each_of_its_instances() {
    let fields = |target: &str| format!("balancingMode: IN_FLIGHT, trafficDuration: LONG, {target}");
    assert_eq!(mode(&fields("maxInFlightRequests: 50")), Mode::InFlight(CountTarget::Group(50)));
    assert_eq!(mode(&fields("maxInFlightRequestsPerInstance: 4")), Mode::InFlight(CountTarget::PerMember(4)));
}

#[test]
fn in_flight_of_an_endpoint_group_counts_its_endpoints() {
    let config = good(include_str!("../../../../config/in-flight.yaml"));
    let models = &config.services[1].backends[0];
    assert_eq!(models.group.kind, GroupKind::NetworkEndpointGroup);
    assert_eq!(models.mode, Mode::InFlight(CountTarget::PerMember(2)));
}

/// [G 1.16]
#[test]
fn utilization_takes_a_target_in_flight_beside_it_when_traffic_is_long() {
    let max = Ratio::new(0.8);
    let beside = Beside::InFlight(CountTarget::PerMember(4));
    assert_eq!(
        mode("trafficDuration: LONG, maxInFlightRequestsPerInstance: 4"),
        Mode::Utilization { max, beside }
    );
    assert_eq!(mode("trafficDuration: LONG"), Mode::Utilization { max, beside: Beside::Nothing });
}

/// `MINIMAL` as a TCP service that no URL map leads to; `fields` are those of its backend.
fn tcp(fields: &str) -> Resolved {
    let text = with(TARGET, fields);
    let (_, rest) = text.split_at(text.find("backendServices:").unwrap());
    document(&rest.replacen(
        "healthChecks: [basic]",
        "healthChecks: [basic]\n    protocol: TCP\n    portName: http",
        1,
    ))
}

#[test]
fn connection_counts_the_group_or_each_of_its_members() {
    for (target, expected) in [
        ("balancingMode: CONNECTION, maxConnections: 50", Mode::Connection(CountTarget::Group(50))),
        (
            "balancingMode: CONNECTION, maxConnectionsPerInstance: 4",
            Mode::Connection(CountTarget::PerMember(4)),
        ),
        (
            "maxUtilization: 0.5, maxConnections: 4",
            Mode::Utilization { max: Ratio::new(0.5), beside: Beside::Connections(CountTarget::Group(4)) },
        ),
    ] {
        let Resolved { config, problems } = tcp(target);
        assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["no-listener"]);
        let service = &config.unwrap().services[0];
        assert_eq!(service.protocol, Protocol::Tcp);
        assert_eq!(service.backends[0].mode, expected);
    }
}

/// Every mode with every target that is not its own, in an HTTP service: refused, and only once.
#[test]
fn a_target_of_another_mode_is_refused() {
    let own = [
        ("balancingMode: RATE, ", "maxRate: 1", "maxRate"),
        ("balancingMode: UTILIZATION, ", "maxUtilization: 0.5", "maxUtilization maxRate"),
        (
            "balancingMode: UTILIZATION, trafficDuration: LONG, ",
            "maxUtilization: 0.5",
            "maxUtilization maxInFlightRequests",
        ),
        (
            "balancingMode: IN_FLIGHT, trafficDuration: LONG, ",
            "maxInFlightRequests: 1",
            "maxInFlightRequests",
        ),
    ];
    for (word, target, stems) in own {
        for (stem, value) in
            [("maxUtilization", 0.5), ("maxRate", 1.0), ("maxConnections", 1.0), ("maxInFlightRequests", 1.0)]
        {
            if stems.split(' ').any(|own| own == stem) {
                continue;
            }
            let text = with(TARGET, &format!("{word}{target}, {stem}: {value}"));
            assert_eq!(codes(&text), ["forbidden-field"], "{word}{stem}");
        }
    }
}

#[test]
fn a_misspelt_protocol_says_nothing_about_modes() {
    let text = with("healthChecks: [basic]", "healthChecks: [basic]\n    protocol: TPC");
    assert_eq!(codes(&text), ["unknown-value"]);
    let text = text.replace(TARGET, "balancingMode: CONNECTION, maxConnections: 1");
    assert_eq!(codes(&text), ["unknown-value"]);
}

/// [G 1.17, 1.35–1.39]
#[test]
fn custom_metrics_have_a_maximum_each_and_a_rate_beside_them() {
    let config = good(include_str!("../../../../config/custom-metrics.yaml"));
    let metric = |name: &str, max, is_dry_run| crate::model::target::CustomMetric {
        name: name.into(),
        max: Ratio::new(max),
        is_dry_run,
    };
    let metrics = [metric("orca.named_metrics.queue", 0.7, false), metric("orca.cpu_utilization", 0.8, true)];
    let backends = &config.services[0].backends;
    assert_eq!(backends[0].mode, Mode::CustomMetrics { metrics: metrics.into(), rate: None });
    let rate = Some(RateTarget::PerMember(PerSecond::new(200.0)));
    assert_eq!(backends[1].mode, Mode::CustomMetrics { metrics: [metric("queue", 0.8, false)].into(), rate });
}

/// A process does not tell its metrics to the operating system [G 1.41].
#[test]
fn local_members_with_custom_metrics_report_by_header() {
    let text = with(TARGET, "balancingMode: CUSTOM_METRICS, customMetrics: [{name: queue}]");
    assert_eq!(good(&text).services[0].backends[0].group.utilization, UtilizationSource::OrcaHeader);
}

#[test]
fn custom_metrics_are_not_for_tcp_services() {
    let Resolved { problems, .. } = tcp("balancingMode: CUSTOM_METRICS, customMetrics: [{name: queue}]");
    assert!(problems.iter().any(|problem| problem.code == "forbidden-mode"), "{problems:?}");
}

#[test]
fn metrics_of_a_service_keep_their_order_without_those_on_a_dry_run() {
    let lines = "healthChecks: [basic]\n    customMetrics: [{name: b}, {name: c, dryRun: true}, {name: a}]";
    let config = document(&with("healthChecks: [basic]", lines)).config.unwrap();
    assert_eq!(config.services[0].policies.weight_metrics, ["b".into(), "a".into()]);
    let classic = lines.replace("customMetrics", "loadBalancingScheme: EXTERNAL\n    customMetrics");
    let codes = codes(&with("healthChecks: [basic]", &classic));
    assert!(codes.contains(&"forbidden-field"), "{codes:?}");
}
