//! Reads utilization from a page in Prometheus' text format: busy CPU of a node exporter, or a gauge by its name.
//!
//! Only lines of the wanted metric are looked into; the rest may be anything that is text. A page comes from outside
//! and is believed whole or not at all: a wanted line that is malformed discards it.

use std::collections::BTreeMap;

use crate::model::unit::Ratio;

/// What a node exporter counts: seconds per core and mode, since the machine started.
const CPU_SECONDS: &str = "node_cpu_seconds_total";

/// The longest line of a wanted metric, in bytes.
const MAX_LINE: usize = 4 * 1024;

/// The most series of a wanted metric.
const MAX_SERIES: usize = 32 * 1024;

/// Busy and all seconds of one core.
type Seconds = (f64, f64);

/// What is read from the pages of one endpoint. CPU time is read as the difference of two pages.
#[derive(Debug, Default)]
pub(super) struct Pages {
    cores: BTreeMap<Box<str>, Seconds>,
}

/// Why a page was discarded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is not what it should be; in words.
    Malformed(String),
    /// It is sound and does not have what is wanted; in words.
    Missing(String),
}

/// One sample of the wanted metric.
#[derive(Debug, PartialEq)]
struct Sample<'a> {
    /// Between the braces.
    labels: &'a str,
    value: f64,
}

impl Pages {
    /// The utilization that a page tells. `metric`: a gauge whose 1 is full, the mean where it has several series;
    /// `None`: busy CPU since the page before, all modes but idle. `Ok(None)`: the first page, or one that was made
    /// before the time has moved on.
    pub(super) fn read(&mut self, page: &str, metric: Option<&str>) -> Result<Option<Ratio>, Unread> {
        match metric {
            Some(name) => gauge(page, name).map(Some),
            None => self.busy(page),
        }
    }

    fn busy(&mut self, page: &str) -> Result<Option<Ratio>, Unread> {
        let mut cores: BTreeMap<Box<str>, Seconds> = BTreeMap::new();
        for sample in samples(page, CPU_SECONDS) {
            let Sample { labels, value } = sample?;
            let (Some(core), Some(mode)) = (label(labels, "cpu"), label(labels, "mode")) else {
                return Err(Unread::Malformed(format!("{CPU_SECONDS} without the labels cpu and mode")));
            };
            let (busy, all) = cores.entry(core.into()).or_default();
            *busy += if mode == "idle" { 0.0 } else { value };
            *all += value;
        }
        if cores.is_empty() {
            return Err(Unread::Missing(format!("the page has no {CPU_SECONDS}")));
        }
        let before = std::mem::replace(&mut self.cores, cores);
        // A core that came, or whose counters began anew, counts from the next page on.
        let passed = self.cores.iter().filter_map(|(core, (busy, all))| {
            let (old_busy, old_all) = before.get(core)?;
            (busy >= old_busy && all > old_all).then_some((busy - old_busy, all - old_all))
        });
        let (busy, all) = passed.fold((0.0, 0.0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        Ok((all > 0.0).then(|| Ratio::new((busy / all).min(1.0))))
    }
}

fn gauge(page: &str, name: &str) -> Result<Ratio, Unread> {
    let (mut sum, mut count) = (0.0, 0.0);
    for sample in samples(page, name) {
        // NaN is how an exporter says that it does not know.
        let value = sample?.value;
        if !value.is_nan() {
            sum += value;
            count += 1.0;
        }
    }
    if count == 0.0 {
        return Err(Unread::Missing(format!("the page has no value of {name}")));
    }
    let mean: f64 = sum / count;
    if mean.is_finite() && mean >= 0.0 {
        Ok(Ratio::new(mean))
    } else {
        Err(Unread::Malformed(format!("{name} is {mean}")))
    }
}

/// The samples of one metric.
fn samples<'a>(page: &'a str, name: &'a str) -> impl Iterator<Item = Result<Sample<'a>, Unread>> {
    let rests = page.lines().filter_map(move |line| {
        let rest = line.trim_start_matches([' ', '\t']).strip_prefix(name)?;
        // Not the beginning of a longer name.
        rest.starts_with(['{', ' ', '\t']).then_some(rest)
    });
    rests.take(MAX_SERIES + 1).enumerate().map(move |(index, rest)| {
        if index >= MAX_SERIES {
            return Err(Unread::Malformed(format!("more than {MAX_SERIES} series of {name}")));
        }
        let sample = if rest.len() > MAX_LINE { None } else { parsed(rest) };
        sample.ok_or_else(|| Unread::Malformed(format!("a line of {name} cannot be read")))
    })
}

/// What follows a name: `{label="value",…} value timestamp`, the first and the last if present.
fn parsed(rest: &str) -> Option<Sample<'_>> {
    let rest = rest.trim_start_matches([' ', '\t']);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inner) => {
            let end = end_of_labels(inner)?;
            (inner.get(..end)?, inner.get(end + 1..)?)
        }
        None => ("", rest),
    };
    let mut words = rest.split_ascii_whitespace();
    let value = number(words.next()?)?;
    match words.next() {
        None => {}
        // A comment may follow: an exemplar of OpenMetrics.
        Some(word) if word.starts_with('#') => {}
        Some(timestamp) => {
            timestamp.parse::<f64>().ok()?;
        }
    }
    Some(Sample { labels, value })
}

