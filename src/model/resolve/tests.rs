//! What good documents resolve to; bad ones are in `config/invalid/`.

mod affinity;
mod checks;
mod groups;
mod modes;
mod policies;
mod relays;
mod rules;

use super::*;
use crate::model::config::{AccessLogTarget, Cidr, ServiceId};
use crate::model::place::RegionId;
use crate::model::probe::{Probe, ProbePort, Spoken};
use crate::model::problem::Severity;
use crate::model::route::action::Action;
use crate::model::service::{Affinity, GroupKind, Protocol, Scheme, UtilizationSource};
use crate::model::target::{Beside, Mode, Preference, RateTarget, Scaler};
use crate::model::unit::{PerSecond, Ratio, Span};

const MINIMAL: &str = include_str!("../../../config/minimal.yaml");
const MULTI_REGION: &str = include_str!("../../../config/multi-region.yaml");

fn good(text: &str) -> Config {
    let Resolved { config, problems } = document(text);
    assert_eq!(problems, []);
    config.unwrap()
}

fn codes(text: &str) -> Vec<&'static str> {
    document(text).problems.iter().map(|problem| problem.code).collect()
}

/// `MINIMAL` with a piece replaced.
fn with(from: &str, to: &str) -> String {
    assert!(MINIMAL.contains(from), "{from}");
    MINIMAL.replacen(from, to, 1)
}

