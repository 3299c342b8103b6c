//! Permission to send one request to a member. Taken before sending; whatever happens then, dropping it pays back.

use std::sync::Arc;

use super::cell::WorkerId;
use super::member::{Count, Member};

/// One attempt under way. Lives in the handler, then in the response body; a cancelled future drops it.
#[derive(Debug)]
pub struct Lease {
    member: Arc<Member>,
    worker: WorkerId,
}

impl Lease {
    /// Counts the attempt as started.
    #[must_use]
    pub fn take(member: Arc<Member>, worker: WorkerId) -> Self {
        member.count(worker, Count::Started);
        Self { member, worker }
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
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.member.count(self.worker, Count::Finished);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_lease_pays_back() {
        let member = Arc::new(Member::new(1));
        let lease = Lease::take(member.clone(), WorkerId(0));
        assert_eq!(member.in_flight(), 1);
        drop(lease);
        assert_eq!(member.in_flight(), 0);
    }
}
