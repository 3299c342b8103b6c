//! At which rate a backend went in the last while: by readings, and in slots as long as reports are apart.
//!
//! What is late by a few reports belongs to readings of before, each as long as its report was waited for. What is later
//! belongs to a time: a reading that waited for a report that did not come is several slots, looks without any report
//! are less than one.

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
    /// Since the last report; `None` before the first.
    waited: Option<f64>,
    /// Seconds and requests since the last report, or since there was no traffic.
    begun: (f64, f64),
    readings: VecDeque<f64>,
    slots: Vec<f64>,
}

/// Rates of before, newest first.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates<'a> {
    /// The last readings, at most [`SHORT`].
    pub(super) readings: &'a [f64],
    /// Slots as long as reports are apart, at most [`LONGEST`].
    pub(super) slots: &'a [f64],
    /// Seconds of a slot.
    pub(super) length: f64,
    /// There was traffic at each of the last [`SHORT`] looks.
    pub(super) is_busy: bool,
}

impl<'a> Rates<'a> {
    /// As they were at the report before.
    pub(super) fn before(self) -> Self {
        let readings = self.readings.get(1..).unwrap_or_default();
        Rates { readings, slots: self.slots.get(1..).unwrap_or_default(), ..self }
    }
}

impl History {
    /// So many seconds went by at this rate.
    pub(super) fn push(&mut self, seconds: f64, rate: f64) {
        self.pieces.truncate(MOST - 1);
        self.pieces.push_front((seconds, rate));
        self.waited = self.waited.map(|waited| waited + seconds);
        self.begun = (self.begun.0 + seconds, self.begun.1 + seconds * rate);
        // A report says nothing of an idle time before it; and before the first one, nobody knows what it is of.
        if rate <= 0.0 || self.waited.is_none() {
            self.begun = (seconds, seconds * rate);
            self.read();
        }
    }

    /// A report has come. Returns whether it is the second one, from which on it is known how far they are apart.
    pub(super) fn report(&mut self) -> bool {
        let is_second = self.waited.is_some() && self.apart.is_empty();
        if let Some(seconds) = self.waited.replace(0.0) {
            self.apart.truncate(REPORTS - 1);
            self.apart.push_front(seconds);
        }
        self.read();
        if is_second {
            // Looks before the first report were readings, for want of a better length.
            self.fill_slots(self.length());
            self.readings.clear();
            self.readings.extend(self.slots.iter().take(SHORT));
        }
        is_second
    }

    /// A reading ends.
    fn read(&mut self) {
        let (seconds, requests) = std::mem::take(&mut self.begun);
        if seconds > 0.0 {
            self.readings.truncate(SHORT - 1);
            self.readings.push_front(requests / seconds);
        }
    }

    /// As far back as is known, and as any lag reaches.
    pub(super) fn rates(&mut self) -> Rates<'_> {
        let length = self.length();
        self.fill_slots(length);
        let is_busy =
            self.pieces.len() >= SHORT && self.pieces.iter().take(SHORT).all(|(_, rate)| *rate > 0.0);
        Rates { readings: self.readings.make_contiguous(), slots: &self.slots, length, is_busy }
    }

    fn fill_slots(&mut self, length: f64) {
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
        // The most of a slot is one, too.
        if missing < length / 2.0 {
            self.slots.push(sum / (length - missing));
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
            history.report();
        }
        history
    }

    #[test]
    fn readings_are_as_they_were_and_slots_are_as_long_as_most_of_them() {
        let mut history = history(&[(1.01, 10.0), (0.99, 20.0), (1.0, 30.0), (1.02, 40.0), (1.0, 50.0)]);
        let Rates { readings, slots, .. } = history.rates();
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
    fn looks_without_a_report_are_of_the_reading_that_the_next_report_ends() {
        let mut history = history(&[(1.0, 10.0), (1.0, 20.0)]);
        history.push(10.0, 30.0);
        history.push(20.0, 60.0);
        history.report();
        assert_eq!(history.rates().readings, [50.0, 20.0, 10.0]);
        history.push(9.0, 0.0);
        history.push(1.0, 40.0);
        history.report();
        assert_eq!(history.rates().readings, [40.0, 0.0, 50.0, 20.0]);
        assert!((history.rates().length - 10.0).abs() < 1e-9, "the middle one of 1, 30 and 10");
    }

    #[test]
    fn what_came_before_the_first_report_counts_too_and_memory_is_bounded() {
        let mut history = History::default();
        (0..1000).for_each(|_| history.push(0.5, 7.0));
        history.push(1.0, 8.0);
        history.report();
        assert_eq!(history.rates().slots[..3], [8.0, 7.0, 7.0]);
        assert_eq!((history.rates().slots.len(), history.pieces.len()), (LONGEST, MOST));
    }
}
