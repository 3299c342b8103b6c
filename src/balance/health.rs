//! Verdict of a health check from results in a row [G 4.12].

/// What is known of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Neither threshold reached yet [G 4.13].
    Undecided,
    /// Reached the healthy threshold last.
    Healthy,
    /// Reached the unhealthy threshold last.
    Unhealthy,
}

/// Streaks against thresholds.
#[derive(Debug, Clone, Copy)]
pub struct Hysteresis {
    healthy: u32,
    unhealthy: u32,
    state: State,
    last: bool,
    streak: u32,
}

impl Hysteresis {
    /// Undecided.
    #[must_use]
    pub fn new(healthy: u32, unhealthy: u32) -> Self {
        Self { healthy, unhealthy, state: State::Undecided, last: false, streak: 0 }
    }

    /// Takes a result; an opposite one resets the streak.
    pub fn record(&mut self, success: bool) -> State {
        self.streak = if success == self.last { self.streak.saturating_add(1) } else { 1 };
        self.last = success;
        if success && self.streak >= self.healthy {
            self.state = State::Healthy;
        } else if !success && self.streak >= self.unhealthy {
            self.state = State::Unhealthy;
        }
        self.state
    }

    /// New thresholds, same state.
    pub fn set_thresholds(&mut self, healthy: u32, unhealthy: u32) {
        (self.healthy, self.unhealthy) = (healthy, unhealthy);
    }

    /// Equal results in a row.
    #[must_use]
    pub fn streak(&self) -> u32 {
        self.streak
    }
}
