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
