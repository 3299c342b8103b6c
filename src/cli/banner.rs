//! What is said at start: what is bound, what is balanced, and how it is.

use std::fmt::Write as _;
use std::net::SocketAddr;

use crate::admin::status;
use crate::engine::handle::Listening;
use crate::model::admin::AdminAccess;
use crate::model::config::Front;
use crate::model::service::{Backend, Protocol};
use crate::model::target::{CountTarget, RateTarget};
use crate::world::{LiveService, World};

/// At most this many unhealthy members are named.
const NAMED: usize = 10;

/// Listeners, services with their backends, admin address, fingerprint.
pub(super) fn start(world: &World, origin: &str, bound: &[Listening], admin: Option<SocketAddr>) -> String {
    let mut text = format!("overspill {} serves {origin}\n", env!("CARGO_PKG_VERSION"));
    for listening in bound {
        let front = world.config.fronts.iter().find(|front| front.name == listening.name);
        let scheme = front.map_or("http", Front::url_scheme);
        let more = front.map_or("", more);
        let _ = writeln!(text, "  listener  {:<14} {scheme}://{}{more}", listening.name, listening.bound);
    }
    for service in &world.services {
        let members: usize = service.backends.iter().map(|backend| backend.members.len()).sum();
        let config = &service.config;
        let idle = if config.is_reachable { "" } else { "; no forwarding rule leads here" };
        let _ = writeln!(
            text,
            "  service   {:<14} {}, {}, {}{idle}",
            config.name,
            counted(config.backends.len(), "backend"),
            counted(members, "member"),
            config
                .health_check
                .as_ref()
                .map_or("no health check".to_owned(), |c| format!("health check {}", c.name))
        );
        for backend in &config.backends {
            let _ = writeln!(text, "            {}", self::backend(world, backend, config.protocol));
        }
    }
    match admin {
        Some(address) => {
            let scheme = admin_scheme(&world.config.proxy.admin_access);
            let _ = writeln!(text, "  admin     {scheme}://{address}/ (dashboard, /status, /metrics)");
        }
        None => text.push_str("  admin     none\n"),
    }
    let _ = writeln!(text, "  config    {:016x}, generation {}", world.config.fingerprint, world.generation);
    text
}

const fn admin_scheme(access: &AdminAccess) -> &'static str {
    if access.tls.is_some() { "https" } else { "http" }
}

/// What its address does not say of a listener.
const fn more(front: &Front) -> &'static str {
    // Never both: there is no PROXY header for QUIC.
    match (front.has_http3(), front.proxy_protocol.is_some()) {
        (true, _) => ", and HTTP/3",
        (_, true) => ", after a PROXY header",
        _ => "",
    }
}

/// First health, once the first sweep is done.
pub(super) fn health(world: &World) -> String {
    let mut text = String::new();
    for service in world.services.iter().filter(|service| service.config.is_reachable) {
        let _ = writeln!(text, "  health    {:<14} {}", service.name(), service_health(service));
        let sick = service.members().filter(|(.., member)| !member.is_healthy());
        for (group, _, member) in sick.take(NAMED) {
            let lookup = member.endpoint.resolution.as_ref().map(|known| known.last().error);
            let reason = match lookup {
                Some(error) => error.unwrap_or_default(),
                None => member.numbered.member.probe_detail().reason,
            };
            let (name, place) = (&member.config.name, member.config.place());
            let _ = writeln!(text, "            {}/{name} ({place}) is not healthy: {reason}", group.name);
        }
    }
    text
}

fn service_health(service: &LiveService) -> String {
    let total = service.members().count();
    let healthy = service.members().filter(|(.., member)| member.is_healthy()).count();
    let note = match (healthy, service.config.protocol.is_http()) {
        (0, true) => "; requests get an error until one is",
        (0, false) => "; connections are reset until one is",
        _ => "",
    };
    format!("{healthy} of {} healthy{note}", counted(total, "member"))
}