#[test]
fn defaults_are_google_s_and_ours() {
    let config = good(&with(", balancingMode: RATE, maxRatePerInstance: 100", ""));
    let [service] = config.services.as_slice() else { panic!() };
    assert_eq!(service.scheme, Scheme::ExternalManaged);
    assert_eq!(service.protocol, Protocol::Http);
    assert_eq!(service.timeout, Span::secs(30));
    assert_eq!(service.affinity, Affinity::None);
    assert_eq!(service.draining_timeout, Span::ZERO);
    assert_eq!(service.log_sample, Ratio::ONE);
    assert!(service.is_reachable);
    let [backend] = service.backends.as_slice() else { panic!() };
    assert_eq!(backend.mode, Mode::Utilization { max: Ratio::new(0.8), beside: Beside::Nothing });
    assert_eq!(backend.scaler, Scaler::FULL);
    assert_eq!(backend.preference, Preference::Default);
    assert_eq!(backend.group.kind, GroupKind::InstanceGroup);
    let interval = Span::secs(1);
    assert_eq!(backend.group.utilization, UtilizationSource::LocalProcess { cores: 1.0, interval });
    let addresses: Vec<_> = backend.members.iter().map(|member| member.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:8081", "127.0.0.1:8082"]);
    let check = service.health_check.as_ref().unwrap();
    assert_eq!((check.interval, check.timeout), (Span::secs(5), Span::secs(5)));
    assert_eq!((check.healthy_threshold, check.unhealthy_threshold), (2, 2));
    assert_eq!(check.port, ProbePort::Serving);
    let path = "/".into();
    assert_eq!(check.probe, Probe::Http { spoken: Spoken::Http, host: None, path, response: None });
    let [front] = config.fronts.as_slice() else { panic!() };
    assert_eq!(front.address.to_string(), "127.0.0.1:8080");
    let http = front.http().unwrap();
    assert_eq!(http.keep_alive, Span::secs(610));
    assert_eq!(http.url_map.default, Action::to(ServiceId(0)));
    assert_eq!(&*config.proxy.zone, "us-central1-a");
    assert_eq!(config.proxy.admin.unwrap().to_string(), "127.0.0.1:9901");
    assert_eq!(config.proxy.workers, None);
    assert_eq!(config.proxy.access_log, AccessLogTarget::None);
}

#[test]
fn members_elsewhere_report_by_header() {
    let config = good(&with("{name: www-1, ipAddress: 127.0.0.1}", "{name: www-1, ipAddress: 10.0.0.1}"));
    assert_eq!(config.services[0].backends[0].group.utilization, UtilizationSource::OrcaHeader);
}

#[test]
fn equal_texts_have_equal_fingerprints() {
    let config = good(MINIMAL);
    assert_eq!(config.fingerprint, good(MINIMAL).fingerprint);
    assert_ne!(config.fingerprint, good(&format!("{MINIMAL}\n")).fingerprint);
}

#[test]
fn origins_are_the_proxy_s_region_and_those_of_clients() {
    let places = good(MULTI_REGION).places;
    let name = |id: &RegionId| places.regions[usize::from(id.0)].name.to_string();
    let origins: Vec<_> = places.origins.iter().map(name).collect();
    assert_eq!(origins[0], "us-central1");
    assert_eq!(origins.len(), 4);
    let (first, region) = &places.client_locations[0];
    assert_eq!(*first, Cidr { network: "127.0.0.2".parse().unwrap(), prefix: 32 });
    assert_eq!(name(region), "europe-west1");
    assert_eq!(places.client_locations.last().unwrap().0.prefix, 16);
}

#[test]
fn references_may_be_names_or_urls() {
    for group in [
        "ig-web",
        "instanceGroups/ig-web",
        "zones/us-central1-a/instanceGroups/ig-web",
        "https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a/instanceGroups/ig-web",
    ] {
        good(&with("group: ig-web", &format!("group: {group}")));
    }
    for service in ["global/backendServices/web", "projects/p/global/backendServices/web"] {
        good(&with("defaultService: web", &format!("defaultService: {service}")));
    }
}

#[test]
fn an_export_of_gcloud_s_can_be_pasted() {
    let text = "
backendServices:
- affinityCookieTtlSec: 0
  backends:
  - balancingMode: RATE
    capacityScaler: 1.0
    group: https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a/instanceGroups/ig
    maxRatePerInstance: 100.0
  connectionDraining:
    drainingTimeoutSec: 300
  creationTimestamp: '2026-01-01T00:00:00.000-08:00'
  customRequestHeaders: []
  description: ''
  enableCDN: false
  fingerprint: 3MAw/S/hHTE=
  healthChecks:
  - https://www.googleapis.com/compute/v1/projects/p/global/healthChecks/hc
  id: '1234567890123456789'
  kind: compute#backendService
  loadBalancingScheme: EXTERNAL
  logConfig:
    enable: true
    sampleRate: 0.5
  name: bs
  port: null
  portName: http
  protocol: HTTP
  selfLink: https://www.googleapis.com/compute/v1/projects/p/global/backendServices/bs
  sessionAffinity: NONE
  timeoutSec: '30'
  usedBy:
  - reference: https://www.googleapis.com/compute/v1/projects/p/global/urlMaps/um
healthChecks:
- checkIntervalSec: 5
  healthyThreshold: 2
  httpHealthCheck: {port: 8081, portSpecification: USE_FIXED_PORT, proxyHeader: NONE, requestPath: /}
  kind: compute#healthCheck
  logConfig: {enable: false}
  name: hc
  timeoutSec: 5
  type: HTTP
  unhealthyThreshold: 2
forwardingRules:
- {IPAddress: 127.0.0.1, IPProtocol: TCP, fingerprint: x, labelFingerprint: y, name: fr, networkTier: PREMIUM,
   loadBalancingScheme: EXTERNAL, portRange: 80-80, target: 'https://www.googleapis.com/compute/v1/projects/p/global/targetHttpProxies/tp'}
targetHttpProxies:
- {name: tp, urlMap: 'https://www.googleapis.com/compute/v1/projects/p/global/urlMaps/um', proxyBind: false}
urlMaps:
- {name: um, defaultService: 'https://www.googleapis.com/compute/v1/projects/p/global/backendServices/bs', fingerprint: z}
instanceGroups:
- kind: compute#instanceGroup
  name: ig
  namedPorts: [{name: http, port: '8081'}]
  network: https://www.googleapis.com/compute/v1/projects/p/global/networks/default
  size: 1
  zone: https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a
  instances: [{name: vm, ipAddress: 127.0.0.1}]
";
    let config = good(text);
    let service = &config.services[0];
    assert_eq!(service.scheme, Scheme::External);
    assert_eq!(service.log_sample, Ratio::new(0.5));
    assert_eq!(service.timeout, Span::secs(30));
    assert_eq!(service.backends[0].mode, Mode::Rate(RateTarget::PerMember(PerSecond::new(100.0))));
    assert_eq!(&*service.backends[0].group.zone, "us-central1-a");
    assert_eq!(config.fronts[0].address.port(), 80);
}

#[test]
fn utilization_takes_at_most_one_rate_beside_it() {
    let target = "balancingMode: RATE, maxRatePerInstance: 100";
    let mode = |fields: &str| good(&with(target, fields)).services[0].backends[0].mode.clone();
    let max = Ratio::new(0.5);
    let rate = RateTarget::Group(PerSecond::new(10.0));
    assert_eq!(
        mode("maxUtilization: 0.5, maxRate: 10"),
        Mode::Utilization { max, beside: Beside::Rate(rate) }
    );
    let rate = RateTarget::PerMember(PerSecond::new(2.5));
    assert_eq!(
        mode("maxUtilization: 0.5, maxRatePerInstance: 2.5"),
        Mode::Utilization { max, beside: Beside::Rate(rate) }
    );
    assert_eq!(codes(&with(target, "maxRate: 10, maxRatePerInstance: 2")), ["two-targets"]);
}

#[test]
fn port_0_may_stand_in_several_forwarding_rules() {
    let rule = "  - {name: web, IPAddress: 127.0.0.1, portRange: \"8080\", target: web-proxy}\n";
    let two = "  - {name: a, IPAddress: 127.0.0.1, portRange: 0, target: web-proxy}\n  - {name: b, IPAddress: 127.0.0.1, portRange: 0, target: web-proxy}\n";
    assert_eq!(good(&with(rule, two)).fronts.len(), 2);
}

#[test]
fn proxy_settings_are_read() {
    let proxy = "proxy: {workers: 2, admin: none, accessLog: {path: /tmp/log, format: json}, trustedProxies: [10.0.0.0/8, '::1']}\n";
    let config = good(&format!("{proxy}{MINIMAL}"));
    assert_eq!(config.proxy.workers, Some(2));
    assert_eq!(config.proxy.admin, None);
    assert_eq!(config.proxy.access_log, AccessLogTarget::File("/tmp/log".into()));
    assert_eq!(config.proxy.trusted_proxies.len(), 2);
    assert_eq!(
        good(&format!("proxy: {{workers: auto, admin: {{address: \"[::1]:0\"}}}}\n{MINIMAL}")).proxy.workers,
        None
    );
}

#[test]
fn all_problems_come_in_one_pass_in_the_order_of_the_text() {
    let text = MINIMAL
        .replace("portRange: \"8080\"", "portRange: \"80800\"")
        .replace("defaultService: web", "defaultService: wbe")
        .replace("maxRatePerInstance: 100", "maxRatePerInstnce: 100")
        .replace("port: 8081", "port: 0")
        .replace("type: HTTP,", "type: HTP,");
    assert_eq!(
        codes(&text),
        ["bad-port", "dangling-reference", "unknown-key", "out-of-range", "unknown-value"]
    );
}

#[test]
fn one_problem_of_a_resource_does_not_hide_another() {
    let text = "proxy: {zone: us-central1-a}
backendServices:
  - name: web
    healthChecks: [basic]
    localityLbPolicy: MAGLEV2
    backends:
      - {group: a, balancingMode: RATE, maxRate: 5}
      - {group: a, balancingMode: RATE, maxRate: 5}
      - {group: b, balancingMode: RATE, maxRate: 5, capacityScaler: 0.05, preference: LIKED}
instanceGroups:
  - {name: a, zone: us-central1-a, namedPorts: [{name: http, port: 70000}], instances: [{name: x, ipAddress: 127.0.0.1.1}]}
  - {name: b, zone: us-central1-a, namedPorts: [{name: http, port: 80}], instances: [{name: y, ipAddress: 10.0.0.1}]}
healthChecks:
  - {name: basic, type: TCP, tcpHealthCheck: {portSpecification: USE_SERVING_PORT}}
";
    let wanted = [
        "unknown-value",
        "duplicate-backend",
        "out-of-range",
        "unknown-value",
        "out-of-range",
        "bad-address",
    ];
    assert_eq!(codes(text), wanted);
}

/// (line, code) of all problems.
fn places(text: &str) -> Vec<(usize, &'static str)> {
    let problems = document(text).problems.into_iter();
    problems.map(|problem| (problem.position.unwrap().line, problem.code)).collect()
}

#[test]
fn a_flaw_in_a_backend_hides_nothing_of_its_mode_and_targets() {
    let text = "proxy: {zone: us-central1-a}
backendServices:
  - name: web
    healthChecks: [basic]
    backends:
      - {group: a, balancingMode: CONNECTION, maxConnections: 5, capacityScaler: much}
      - {group: b, balancingMode: RATE, maxRate: lots, maxUtilization: 0.5}
      - {group: c, balancingMode: RATE, maxRate: -1, maxRatePerInstance: 5}
      - {group: d, maxInFlightRequests: 5, maxRatePerEndpoint: 3, preference: LIKED}
      - {group: e, balancingMode: RATED, maxRatePerEndpoint: 3}
      - {group: f, balancingMode: RATE, maxRate: 5, customMetrics: [{name: 5}]}
      - {group: g, balancingMode: IN_FLIGHT, maxInFlightRequests: 5, failover: true}
      - {group: n, maxRatePerEndpoint: 3, capacityScaler: 0.05, preference: LIKED}
      - {group: i, balancingMode: RATE, maxRate: many}
GROUPSnetworkEndpointGroups:
  - {name: n, zone: us-central1-a, networkEndpoints: [{ipAddress: 10.0.0.1, port: 80}]}
  - {name: i, networkEndpointType: INTERNET_IP_PORT, networkEndpoints: [{ipAddress: 192.0.2.1, port: 80}]}
healthChecks:
  - {name: basic, type: TCP, tcpHealthCheck: {portSpecification: USE_SERVING_PORT}}
";
    let group = |name: &str| {
        format!(
            "  - {{name: {name}, zone: us-central1-a, namedPorts: [{{name: http, port: 80}}], instances: []}}\n"
        )
    };
    let groups: String = ["a", "b", "c", "d", "e", "f", "g"].map(group).concat();
    let text = text.replace("GROUPS", &format!("instanceGroups:\n{groups}"));
    let wanted = [
        (6, "forbidden-mode"),
        (6, "wrong-type"),
        (7, "wrong-type"),
        (7, "forbidden-field"),
        (8, "out-of-range"),
        (8, "two-targets"),
        (9, "forbidden-field"),
        (9, "forbidden-field"),
        (9, "unknown-value"),
        (10, "unknown-value"),
        (10, "forbidden-field"),
        (11, "forbidden-field"),
        (11, "wrong-type"),
        (12, "missing-field"),
        (12, "not-supported"),
        (13, "missing-field"),
        (13, "mixed-groups"),
        (13, "out-of-range"),
        (13, "unknown-value"),
        (14, "mixed-groups"),
        (14, "forbidden-field"),
        (14, "wrong-type"),
        (14, "forbidden-field"),
    ];
    assert_eq!(places(&text), wanted);
}

#[test]
fn what_a_misspelt_key_may_mean_is_not_called_missing_in_a_backend() {
    for (from, to) in [
        ("maxRatePerInstance: 100", "maxRatePerInstnce: 100"),
        ("maxRatePerInstance: 100", "maxRatePerInstance: many"),
        ("balancingMode: RATE, maxRatePerInstance: 100", "balancinMode: IN_FLIGHT, maxInFlightRequests: 5"),
        ("balancingMode: RATE, maxRatePerInstance: 100", "balancingMode: CUSTOM_METRICS, customMetrcs: []"),
        (
            "balancingMode: RATE, maxRatePerInstance: 100",
            "balancingMode: IN_FLIGHT, trafficDuraton: LONG, maxInFlightRequests: 5",
        ),
    ] {
        let text = with(from, to);
        assert_eq!(codes(&text).len(), 1, "{to}: {:?}", codes(&text));
    }
}

#[test]
fn a_flaw_in_a_group_hides_nothing_else_of_it() {
    let text = "proxy: {zone: us-central1-a}
backendServices: []
instanceGroups:
  - name: a
    zone: us-cental1-a
    colour: green
    namedPorts: [{name: http, port: 80}, {name: http, port: 80}]
    utilization: {source: HTTP, cores: 2}
    instances:
      - {name: x, ipAddress: 10.0.0.1.1}
      - {name: x, ipAddress: 10.0.0.2, ports: {htp: 5}}
      - {name: x, ipAddress: 0.0.0.0, ports: 7}
  - {name: b, zone: us-central1-a, namedPorts: [{name: http, port: 0}], instances: [{name: y, ipAddress: 10.0.0.1, ports: {http: 5}}]}
networkEndpointGroups:
  - name: c
    zone: nowhere
    defaultPort: 0
    networkEndpoints:
      - {ipAddress: 10.0.0.1}
      - {ipAddress: 10.0.0.1, port: 80}
      - {ipAddress: 10.0.0.1, port: 80}
      - {ipAddress: 10.0.0.x, port: many}
      - {fqdn: a.example, port: 80}
  - {name: d, defaultPort: 99999, networkEndpoints: []}
  - {name: e, networkEndpointType: INTERNET_FQDN_PORT, zone: us-central1-a, defaultPort: 0, networkEndpoints: [{fqdn: a_b, port: 80}, {fqdn: a.b, port: x}]}
  - {name: f, networkEndpointType: INTERNET, networkEndpoints: [{ipAddress: 10.0.0.x, port: 80}]}
";
    let wanted = [
        (5, "unknown-region"),
        (6, "unknown-key"),
        (7, "duplicate-name"),
        (8, "forbidden-field"),
        (10, "bad-address"),
        (11, "duplicate-name"),
        (11, "unknown-port-name"),
        (12, "duplicate-name"),
        (12, "bad-address"),
        (12, "wrong-type"),
        (13, "out-of-range"),
        (16, "bad-zone"),
        (17, "out-of-range"),
        (21, "duplicate-member"),
        (22, "bad-address"),
        (22, "wrong-type"),
        (23, "forbidden-field"),
        (24, "missing-field"),
        (24, "out-of-range"),
        (25, "forbidden-field"),
        (25, "out-of-range"),
        (25, "too-many"),
        (25, "bad-host"),
        (25, "wrong-type"),
        (26, "unknown-value"),
        (26, "bad-address"),
    ];
    let found = places(text);
    assert_eq!(found, wanted);
}

#[test]
fn what_is_broken_is_not_called_missing() {
    let text = with("{name: basic, type: HTTP", "{name: basic, type: HTTP, colour: green");
    assert_eq!(codes(&text), ["unknown-key"]);
    assert_eq!(codes(&with("    zone: us-central1-a ", "    zone: nowhere1-a ")), ["unknown-region"]);
}

#[test]
fn warnings_leave_a_configuration() {
    let text = with("healthChecks: [basic]", "healthChecks: [basic]\n    affinityCookieTtlSec: 60");
    let Resolved { config, problems } = document(&text);
    assert_eq!(problems.iter().map(|problem| problem.severity).collect::<Vec<_>>(), [Severity::Warning]);
    assert_eq!(config.unwrap().warnings, problems);
}

#[test]
fn a_service_behind_no_forwarding_rule_is_not_reachable() {
    let text = with(
        "instanceGroups:",
        "  - {name: spare, healthChecks: [basic], backends: [{group: ig-web, balancingMode: RATE, maxRate: 1}]}\ninstanceGroups:",
    );
    let Resolved { config, problems } = document(&text);
    assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), ["unreachable-service"]);
    let reachable: Vec<_> = config.unwrap().services.iter().map(|service| service.is_reachable).collect();
    assert_eq!(reachable, [true, false]);
}

