//! One group in several services: each counts its own requests, a machine's utilization is one [G 1.27–1.29].

use overspill::cli::toy::Utilization;

use crate::support::backend::{Scripted, Valve, toy};
use crate::support::lb::Lb;
use crate::support::setup::{FAR, Group, NEAR, group, setup};
use crate::support::wait_until;

/// Services `web` at `/` and `other` at `/other` with the same groups, in modes of their own.
fn text(
    groups: &[Group],
    others: &[(&str, &str)],
    healthy: Option<&overspill::cli::toy::ToyBackend>,
) -> String {
    let setup = setup(groups);
    let text = healthy.map_or_else(|| setup.text(), |toy| setup.clone().probed_at(toy).text());
    let backends: String =
        others.iter().map(|(group, mode)| format!("      - {{group: {group}, {mode}}}\n")).collect();
    let other = format!(
        "  - name: other\n    portName: http\n    healthChecks: [basic]\n    backends:\n{backends}instanceGroups:\n"
    );
    let map = "{name: web-map, defaultService: web, hostRules: [{hosts: [\"*\"], pathMatcher: m}], pathMatchers: \
               [{name: m, defaultService: web, pathRules: [{paths: [/other], service: other}]}]}";
    text.replace("instanceGroups:\n", &other).replace("{name: web-map, defaultService: web}", map)
}

#[test]
fn g_1_27_what_one_service_has_under_way_is_no_load_of_the_others() {
    let (valve, health, far) = (Valve::default(), toy("health"), Scripted::good());
    let near = Scripted::held(&valve);
    let in_flight = |field: &str| format!("balancingMode: IN_FLIGHT, trafficDuration: LONG, {field}: 1");
    let open = "balancingMode: IN_FLIGHT, trafficDuration: LONG, maxInFlightRequests: 1000";
    // One limits the group, the other each instance [G 1.28].
    let groups = [
        group("ig-near", NEAR).mode(&in_flight("maxInFlightRequests")).member("near", &near),
        group("ig-far", FAR).mode(open).member("far", &far),
    ];
    let others = in_flight("maxInFlightRequestsPerInstance");
    let lb = Lb::start(&text(&groups, &[("ig-near", &others), ("ig-far", open)], Some(&health)));
    let mut held = vec![lb.sent("/hold")];
    wait_until("one is under way", || near.requests() == 1);
    assert_eq!(lb.get("/").backend(), "good", "this service is full there");
    held.push(lb.sent("/other"));
    wait_until("the other has room of its own", || near.requests() == 2);
    assert_eq!(lb.get("/other").backend(), "good", "and fills it");
    assert_eq!((near.requests(), far.requests()), (2, 2));
    valve.open();
    assert!(held.iter_mut().all(|client| client.answer().backend() == "held"));
}

#[test]
fn g_1_27_a_utilization_that_one_service_hears_of_is_known_to_all() {
    let near = toy("near");
    near.change(|settings| settings.utilization = Utilization::Fixed(0.75));
    let mode = "balancingMode: UTILIZATION, maxUtilization: 0.8";
    let groups = [group("ig", NEAR).mode(mode).member("near", &near)];
    let text = text(&groups, &[("ig", mode)], None);
    let lb =
        Lb::start(&text.replace("    namedPorts", "    utilization: {source: ORCA_HEADER}\n    namedPorts"));
    assert_eq!(lb.get("/").backend(), "near");
    let shown = |service: &str| {
        let label = format!("\"{service}\"");
        lb.metrics().sum("overspill_backend_utilization", &[&label, "\"ig\""])
    };
    for service in ["web", "other"] {
        wait_until("it is shown", || shown(service) == 0.75);
    }
    let world = lb.handle.world();
    let [web, other] = [0, 1].map(|n| world.services[n].backends[0].ledger.gate.counts().admitted);
    assert_eq!(web + other, 1, "the request itself is one service's alone");
}
