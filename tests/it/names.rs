//! Internet endpoints: never full, never probed, and, where they have a host name, looked up at a name server in this
//! process [G 1.5, 4.11].

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use overspill::cli::toy::{Options, ToyBackend};
use overspill::engine::start::Overrides;
use overspill::health::names::Names;
use overspill::health::prober::Prober;
use overspill::ledger::registry::Registry;
use overspill::ledger::resolution::Lookup;
use overspill::model::resolve;
use overspill::model::service::{Group, GroupKind, Member};
use overspill::model::target::Mode;
use overspill::net::dns::{Dns, HOLD};
use overspill::world::World;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};

use crate::grpc;
use crate::support::backend::toy;
use crate::support::dns::{NameServer, Says};
use crate::support::lb::Lb;
use crate::support::setup::{NEAR, Serves, group, setup};
use crate::support::{PATIENCE, wait_until};

const ONE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
const TWO: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 12);

/// Lookups as the engine does them, on a runtime of their own.
struct Bench {
    runtime: Runtime,
    registry: Registry,
    names: Names,
    world: World,
}

impl Bench {
    fn start(server: &NameServer, hosts: &[(&str, u16)]) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut registry = Registry::new(1);
        let names = Names::new(Dns { server: Some(server.address) }, || {});
        let world = world(hosts, &mut registry);
        let mut bench = Self { runtime, registry, names, world };
        bench.reconcile();
        bench
    }

    fn reconcile(&mut self) {
        let _entered = self.runtime.enter();
        // The prober lets members without a check get requests; not so those that wait for their name.
        Prober::new(1, || {}).reconcile(&self.world);
        self.names.reconcile(&self.world);
    }

    fn reload(&mut self, hosts: &[(&str, u16)]) {
        let old = std::mem::replace(&mut self.world, world(hosts, &mut self.registry));
        self.reconcile();
        drop(old);
        self.registry.sweep();
    }

    fn first_round(&self) {
        let round = self.names.first_round();
        self.runtime.block_on(async { tokio::time::timeout(2 * PATIENCE, round).await }).unwrap();
    }

    fn addresses(&self, member: usize) -> Vec<IpAddr> {
        let member = &self.world.services[0].backends[0].members[member];
        member.endpoint.resolution.as_ref().unwrap().addresses().to_vec()
    }

    fn last(&self) -> Lookup {
        self.world.services[0].backends[0].members[0].endpoint.resolution.as_ref().unwrap().last()
    }

    fn is_healthy(&self, member: usize) -> bool {
        self.world.services[0].backends[0].members[member].is_healthy()
    }
}

/// A service of one internet group with these members.
fn world(hosts: &[(&str, u16)], registry: &mut Registry) -> World {
    let text = setup(&[group("ig", NEAR).member("x", &SocketAddr::from(([127, 0, 0, 1], 1)))]).text();
    let mut config = resolve::document(&text).config.unwrap();
    let service = Arc::make_mut(&mut config.services[0]);
    service.health_check = None;
    let backend = &mut service.backends[0];
    let endpoint_type = overspill::model::service::EndpointType::InternetFqdnPort;
    let kind = GroupKind::NetworkEndpointGroup;
    backend.group = Arc::new(Group { kind, endpoint_type, ..(*backend.group).clone() });
    backend.mode = Mode::Unlimited;
    let member = |(host, port): &(&str, u16)| Member {
        name: format!("{host}:{port}").into(),
        address: SocketAddr::from(([0, 0, 0, 0], *port)),
        host: Some((*host).into()),
    };
    backend.members = hosts.iter().map(member).collect();
    World::build(Arc::new(config), 1, registry)
}

#[test]
fn a_name_is_looked_up_again_when_its_ttl_is_over() {
    let server = NameServer::start();
    server.say("api.test", Says::At(vec![TWO, ONE], 1));
    let bench = Bench::start(&server, &[("api.test", 80)]);
    bench.first_round();
    assert_eq!(bench.addresses(0), [ONE, TWO]);
    assert_eq!((bench.last().ttl, bench.last().error), (HOLD.0, None));
    assert!(bench.is_healthy(0));
    server.say("api.test", Says::At(vec![TWO], 1));
    wait_until("the new address is known", || bench.addresses(0) == [TWO]);
}

#[test]
fn a_long_ttl_is_kept_and_a_longer_one_is_cut() {
    let server = NameServer::start();
    server.say("long.test", Says::At(vec![ONE], 40));
    server.say("longer.test", Says::At(vec![ONE], 86_400));
    for (name, ttl) in [("long.test", 40.0), ("longer.test", HOLD.1.as_secs())] {
        let bench = Bench::start(&server, &[(name, 80)]);
        bench.first_round();
        assert_eq!(bench.last().ttl.as_secs(), ttl);
    }
    assert_eq!(server.asked(), 2, "each name was asked for once");
}

