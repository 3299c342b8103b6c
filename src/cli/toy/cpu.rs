//! The CPU time of a toy's own serving threads, as Linux tells it.

use std::collections::VecDeque;
use std::path::PathBuf;

use crate::model::unit::{Span, Tick};

/// Utilization is that of about so long.
const WINDOW: Span = Span::secs(1);
/// Readings are at least so far apart: each costs a small file per thread.
const PAUSE: Span = Span::millis(50);

/// Reads, and remembers the last second.
#[derive(Debug, Default)]
pub(super) struct CpuMeter {
    /// One file per thread.
    threads: Vec<PathBuf>,
    /// When, and CPU time of all threads in ns; oldest first.
    readings: VecDeque<(Tick, u64)>,
    /// Busy cores over the last window.
    busy: Option<f64>,
}

impl CpuMeter {
    /// Counts the calling thread from now on. Where there is no such file, the meter knows nothing.
    pub(super) fn add_this_thread(&mut self) {
        let Ok(thread) = std::fs::read_link("/proc/thread-self") else { return };
        self.threads.push(PathBuf::from("/proc").join(thread).join("schedstat"));
    }

    /// CPU time of all threads so far, in ns.
    pub(super) fn used(&self) -> Option<u64> {
        if self.threads.is_empty() {
            return None;
        }
        self.threads.iter().map(|file| on_cpu(&std::fs::read_to_string(file).ok()?)).sum()
    }

    /// Busy cores over about the last second; `None` at the beginning and where nothing is known.
    pub(super) fn busy(&mut self, now: Tick) -> Option<f64> {
        if self.readings.back().is_none_or(|(last, _)| now.since(*last) >= PAUSE) {
            let used = self.used()?;
            self.take(now, used);
        }
        self.busy
    }

    #[allow(clippy::cast_precision_loss)]
    fn take(&mut self, now: Tick, used: u64) {
        self.readings.push_back((now, used));
        while self.readings.get(1).is_some_and(|(second, _)| now.since(*second) >= WINDOW) {
            self.readings.pop_front();
        }
        let Some((first, before)) = self.readings.front() else { return };
        let time = now.since(*first);
        if time > Span::ZERO {
            self.busy = Some(used.saturating_sub(*before) as f64 / time.0 as f64);
        }
    }
}

/// The first number of `schedstat`: time on a CPU, in ns.
fn on_cpu(text: &str) -> Option<u64> {
    text.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::float_cmp)]
mod tests {
    use super::*;
    use crate::model::unit::SECOND;

    #[test]
    fn busy_cores_are_those_of_the_last_second() {
        let mut meter = CpuMeter::default();
        for tenth in 0..=20 {
            // Half a core for a second, then a quarter.
            let used = if tenth <= 10 { tenth * 50 } else { 500 + (tenth - 10) * 25 };
            meter.take(Tick(tenth * SECOND / 10), used * 1_000_000);
            let busy = meter.busy.unwrap_or(0.5);
            assert!(if tenth <= 10 { busy == 0.5 } else { busy < 0.5 }, "{tenth}: {busy}");
        }
        assert_eq!(meter.busy, Some(0.25));
    }

    #[test]
    fn a_thread_that_spins_is_seen_to() {
        let mut meter = CpuMeter::default();
        meter.add_this_thread();
        let Some(before) = meter.used() else {
            println!("this system does not tell the CPU time of threads");
            return;
        };
        while meter.used().unwrap() < before + 20_000_000 {
            std::hint::spin_loop();
        }
        assert_eq!(CpuMeter::default().used(), None);
        assert_eq!((on_cpu("123 4 5\n"), on_cpu(""), on_cpu("x")), (Some(123), None, None));
    }
}