fn backend(world: &World, backend: &Backend, protocol: Protocol) -> String {
    let region = status::region(&world.config.places, backend.group.region);
    let mut text = format!("{:<14} {:<14} {}", region, backend.group.name, status::mode(backend));
    for (name, target) in status::targets(backend) {
        let _ = write!(text, " {name} {target}");
    }
    let _ = write!(text, ", capacityScaler {}", backend.scaler.get());
    if backend.scaler.is_drained() {
        text.push_str(": drained");
    } else {
        let things = if protocol.is_http() { "requests at a time" } else { "connections" };
        let rate = capacity(backend).map(|rate| format!("{rate} requests/s"));
        let count = room(backend).map(|room| format!("{room} {things}"));
        if let Some(limit) = rate.or(count) {
            let _ = write!(text, ": up to {limit}");
        }
    }
    let _ = write!(text, ", {}", counted(backend.members.len(), "member"));
    text
}

/// Rate target × members × scaler [G 1.3, 1.20]; `None` without a rate target.
#[allow(clippy::cast_precision_loss)]
fn capacity(backend: &Backend) -> Option<f64> {
    let whole = match backend.mode.rate()? {
        RateTarget::Group(rate) => rate.get(),
        RateTarget::PerMember(rate) => rate.get() * backend.members.len() as f64,
    };
    Some(whole * backend.scaler.get())
}

/// Target in requests or connections at a time × members × scaler, rounded down, and at least 1 (**ours**).
#[allow(clippy::cast_precision_loss)]
fn room(backend: &Backend) -> Option<f64> {
    let whole = match backend.mode.count()? {
        CountTarget::Group(count) => f64::from(count),
        CountTarget::PerMember(count) => f64::from(count) * backend.members.len() as f64,
    };
    Some((whole * backend.scaler.get()).floor().max(whole.min(1.0)))
}

fn counted(n: usize, noun: &str) -> String {
    let plural = if n == 1 { "" } else { "s" };
    format!("{n} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::engine::files;
    use crate::ledger::member::{Health, ProbeDetail};
    use crate::telemetry::fixture;

    #[test]
    fn the_banner_says_what_is_bound_and_balanced() {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let bound = [Listening { name: "front".into(), configured: address(0), bound: address(8080) }];
        let text = start(&fixture::world(2), "a.yaml", &bound, Some(address(9901)));
        let expected = format!(
            "overspill {} serves a.yaml\n\
             \x20 listener  front          http://127.0.0.1:8080\n\
             \x20 service   web            2 backends, 3 members, health check basic\n\
             \x20           us-central1    near           RATE maxRatePerInstance 100, capacityScaler 1: up to 200 requests/s, 2 members\n\
             \x20           europe-west1   far            UTILIZATION maxUtilization 0.8, capacityScaler 1, 1 member\n\
             \x20 admin     http://127.0.0.1:9901/ (dashboard, /status, /metrics)\n\
             \x20 config    0000000000000abc, generation 1\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn the_admin_address_is_told_with_its_scheme() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/admin-tokens.yaml");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let config = files::resolve(&text, &path).0.config;
        assert_eq!(config.map(|config| admin_scheme(&config.proxy.admin_access)), Some("https"));
        assert_eq!(admin_scheme(&fixture::world(2).config.proxy.admin_access), "http");
    }

    #[test]
    fn listeners_say_what_their_address_does_not() {
        let of = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(name);
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let config = files::resolve(&text, &path).0.config;
            config.map(|config| config.fronts.iter().map(more).collect::<Vec<_>>())
        };
        assert_eq!(of("https.yaml"), Some(vec![", and HTTP/3", ""]));
        assert_eq!(of("proxy-protocol.yaml"), Some(vec![", after a PROXY header"]));
    }

    #[test]
    fn first_health_names_the_sick_with_the_reason() {
        let world = fixture::world(2);
        let near = world.services.first().map(|s| &s.backends).and_then(|b| b.first());
        for (member, health) in
            near.into_iter().flat_map(|b| &b.members).zip([Health::Healthy, Health::Timeout])
        {
            let detail = ProbeDetail { reason: "no answer within 5 s".to_owned(), ..ProbeDetail::default() };
            member.numbered.member.record_probe(health, detail);
        }
        let text = health(&world);
        assert!(text.contains("web            1 of 3 members healthy\n"), "{text}");
        assert!(text.contains("near/near-2 (127.0.0.1:1002) is not healthy: no answer within 5 s"), "{text}");
    }
}
