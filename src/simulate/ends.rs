//! Where flows have gone, and how their requests end.

use super::fleet::Site;
use super::machine::{AT_ONCE, Machine};
use super::proxy::{Ending, Served};
use super::record::Counts;
use super::spread::{Portion, Spread};

/// What is poured where.
pub(super) struct Flows<'a> {
    pub(super) spreads: &'a [Vec<Spread>],
    pub(super) poured: &'a [Vec<Vec<f64>>],
    pub(super) backends: &'a [Vec<usize>],
}

/// A backend in a proxy.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) proxy: usize,
    pub(super) service: usize,
    pub(super) backend: usize,
    pub(super) site: usize,
}

impl Flows<'_> {
    pub(super) fn each(&self, mut each: impl FnMut(At, Portion, f64)) {
        for (proxy, (spreads, poured)) in self.spreads.iter().zip(self.poured).enumerate() {
            for (service, ((spread, poured), sites)) in
                spreads.iter().zip(poured).zip(self.backends).enumerate()
            {
                for (backend, ((portions, amount), site)) in
                    spread.backends.iter().zip(poured).zip(sites).enumerate()
                {
                    let at = At { proxy, service, backend, site: *site };
                    portions.iter().for_each(|portion| each(at, *portion, *amount));
                }
            }
        }
    }
}

impl At {
    pub(super) fn machine(self, sites: &mut [Site], portion: Portion) -> Option<&mut Machine> {
        sites.get_mut(self.site)?.machines.get_mut(portion.machine as usize)
    }
}

/// Requests of a step that a machine's members got from one proxy, and how they end.
pub(super) struct Ends {
    pub(super) amount: f64,
    /// How clustered they come at one member.
    pub(super) clumps: f64,
    /// Seconds after which an answer is too late.
    pub(super) timeout: f64,
    /// Of what waits at the machine, so much is done in this step.
    pub(super) part: f64,
}

impl Ends {
    /// Into the proxy's own figures.
    pub(super) fn settle(
        &self,
        machine: &Machine,
        portion: Portion,
        (served, backend): (&mut Served, usize),
        seconds: f64,
    ) {
        let stay = if machine.condition.is_lost { 0.0 } else { machine.stay(self.clumps).min(self.timeout) };
        if let Some(gate) = served.gates.get_mut(backend) {
            gate.in_flight += self.amount / seconds * stay;
        }
        let tallies = served.tallies.get_mut(backend);
        if let Some(tally) = tallies.and_then(|tallies| tallies.get_mut(portion.machine as usize)) {
            let how = if machine.condition.is_lost { Ending::Broken } else { Ending::Failed };
            tally.flow(self.amount / portion.members, self.part, (self.errors(machine), how), served.full);
        }
    }

    /// Into the result. Latencies count for all requests `until` the next look, in steps.
    pub(super) fn measure(&self, machine: &Machine, counts: &mut Counts, until: f64) {
        counts.errors += self.amount * self.errors(machine);
        let weight = self.amount * until;
        if weight <= 0.0 {
            return;
        }
        if machine.condition.is_lost {
            counts.latency.add(AT_ONCE, weight);
            return;
        }
        machine.latencies(self.clumps, |seconds, part| {
            counts.latency.add(seconds.min(self.timeout), weight * part);
        });
    }

    fn errors(&self, machine: &Machine) -> f64 {
        if machine.condition.is_lost || machine.queue() > self.timeout { 1.0 } else { machine.errors() }
    }
}
