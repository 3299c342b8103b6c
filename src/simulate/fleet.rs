//! All services with their groups and members, as the scenario's events leave them.

use std::sync::Arc;

use super::machine::Machine;
use super::scenario::{Action, Event, Profile, Rule, Target};
use crate::model::service::{Backend, Group, Member, Service};
use crate::model::unit::{Span, Tick};

/// Whether a machine is one member, or all members of a group that are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grain {
    /// One member.
    Single,
    /// All that are alike.
    Alike,
}

/// The modelled world, which all proxies see.
#[derive(Debug)]
pub(super) struct Fleet {
    /// As they are configured now.
    pub(super) services: Vec<Arc<Service>>,
    /// Index of each backend's group, by service and backend.
    pub(super) backends: Vec<Vec<usize>>,
    /// Groups, each once however many services use it.
    pub(super) sites: Vec<Site>,
    /// Grows with every change of health or membership.
    pub(super) version: u64,
    rules: Vec<Rule>,
    grain: Grain,
}

/// A group with its machines. Machines stay when their members have left.
#[derive(Debug)]
pub(super) struct Site {
    /// The group.
    pub(super) group: Arc<Group>,
    /// Services that use it.
    users: Vec<usize>,
    /// Its machines.
    pub(super) machines: Vec<Machine>,
    /// Of each machine: the one it was split off from.
    pub(super) parents: Vec<Option<u32>>,
    /// Machine of each member.
    pub(super) slots: Vec<u32>,
    /// Reports that have arrived.
    pub(super) reports: u64,
    names: Vec<Arc<str>>,
    /// How long probes take to find out that a member is lost, and that it is back; `None` = nobody probes.
    probing: Option<(Span, Span)>,
    joined: u32,
}

/// A verdict that probes will reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Verdict {
    /// When.
    pub(super) at: Tick,
    /// About whom: site and machine.
    pub(super) about: (usize, usize),
    /// The state that was probed; see [`super::machine::Condition::turns`].
    turns: u32,
    is_healthy: bool,
}

/// What follows from an event.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// Services that are configured anew.
    pub(super) changed: Vec<usize>,
    /// Verdicts to come.
    pub(super) verdicts: Vec<Verdict>,
}

impl Fleet {
    /// All members healthy and idle.
    #[must_use]
    pub(super) fn new(services: &[Arc<Service>], rules: &[Rule], grain: Grain) -> Self {
        let mut fleet = Self {
            services: services.to_vec(),
            backends: Vec::new(),
            sites: Vec::new(),
            version: 1,
            rules: rules.to_vec(),
            grain,
        };
        for (index, service) in services.iter().enumerate() {
            let sites = service.backends.iter().map(|backend| fleet.site(index, service, backend)).collect();
            fleet.backends.push(sites);
        }
        for site in 0..fleet.sites.len() {
            fleet.settle(site);
        }
        fleet
    }

    fn site(&mut self, index: usize, service: &Service, backend: &Backend) -> usize {
        let is_same = |group: &Group| {
            (&group.name, &group.zone, group.kind)
                == (&backend.group.name, &backend.group.zone, backend.group.kind)
        };
        let probing = service.health_check.as_ref().map(|check| {
            let times = |n: u32| Span(check.interval.0.saturating_mul(u64::from(n.max(1))));
            (times(check.unhealthy_threshold), times(check.healthy_threshold))
        });
        // Behind a named port with several numbers an instance is several members, and a group not the same.
        let is_alike = |names: &[Arc<str>]| {
            names.len() == backend.members.len()
                && names.iter().zip(&backend.members).all(|(name, member)| *name == member.name)
        };
        let known = self.sites.iter().position(|site| is_same(&site.group) && is_alike(&site.names));
        if let Some(known) = known {
            if let Some(site) = self.sites.get_mut(known) {
                site.users.push(index);
                site.probing = site.probing.or(probing);
            }
            return known;
        }
        self.sites.push(Site {
            group: Arc::clone(&backend.group),
            users: vec![index],
            machines: Vec::new(),
            parents: Vec::new(),
            slots: Vec::new(),
            reports: 0,
            names: backend.members.iter().map(|member| Arc::clone(&member.name)).collect(),
            probing,
            joined: 0,
        });
        self.sites.len() - 1
    }

