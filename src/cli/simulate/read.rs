//! The text of a scenario → a scenario that fits a configuration; or everything that is wrong with it, with its place.

use std::sync::Arc;

use super::schema::{self, SCENARIO};
use crate::model::config::Config;
use crate::model::place::{OriginId, Places, Region, RegionId, google_region, google_region_names};
use crate::model::problem::{Problem, Severity};
use crate::model::unit::{Span, Tick};
use crate::simulate::scenario::{Daily, Demand, Noise, Profile, Reports, Rule, Scenario, Spread, Target};
use crate::wire::document::Node;
use crate::wire::flaw::{Flaw, MAX_FLAWS, nearest, quote};
use crate::wire::path::Path;
use crate::wire::walk::Walk;
use crate::wire::yaml;

/// Rows of a run without `rowSec`: at most so many.
const ROWS: f64 = 60.0;

/// The proxy's own tick, in milliseconds.
pub(super) const TICK_MS: f64 = 100.0;

/// Lengths of a row that read well, in seconds.
const ROUND: [f64; 14] =
    [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 14_400.0];

/// Reads a scenario for this configuration.
///
/// # Errors
/// All problems, in the order of the text.
pub fn scenario(text: &str, config: &Config) -> Result<Scenario, Vec<Problem>> {
    let mut walk = Walk::default();
    let root = yaml::parse(text, &mut walk.flaws);
    let written = root.as_ref().and_then(|root| {
        let json = walk.object(root, &SCENARIO, &Path::Root).ok()?;
        serde_json::from_value::<schema::Scenario>(json).map_err(|error| misread(root, &error)).map_or_else(
            |flaw| {
                walk.flaws.push(flaw);
                None
            },
            Some,
        )
    });
    let mut problems: Vec<_> =
        walk.flaws.into_vec().into_iter().map(|flaw| Problem::from(of_scenario(flaw))).collect();
    if let Some(root) = &root {
        let (places, scaled) = (config.places.clone(), Vec::new());
        let mut reader = Reader { root, config, places, scaled, problems: Vec::new() };
        reader.places.origins.clear();
        match written.filter(|_| problems.is_empty()) {
            Some(written) => {
                let scenario = reader.scenario(&written);
                if reader.problems.is_empty() {
                    return Ok(Scenario { places: reader.places, ..scenario });
                }
            }
            None => reader.flawed(),
        }
        problems.append(&mut reader.problems);
    }
    problems.sort_by_key(|problem| problem.position);
    problems.truncate(MAX_FLAWS);
    Err(problems)
}

/// Said of any document, and wanted of a scenario.
fn of_scenario(flaw: Flaw) -> Flaw {
    if flaw.code != "yaml-empty" {
        return flaw;
    }
    let expected = "at least `durationSec: …` and `demand: [{rate: …}]`".to_owned();
    Flaw { message: "the scenario is empty".into(), expected: Some(expected), ..flaw }
}

/// What fits the tables fits the structs; should it not, that is said too.
fn misread(root: &Node, error: &serde_json::Error) -> Flaw {
    Flaw {
        code: "wrong-type",
        path: String::new(),
        spot: root.point(),
        message: format!("this cannot be read: {error}"),
        expected: None,
    }
}

/// Numbers of the whole scenario that entries are held against; `None` = not known, since they are flawed or not there.
pub(super) struct Frame {
    pub(super) duration: Option<f64>,
    pub(super) row: Option<f64>,
    /// In milliseconds.
    pub(super) tick: Option<f64>,
    pub(super) proxies: Option<f64>,
}

/// A scenario on its way; its events are read in `event`, and what has flaws in `flawed`.
pub(super) struct Reader<'a> {
    root: &'a Node,
    config: &'a Config,
    /// Regions of the configuration and of clients.
    places: Places,
    /// Groups that have an autoscaler.
    pub(super) scaled: Vec<String>,
    problems: Vec<Problem>,
}