#[test]
fn off_values_of_later_settings_are_accepted() {
    for line in [
        "enableCDN: false",
        "compressionMode: DISABLED",
        "iap: {enabled: false}",
        "customRequestHeaders: []",
        "subsetting: {policy: NONE}",
        "circuitBreakers: null",
    ] {
        good(&with("healthChecks: [basic]", &format!("healthChecks: [basic]\n    {line}")));
    }
    good(&with(
        "maxRatePerInstance: 100",
        "maxRatePerInstance: 100, trafficDuration: SHORT, preference: PREFERENCE_UNSPECIFIED",
    ));
}

#[test]
fn anchors_and_aliases_save_typing() {
    let text = with("{name: www-1, ipAddress: 127.0.0.1}", "{name: www-1, ipAddress: &here 127.0.0.1}");
    good(&text.replace("{name: www-2, ipAddress: 127.0.0.1,", "{name: www-2, ipAddress: *here,"));
}

#[test]
fn a_flaw_in_a_service_hides_nothing_else_of_it() {
    let text = include_str!("../../../config/rate.yaml")
        .replace("timeoutSec: 30", "timeoutSec: 0")
        .replace("maxRate: 100}", "maxRate: 100, maxUtilization: 0.3}")
        .replace("group: ig-far", "group: ig-fra");
    let codes: Vec<_> = document(&text).problems.iter().map(|problem| problem.code).collect();
    assert_eq!(codes, ["out-of-range", "forbidden-field", "dangling-reference"]);
}

