//! What the command line says.

use std::env;
use std::path::{Path, PathBuf};

use super::process::is_installed;

pub(crate) const USAGE: &str = "\
cargo bench --bench compare [-- OPTIONS]
  --part NAME            rows (by itself), latency, memory, few, or all; may stand several times
  --only NAME            of the rows and of the memory's kinds, those with this in their names
  --rounds N             5; of each measurement
  --seconds S            5; length of one measurement
  --quick                one round of one second, and a tenth of the connections: proves that all works, measures nothing
  --overspill NAME=PATH  measure this binary of ours too, under this name; may stand several times
  --given-only           of ours, only the binaries that are given; so it is in a debug build anyway
  --peers NAME,NAME      of the others only these: nginx, haproxy, envoy, pingora, relay
  --pingora PATH         a proxy built on Pingora that takes `--listen ADDRESS --origin ADDRESS --threads N`
                         (`benches/compare/pingora` is one: cargo build --release in there)
ENVOY in the environment is Envoy's binary where it is not on the path.";

/// The build beside this program.
const BUILT: &str = env!("CARGO_BIN_EXE_overspill");

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Work by closed loops: the table of the README.
    Rows,
    /// Latency at a rate that does not ask what the proxy can do.
    Latency,
    /// What a connection, a stream and a slow reader take.
    Memory,
    /// Few connections on two workers.
    Few,
}

const PARTS: [(&str, Part); 4] =
    [("rows", Part::Rows), ("latency", Part::Latency), ("memory", Part::Memory), ("few", Part::Few)];

/// One of our binaries.
#[derive(Debug, Clone)]
pub(crate) struct Binary {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

pub(crate) struct Options {
    pub(crate) parts: Vec<Part>,
    pub(crate) rounds: usize,
    /// Length of one measurement.
    pub(crate) seconds: u64,
    pub(crate) is_quick: bool,
    only: Option<String>,
    /// Empty = all.
    peers: Vec<String>,
    /// Ours, in the order of the tables.
    pub(crate) binaries: Vec<Binary>,
    pub(crate) envoy: Option<PathBuf>,
    pub(crate) pingora: Option<PathBuf>,
}

impl Options {
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            parts: Vec::new(),
            rounds: 5,
            seconds: 5,
            is_quick: false,
            only: None,
            peers: Vec::new(),
            binaries: Vec::new(),
            envoy: envoy(),
            pingora: None,
        };
        // A debug build says nothing about what we cost.
        let mut is_built_wanted = !cfg!(debug_assertions);
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let mut value = || rest.next().ok_or(format!("{argument} wants a value"));
            let number = |text: &String| text.parse::<usize>().map_err(|_| format!("`{text}` is no number"));
            match argument.as_str() {
                "--bench" => {}
                "--quick" => (options.rounds, options.seconds, options.is_quick) = (1, 1, true),
                "--rounds" => options.rounds = number(value()?)?.max(1),
                "--seconds" => options.seconds = number(value()?)?.max(1) as u64,
                "--only" => options.only = Some(value()?.clone()),
                "--part" => options.parts.extend(parts(value()?)?),
                "--overspill" => options.binaries.push(binary(value()?)?),
                "--given-only" => is_built_wanted = false,
                "--peers" => options.peers.extend(value()?.split(',').map(str::to_owned)),
                "--pingora" => options.pingora = Some(program(value()?)?),
                other => return Err(format!("`{other}` is unknown\n{USAGE}")),
            }
        }
        if is_built_wanted {
            options.binaries.push(Binary { name: "overspill".to_owned(), path: BUILT.into() });
        }
        if options.binaries.is_empty() {
            return Err(
                "a debug build of ours is not worth measuring: name one by --overspill PATH".to_owned()
            );
        }
        if options.parts.is_empty() {
            options.parts.push(Part::Rows);
        }
        Ok(options)
    }

    /// Whether a row or kind of this name is wanted.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|word| name.contains(word.as_str()))
    }

    /// Whether this one of the others is wanted.
    pub(crate) fn wants_peer(&self, name: &str) -> bool {
        self.peers.is_empty() || self.peers.iter().any(|peer| peer == name)
    }

    /// A full run's number, or a tenth of it in a quick one.
    pub(crate) fn scaled(&self, number: usize) -> usize {
        if self.is_quick { number.div_ceil(10) } else { number }
    }

    /// The binary whose toy backend stands in for an origin that is not installed.
    pub(crate) fn toy(&self) -> &Path {
        self.binaries.first().map_or(Path::new(BUILT), |binary| &binary.path)
    }
}

fn parts(name: &str) -> Result<Vec<Part>, String> {
    if name == "all" {
        return Ok(PARTS.iter().map(|(_, part)| *part).collect());
    }
    let found = PARTS.iter().find(|(known, _)| *known == name);
    found.map(|(_, part)| vec![*part]).ok_or(format!("`{name}` is no part\n{USAGE}"))
}

/// `NAME=PATH`, or a path whose last part is the name.
fn binary(text: &str) -> Result<Binary, String> {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) => (name.to_owned(), program(path)?),
        None => {
            let path = program(text)?;
            (path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path)
        }
    };
    Ok(Binary { name, path })
}

/// Servers are started from other folders.
fn program(path: &str) -> Result<PathBuf, String> {
    std::fs::canonicalize(path).map_err(|error| format!("{path}: {error}"))
}

fn envoy() -> Option<PathBuf> {
    let named = env::var_os("ENVOY").map(PathBuf::from).filter(|path| path.exists());
    named.or_else(|| is_installed("envoy").then(|| PathBuf::from("envoy")))
}
