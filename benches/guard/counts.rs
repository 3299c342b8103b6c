//! `counts.txt`: what each thing cost when it was last renewed, and with what it was built and counted.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::counting::first_line;

/// A figure above its stored one by more than this part of it fails.
const TOLERANCE: f64 = 0.03;
/// And by more than so many instructions: of a short function, a few per cent are less than one.
const SLACK: u64 = 3;
const RENEW: &str = "cargo bench --profile guard --bench guard -- --renew";
/// Of what is printed as it is counted.
pub(crate) const HEADING: &str = "| instructions | stored | now | |\n|---|---|---|---|";

/// With what the counts were made; other ones give other counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made {
    /// Name, and what it is, in the order of the file.
    with: [(&'static str, String); 4],
}

impl Made {
    pub(crate) fn here(valgrind: String) -> Result<Self, String> {
        let rustc =
            first_line(Command::new("rustc").arg("--version")).ok_or("rustc does not say its version")?;
        let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        // .../PROFILE/deps/guard-…
        let profile = program.ancestors().nth(2).and_then(|path| path.file_name());
        let profile = profile.map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let with = [("rustc", rustc), ("valgrind", valgrind), ("machine", machine()), ("profile", profile)];
        Ok(Self { with })
    }

    fn read(text: &str) -> Self {
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix("# ")?.strip_prefix(name));
            line.map_or(String::new(), |rest| rest.trim_start_matches(':').trim().to_owned())
        };
        Self { with: ["rustc", "valgrind", "machine", "profile"].map(|name| (name, value(name))) }
    }

    pub(crate) fn print_differences(&self, stored: &Self) {
        for ((name, now), (_, then)) in self.with.iter().zip(&stored.with).filter(|(a, b)| a != b) {
            println!(
                "{name}: {now} here, the stored counts are of {then}: differences are shown, nothing fails"
            );
        }
    }
}

fn is_above(then: u64, now: u64) -> bool {
    now > then + SLACK && now as f64 > then as f64 * (1.0 + TOLERANCE)
}

/// Libraries and compilers choose code by what the processor can do.
fn machine() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let flags = cpu.lines().find(|line| line.starts_with("flags")).unwrap_or_default();
    let has = |name: &str| flags.split(' ').any(|flag| flag == name);
    let extensions = ["avx2", "aes", "sha_ni"].into_iter().filter(|name| has(name));
    format!("{} {}", env::consts::ARCH, extensions.collect::<Vec<_>>().join(" ")).trim().to_owned()
}

/// Instructions by name.
pub(crate) struct Counts {
    pub(crate) made: Made,
    of: BTreeMap<String, u64>,
}

impl Counts {
    pub(crate) fn new(made: Made) -> Self {
        Self { made, of: BTreeMap::new() }
    }

    fn file() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("benches/guard/counts.txt")
    }

    /// The stored ones; none when there is no file.
    pub(crate) fn read() -> Result<Self, String> {
        let text = fs::read_to_string(Self::file()).unwrap_or_default();
        let mut of = BTreeMap::new();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (count, name) = line.trim().split_once("  ").ok_or(format!("counts.txt: `{line}`"))?;
            let count = count.parse().map_err(|_| format!("counts.txt: `{count}` is no number"))?;
            of.insert(name.trim().to_owned(), count);
        }
        Ok(Self { made: Made::read(&text), of })
    }

    pub(crate) fn write(&self) -> Result<(), String> {
        let mut text = format!(
            "# Instructions, each a proxied request or one call of a function. Renewed by\n# {RENEW}\n"
        );
        for (name, value) in &self.made.with {
            let _ = writeln!(text, "# {name}: {value}");
        }
        for (name, count) in &self.of {
            let _ = writeln!(text, "{count:>8}  {name}");
        }
        fs::write(Self::file(), text).map_err(|error| format!("cannot write counts.txt: {error}"))?;
        println!("\ncounts.txt is renewed");
        Ok(())
    }

    /// Takes one and shows it beside what is stored.
    pub(crate) fn add(&mut self, name: &str, now: u64, stored: &Self) {
        let beside = stored.of.get(name).map(|then| (*then, 100.0 * (now as f64 / *then as f64 - 1.0)));
        let (then, change) = beside.map_or((String::new(), "new".to_owned()), |(then, change)| {
            (then.to_string(), format!("{change:+.1} %"))
        });
        println!("| {name} | {then} | {now} | {change} |");
        self.of.insert(name.to_owned(), now);
    }

    /// Whether so many are too many beside the stored ones.
    pub(crate) fn is_exceeded(&self, name: &str, now: u64) -> bool {
        self.of.get(name).is_some_and(|then| is_above(*then, now))
    }

    /// Whether nothing has grown beyond the tolerance; says what has. With `all`, nothing may be missing or new either.
    pub(crate) fn holds_against(&self, stored: &Self, all: bool) -> bool {
        let pairs = || self.of.iter().filter_map(|(name, now)| Some((name, *now, *stored.of.get(name)?)));
        let grown: Vec<_> = pairs().filter(|(_, now, then)| is_above(*then, *now)).collect();
        let shrunk = pairs().filter(|(_, now, then)| is_above(*now, *then)).count();
        println!();
        for (name, now, then) in &grown {
            println!("GROWN: {name}: {then} to {now} instructions, more than {:.0} %", 100.0 * TOLERANCE);
        }
        // What has lost half of its instructions does not do its work, or deserves a new figure.
        let halved: Vec<_> = pairs().filter(|(_, now, then)| now.saturating_mul(2) < *then).collect();
        for (name, now, then) in &halved {
            println!("HALVED: {name}: {then} to {now} instructions");
        }
        let unknown: Vec<_> = self.of.keys().filter(|name| !stored.of.contains_key(*name)).collect();
        let gone: Vec<_> = stored.of.keys().filter(|name| all && !self.of.contains_key(*name)).collect();
        unknown.iter().for_each(|name| println!("NOT STORED: {name}"));
        gone.iter().for_each(|name| println!("GONE: {name}"));
        let is_good = grown.is_empty() && halved.is_empty() && unknown.is_empty() && gone.is_empty();
        if !is_good || shrunk > 0 {
            println!("{shrunk} cost less than is stored. When it is meant to be so: {RENEW}");
        }
        let is_comparable = self.made == stored.made || stored.of.is_empty();
        if !is_comparable {
            println!("Not the tools that the counts were made with: nothing fails for it");
        }
        is_good || !is_comparable
    }
}