    /// The machines of a group's first members.
    fn settle(&mut self, index: usize) {
        let Self { sites, rules, grain, .. } = self;
        let Some(site) = sites.get_mut(index) else { return };
        for name in &site.names {
            let profile = profile(rules, (&site.group, &site.users), name);
            let alike = || site.machines.iter().position(|machine| machine.profile == profile);
            let known = if *grain == Grain::Alike { alike() } else { None };
            let slot = known.unwrap_or(site.machines.len());
            if known.is_none() {
                site.machines.push(Machine::new(profile, true, Tick(0)));
                site.parents.push(None);
            }
            site.slots.push(u32::try_from(slot).unwrap_or(u32::MAX));
        }
    }

    /// Something happens.
    pub(super) fn apply(&mut self, event: &Event, now: Tick) -> Effects {
        let mut effects = Effects::default();
        self.version += 1;
        for index in 0..self.sites.len() {
            let is_meant = |site: &Site| event.target.fits_group(&site.group, &site.users);
            if !self.sites.get(index).is_some_and(is_meant) {
                continue;
            }
            match event.action {
                Action::Scaler(_) | Action::Add(_) | Action::Remove(_) => {
                    self.reconfigure(index, event, now, &mut effects);
                }
                _ => self.strike(index, event, now, &mut effects),
            }
        }
        effects.changed.sort_unstable();
        effects.changed.dedup();
        effects
    }

    /// The first group of that name, with a service and its backend.
    #[must_use]
    pub(super) fn find(&self, name: &str) -> Option<(usize, usize, usize)> {
        let index = self.sites.iter().position(|site| *site.group.name == *name)?;
        let backend = |sites: &Vec<usize>| sites.iter().position(|site| *site == index);
        let of_service = |(service, sites)| Some((index, service, backend(sites)?));
        (0..).zip(&self.backends).find_map(of_service)
    }

    /// Members join a group or leave it, until there are `wanted`.
    pub(super) fn resize(&mut self, index: usize, wanted: u32, now: Tick) -> Effects {
        let mut effects = Effects::default();
        let size = self.sites.get(index).map_or(0, |site| site.slots.len());
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let action = if wanted > size { Action::Add(wanted - size) } else { Action::Remove(size - wanted) };
        self.version += 1;
        self.reconfigure(index, &Event { at: now, target: Target::default(), action }, now, &mut effects);
        effects
    }

    /// Probes have found something out. Void when the member has changed since.
    pub(super) fn judge(&mut self, verdict: Verdict) {
        let (site, machine) = verdict.about;
        let machine = self.sites.get_mut(site).and_then(|site| site.machines.get_mut(machine));
        if let Some(machine) = machine.filter(|machine| machine.condition.turns == verdict.turns) {
            machine.judge(verdict.is_healthy);
            self.version += 1;
        }
    }

    /// All machines make a report. `error` draws by how much each is wrong.
    pub(super) fn report(&mut self, now: Tick, delay: Span, mut error: impl FnMut() -> f64) {
        for machine in self.sites.iter_mut().flat_map(|site| &mut site.machines) {
            machine.report(now, delay, error());
        }
    }

    /// Takes in the reports that have arrived.
    pub(super) fn look(&mut self, now: Tick) {
        for site in &mut self.sites {
            site.reports += site.machines.iter_mut().map(|machine| machine.look(now)).sum::<u64>();
        }
    }

    /// The group of a backend.
    #[must_use]
    pub(super) fn site_of(&self, service: usize, backend: usize) -> Option<&Site> {
        self.sites.get(*self.backends.get(service)?.get(backend)?)
    }

    /// A machine by site and number.
    pub(super) fn machine(&mut self, (site, machine): (usize, u32)) -> Option<&mut Machine> {
        self.sites.get_mut(site)?.machines.get_mut(machine as usize)
    }

    /// Something happens to members.
    fn strike(&mut self, index: usize, event: &Event, now: Tick, effects: &mut Effects) {
        let Some(site) = self.sites.get_mut(index) else { return };
        for machine in site.split(|name| event.target.fits_member(name)) {
            let Some(struck) = site.machines.get_mut(machine) else { continue };
            struck.suffer(event.action);
            let turns = struck.condition.turns;
            let after = match (event.action, site.probing) {
                (Action::Lost, Some((lost, _))) => Some((lost, false)),
                (Action::Back, Some((_, back))) => Some((back, true)),
                _ => None,
            };
            effects.verdicts.extend(after.map(|(after, is_healthy)| Verdict {
                at: now + after,
                about: (index, machine),
                turns,
                is_healthy,
            }));
        }
    }

