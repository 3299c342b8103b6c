//! Groups and their members, of every type.

use super::*;
use crate::model::service::EndpointType;

const INTERNET: &str = include_str!("../../../../config/internet.yaml");

/// [G 1.5, 4.11]
#[test]
fn internet_endpoints_have_no_mode_and_no_probe_and_stand_where_the_proxy_does() {
    let config = good(INTERNET);
    for (service, of) in
        config.services.iter().zip([EndpointType::InternetFqdnPort, EndpointType::InternetIpPort])
    {
        assert_eq!(service.health_check, None);
        let [backend] = service.backends.as_slice() else { panic!() };
        assert_eq!(backend.mode, Mode::Unlimited);
        assert_eq!(backend.scaler, Scaler::FULL);
        assert_eq!(backend.group.endpoint_type, of);
        assert_eq!(backend.group.region, config.proxy.region);
        assert_eq!(&*backend.group.zone, "global");
    }
    let member = &config.services[0].backends[0].members[0];
    assert_eq!(member.host.as_deref(), Some("www.example.com"));
    assert_eq!((&*member.name, member.address.to_string()), ("www.example.com:443", "0.0.0.0:443".into()));
    let member = &config.services[1].backends[0].members[0];
    assert_eq!((&member.host, member.address.to_string()), (&None, "192.0.2.1:80".into()));
}

/// [G 2.10, 9]
#[test]
fn a_regional_group_of_internet_endpoints_has_up_to_256() {
    let text = |count: usize| {
        let endpoints: Vec<_> = (0..count).map(|i| format!("{{fqdn: h{i}.example.com}}")).collect();
        let (head, _) = INTERNET.split_once("urlMaps:").unwrap();
        format!(
            "{head}urlMaps: [{{name: web-map, defaultService: regions/us-east1/backendServices/web}}]
backendServices:
  - {{name: web, region: us-east1, backends: [{{group: regions/us-east1/networkEndpointGroups/neg}}]}}
networkEndpointGroups:
  - name: neg
    region: https://www.googleapis.com/compute/v1/projects/p/regions/us-east1
    networkEndpointType: INTERNET_FQDN_PORT
    defaultPort: 80
    networkEndpoints: [{}]
",
            endpoints.join(", ")
        )
    };
    let config = good(&text(256));
    assert_eq!(config.services[0].region, Some(config.services[0].backends[0].group.region));
    assert_eq!(config.services[0].backends[0].members.len(), 256);
    assert_eq!(codes(&text(257)), ["too-many"]);
}

/// [G 1.31]
#[test]
fn hybrid_and_zonal_groups_may_mix() {
    let config = good(include_str!("../../../../config/neg.yaml"));
    let types: Vec<_> =
        config.services[0].backends.iter().map(|backend| backend.group.endpoint_type).collect();
    let (vm, hybrid) = (EndpointType::VmIpPort, EndpointType::NonGcpPrivateIpPort);
    assert_eq!(types, [vm, vm, hybrid]);
}

#[test]
fn host_names_are_compared_without_case_and_the_last_dot() {
    let config = good(&INTERNET.replace("fqdn: www.example.com", "fqdn: WWW.Example.com."));
    assert_eq!(config.services[0].backends[0].members[0].host.as_deref(), Some("www.example.com"));
}

/// A group whose type cannot be read says nothing about its backend.
#[test]
fn a_flawed_endpoint_group_gives_one_problem() {
    let text = INTERNET.replacen("INTERNET_FQDN_PORT", "INTERNET_FQDN", 1);
    assert_eq!(codes(&text), ["unknown-value"]);
}

#[test]
fn a_metrics_page_is_read_for_busy_cpu_or_a_gauge() {
    let text = include_str!("../../../../config/utilization.yaml");
    let source = |text: &str| good(text).services[0].backends[3].group.utilization.clone();
    let page = |path: &str, port, metric: Option<&str>, interval| UtilizationSource::Prometheus {
        port,
        path: path.into(),
        metric: metric.map(Into::into),
        interval,
    };
    assert_eq!(source(text), page("/metrics", Some(9100), None, Span::secs(1)));
    let gauge = "{source: PROMETHEUS, path: /m, metric: app:busy_ratio, intervalSec: 0.5}";
    let text = text.replace("{source: PROMETHEUS, port: 9100}", gauge);
    assert_eq!(source(&text), page("/m", None, Some("app:busy_ratio"), Span::millis(500)));
}