impl<'a> Reader<'a> {
    /// What the scenario is for.
    pub(super) const fn config(&self) -> &'a Config {
        self.config
    }

    /// The tree that knows where things stand.
    pub(super) const fn root(&self) -> &'a Node {
        self.root
    }

    #[allow(clippy::cast_precision_loss)]
    fn scenario(&mut self, written: &schema::Scenario) -> Scenario {
        let frame = Frame {
            duration: Some(written.duration_sec),
            row: written.row_sec,
            tick: Some(written.tick_ms.map_or(TICK_MS, |tick| tick as f64)),
            proxies: Some(written.proxies.unwrap_or(1) as f64),
        };
        let (demand, members, events) =
            (Path::Root.key("demand"), Path::Root.key("members"), Path::Root.key("events"));
        let (mut read, mut rules, mut happening) = (Vec::new(), Vec::new(), Vec::new());
        for (n, one) in written.demand.iter().enumerate() {
            read.push(self.demand(one, &frame, &demand.item(n)));
        }
        for (n, one) in written.members.iter().enumerate() {
            rules.push(self.rule(one, &members.item(n)));
        }
        let mut moves = Vec::new();
        for (n, one) in written.events.iter().enumerate() {
            let first = happening.len();
            self.event(one, &frame, &events.item(n), &mut happening);
            moves.extend(happening.get(first).cloned().map(|event| (n, event)));
        }
        let at = Path::Root.key("autoscalers");
        let numbered = written.autoscalers.iter().enumerate();
        let autoscalers = numbered.map(|(n, one)| self.autoscaler(one, &at.item(n))).collect();
        happening.sort_by_key(|event| event.at);
        self.moves(moves, &written.autoscalers);
        self.rows(&frame);
        if written.demand.is_empty() {
            self.no_demand();
        }
        let schema::Reports { interval_sec, delay_sec, noise } = written.reports;
        Scenario {
            title: written.title.as_deref().unwrap_or("What if").into(),
            seed: written.seed.unwrap_or(1),
            duration: span(written.duration_sec),
            row: span(written.row_sec.unwrap_or_else(|| row(written.duration_sec))),
            tick: written.tick_ms.map_or_else(|| span(TICK_MS / 1000.0), Span::millis),
            reports: Reports {
                interval: span(interval_sec.unwrap_or(1.0)),
                delay: span(delay_sec.unwrap_or(0.0)),
                noise: noise.unwrap_or(0.0),
            },
            proxies: written.proxies.unwrap_or(1),
            demand: read,
            rules,
            events: happening,
            autoscalers,
            places: Places::default(),
        }
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn demand(&mut self, written: &schema::Demand, frame: &Frame, at: &Path<'_>) -> Demand {
        let service = self.service_of_demand(written.service.as_deref(), at);
        let region = match &written.region {
            Some(name) => self.client_region(name, &at.key("region")),
            None => self.config.proxy.region,
        };
        let too_few = |proxy: usize| frame.proxies.filter(|proxies| proxy as f64 > *proxies);
        if let Some(proxies) = written.proxy.and_then(too_few) {
            let message = format!("there are only {proxies} proxies");
            self.error(&at.key("proxy"), "out-of-range", message, "a proxy from 1 to `proxies`");
        }
        let changes = self.changes(&written.changes, frame, &at.key("changes"));
        Demand {
            service,
            origin: self.origin(region),
            rate: written.rate,
            changes,
            daily: written.daily.as_ref().map(|daily| Daily {
                part: daily.part,
                period: span(daily.period_sec.unwrap_or(86_400.0)),
                peak: tick(daily.peak_sec.unwrap_or(0.0)),
            }),
            noise: written
                .noise
                .as_ref()
                .map(|noise| Noise { part: noise.part, every: span(noise.every_sec.unwrap_or(1.0)) }),
            is_even: written.arrivals.as_deref() == Some("EVEN"),
            sessions: written.sessions.unwrap_or(10_000),
            proxy: written.proxy.map(|proxy| proxy - 1),
        }
    }

    /// A row holds a tick, and the run a row.
    pub(super) fn rows(&mut self, frame: &Frame) {
        let is_short = |row: f64, tick: f64| span(row) < span(tick / 1000.0);
        if let (Some(row), Some(tick)) = (frame.row, frame.tick)
            && is_short(row, tick)
        {
            let message = "a row is shorter than a tick";
            self.error(&Path::Root.key("rowSec"), "out-of-range", message, format!("{tick} ms or more"));
        }
        if let (Some(row), Some(duration)) = (frame.row, frame.duration)
            && row > duration
        {
            let message = "a row is longer than the run";
            self.error(&Path::Root.key("rowSec"), "out-of-range", message, "at most `durationSec`");
        }
    }

    pub(super) fn no_demand(&mut self) {
        let demand = Path::Root.key("demand");
        self.error(&demand, "missing-field", "there is no demand", "at least one entry");
    }

    fn service_of_demand(&mut self, name: Option<&str>, at: &Path<'_>) -> usize {
        match (name, self.config.services.len()) {
            (Some(name), _) => self.service(name, &at.key("service")).unwrap_or_default(),
            (None, 1) => 0,
            (None, _) => {
                let names: Vec<_> = self.config.services.iter().map(|service| &*service.name).collect();
                let expected = format!("`service: …`, one of {}", names.join(", "));
                self.error(at, "missing-field", "a demand has no `service`, and there are several", expected);
                0
            }
        }
    }

    pub(super) fn rule(&mut self, written: &schema::Members, at: &Path<'_>) -> Rule {
        let ms = |ms: Option<f64>| ms.map(|ms| ms / 1000.0);
        let Profile { service, cpu, cores, .. } = Profile::default();
        let cpu_given = ms(written.cpu_ms);
        let service = ms(written.service_ms).unwrap_or_else(|| service.max(cpu_given.unwrap_or(0.0)));
        let cpu = cpu_given.unwrap_or_else(|| cpu.min(service));
        if cpu > service {
            let message = "a request takes more CPU time than time";
            self.error(
                &at.key("cpuMs"),
                "out-of-range",
                message,
                "at most `serviceMs`, of which it is a part",
            );
        }
        let spread = match written.times.as_deref() {
            Some("CONSTANT") => Spread::Constant,
            Some("LOGNORMAL") => Spread::Lognormal(written.sigma.unwrap_or(0.5)),
            _ => Spread::Exponential,
        };
        if written.sigma.is_some() && !matches!(spread, Spread::Lognormal(_)) {
            self.error(&at.key("sigma"), "conflict", "`sigma` belongs to LOGNORMAL", "`times: LOGNORMAL`");
        }
        Rule {
            target: self.target(&written.target, at),
            profile: Profile {
                service,
                cpu,
                cores: written.cores.unwrap_or(cores),
                spread,
                errors: written.errors.unwrap_or(0.0),
                base: written.base_utilization.unwrap_or(0.0),
            },
        }
    }

    /// Names are checked one by one, and then whether anything is meant by all of them.
    pub(super) fn target(&mut self, written: &schema::Target, at: &Path<'_>) -> Target {
        let before = self.problems.len();
        let service = written.service.as_deref().and_then(|name| self.service(name, &at.key("service")));
        let region = written.region.as_deref().and_then(|name| self.group_region(name, &at.key("region")));
        let groups = || self.config.services.iter().flat_map(|service| &service.backends);
        let group_names: Vec<_> = groups().map(|backend| &*backend.group.name).collect();
        if let Some(name) = written.group.as_deref().filter(|name| !group_names.contains(name)) {
            self.unknown("group", name, group_names, &at.key("group"));
        }
        let target = Target {
            service,
            region,
            group: written.group.as_deref().map(Arc::from),
            member: written.member.as_deref().map(Arc::from),
        };
        let joins = written.member.as_deref().is_some_and(|name| name.starts_with("joined-"));
        let is_meant = self.config.services.iter().enumerate().any(|(index, service)| {
            service.backends.iter().any(|backend| {
                let fits = |name: &str| joins || target.fits_member(name);
                target.fits_group(&backend.group, &[index]) && backend.members.iter().any(|m| fits(&m.name))
            })
        });
        if self.problems.len() == before && !is_meant {
            let names: Vec<_> = groups().flat_map(|b| &b.members).map(|member| &*member.name).collect();
            match written.member.as_deref().filter(|name| !names.contains(name)) {
                Some(name) => self.unknown("member", name, names, &at.key("member")),
                None => {
                    self.error(at, "no-such-member", "no member is meant by this", "names that go together")
                }
            }
        }
        target
    }

    pub(super) fn service(&mut self, name: &str, at: &Path<'_>) -> Option<usize> {
        let found = self.config.services.iter().position(|service| *service.name == *name);
        if found.is_none() {
            let names = self.config.services.iter().map(|service| &*service.name).collect();
            self.unknown("backend service", name, names, at);
        }
        found
    }

    /// Where a group may be.
    fn group_region(&mut self, name: &str, at: &Path<'_>) -> Option<RegionId> {
        let known = &self.config.places.regions;
        let found = known.iter().position(|region| *region.name == *name);
        if found.is_none() {
            self.unknown("region", name, known.iter().map(|region| &*region.name).collect(), at);
        }
        found.and_then(|index| u16::try_from(index).ok()).map(RegionId)
    }

    /// Where clients may be: in any region of Google's or of the configuration.
    pub(super) fn client_region(&mut self, name: &str, at: &Path<'_>) -> RegionId {
        let regions = &mut self.places.regions;
        let id = |index: usize| RegionId(u16::try_from(index).unwrap_or(u16::MAX));
        if let Some(index) = regions.iter().position(|region| *region.name == *name) {
            return id(index);
        }
        if let Some((latitude, longitude)) = google_region(name) {
            regions.push(Region { name: name.into(), latitude, longitude });
            return id(regions.len() - 1);
        }
        let config = self.config;
        let mut known: Vec<&str> = google_region_names().collect();
        known.extend(config.places.regions.iter().map(|region| &*region.name));
        self.unknown("region", name, known, at);
        RegionId(0)
    }

    fn origin(&mut self, region: RegionId) -> OriginId {
        let origins = &mut self.places.origins;
        let known = origins.iter().position(|origin| *origin == region);
        let index = known.unwrap_or_else(|| {
            origins.push(region);
            origins.len() - 1
        });
        OriginId(u16::try_from(index).unwrap_or(u16::MAX))
    }

    pub(super) fn unknown(&mut self, noun: &str, name: &str, mut known: Vec<&str>, at: &Path<'_>) {
        known.sort_unstable();
        known.dedup();
        let near = nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        let some = known.iter().take(10).copied().collect::<Vec<_>>().join(", ");
        let more = if known.len() > 10 { ", …" } else { "" };
        let expected = near.unwrap_or_else(|| format!("one of {some}{more}"));
        self.error(at, "no-such-name", format!("there is no {noun} {}", quote(name)), expected);
    }

    pub(super) fn error(
        &mut self,
        at: &Path<'_>,
        code: &'static str,
        message: impl Into<String>,
        expected: impl Into<String>,
    ) {
        if self.problems.len() >= MAX_FLAWS {
            return;
        }
        self.problems.push(Problem {
            severity: Severity::Error,
            code,
            path: at.to_string(),
            position: Some(self.root.locate(at).into()),
            message: message.into(),
            expected: Some(expected.into()),
        });
    }
}

/// The shortest row that makes at most [`ROWS`] of them.
fn row(duration: f64) -> f64 {
    ROUND.into_iter().find(|row| duration / row <= ROWS).unwrap_or(duration)
}

pub(super) fn tick(seconds: f64) -> Tick {
    Tick(span(seconds).0)
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn span(seconds: f64) -> Span {
    Span((seconds * 1e9).round() as u64)
}
