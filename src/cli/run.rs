//! `overspill run`: targets instead of a file. They are turned into the document that they stand for, which is what
//! runs, and what `--print-config` shows as a start for a file of one's own.
//!
//! Targets of one zone are one instance group. With a rate it is filled up to that rate per target; without, by the
//! CPU of the process behind each port (or its load reports). The proxy stands in the zone of the first target.
//! Health is a TCP connection to the serving port each second, so that any program will do.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::args;
use super::serve::{Document, on_runtime, proxy};
use super::words::AdminAt;

/// Zone of targets that name none.
const ZONE: &str = "us-central1-a";

/// One `[ZONE=]ADDR[,rate=N][,name=NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    zone: Option<String>,
    address: SocketAddr,
    rate: Option<f64>,
    name: Option<String>,
}

/// Targets of one zone.
#[derive(Debug, PartialEq)]
struct Group<'a> {
    zone: &'a str,
    rate: Option<f64>,
    members: Vec<(String, SocketAddr)>,
}

/// Exit codes as `serve`.
pub(super) fn run(run: &args::Run) -> u8 {
    let text = match document(run) {
        Ok(text) => text,
        Err(why) => {
            eprintln!("error: {why}");
            return 2;
        }
    };
    if run.print_config {
        print!("{text}");
        return 0;
    }
    crate::telemetry::log::init(run.process.log_level.as_str());
    let origin = PathBuf::from("targets of the command line");
    on_runtime(proxy(Document { text, origin, is_file: false }, &run.process))
}

/// The document that the command line stands for.
pub(super) fn document(run: &args::Run) -> Result<String, String> {
    let groups = groups(&run.targets)?;
    let mut text =
        "# Written by `overspill run --print-config`; serve it with `overspill serve -c FILE`.\n".to_owned();
    proxy_section(&mut text, run, groups.first().map_or(ZONE, |group| group.zone));
    front_sections(&mut text, run.listen);
    text.push_str("backendServices:\n  - name: web\n    protocol: HTTP\n    portName: http\n");
    text.push_str("    healthChecks: [connect]\n    backends:\n");
    for group in &groups {
        let zone = group.zone;
        let _ = match group.rate {
            Some(rate) => {
                writeln!(
                    text,
                    "      - {{group: ig-{zone}, balancingMode: RATE, maxRatePerInstance: {rate}}}"
                )
            }
            None => writeln!(
                text,
                "      - {{group: ig-{zone}, balancingMode: UTILIZATION, maxUtilization: 0.8}}"
            ),
        };
    }
    text.push_str("instanceGroups:\n");
    for group in &groups {
        group_section(&mut text, group);
    }
    text.push_str(
        "healthChecks:\n  - name: connect\n    type: TCP\n    checkIntervalSec: 1\n    timeoutSec: 1\n",
    );
    text.push_str("    healthyThreshold: 1\n    unhealthyThreshold: 2\n");
    text.push_str("    tcpHealthCheck: {portSpecification: USE_SERVING_PORT}\n");
    Ok(text)
}

fn proxy_section(text: &mut String, run: &args::Run, zone: &str) {
    let _ = writeln!(text, "proxy:\n  zone: {zone}");
    if let Some(workers) = run.process.workers {
        let _ = writeln!(text, "  workers: {workers}");
    }
    let _ = match run.process.admin {
        Some(AdminAt::Address(address)) => writeln!(text, "  admin: {{address: \"{address}\"}}"),
        Some(AdminAt::None) => writeln!(text, "  admin: none"),
        None => Ok(()),
    };
}

fn front_sections(text: &mut String, listen: SocketAddr) {
    let (ip, port) = (listen.ip(), listen.port());
    let _ = write!(
        text,
        "forwardingRules:\n  - {{name: web, IPAddress: \"{ip}\", portRange: \"{port}\", target: web}}\n\
         targetHttpProxies:\n  - {{name: web, urlMap: web}}\nurlMaps:\n  - {{name: web, defaultService: web}}\n"
    );
}

fn group_section(text: &mut String, group: &Group<'_>) {
    let zone = group.zone;
    let port = group.members.first().map_or(80, |(_, address)| address.port());
    let _ = write!(
        text,
        "  - name: ig-{zone}\n    zone: {zone}\n    namedPorts: [{{name: http, port: {port}}}]\n    instances:\n"
    );
    for (name, address) in &group.members {
        let (ip, port) = (address.ip(), address.port());
        let _ = writeln!(text, "      - {{name: {name}, ipAddress: \"{ip}\", ports: {{http: {port}}}}}");
    }
}

/// Groups in the order in which their zones appear.
fn groups(targets: &[Target]) -> Result<Vec<Group<'_>>, String> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for (place, target) in targets.iter().enumerate() {
        let zone = target.zone.as_deref().unwrap_or(ZONE);
        let name = target.name.clone().unwrap_or_else(|| format!("target-{}", place + 1));
        let member = (name, target.address);
        match groups.iter_mut().find(|group| group.zone == zone) {
            Some(group) if group.rate != target.rate => {
                let (a, b) = (rate_words(group.rate), rate_words(target.rate));
                return Err(format!(
                    "targets of zone {zone} have {a} and {b}: a group has one target rate per member; \
                     give all of them the same rate, or put them in different zones"
                ));
            }
            Some(group) => group.members.push(member),
            None => groups.push(Group { zone, rate: target.rate, members: vec![member] }),
        }
    }
    Ok(groups)
}

