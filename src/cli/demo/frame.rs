//! What a demo shows: pure functions from figures to text, at most 79 columns wide.

use std::fmt::Write as _;
use std::time::Duration;

/// Everything that a moment shows.
#[derive(Debug, Clone, Default)]
pub(super) struct Frame {
    /// Seconds since the start, and of the whole.
    pub(super) elapsed: f64,
    pub(super) total: f64,
    /// Number of the act from 1, of how many, and what is seen in it.
    pub(super) phase: (usize, usize),
    pub(super) sentence: &'static str,
    pub(super) groups: Vec<Group>,
    pub(super) clients: Clients,
    /// The file, and which generation of it serves.
    pub(super) file: String,
    pub(super) generation: u64,
    /// Why the last edit was refused.
    pub(super) refusal: Option<String>,
    pub(super) proxy: String,
    pub(super) admin: String,
}

/// A backend.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) region: String,
    pub(super) name: String,
    pub(super) scaler: f64,
    /// Requests per second; infinite = not limited.
    pub(super) capacity: f64,
    pub(super) rate: f64,
    /// Not finite = unknown, or nothing is allowed.
    pub(super) fullness: f64,
    /// Requests per second that came here because nearer groups had no room, with the reason.
    pub(super) spill: Option<(f64, &'static str)>,
    pub(super) members: Vec<Member>,
}

/// One of its members.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) is_healthy: bool,
    /// As clients count it.
    pub(super) rate: f64,
}

/// What clients saw.
#[derive(Debug, Clone, Default)]
pub(super) struct Clients {
    /// Per second: sent, and answered.
    pub(super) sent: f64,
    pub(super) answered: f64,
    /// Since the start.
    pub(super) requests: u64,
    pub(super) errors: u64,
    /// Of the last second.
    pub(super) p50: Option<Duration>,
    pub(super) p99: Option<Duration>,
}

const WIDTH: usize = 77;
const BAR: usize = 40;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const CYAN: &str = "\x1b[36m";
const PLAIN: &str = "\x1b[0m";

/// A screen; the caller clears what is behind each line.
pub(super) fn live(frame: &Frame) -> String {
    let mut out = String::new();
    let clock = format!("{:.0} s of {:.0} s", frame.elapsed.min(frame.total), frame.total);
    let _ = writeln!(out, " {BOLD}Overspill demo{PLAIN}{clock:>width$}\n", width = WIDTH - 14);
    let (number, count) = frame.phase;
    let lines = wrapped(&format!("{number}/{count}: {}", frame.sentence), WIDTH);
    for place in 0..3 {
        let _ = writeln!(out, " {CYAN}{}{PLAIN}", lines.get(place).map_or("", String::as_str));
    }
    for group in &frame.groups {
        out.push('\n');
        live_group(&mut out, group);
    }
    let c = &frame.clients;
    let color = if c.errors == 0 { GREEN } else { RED };
    let _ = writeln!(
        out,
        "\n {BOLD}Clients{PLAIN}  send {:.0}/s, get {:.0}/s, {color}{}{PLAIN} of {} requests\n          p50 {}   p99 {}\n",
        c.sent,
        c.answered,
        counted(c.errors, "error"),
        c.requests,
        time(c.p50),
        time(c.p99),
    );
    let _ = writeln!(
        out,
        " {DIM}Edit it while it runs:{PLAIN} {} {DIM}(generation {}){PLAIN}",
        frame.file, frame.generation
    );
    let _ = writeln!(
        out,
        " {DIM}Dashboard{PLAIN} {}  {DIM}Proxy{PLAIN} {}  {DIM}Ctrl-C ends{PLAIN}",
        frame.admin, frame.proxy
    );
    let refusal =
        frame.refusal.as_ref().map(|why| format!("The last edit was refused and changes nothing: {why}"));
    for line in wrapped(&refusal.unwrap_or_default(), WIDTH) {
        let _ = writeln!(out, " {RED}{line}{PLAIN}");
    }
    out
}

