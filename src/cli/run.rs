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
use super::serve::{Beginning, Document, on_runtime, proxy};
use super::words::AdminAt;
use crate::model::config::DEFAULT_ADMIN;
use crate::model::place::{google_region, google_region_names, region_of_zone};
use crate::model::problem::Severity;
use crate::model::resolve;
use crate::wire::flaw::{nearest, quote};
use crate::wire::schema::{NAME_RULE, is_name};

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

/// Exit codes as `serve`; 2 when the targets make no configuration.
pub(super) fn run(run: &args::Run) -> u8 {
    let text = match document(run) {
        Ok(text) => text,
        Err(why) => {
            eprintln!("error: {why}");
            return 2;
        }
    };
    if run.print_config {
        super::say(&text);
        return 0;
    }
    crate::telemetry::log::init(run.process.log_level.as_str());
    let origin = PathBuf::from("targets of the command line");
    let beginning = match Beginning::new() {
        Ok(beginning) => beginning,
        Err(error) => {
            eprintln!("overspill: cannot start: {error}");
            return 1;
        }
    };
    on_runtime(proxy(Document { text, origin, is_file: false }, &run.process, beginning))
}

/// The document that the command line stands for; `check` finds no error in it.
pub(super) fn document(run: &args::Run) -> Result<String, String> {
    admin_elsewhere(run)?;
    once_each(&run.targets)?;
    let text = written(run, &groups(&run.targets)?);
    // Whatever the rules above have missed: its lines would mean nothing to who has written none of them.
    let problems = resolve::document(&text).problems;
    match problems.into_iter().find(|problem| problem.severity == Severity::Error) {
        Some(problem) => Err(format!("these arguments cannot be served: {}", problem.message)),
        None => Ok(text),
    }
}

fn admin_elsewhere(run: &args::Run) -> Result<(), String> {
    let admin = run.process.admin.map_or(Some(DEFAULT_ADMIN), AdminAt::address);
    if admin == Some(run.listen) && run.listen.port() != 0 {
        return Err(format!(
            "--listen and the admin API both want {}; give one of them another address, with --listen or --admin",
            run.listen
        ));
    }
    Ok(())
}

/// Each address once, since load there would be counted twice; and each name once in its zone.
fn once_each(targets: &[Target]) -> Result<(), String> {
    for (place, target) in targets.iter().enumerate() {
        let (zone, name) = (target.zone(), target.name(place));
        for (earlier, other) in targets.iter().enumerate().take(place) {
            if other.address == target.address {
                return Err(format!("target {} is given twice: each target once", target.address));
            }
            if other.zone() == zone && other.name(earlier) == name {
                return Err(format!(
                    "targets {} and {} of zone {zone} are both named {name}: give each a name=NAME of its own",
                    other.address, target.address
                ));
            }
        }
    }
    Ok(())
}

