//! Permission to send one request to a member. Taken before sending; whatever happens then, dropping it pays back.

use std::sync::Arc;

use super::backend::Backend;
use super::cell::WorkerId;
use super::member::{Count, Member};

/// One attempt under way. Lives in the handler, then in the response body; a cancelled future drops it.
#[derive(Debug)]
pub struct Lease {
    backend: Arc<Backend>,
    member: Arc<Member>,
    worker: WorkerId,
    is_paid_back: bool,
}

impl Lease {
    /// Counts the attempt as started. Its room in the backend's gate was taken before, and is given back from here.
    #[must_use]
    pub fn take(backend: Arc<Backend>, member: Arc<Member>, worker: WorkerId) -> Self {
        member.count(worker, Count::Started);
        Self { backend, member, worker, is_paid_back: false }
    }

    /// The member it is for.
    #[must_use]
    pub fn member(&self) -> &Member {
        &self.member
    }

    /// Counts something on the member.
    pub fn count(&self, what: Count) {
        self.member.count(self.worker, what);
    }

    /// The attempt is over, and its room free, though it is still known whose it was. Once is enough.
    pub fn pay_back(&mut self) {
        if !std::mem::replace(&mut self.is_paid_back, true) {
            self.member.count(self.worker, Count::Finished);
            self.backend.gate.release();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.pay_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_pays_back() {
        let (backend, member) = (Arc::new(Backend::new(1)), Arc::new(Member::new(1)));
        backend.gate.overfill();
        let lease = Lease::take(backend.clone(), member.clone(), WorkerId(0));
        assert_eq!((member.in_flight(), backend.gate.in_flight()), (1, 1));
        drop(lease);
        assert_eq!((member.in_flight(), backend.gate.in_flight()), (0, 0));
    }

    #[test]
    fn a_lease_is_paid_back_once() {
        let (backend, member) = (Arc::new(Backend::new(1)), Arc::new(Member::new(1)));
        backend.gate.overfill();
        backend.gate.overfill();
        let mut lease = Lease::take(backend.clone(), member.clone(), WorkerId(0));
        let _other = Lease::take(backend.clone(), member.clone(), WorkerId(0));
        lease.pay_back();
        assert_eq!((member.in_flight(), backend.gate.in_flight()), (1, 1));
        drop(lease);
        assert_eq!((member.in_flight(), backend.gate.in_flight()), (1, 1));
    }

    proptest::proptest! {
        /// Whatever happens to attempts, in any order: what was given comes back.
        #[test]
        fn leases_given_equal_leases_returned(steps in proptest::collection::vec((0..4_usize, 0..3_u8), 0..200)) {
            let (backend, members) = (Arc::new(Backend::new(2)), [(); 3].map(|()| Arc::new(Member::new(2))));
            let mut open: Vec<Lease> = Vec::new();
            let (mut given, mut returned) = (0_u64, 0_u64);
            for (at, what) in steps {
                match what {
                    0 => {
                        backend.gate.overfill();
                        open.push(Lease::take(backend.clone(), members[at % 3].clone(), WorkerId(at % 2)));
                        given += 1;
                    }
                    1 if !open.is_empty() => {
                        let at = at % open.len();
                        returned += u64::from(!open[at].is_paid_back);
                        open[at].pay_back();
                    }
                    2 if !open.is_empty() => {
                        let lease = open.swap_remove(at % open.len());
                        returned += u64::from(!lease.is_paid_back);
                    }
                    _ => {}
                }
                let in_flight: u64 = members.iter().map(|member| member.in_flight()).sum();
                proptest::prop_assert_eq!((in_flight, backend.gate.in_flight()), (given - returned, given - returned));
            }
            drop(open);
            let in_flight: u64 = members.iter().map(|member| member.in_flight()).sum();
            proptest::prop_assert_eq!((in_flight, backend.gate.in_flight()), (0, 0));
        }
    }
}