fn live_group(out: &mut String, group: &Group) {
    let state = if group.scaler > 0.0 {
        format!("capacityScaler {}", group.scaler)
    } else {
        format!("{YELLOW}capacityScaler 0: drained{PLAIN}")
    };
    let _ = writeln!(
        out,
        " {BOLD}{}{PLAIN} in {}   {DIM}{}, {PLAIN}{state}",
        group.name,
        group.region,
        target(group)
    );
    let full = if group.fullness.is_finite() { group.fullness } else { 0.0 };
    let color = if full > 1.05 {
        RED
    } else if full > 0.97 {
        YELLOW
    } else {
        GREEN
    };
    let percent =
        if group.fullness.is_finite() { format!("{:3.0} %", full * 100.0) } else { "  –  ".to_owned() };
    let _ = writeln!(out, "   {color}{}{PLAIN} {percent}  {:6.1} requests/s", bar(full), group.rate);
    let mut members = String::from("   ");
    for member in &group.members {
        let (color, word) = if member.is_healthy { (GREEN, "healthy") } else { (RED, "UNHEALTHY") };
        let _ = write!(members, "{} {color}{word:<9}{PLAIN} {:5.1}/s    ", member.name, member.rate);
    }
    out.push_str(members.trim_end());
    out.push('\n');
    match group.spill {
        Some((rate, reason)) => {
            let _ = writeln!(out, "   {YELLOW}{rate:.1}/s spilled here: nearer is {reason}{PLAIN}");
        }
        None => out.push('\n'),
    }
}

/// One line for a log.
pub(super) fn plain(frame: &Frame) -> String {
    let c = &frame.clients;
    let mut out = format!("{:4.0} s  sent {:3.0}/s", frame.elapsed, c.sent);
    for group in &frame.groups {
        let healthy = group.members.iter().filter(|m| m.is_healthy).count();
        let _ = write!(out, " | {} {:5.1}/s", group.name, group.rate);
        if group.fullness.is_finite() {
            let _ = write!(out, " {:3.0} % full", group.fullness * 100.0);
        }
        let _ = write!(out, ", scaler {}, healthy {healthy}/{}", group.scaler, group.members.len());
        if let Some((rate, reason)) = group.spill {
            let _ = write!(out, ", spilled {rate:.1}/s ({reason})");
        }
    }
    let _ = write!(out, " | {} | p50 {} p99 {}", counted(c.errors, "error"), time(c.p50), time(c.p99));
    if let Some(why) = &frame.refusal {
        let _ = write!(out, " | edit refused: {why}");
    }
    out
}

/// The last words; `served` says how many requests each group got.
pub(super) fn summary(frame: &Frame, served: &[(String, u64)]) -> String {
    let c = &frame.clients;
    let mut out = format!("\n{} requests, {}.", c.requests, counted(c.errors, "error"));
    for (group, requests) in served {
        let _ = write!(out, " {group} served {requests}.");
    }
    out.push_str(
        "\n\nNext things to try, each after `overspill`:\n  \
         run 3000 3001                         balance over two servers of your own\n  \
         run 3000,rate=50 europe-west1-b=3001  the first gets 50/s, the rest spills\n  \
         run --print-config 3000 3001          a configuration to start from\n  \
         backend --listen 127.0.0.1:3000       a toy server to balance over\n  \
         check FILE                            all that is wrong with a file\n  \
         serve -c FILE                         run it; edits take effect at once\n",
    );
    out
}