#[test]
fn a_lookup_that_fails_keeps_the_last_good_addresses_and_says_why() {
    let server = NameServer::start();
    server.say("api.test", Says::At(vec![ONE], 1));
    let bench = Bench::start(&server, &[("api.test", 80)]);
    bench.first_round();
    server.say("api.test", Says::Failure);
    wait_until("a lookup has failed", || bench.last().failed > 0);
    assert!(bench.last().error.is_some());
    assert_eq!((bench.addresses(0), bench.is_healthy(0)), (vec![IpAddr::from(ONE)], true));
    server.say("api.test", Says::At(vec![TWO], 1));
    // Written one after the other.
    wait_until("it is known again", || bench.addresses(0) == [TWO] && bench.last().error.is_none());
}

#[test]
fn a_member_whose_name_leads_nowhere_gets_nothing_and_does_not_hold_the_start_up() {
    let server = NameServer::start();
    let bench = Bench::start(&server, &[("gone.test", 80)]);
    bench.first_round();
    assert_eq!((bench.last().error.as_deref(), bench.is_healthy(0)), (Some("no such name"), false));
    assert!(bench.addresses(0).is_empty());
}

#[test]
fn over_a_reload_names_stay_known_and_new_members_with_the_same_name_find_it() {
    let server = NameServer::start();
    server.say("api.test", Says::At(vec![ONE], 300));
    let mut bench = Bench::start(&server, &[("api.test", 80)]);
    bench.first_round();
    // Not even a lookup is needed for what is known.
    server.say("api.test", Says::Nothing);
    bench.reload(&[("api.test", 80)]);
    assert_eq!((bench.addresses(0), bench.is_healthy(0), server.asked()), (vec![ONE.into()], true, 1));
    server.say("api.test", Says::At(vec![TWO], 300));
    bench.reload(&[("api.test", 80), ("api.test", 81)]);
    wait_until("both members know it", || bench.addresses(0) == [TWO] && bench.addresses(1) == [TWO]);
    wait_until("the new member is let in", || bench.is_healthy(1));
}

/// A service of one internet group.
fn internet(protocol: &str, kind: &str, endpoint: &str) -> String {
    format!(
        "proxy: {{zone: {NEAR}, accessLog: {{path: none}}}}\n\
         forwardingRules: [{{name: web, IPAddress: 127.0.0.1, portRange: \"0\", target: p}}]\n\
         targetHttpProxies: [{{name: p, urlMap: m}}]\n\
         urlMaps: [{{name: m, defaultService: web}}]\n\
         backendServices: [{{name: web, protocol: {protocol}, backends: [{{group: neg}}]}}]\n\
         networkEndpointGroups:\n  \
         - {{name: neg, networkEndpointType: {kind}, networkEndpoints: [{{{endpoint}}}]}}\n"
    )
}

fn start(server: &NameServer, yaml: &str) -> Lb {
    let name_server = Some(server.address);
    let overrides = Overrides { workers: Some(2), name_server, ..Overrides::default() };
    let lb = Lb::try_start_with(yaml, overrides).unwrap_or_else(|refused| panic!("{refused:#?}\n{yaml}"));
    wait_until("the balancer is ready", || lb.handle.is_ready());
    lb
}

/// On this address of the loopback network.
fn toy_at(name: &str, address: (Ipv4Addr, u16)) -> ToyBackend {
    ToyBackend::start(Options { listen: address.into(), ..Options::new(name) }).unwrap()
}

#[test]
fn g_4_11_requests_go_to_a_host_by_name_and_follow_it_to_another_address() {
    let one = toy_at("one", (ONE, 0));
    let port = one.address().port();
    let two = toy_at("two", (TWO, port));
    let server = NameServer::start();
    server.say("api.test", Says::At(vec![ONE], 1));
    let endpoint = format!("fqdn: api.test, port: {port}");
    let lb = start(&server, &internet("HTTP", "INTERNET_FQDN_PORT", &endpoint));
    let mut client = lb.client();
    assert_eq!(client.get("/").backend(), "one");
    server.say("api.test", Says::At(vec![TWO], 1));
    // Also on connections that are kept.
    wait_until("requests follow the name", || client.get("/").backend() == "two");
    assert_eq!(client.get("/").backend(), "two");
    assert_eq!(lb.metrics().sum("overspill_host_addresses", &["api.test"]), 1.0);
    assert!(lb.metrics().sum("overspill_host_lookups_total", &["api.test"]) >= 2.0);
    let status = lb.status();
    let member = &status["services"][0]["backends"][0]["members"][0];
    assert_eq!(member["address"], format!("api.test:{port}"));
    let resolution = &member["resolution"];
    assert_eq!((&resolution["addresses"], &resolution["error"]), (&json!([TWO.to_string()]), &Value::Null));
    drop((one, two));
}