fn rate_words(rate: Option<f64>) -> String {
    rate.map_or_else(|| "no rate".to_owned(), |rate| format!("rate={rate}"))
}

impl FromStr for Target {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let mut parts = word.split(',');
        let place = parts.next().unwrap_or("");
        let (zone, address) = match place.split_once('=') {
            Some((zone, address)) => (Some(named(zone, "zone")?), address),
            None => (None, place),
        };
        let mut target = Self { zone, address: self::address(address)?, rate: None, name: None };
        for part in parts {
            match part.split_once('=') {
                Some(("rate", rate)) => target.rate = Some(super::words::positive(rate)?),
                Some(("name", name)) => target.name = Some(named(name, "name")?),
                _ => return Err(format!("`{part}` is neither rate=N nor name=NAME")),
            }
        }
        Ok(target)
    }
}

/// A port, or `HOST:PORT`.
fn address(word: &str) -> Result<SocketAddr, String> {
    let local =
        |port: &str| port.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    let found = match word.strip_prefix("localhost:") {
        Some(port) => local(port),
        None => local(word).or_else(|| word.parse().ok()),
    };
    match found {
        Some(address) if address.port() != 0 => Ok(address),
        _ => Err(format!("`{word}` is neither a port nor HOST:PORT with an IP address or localhost")),
    }
}

/// A name as Google allows it [G 12.7].
fn named(word: &str, what: &str) -> Result<String, String> {
    let is_name = word.len() <= 63
        && word.starts_with(|c: char| c.is_ascii_lowercase())
        && !word.ends_with('-')
        && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if is_name {
        return Ok(word.to_owned());
    }
    Err(format!("`{word}` is no {what}: lower-case letters, digits and hyphens, a letter first, at most 63"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Arguments, Command};

    fn parse(line: &str) -> args::Run {
        match Arguments::try_parse_from(line.split(' ')).unwrap().command {
            Command::Run(run) => run,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn targets_are_ports_addresses_zones_and_rates() {
        let target: Target = "europe-west1-b=127.0.0.2:80,rate=50,name=far".parse().unwrap();
        assert_eq!(target.zone.as_deref(), Some("europe-west1-b"));
        assert_eq!((target.address.to_string(), target.rate), ("127.0.0.2:80".to_owned(), Some(50.0)));
        assert_eq!("3000".parse::<Target>().unwrap().address.to_string(), "127.0.0.1:3000");
        assert_eq!("localhost:3000".parse::<Target>().unwrap().address.to_string(), "127.0.0.1:3000");
        assert_eq!("[::1]:3000".parse::<Target>().unwrap().address.to_string(), "[::1]:3000");
        for bad in ["", "0", "70000", "host:80", "3000,rate=0", "3000,speed=1", "A=3000", "3000,name=x: {"] {
            assert!(bad.parse::<Target>().is_err(), "{bad}");
        }
    }

    #[test]
    fn targets_of_a_zone_are_one_group_with_one_rate() {
        let run = parse("overspill run 3000,rate=50 3001,rate=50 europe-west1-b=3002");
        let groups = groups(&run.targets).unwrap();
        let shape: Vec<_> = groups.iter().map(|g| (g.zone, g.rate, g.members.len())).collect();
        assert_eq!(shape, [("us-central1-a", Some(50.0), 2), ("europe-west1-b", None, 1)]);
        assert!(document(&parse("overspill run 3000,rate=50 3001")).unwrap_err().contains("different zones"));
    }

    #[test]
    fn the_document_is_yaml_and_says_what_was_asked() {
        let run = parse(
            "overspill run --listen [::1]:8080 --admin 127.0.0.1:0 --workers 2 3000 asia-east1-a=3001,rate=5",
        );
        let value: serde_yaml::Value = serde_yaml::from_str(&document(&run).unwrap()).unwrap();
        assert_eq!(value["proxy"]["zone"], "us-central1-a");
        assert_eq!(value["forwardingRules"][0]["IPAddress"], "::1");
        assert_eq!(value["backendServices"][0]["backends"][0]["balancingMode"], "UTILIZATION");
        assert_eq!(value["backendServices"][0]["backends"][1]["maxRatePerInstance"], 5);
        assert_eq!(value["instanceGroups"][1]["instances"][0]["ports"]["http"], 3001);
    }

    #[test]
    fn the_document_passes_check() {
        for line in [
            "overspill run 3000",
            "overspill run --admin none 3000",
            "overspill run --workers 2 3000,rate=0.5 3001,rate=0.5 asia-east1-a=[::1]:3",
        ] {
            let text = document(&parse(line)).unwrap();
            assert_eq!(crate::model::resolve::document(&text).problems, [], "{text}");
        }
    }
}
