//! Target TCP and SSL proxies.

use super::*;
use crate::model::config::FrontKind;
use crate::model::target::{Beside, CountTarget};

const TCP: &str = include_str!("../../../../config/tcp-proxy.yaml");
const SSL: &str = include_str!("../../../../config/ssl-proxy.yaml");

#[test]
fn a_forwarding_rule_leads_to_a_tcp_proxy_by_name_or_url_and_its_service_is_reached() {
    for target in ["db-proxy", "targetTcpProxies/db-proxy", "projects/p/global/targetTcpProxies/db-proxy"] {
        let config = good(&TCP.replace("target: db-proxy", &format!("target: {target}")));
        let front = &config.fronts[0];
        let FrontKind::Tcp(relay) = &front.kind else { panic!("{front:?}") };
        assert_eq!(
            (&*front.proxy_name, front.word(), relay.has_proxy_header),
            ("db-proxy", "TCP proxy", false)
        );
        let service = &config.services[relay.service.index()];
        assert!(service.is_reachable);
        assert_eq!((service.protocol, &service.affinity), (Protocol::Tcp, &Affinity::ClientIp));
        assert_eq!(service.backends[1].mode, Mode::Connection(CountTarget::PerMember(100)));
    }
}

#[test]
fn an_ssl_proxy_has_its_certificates_and_nobody_prints_their_keys() {
    let config = good(SSL);
    let certificates = &config.fronts[0].tls().unwrap().certificates;
    assert_eq!(certificates[0].facts().names, ["mail.example.com", "*.mail.example.com"]);
    assert!(config.fronts[0].relay().unwrap().has_proxy_header);
    let max = Ratio::new(0.8);
    let beside = Beside::Connections(CountTarget::PerMember(500));
    assert_eq!(config.services[0].backends[0].mode, Mode::Utilization { max, beside });
    let key = SSL.lines().skip_while(|line| !line.contains("PRIVATE KEY")).nth(1).unwrap().trim();
    assert!(!format!("{config:?}").contains(key));
}
