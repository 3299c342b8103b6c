//! What happens in a demo, and when.

/// One act.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Phase {
    /// Seconds after the start.
    pub(super) begins: f64,
    /// Requests per second that clients send.
    pub(super) rate: f64,
    /// What is done at its beginning.
    pub(super) action: Action,
    /// What is seen.
    pub(super) sentence: &'static str,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Action {
    /// Nothing but the rate.
    None,
    /// The first near member's `/healthz` answers this.
    Health(u16),
    /// The file is rewritten with this `capacityScaler` for the near group.
    Scaler(f64),
}

/// The acts, spread over `seconds`; the shares are those of a minute.
pub(super) fn phases(seconds: f64) -> Vec<Phase> {
    let phase =
        |at: f64, rate, action, sentence| Phase { begins: at / 60.0 * seconds, rate, action, sentence };
    vec![
        phase(
            0.0,
            60.0,
            Action::None,
            "Clients send 60 requests/s. The near group may take 100, so all of them stay in us-central1.",
        ),
        phase(
            8.0,
            150.0,
            Action::None,
            "Now 150 requests/s. After a burst of one second's worth the near group is filled to its target of 100, \
             exactly; the 50 that are over spill to europe-west1.",
        ),
        phase(
            22.0,
            150.0,
            Action::Health(503),
            "www-1 starts to fail its health check. After two bad probes it gets nothing more, and www-2 takes its \
             part: a target counts all members of a group, healthy or not. One of two is less than 70 %, so part \
             of the requests goes on before the group is full: failover.",
        ),
        phase(
            32.0,
            150.0,
            Action::Health(200),
            "www-1 is well again. One good probe, and it has its part back.",
        ),
        phase(
            40.0,
            150.0,
            Action::Scaler(0.0),
            "capacityScaler: 0 has just been written to the file for the near group. It drains: running requests \
             finish, new ones all go to europe-west1. Not one is lost.",
        ),
        phase(
            50.0,
            150.0,
            Action::Scaler(1.0),
            "The file says capacityScaler: 1 again, and the near group fills up before anything spills.",
        ),
    ]
}

/// The number of the act at `elapsed` seconds, from 0.
pub(super) fn current(phases: &[Phase], elapsed: f64) -> usize {
    phases.iter().rposition(|phase| phase.begins <= elapsed).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_acts_follow_each_other_and_fit_any_length() {
        let phases = phases(30.0);
        assert_eq!(current(&phases, 0.0), 0);
        assert_eq!(current(&phases, 3.9), 0);
        assert_eq!(current(&phases, 4.0), 1);
        assert_eq!(current(&phases, 1e9), phases.len() - 1);
        assert!(phases.is_sorted_by(|a, b| a.begins < b.begins));
    }

    #[test]
    fn it_ends_as_it_began() {
        let phases = phases(60.0);
        let last = |kind: fn(&Action) -> bool| phases.iter().rev().map(|p| p.action).find(kind);
        assert_eq!(last(|a| matches!(a, Action::Health(_))), Some(Action::Health(200)));
        assert_eq!(last(|a| matches!(a, Action::Scaler(_))), Some(Action::Scaler(1.0)));
    }
}
