//! The live numbers behind the choice of a member, and this worker's pools of probe results for PREQUAL.

use std::cell::RefCell;

use crate::balance::pick::{Live, Room};
use crate::balance::prequal::{Draw, Pool, Probe};
use crate::model::config::ServiceId;
use crate::model::unit::Tick;
use crate::world::LiveBackend;

/// What [`crate::balance::pick::choose`] asks of the ledger.
pub(crate) struct Numbers<'a> {
    pub(crate) backends: &'a [LiveBackend],
    pub(crate) now: Tick,
    /// The first attempt takes a turn; later ones do not.
    pub(crate) is_first: bool,
    pub(crate) pools: &'a RefCell<Pools>,
    /// World and service that the pools are of.
    pub(crate) of: (u64, ServiceId),
}

impl Live for Numbers<'_> {
    fn admit(&mut self, backend: u32, room: Room) -> Option<u64> {
        let gate = &self.backends.get(backend as usize)?.ledger.gate;
        match (room, self.is_first) {
            (Room::IfFree, true) => gate.admit(self.now),
            (Room::IfFree, false) => gate.admit_again(self.now),
            (Room::Overfill, true) => Some(gate.overfill()),
            (Room::Overfill, false) => Some(gate.overfill_again()),
        }
    }

    fn in_flight(&self, backend: u32, member: u32) -> u64 {
        let member = self.backends.get(backend as usize).and_then(|b| b.members.get(member as usize));
        member.map_or(0, |member| member.numbered.member.in_flight())
    }

    fn prequal(&mut self, draw: &Draw<'_>) -> Option<u32> {
        let members = &self.backends.get(draw.backend as usize)?.members;
        let probe = |member: u32| {
            let member = members.get(member as usize).map(|member| &member.numbered.member);
            Probe {
                in_flight: member.map_or(0, |m| u32::try_from(m.in_flight()).unwrap_or(u32::MAX)),
                latency: member.map(|m| m.conduct.latency(self.now)).unwrap_or_default(),
            }
        };
        let mut pools = self.pools.borrow_mut();
        pools.of(self.of.0, self.of.1, draw.backend).choose(draw, self.now, probe)
    }
}

/// Pools by service and backend, of one world: members are numbered anew in the next.
#[derive(Debug, Default)]
pub(crate) struct Pools {
    generation: u64,
    services: Vec<Vec<Pool>>,
}

impl Pools {
    /// The pool of a backend; made when it is first asked for.
    fn of(&mut self, generation: u64, service: ServiceId, backend: u32) -> &mut Pool {
        if self.generation != generation {
            self.generation = generation;
            self.services.clear();
        }
        slot(slot(&mut self.services, service.index()), backend as usize)
    }
}

// There is always one more than `index`: it was just made.
#[allow(clippy::indexing_slicing)]
fn slot<T: Default>(list: &mut Vec<T>, index: usize) -> &mut T {
    if list.len() <= index {
        list.resize_with(index + 1, T::default);
    }
    &mut list[index]
}