    /// Something happens to the configuration.
    fn reconfigure(&mut self, index: usize, event: &Event, now: Tick, effects: &mut Effects) {
        match event.action {
            Action::Add(count) => self.add(index, count, now, effects),
            Action::Remove(count) => {
                if let Some(site) = self.sites.get_mut(index) {
                    let left = site.slots.len().saturating_sub(count as usize);
                    site.slots.truncate(left);
                    site.names.truncate(left);
                }
            }
            _ => {}
        }
        let Some(site) = self.sites.get(index) else { return };
        for (number, (service, sites)) in self.services.iter_mut().zip(&self.backends).enumerate() {
            // Membership is the group's, a scaler the backend's.
            let is_spared = matches!(event.action, Action::Scaler(_))
                && event.target.service.is_some_and(|only| only != number);
            if is_spared || !sites.contains(&index) {
                continue;
            }
            let service = Arc::make_mut(service);
            for (backend, _) in service.backends.iter_mut().zip(sites).filter(|(_, at)| **at == index) {
                match event.action {
                    Action::Scaler(scaler) => backend.scaler = scaler,
                    _ => enlist(backend, &site.names),
                }
            }
            effects.changed.push(number);
        }
    }

    fn add(&mut self, index: usize, count: u32, now: Tick, effects: &mut Effects) {
        let Self { sites, rules, grain, .. } = self;
        let Some(site) = sites.get_mut(index) else { return };
        for n in 0..count {
            site.joined += 1;
            let name: Arc<str> = format!("joined-{}", site.joined).into();
            if n == 0 || *grain == Grain::Single {
                let profile = profile(rules, (&site.group, &site.users), &name);
                let mut machine = Machine::new(profile, site.probing.is_none(), now);
                machine.joined = Some(now);
                site.machines.push(machine);
                site.parents.push(None);
                let verdict = |(_, back): (Span, Span)| Verdict {
                    at: now + back,
                    about: (index, site.machines.len() - 1),
                    turns: 0,
                    is_healthy: true,
                };
                effects.verdicts.extend(site.probing.map(verdict));
            }
            site.slots.push(u32::try_from(site.machines.len() - 1).unwrap_or(u32::MAX));
            site.names.push(name);
        }
    }
}

impl Site {
    /// Members of each machine that are there.
    #[must_use]
    pub(super) fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.machines.len()];
        for slot in &self.slots {
            if let Some(count) = counts.get_mut(*slot as usize) {
                *count += 1;
            }
        }
        counts
    }

    /// The machines of the members that are meant; a machine of which only some are, is split.
    fn split(&mut self, is_meant: impl Fn(&str) -> bool) -> Vec<usize> {
        let mut found = Vec::new();
        for machine in 0..self.machines.len() {
            let of_it = || {
                (0..self.slots.len()).filter(|n| self.slots.get(*n).copied() == u32::try_from(machine).ok())
            };
            let meant: Vec<_> =
                of_it().filter(|n| self.names.get(*n).is_some_and(|name| is_meant(name))).collect();
            if meant.is_empty() {
                continue;
            }
            if meant.len() == of_it().count() {
                found.push(machine);
                continue;
            }
            let Some(copy) = self.machines.get(machine).cloned() else { continue };
            let slot = self.machines.len();
            self.machines.push(copy);
            self.parents.push(u32::try_from(machine).ok());
            found.push(slot);
            for n in meant {
                if let Some(of_member) = self.slots.get_mut(n) {
                    *of_member = u32::try_from(slot).unwrap_or(u32::MAX);
                }
            }
        }
        found
    }
}

/// The last rule that fits; the default without one.
fn profile(rules: &[Rule], (group, users): (&Group, &[usize]), name: &str) -> Profile {
    let fits = |rule: &&Rule| rule.target.fits_group(group, users) && rule.target.fits_member(name);
    rules.iter().rev().find(fits).map_or_else(Profile::default, |rule| rule.profile)
}

/// Gives a backend the members of these names: those that it has stay what they are.
fn enlist(backend: &mut Backend, names: &[Arc<str>]) {
    backend.members.truncate(names.len());
    for name in names.iter().skip(backend.members.len()) {
        let port = 1 + u16::try_from(backend.members.len() % 65_000).unwrap_or_default();
        let address = ([198, 18, 0, 1], port).into();
        backend.members.push(Member { name: Arc::clone(name), address, host: None });
    }
}
