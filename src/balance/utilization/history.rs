//! At which rate a backend went in the last while: by readings, and in slots as long as reports are apart.
//!
//! What is late by a few reports belongs to readings of before. What is later belongs to a time: a reading that waited
//! for a report that did not come is several slots, looks without any report are less than one.

use std::collections::VecDeque;

use super::curve::{LONGEST, SHORT};

/// Pieces of time that are kept at most, in readings.
const MOST: usize = 128;

/// Reports whose distance says how far reports are apart: the median of so many. One that waits changes nothing.
const REPORTS: usize = 5;

/// Rates of before, per healthy member.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    /// (seconds, requests per second), newest first.
    pieces: VecDeque<(f64, f64)>,
    /// Seconds from report to report, newest first.
    apart: VecDeque<f64>,
    readings: Vec<f64>,
    slots: Vec<f64>,
}

/// Rates of before, newest first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates<'a> {
    /// The last readings, at most [`SHORT`].
    pub(super) readings: &'a [f64],
    /// Slots as long as reports are apart, at most [`LONGEST`].
    pub(super) slots: &'a [f64],
}

impl History {
    /// So many seconds went by at this rate.
    pub(super) fn push(&mut self, seconds: f64, rate: f64) {
        self.pieces.truncate(MOST - 1);
        self.pieces.push_front((seconds, rate));
    }

    /// A report came so many seconds after the one before.
    pub(super) fn report(&mut self, seconds: f64) {
        self.apart.truncate(REPORTS - 1);
        self.apart.push_front(seconds);
    }

    /// As far back as is known, and as any lag reaches.
    pub(super) fn rates(&mut self) -> Rates<'_> {
        self.fill_slots();
        self.readings.clear();
        self.readings.extend(self.pieces.iter().take(SHORT).map(|(_, rate)| *rate));
        Rates { readings: &self.readings, slots: &self.slots }
    }

    fn fill_slots(&mut self) {
        let length = self.length();
        self.slots.clear();
        let (mut sum, mut missing) = (0.0, length);
        for (seconds, rate) in &self.pieces {
            let mut left = *seconds;
            while left >= missing && self.slots.len() < LONGEST {
                self.slots.push((sum + missing * rate) / length);
                left -= missing;
                (sum, missing) = (0.0, length);
            }
            sum += left * rate;
            missing -= left;
            if self.slots.len() >= LONGEST {
                return;
            }
        }
    }

    /// Seconds of a slot.
    fn length(&self) -> f64 {
        let mut apart: Vec<f64> = self.apart.iter().copied().collect();
        apart.sort_by(f64::total_cmp);
        apart.get(apart.len().saturating_sub(1) / 2).copied().unwrap_or(1.0).max(0.01)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(pieces: &[(f64, f64)]) -> History {
        let mut history = History::default();
        for (seconds, rate) in pieces {
            history.push(*seconds, *rate);
            history.report(*seconds);
        }
        history
    }

    #[test]
    fn readings_are_as_they_were_and_slots_are_as_long_as_most_of_them() {
        let mut history = history(&[(1.01, 10.0), (0.99, 20.0), (1.0, 30.0), (1.02, 40.0), (1.0, 50.0)]);
        let Rates { readings, slots } = history.rates();
        assert_eq!(readings, [50.0, 40.0, 30.0, 20.0]);
        assert!(
            slots.len() == 5
                && slots.iter().zip([50.0, 40.0, 30.0, 20.0, 10.0]).all(|(a, b)| (a - b).abs() < 1.0)
        );
    }

    #[test]
    fn a_report_that_waited_is_several_slots() {
        let mut history = history(&[(1.0, 10.0), (1.0, 20.0), (1.0, 30.0), (4.0, 50.0), (1.0, 60.0)]);
        assert_eq!(history.rates().slots, [60.0, 50.0, 50.0, 50.0, 50.0, 30.0, 20.0, 10.0]);
    }

    #[test]
    fn what_came_before_the_first_report_counts_too_and_memory_is_bounded() {
        let mut history = History::default();
        (0..1000).for_each(|_| history.push(0.5, 7.0));
        history.push(1.0, 8.0);
        history.report(1.0);
        assert_eq!(history.rates().slots[..3], [8.0, 7.0, 7.0]);
        assert_eq!((history.rates().slots.len(), history.pieces.len()), (LONGEST, MOST));
    }
}
