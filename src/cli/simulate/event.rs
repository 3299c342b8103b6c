//! What happens in the time of a scenario: changes of demand, and events: what a word needs, and what it stands for.

use std::collections::BTreeMap;

use super::read::{Frame, Reader, span, tick};
use super::schema::{self, BELONGING, needs};
use crate::model::config::Config;
use crate::model::service::Group;
use crate::model::target::Scaler;
use crate::simulate::scenario::{Action, Change, Event};
use crate::wire::flaw::quote;
use crate::wire::path::Path;

/// Shortest state of a member that flaps, in seconds.
const LEAST_FLAP: f64 = 0.1;

/// A group as the configuration has it.
struct Crew<'a> {
    group: &'a Group,
    /// Services that use it.
    users: Vec<usize>,
    /// Members so far.
    size: u32,
}

/// All groups, by name, zone and number of members: behind several numbers of a port an instance is several members, and
/// a group another one.
fn crews(config: &Config) -> BTreeMap<(&str, &str, usize), Crew<'_>> {
    let mut crews = BTreeMap::new();
    for (index, service) in config.services.iter().enumerate() {
        for backend in &service.backends {
            let (group, count) = (&*backend.group, backend.members.len());
            let size = u32::try_from(count).unwrap_or(u32::MAX);
            let first = || Crew { group, users: Vec::new(), size };
            crews.entry((&*group.name, &*group.zone, count)).or_insert_with(first).users.push(index);
        }
    }
    crews
}