#[test]
fn shared_connections_of_http_2_follow_a_name_too() {
    let one = grpc::Member::start_at((ONE, 0));
    let port = one.at().port();
    let two = grpc::Member::start_at((TWO, port));
    let server = NameServer::start();
    server.say("api.test", Says::At(vec![ONE], 1));
    let endpoint = format!("fqdn: api.test, port: {port}");
    let lb = start(&server, &internet("H2C", "INTERNET_FQDN_PORT", &endpoint));
    let mut client = lb.client();
    assert_eq!((client.get("/unary").status, one.calls()), (200, 1));
    server.say("api.test", Says::At(vec![TWO], 1));
    wait_until("requests follow the name", || client.get("/unary").status == 200 && two.calls() > 0);
    let before = one.calls();
    assert_eq!((client.get("/unary").status, one.calls()), (200, before));
}

#[test]
fn copies_of_requests_follow_a_name_too() {
    let (one, front) = (toy_at("one", (ONE, 0)), toy("front"));
    let port = one.address().port();
    let two = toy_at("two", (TWO, port));
    let server = NameServer::start();
    server.say("api.test", Says::At(vec![ONE], 1));
    let endpoint = format!("fqdn: api.test, port: {port}");
    let text = internet("HTTP", "INTERNET_FQDN_PORT", &endpoint);
    let map =
        "{name: m, defaultService: real, defaultRouteAction: {requestMirrorPolicy: {backendService: web}}}";
    let real = "backendServices: [{name: real, backends: [{group: real}]}, ";
    let group = format!(
        "networkEndpointGroups:\n  - {{name: real, networkEndpointType: INTERNET_IP_PORT, networkEndpoints: [{{ipAddress: {}, port: {}}}]}}\n",
        front.address().ip(),
        front.address().port()
    );
    let text = text
        .replace("{name: m, defaultService: web}", map)
        .replace("backendServices: [", real)
        .replace("networkEndpointGroups:\n", &group);
    let lb = start(&server, &text);
    let mut client = lb.client();
    wait_until("copies go to the first address", || client.get("/").status == 200 && one.requests() > 0);
    server.say("api.test", Says::At(vec![TWO], 1));
    wait_until("copies follow the name", || client.get("/").status == 200 && two.requests() > 0);
    // What was under way to the first has arrived once a later one has been answered by the second.
    let before = two.requests();
    wait_until("a later copy has come", || client.get("/").status == 200 && two.requests() > before);
    let at_first = one.requests();
    let before = two.requests();
    wait_until("many more have come", || client.get("/").status == 200 && two.requests() > before + 10);
    assert_eq!(one.requests(), at_first, "kept connections to the first address are not used");
}

#[test]
fn the_addresses_of_a_host_are_used_in_turn_and_one_that_is_down_is_passed_over() {
    let one = toy_at("one", (ONE, 0));
    let port = one.address().port();
    let two = toy_at("two", (TWO, port));
    let server = NameServer::start();
    // Nothing listens at the third.
    server.say("api.test", Says::At(vec![ONE, TWO, Ipv4Addr::new(127, 0, 0, 13)], 300));
    let endpoint = format!("fqdn: api.test, port: {port}");
    let lb = start(&server, &internet("HTTP", "INTERNET_FQDN_PORT", &endpoint));
    // A request that asks for a tunnel gets a connection of its own.
    let headers = "upgrade: websocket\r\nconnection: upgrade\r\n";
    wait_until("both are used", || {
        assert_eq!(lb.client().request("GET", "/", headers, b"").status, 200);
        one.requests() > 0 && two.requests() > 0
    });
}

#[test]
fn a_host_that_leads_nowhere_is_answered_with_503_until_it_does() {
    let one = toy_at("one", (ONE, 0));
    let server = NameServer::start();
    let endpoint = format!("fqdn: late.test, port: {}", one.address().port());
    let lb = start(&server, &internet("HTTP", "INTERNET_FQDN_PORT", &endpoint));
    let answer = lb.get("/");
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("failed_to_pick_backend"), "{}", answer.text());
    server.say("late.test", Says::At(vec![ONE], 300));
    wait_until("it is found", || lb.get("/").status == 200);
}

#[test]
fn g_1_5_an_internet_endpoint_by_address_is_neither_limited_nor_probed() {
    let one = toy("one");
    one.set_health(500);
    let endpoint = format!("ipAddress: {}, port: {}", one.address().ip(), one.address().port());
    let lb = start(&NameServer::start(), &internet("HTTP", "INTERNET_IP_PORT", &endpoint));
    let mut client = lb.client();
    for _ in 0..200 {
        assert_eq!(client.get("/").status, 200);
    }
    let metrics = lb.metrics();
    assert_eq!(metrics.sum("overspill_picks_total", &["reason=\"nearest\""]), 200.0);
    assert_eq!(metrics.sum("overspill_backend_capacity", &["neg"]), f64::INFINITY);
}