/// As Go writes numbers; counters and gauges alike.
fn number(word: &str) -> Option<f64> {
    match word {
        "+Inf" | "Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        // Rust reads more words than these.
        _ if word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) => word.parse().ok(),
        _ => None,
    }
}

/// Where the closing brace is: not inside a value.
fn end_of_labels(inner: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, byte) in inner.bytes().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'}' if !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

/// The value of a label, escapes left as they are.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let mut rest = labels;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (key, after) = rest.split_once('=')?;
        let value = after.trim_start_matches([' ', '\t']).strip_prefix('"')?;
        let mut is_escaped = false;
        let end = value.bytes().position(|byte| {
            let ends = byte == b'"' && !is_escaped;
            is_escaped = byte == b'\\' && !is_escaped;
            ends
        })?;
        if key.trim() == name {
            return value.get(..end);
        }
        rest = value.get(end + 1..)?;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A page of two cores, each with these seconds idle, in user mode and waiting.
    fn node(idle: f64, user: f64, wait: f64) -> String {
        let mut page = "# HELP node_cpu_seconds_total Seconds the CPUs spent in each mode.\n\
                        # TYPE node_cpu_seconds_total counter\n"
            .to_owned();
        for core in 0..2 {
            for (mode, value) in [("idle", idle), ("user", user), ("iowait", wait)] {
                page += &format!("node_cpu_seconds_total{{cpu=\"{core}\",mode=\"{mode}\"}} {value:e}\n");
            }
        }
        page + "node_cpu_seconds_total_of_another 7\nnode_load1 0.5\n"
    }

    #[test]
    fn busy_cpu_is_what_was_not_idle_since_the_page_before() {
        let mut pages = Pages::default();
        assert_eq!(pages.read(&node(100.0, 50.0, 1.0), None), Ok(None), "one page tells nothing");
        let busy = pages.read(&node(107.0, 52.0, 2.0), None).unwrap().unwrap();
        assert!((busy.get() - 0.3).abs() < 1e-9, "{busy:?}");
        assert_eq!(pages.read(&node(107.0, 52.0, 2.0), None), Ok(None), "no time has passed on that page");
        let idle = pages.read(&node(117.0, 52.0, 2.0), None).unwrap().unwrap();
        assert_eq!(idle, Ratio::ZERO);
    }

    #[test]
    fn a_machine_that_started_anew_counts_from_the_next_page_on() {
        let mut pages = Pages::default();
        pages.read(&node(1000.0, 500.0, 0.0), None).unwrap();
        assert_eq!(pages.read(&node(1.0, 1.0, 0.0), None), Ok(None));
        let busy = pages.read(&node(2.0, 2.0, 0.0), None).unwrap().unwrap();
        assert!((busy.get() - 0.5).abs() < 1e-9);
    }

    #[test]
    fn a_gauge_is_the_mean_over_its_series() {
        let page = "busy 0.5\nbusy_seconds 9\nqueue{room=\"a}b\\\"c\", shelf=\"1\",} 0.25 1700000000000\r\n\
                    queue { room = \"b\" } +0.75 # {trace=\"x\"} 1\nqueue{room=\"c\"} NaN\n# queue 9\n";
        let read = |name| Pages::default().read(page, Some(name));
        assert_eq!(read("busy"), Ok(Some(Ratio::new(0.5))));
        assert_eq!(read("queue"), Ok(Some(Ratio::new(0.5))));
        assert!(matches!(read("gone"), Err(Unread::Missing(_))));
    }

    #[test]
    fn a_wanted_line_that_cannot_be_read_discards_the_page() {
        let long = format!("m{{a=\"{}\"}} 1", "x".repeat(MAX_LINE));
        for page in ["m", "m ", "m{a=\"b} 1", "m one", "m 1 then", "m infinity", "m -1", "m +Inf", &long] {
            let read = Pages::default().read(page, Some("m"));
            let is_bare = page == "m";
            assert!(
                matches!(&read, Err(Unread::Malformed(_)) if !is_bare)
                    || matches!(&read, Err(Unread::Missing(_)) if is_bare),
                "{page}: {read:?}"
            );
        }
        let no_mode = "node_cpu_seconds_total{cpu=\"0\"} 1";
        assert!(matches!(Pages::default().read(no_mode, None), Err(Unread::Malformed(_))));
        assert!(matches!(Pages::default().read("<html>", None), Err(Unread::Missing(_))));
    }

    #[test]
    fn a_page_with_too_many_series_is_discarded() {
        let page = "m 1\n".repeat(MAX_SERIES);
        assert_eq!(Pages::default().read(&page, Some("m")), Ok(Some(Ratio::ONE)));
        assert!(Pages::default().read(&(page + "m 1\n"), Some("m")).is_err());
    }

    proptest! {
        #[test]
        fn nothing_from_outside_panics(
            lines in prop::collection::vec("(m|node_cpu_seconds_total)?[{ ]?[a-z\"=\\\\, é}]{0,12}[0-9.eN+-]{0,6} ?#?", 0..6),
        ) {
            let mut pages = Pages::default();
            let page = lines.join("\n");
            for metric in [None, Some("m"), None] {
                if let Ok(Some(value)) = pages.read(&page, metric) {
                    prop_assert!(value.get().is_finite());
                }
            }
        }
    }
}