impl Reader<'_> {
    /// A demand's changes; each is before the end, and later than the one before it.
    pub(super) fn changes(
        &mut self,
        written: &[schema::Change],
        frame: &Frame,
        at: &Path<'_>,
    ) -> Vec<Change> {
        let mut before = None;
        for (n, one) in written.iter().enumerate() {
            if frame.duration.is_some_and(|end| one.at_sec >= end) {
                self.over(&at.item(n));
            } else if before.is_some_and(|before| one.at_sec <= before) {
                let message = "the change is no later than the one before it";
                self.error(&at.item(n).key("atSec"), "out-of-range", message, "changes in the order of time");
            }
            before = Some(one.at_sec);
        }
        let change = |one: &schema::Change| Change {
            at: tick(one.at_sec),
            over: span(one.over_sec.unwrap_or(0.0)),
            rate: one.rate,
        };
        written.iter().map(change).collect()
    }

    fn over(&mut self, at: &Path<'_>) {
        self.error(&at.key("atSec"), "out-of-range", "all is over by then", "less than `durationSec`");
    }

    /// One event; a member that flaps is several. Nothing happens when all is over.
    pub(super) fn event(
        &mut self,
        written: &schema::Event,
        frame: &Frame,
        at: &Path<'_>,
        events: &mut Vec<Event>,
    ) {
        if frame.duration.is_some_and(|end| written.at_sec >= end) {
            self.over(at);
        }
        let target = self.target(&written.target, at);
        self.fields_of_event(written, at);
        let action = match written.what.as_str() {
            "LOST" | "FLAPS" => Action::Lost,
            "BACK" => Action::Back,
            "UNHEALTHY" => Action::Unhealthy,
            "HEALTHY" => Action::Healthy,
            "SLOW" => Action::Slow(written.factor.unwrap_or(1.0)),
            "FAILS_FAST" => Action::FailsFast,
            "ERRORS" => Action::Errors(written.part.unwrap_or(0.0)),
            "REPORTS_LATE" => Action::ReportsLate(span(written.delay_sec.unwrap_or(0.0))),
            "REPORTS_STOP" => Action::Reports(false),
            "REPORTS_RESUME" => Action::Reports(true),
            "SCALER" => Action::Scaler(self.scaler(written.scaler, at)),
            "ADD" => Action::Add(written.count.unwrap_or(1)),
            "REMOVE" => Action::Remove(written.count.unwrap_or(1)),
            _ => Action::Serves,
        };
        if matches!(action, Action::Scaler(_) | Action::Add(_) | Action::Remove(_)) && target.member.is_some()
        {
            let message = format!("`{}` happens to groups, not to members", written.what);
            self.error(&at.key("member"), "conflict", message, "no `member`");
        }
        let (from, until) = (written.at_sec, written.until_sec.unwrap_or(0.0));
        if written.what != "FLAPS" {
            events.push(Event { at: tick(from), target, action });
            return;
        }
        let every = written.every_sec.unwrap_or(LEAST_FLAP).max(LEAST_FLAP);
        let turns = (0..).map(|n| from + f64::from(n) * every).take_while(|at| *at < until);
        let states = [Action::Lost, Action::Back].into_iter().cycle();
        let flaps =
            turns.zip(states).map(|(at, action)| Event { at: tick(at), target: target.clone(), action });
        events.extend(flaps);
        events.push(Event { at: tick(until), target, action: Action::Back });
    }

    /// Members join and leave in the order of time, and no more leave a group than it has then. `events` are those of the
    /// list, by number. Where an autoscaler is at work, it may have as many as that lets it have.
    pub(super) fn moves(&mut self, mut events: Vec<(usize, Event)>, autoscalers: &[schema::Autoscaler]) {
        events.sort_by_key(|(_, event)| event.at);
        let mut crews = crews(self.config());
        for (n, event) in events {
            for Crew { group, users, size } in crews.values_mut() {
                if !event.target.fits_group(group, users) {
                    continue;
                }
                let scaled = autoscalers.iter().find(|one| one.group == *group.name);
                let most = scaled.map_or(*size, |one| one.autoscaling_policy.max_num_replicas.max(*size));
                match event.action {
                    Action::Add(count) => *size = size.saturating_add(count),
                    Action::Remove(count) if count > most => {
                        let at = Path::Root.key("events");
                        let message = format!("group {} has {most} members then", quote(&group.name));
                        let expected = match most {
                            0 => "no `REMOVE`: nobody is left by then".to_owned(),
                            most => format!("a `count` of at most {most}"),
                        };
                        self.error(&at.item(n).key("count"), "out-of-range", message, expected);
                        break;
                    }
                    Action::Remove(count) => *size = size.saturating_sub(count),
                    _ => {}
                }
            }
        }
    }

    /// What the word needs is there, and nothing else of that kind.
    fn fields_of_event(&mut self, written: &schema::Event, at: &Path<'_>) {
        let is_there = |key: &str| match key {
            "factor" => written.factor.is_some(),
            "part" => written.part.is_some(),
            "delaySec" => written.delay_sec.is_some(),
            "scaler" => written.scaler.is_some(),
            "count" => written.count.is_some(),
            "everySec" => written.every_sec.is_some(),
            _ => written.until_sec.is_some(),
        };
        let needed = needs(&written.what);
        for key in needed.iter().filter(|key| !is_there(key)) {
            let message = format!("`{}` has no `{key}`", written.what);
            self.error(&at.key("what"), "missing-field", message, format!("`{key}: …`"));
        }
        for key in BELONGING.iter().filter(|key| is_there(key) && !needed.contains(key)) {
            let message = format!("`{key}` does not belong to `{}`", written.what);
            self.error(&at.key(key), "conflict", message, format!("no `{key}`"));
        }
        if written.until_sec.is_some_and(|until| until <= written.at_sec) {
            self.error(&at.key("untilSec"), "out-of-range", "it ends before it begins", "more than `atSec`");
        }
    }

    fn scaler(&mut self, value: Option<f64>, at: &Path<'_>) -> Scaler {
        Scaler::new(value.unwrap_or(1.0)).unwrap_or_else(|| {
            let message = "a scaler cannot be between 0 and 0.1";
            self.error(&at.key("scaler"), "out-of-range", message, "0, or 0.1 to 1 [G 1.1]");
            Scaler::FULL
        })
    }
}
