//! Probe results to a state: thresholds of results in a row [G 4.12, 4.13].

/// Counts results in a row. Owned by the prober, one per (member, check); kept over a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hysteresis {
    healthy_threshold: u32,
    unhealthy_threshold: u32,
    state: State,
    /// Whether the results in a row are successes.
    succeeds: bool,
    streak: u32,
}

/// What the results have decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// Neither threshold was reached yet: treated as unhealthy [G 4.13].
    #[default]
    Undecided,
    /// `healthyThreshold` successes in a row.
    Healthy,
    /// `unhealthyThreshold` failures in a row.
    Unhealthy,
}

impl Hysteresis {
    /// Undecided. Thresholds of 0 count as 1.
    #[must_use]
    pub fn new(healthy: u32, unhealthy: u32) -> Self {
        Self {
            healthy_threshold: healthy.max(1),
            unhealthy_threshold: unhealthy.max(1),
            state: State::Undecided,
            succeeds: false,
            streak: 0,
        }
    }

    /// Decided before, by another process: `streak` results in a row, the last of which succeeded or not.
    #[must_use]
    pub const fn resume(mut self, state: State, succeeds: bool, streak: u32) -> Self {
        (self.state, self.succeeds, self.streak) = (state, succeeds, streak);
        self
    }

    /// Takes in one result; the state after it. An opposite result starts the count anew.
    pub fn record(&mut self, success: bool) -> State {
        self.streak =
            if self.streak > 0 && self.succeeds == success { self.streak.saturating_add(1) } else { 1 };
        self.succeeds = success;
        self.decide();
        self.state
    }

    /// New thresholds take effect with the next result; state and count stay.
    pub fn set_thresholds(&mut self, healthy: u32, unhealthy: u32) {
        self.healthy_threshold = healthy.max(1);
        self.unhealthy_threshold = unhealthy.max(1);
    }

    /// The state.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Results of the same kind in a row; 0 before the first.
    #[must_use]
    pub const fn streak(&self) -> u32 {
        self.streak
    }

    const fn decide(&mut self) {
        if self.succeeds && self.streak >= self.healthy_threshold {
            self.state = State::Healthy;
        } else if !self.succeeds && self.streak >= self.unhealthy_threshold {
            self.state = State::Unhealthy;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::State::{Healthy, Undecided, Unhealthy};
    use super::*;

    fn states(hysteresis: &mut Hysteresis, results: &[bool]) -> Vec<State> {
        results.iter().map(|result| hysteresis.record(*result)).collect()
    }

    #[test]
    fn a_new_member_is_undecided_until_a_threshold_is_reached() {
        let (mut up, mut down) = (Hysteresis::new(2, 3), Hysteresis::new(2, 3));
        assert_eq!(states(&mut up, &[true, true]), [Undecided, Healthy]);
        assert_eq!(states(&mut down, &[false, false, false]), [Undecided, Undecided, Unhealthy]);
    }

    #[test]
    fn an_opposite_result_resets_the_streak() {
        let mut hysteresis = Hysteresis::new(1, 3);
        let results = [true, false, false, true, false, false, false, true];
        let expected = [Healthy, Healthy, Healthy, Healthy, Healthy, Healthy, Unhealthy, Healthy];
        assert_eq!(states(&mut hysteresis, &results), expected);
        assert_eq!(hysteresis.streak(), 1);
    }

    #[test]
    fn new_thresholds_keep_the_state() {
        let mut hysteresis = Hysteresis::new(1, 2);
        assert_eq!(states(&mut hysteresis, &[true, false]), [Healthy, Healthy]);
        hysteresis.set_thresholds(1, 4);
        assert_eq!(hysteresis.state(), Healthy);
        assert_eq!(states(&mut hysteresis, &[false, false, false]), [Healthy, Healthy, Unhealthy]);
    }
}