/// What a group is filled up to.
fn target(group: &Group) -> String {
    if group.capacity.is_finite() {
        format!("up to {:.0} requests/s", group.capacity)
    } else {
        "no limit".to_owned()
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
fn bar(full: f64) -> String {
    let filled = (full.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    "█".repeat(filled) + &"░".repeat(BAR - filled)
}

fn time(latency: Option<Duration>) -> String {
    latency.map_or_else(|| "–".to_owned(), |t| format!("{:.1} ms", t.as_secs_f64() * 1e3))
}

fn counted(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// `text` in lines of at most `width` characters, broken at spaces.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        let member = |name: &str, is_healthy, rate| Member { name: name.to_owned(), is_healthy, rate };
        let near = Group {
            region: "us-central1".to_owned(),
            name: "near".to_owned(),
            scaler: 1.0,
            capacity: 100.0,
            rate: 100.0,
            fullness: 1.0,
            spill: None,
            members: vec![member("www-1", false, 0.0), member("www-2", true, 100.0)],
        };
        let far = Group {
            region: "europe-west1".to_owned(),
            name: "far".to_owned(),
            scaler: 0.0,
            capacity: f64::INFINITY,
            rate: 50.0,
            fullness: f64::NAN,
            spill: Some((50.0, "full")),
            members: vec![member("www-3", true, 25.0)],
        };
        Frame {
            elapsed: 23.4,
            total: 60.0,
            phase: (2, 6),
            sentence: "One sentence that is long enough to be wrapped, since a terminal has only eighty columns or so.",
            groups: vec![near, far],
            clients: Clients {
                sent: 150.0,
                answered: 150.0,
                requests: 2345,
                errors: 0,
                p50: Some(Duration::from_micros(4_200)),
                p99: None,
            },
            file: "/tmp/demo.yaml".to_owned(),
            generation: 3,
            refusal: None,
            proxy: "http://127.0.0.1:8080/".to_owned(),
            admin: "http://127.0.0.1:9901/".to_owned(),
        }
    }

    fn without_color(text: &str) -> String {
        let mut parts = text.split('\x1b');
        let first = parts.next().unwrap_or("").to_owned();
        first + &parts.map(|part| part.split_once('m').map_or("", |(_, rest)| rest)).collect::<String>()
    }

    #[test]
    fn a_screen_shows_fill_spill_health_and_clients() {
        let text = without_color(&live(&frame()));
        for part in [
            "23 s of 60 s",
            "2/6: One sentence",
            "near in us-central1   up to 100 requests/s, capacityScaler 1",
            "████████████████████████████████████████ 100 %   100.0 requests/s",
            "www-1 UNHEALTHY   0.0/s    www-2 healthy   100.0/s",
            "far in europe-west1   no limit, capacityScaler 0: drained",
            "50.0/s spilled here: nearer is full",
            "send 150/s, get 150/s, 0 errors of 2345 requests",
            "p50 4.2 ms   p99 –",
            "/tmp/demo.yaml (generation 3)",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
    }

    #[test]
    fn a_refused_edit_is_shown_and_the_screen_keeps_its_height_otherwise() {
        let plain_height = live(&frame()).lines().count();
        let mut other = frame();
        other.sentence = "Short.";
        other.groups.iter_mut().for_each(|group| group.spill = None);
        assert_eq!(live(&other).lines().count(), plain_height);
        other.refusal = Some("line 3: unknown key".to_owned());
        assert!(without_color(&live(&other)).contains("refused and changes nothing: line 3: unknown key"));
    }

    #[test]
    fn a_plain_line_says_the_same() {
        let expected = "  23 s  sent 150/s | near 100.0/s 100 % full, scaler 1, healthy 1/2 | far  50.0/s, scaler 0, \
                        healthy 1/1, spilled 50.0/s (full) | 0 errors | p50 4.2 ms p99 –";
        assert_eq!(plain(&frame()), expected);
    }

    #[test]
    fn the_summary_counts_and_says_what_to_try() {
        let text = summary(&frame(), &[("near".to_owned(), 2000), ("far".to_owned(), 345)]);
        assert!(text.contains("2345 requests, 0 errors. near served 2000. far served 345."));
        assert!(text.contains("\n  run 3000 3001 ") && text.lines().all(|line| line.chars().count() < 80));
    }
}