fn written(run: &args::Run, groups: &[Group<'_>]) -> String {
    let mut text =
        "# Written by `overspill run --print-config`; serve it with `overspill serve -c FILE`.\n".to_owned();
    proxy_section(&mut text, run, groups.first().map_or(ZONE, |group| group.zone));
    front_sections(&mut text, run.listen);
    text.push_str("backendServices:\n  - name: web\n    protocol: HTTP\n    portName: http\n");
    text.push_str("    healthChecks: [connect]\n    backends:\n");
    for group in groups {
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
    for group in groups {
        group_section(&mut text, group);
    }
    text.push_str(
        "healthChecks:\n  - name: connect\n    type: TCP\n    checkIntervalSec: 1\n    timeoutSec: 1\n",
    );
    text.push_str("    healthyThreshold: 1\n    unhealthyThreshold: 2\n");
    text.push_str("    tcpHealthCheck: {portSpecification: USE_SERVING_PORT}\n");
    text
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
        let zone = target.zone();
        let member = (target.name(place), target.address);
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

impl Target {
    fn zone(&self) -> &str {
        self.zone.as_deref().unwrap_or(ZONE)
    }

    /// Its name, or one by its place among the targets, from 0.
    fn name(&self, place: usize) -> String {
        self.name.clone().unwrap_or_else(|| format!("target-{}", place + 1))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let mut parts = word.split(',');
        let place = parts.next().unwrap_or("");
        let (zone, address) = match place.split_once('=') {
            Some((zone, address)) => (Some(self::zone(zone)?), address),
            None => (None, place),
        };
        let mut target = Self { zone, address: self::address(address)?, rate: None, name: None };
        for part in parts {
            match part.split_once('=') {
                Some(("rate", rate)) => target.rate = Some(super::words::positive(rate)?),
                Some(("name", name)) => target.name = Some(named(name)?),
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
    match found.map(|found| SocketAddr::new(found.ip().to_canonical(), found.port())) {
        Some(address) if address.ip().is_unspecified() || address.ip().is_multicast() => {
            Err(format!("nothing can be reached at {}; name one host, such as 127.0.0.1", address.ip()))
        }
        Some(address) if address.port() != 0 => Ok(address),
        _ => Err(format!("`{word}` is neither a port nor HOST:PORT with an IP address or localhost")),
    }
}

/// A zone in one of Google's regions; only a file can name others.
fn zone(word: &str) -> Result<String, String> {
    let Some(region) = region_of_zone(word).filter(|_| is_name(word)) else {
        return Err(format!(
            "{} is no zone: a region, a hyphen and a letter, such as europe-west1-b",
            quote(word)
        ));
    };
    if google_region(region).is_some() {
        return Ok(word.to_owned());
    }
    // Who names a region and forgets the letter is told so.
    let hint = match (google_region(word), nearest(region, google_region_names())) {
        (Some(_), _) => format!("a zone is a region with a letter, such as {word}-a"),
        (None, Some(near)) => format!("did you mean {near}?"),
        (None, None) => "only a file can have regions that are not Google's, in proxy.regions".to_owned(),
    };
    Err(format!("{} is in no region that Google has: {hint}", quote(word)))
}

fn named(word: &str) -> Result<String, String> {
    if is_name(word) { Ok(word.to_owned()) } else { Err(format!("{} is no name: {NAME_RULE}", quote(word))) }
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
        for bad in [
            "",
            "0",
            "70000",
            "host:80",
            "3000,rate=0",
            "3000,speed=1",
            "A=3000",
            "3000,name=x: {",
            "0.0.0.0:1",
            "us-central1-a: {=1",
        ] {
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
    fn what_would_be_no_configuration_is_refused_in_words_about_the_arguments() {
        for (line, words) in [
            ("3000 3000", "127.0.0.1:3000 is given twice"),
            ("3000 us-east1-b=[::ffff:127.0.0.1]:3000", "127.0.0.1:3000 is given twice"),
            ("3000,name=a 3001,name=a", "both named a"),
            ("3000,name=target-2 3001", "both named target-2"),
            ("--listen 127.0.0.1:9901 3000", "--listen and the admin API both want 127.0.0.1:9901"),
            ("--admin 127.0.0.1:8080 3000", "--listen and the admin API both want 127.0.0.1:8080"),
        ] {
            let typed = parse(&format!("overspill run --print-config {line}"));
            assert_eq!(run(&typed), 2, "{line}");
            let why = document(&typed).unwrap_err();
            assert!(why.contains(words), "{line}: {why}");
        }
        assert!(document(&parse("overspill run --admin none --listen 127.0.0.1:9901 3000")).is_ok());
        assert!(document(&parse("overspill run 3000,name=a us-east1-b=3001,name=a")).is_ok());
    }

    #[test]
    fn a_zone_lies_in_a_region_of_googles() {
        for (word, words) in [
            ("nowhere=3000", "such as europe-west1-b"),
            ("us-central1=3000", "such as us-central1-a"),
            ("us-cental1-a=3000", "did you mean us-central1?"),
            ("home-a=3000", "proxy.regions"),
        ] {
            let why = word.parse::<Target>().unwrap_err();
            assert!(why.contains(words), "{word}: {why}");
        }
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
            assert_eq!(resolve::document(&text).problems, [], "{text}");
        }
    }
}