/// [G 2.10]
#[test]
fn a_regional_service_knows_its_region() {
    let text = include_str!("../../../config/regional.yaml");
    let url = "region: https://www.googleapis.com/compute/v1/projects/p/regions/us-central1";
    for text in [text.to_owned(), text.replace("region: us-central1 ", &format!("{url} "))] {
        let config = good(&text);
        let region = config.services[0].region.unwrap();
        assert_eq!(&*config.places.regions[usize::from(region.0)].name, "us-central1");
        assert_eq!(config.services[0].backends[1].group.region, region);
    }
    assert_eq!(good(MINIMAL).services[0].region, None);
}

/// [G 1.34]
#[test]
fn an_instance_with_several_ports_under_one_name_is_several_members() {
    let config = good(include_str!("../../../config/named-ports.yaml"));
    let members = |index: usize| {
        let members = &config.services[0].backends[index].members;
        members.iter().map(|member| format!("{} {}", member.name, member.address)).collect::<Vec<_>>()
    };
    let two = ["www-1:8081 127.0.0.1:8081", "www-1:8082 127.0.0.1:8082", "www-2 127.0.0.1:8083"];
    assert_eq!(members(0), two);
    assert_eq!(members(1), ["www-3 127.0.0.1:9081"]);
}

/// [G 9]: instances times the numbers under one name.
#[test]
fn a_group_has_at_most_10_000_members() {
    let ports: String = (1..=10).map(|port| format!("{{name: http, port: {port}}}, ")).collect();
    let instances = |count: usize| -> String {
        let ip = |i: usize| format!("10.{}.{}.1", i / 256, i % 256);
        (0..count).map(|i| format!("\n      - {{name: i{i}, ipAddress: {}}}", ip(i))).collect()
    };
    let text = |count| {
        let group = format!("namedPorts: [{ports}]\n    instances:{}", instances(count));
        let (head, rest) = MINIMAL.split_once("    namedPorts:").unwrap();
        let (_, rest) = rest.split_once("\nhealthChecks:").unwrap();
        format!("{head}    {group}\nhealthChecks:{rest}")
    };
    assert_eq!(codes(&text(1000)), [""; 0]);
    assert_eq!(codes(&text(1001)), ["too-many"]);
}
