//! Members that a reload took away: what they have counted stays in the sums.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::member::{Count, Member};

/// Requests by class of status (0 to 5).
pub type Classes = [u64; 6];

/// The departed of one service. A member that still has requests under way goes on counting; when nobody else holds
/// it any more, its counts are added up and it is let go.
#[derive(Debug, Default)]
pub struct Departed(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    leaving: Vec<Arc<Member>>,
    gone: Classes,
}

impl Departed {
    /// The service had the members `before` and has the members `now`: takes in those that left, gives back those that
    /// returned while somebody still held them, and lets go of those that nobody holds any more. Only the supervisor
    /// calls this, once for each change.
    pub fn change<'a>(
        &self,
        before: impl Iterator<Item = &'a Arc<Member>>,
        now: impl Iterator<Item = &'a Arc<Member>>,
    ) {
        let present: HashSet<_> = now.map(Arc::as_ptr).collect();
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let State { leaving, gone } = &mut *state;
        leaving.retain(|member| {
            let is_held = Arc::strong_count(member) > 1;
            if !is_held {
                *gone = sum(*gone, classes(member));
            }
            is_held && !present.contains(&Arc::as_ptr(member))
        });
        leaving.extend(before.filter(|member| !present.contains(&Arc::as_ptr(member))).cloned());
    }

    /// What all of them have counted.
    #[must_use]
    pub fn classes(&self) -> Classes {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.leaving.iter().map(|member| classes(member)).fold(state.gone, sum)
    }
}

fn classes(member: &Member) -> Classes {
    let classes = [Count::Class0, Count::Class1, Count::Class2, Count::Class3, Count::Class4, Count::Class5];
    classes.map(|class| member.sum(class))
}

fn sum(one: Classes, other: Classes) -> Classes {
    std::array::from_fn(|class| one[class].wrapping_add(other[class]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::cell::WorkerId;

    #[test]
    fn a_member_that_left_counts_on_and_is_let_go_when_nobody_holds_it() {
        let (departed, member) = (Departed::default(), Arc::new(Member::new(1)));
        member.count(WorkerId(0), Count::Class2);
        departed.change(std::iter::once(&member), std::iter::empty());
        member.count(WorkerId(0), Count::Class5);
        assert_eq!(departed.classes(), [0, 0, 1, 0, 0, 1]);
        let weak = Arc::downgrade(&member);
        drop(member);
        departed.change(std::iter::empty(), std::iter::empty());
        assert_eq!((departed.classes(), weak.strong_count()), ([0, 0, 1, 0, 0, 1], 0));
    }

    #[test]
    fn a_member_that_returns_is_counted_as_a_member_only() {
        let (departed, member) = (Departed::default(), Arc::new(Member::new(1)));
        member.count(WorkerId(0), Count::Class2);
        departed.change(std::iter::once(&member), std::iter::empty());
        departed.change(std::iter::empty(), std::iter::once(&member));
        assert_eq!(departed.classes(), [0; 6]);
    }
}
