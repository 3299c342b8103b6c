//! `overspill simulate FILE --scenario S.yaml`: reads both, plays, and writes a table, CSV, a page or a summary.

mod autoscaler;
mod chart;
mod csv;
mod event;
mod flawed;
mod html;
mod read;
mod schema;
mod summary;
mod table;
mod view;

use std::io::Write as _;
use std::num::NonZero;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};

use super::args::{Format, Simulate, SimulatedAs};
use super::check::{self, BAD, GOOD, USAGE, render};
use crate::engine::files;
use crate::model::config::Config;
use crate::model::problem::{Problem, Severity};
use crate::model::unit::Span;
use crate::simulate::record::Record;
use crate::simulate::scenario::Scenario;
use crate::simulate::{self, Model, part};
pub use read::scenario;
pub use view::View;

/// Plays and writes. Returns the exit code: 0 done, 1 a file is wrong, 2 usage, or a file cannot be read or written.
#[must_use]
pub fn run(asked: &Simulate) -> u8 {
    match play(asked) {
        Ok(()) => GOOD,
        Err(code) => code,
    }
}

fn play(asked: &Simulate) -> Result<(), u8> {
    outputs_apart(asked)?;
    let text = read_file(&asked.file)?;
    let (resolved, _) = files::resolve(&text, &asked.file);
    let Some(config) = resolved.config else {
        return Err(refuse(&resolved.problems, &asked.file, &text));
    };
    let text = read_file(&asked.scenario)?;
    let scenario = scenario(&text, &config).map_err(|problems| refuse(&problems, &asked.scenario, &text))?;
    let scenario = overridden(asked, scenario)?;
    let model = match asked.model {
        SimulatedAs::Auto => Model::suited(&scenario),
        SimulatedAs::Requests => Model::Requests,
        SimulatedAs::Fluid => Model::Fluid,
    };
    let record = on_all_cores(&config, &scenario, model);
    let view = View { config: &config, scenario: &scenario, record: &record, model };
    if let Some(path) = &asked.csv {
        write_file(path, &csv::render(&view))?;
    }
    if let Some(path) = &asked.html {
        write_file(path, &html::render(&view))?;
    }
    let out = match asked.format {
        Format::Human => table::render(&view),
        Format::Json => summary::render(&view),
    };
    std::io::stdout().write_all(out.as_bytes()).map_err(|_| USAGE)
}

/// The same as [`simulate::run`], sooner: each core plays its parts of the scenario.
#[must_use]
pub fn on_all_cores(config: &Config, scenario: &Scenario, model: Model) -> Record {
    let parts = part::parts(&config.services, scenario);
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get).min(parts.len()).max(1);
    let of_core = |core: usize| -> Vec<Record> {
        parts.iter().skip(core).step_by(cores).map(|part| part.run(model)).collect()
    };
    let by_core: Vec<Vec<Record>> = std::thread::scope(|scope| {
        let of_core = &of_core;
        let others: Vec<_> = (1..cores).map(|core| scope.spawn(move || of_core(core))).collect();
        let own = of_core(0);
        let joined = others.into_iter().map(|other| other.join().unwrap_or_else(|why| resume_unwind(why)));
        std::iter::once(own).chain(joined).collect()
    });
    let mut by_core: Vec<_> = by_core.into_iter().map(Vec::into_iter).collect();
    let records = (0..parts.len()).filter_map(|n| by_core.get_mut(n % cores).and_then(Iterator::next));
    part::join(&parts, records.collect())
}

/// Every output of a run as text: the table, the CSV, the page and the summary.
#[must_use]
pub fn outputs(config: &Config, scenario: &Scenario, model: Model) -> [String; 4] {
    let record = simulate::run(&config.services, scenario, model);
    let view = View { config, scenario, record: &record, model };
    [table::render(&view), csv::render(&view), html::render(&view), summary::render(&view)]
}

/// Each output goes to a file of its own, which is none of those that are read.
fn outputs_apart(asked: &Simulate) -> Result<(), u8> {
    let named = [
        ("the configuration", Some(&asked.file)),
        ("--scenario", Some(&asked.scenario)),
        ("--csv", asked.csv.as_ref()),
        ("--html", asked.html.as_ref()),
    ];
    let mut before: Vec<(&str, PathBuf)> = Vec::new();
    for (what, path) in named {
        let Some(path) = path else { continue };
        let place = std::fs::canonicalize(path).or_else(|_| std::path::absolute(path));
        let place = place.unwrap_or_else(|_| path.clone());
        // A terminal or a pipe may well get both.
        let is_special = std::fs::metadata(&place).is_ok_and(|of| !of.is_file() && !of.is_dir());
        let is_output = matches!(what, "--csv" | "--html");
        if let Some((other, _)) = before.iter().find(|other| is_output && !is_special && other.1 == place) {
            return Err(complain(&format!("{other} and {what} are both {}", path.display())));
        }
        before.push((what, place));
    }
    Ok(())
}

/// The scenario with what the command line says instead.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn overridden(asked: &Simulate, scenario: Scenario) -> Result<Scenario, u8> {
    let (least, most) = (scenario.tick.as_secs(), scenario.duration.as_secs());
    let row = match asked.interval {
        Some(seconds) if !(least..=most).contains(&seconds) => {
            return Err(complain(&format!(
                "--interval {seconds} is not between {least}, a tick, and {most} seconds, the whole run"
            )));
        }
        Some(seconds) => Span((seconds * 1e9) as u64),
        None => scenario.row,
    };
    Ok(Scenario { row: row.max(scenario.tick), seed: asked.seed.unwrap_or(scenario.seed), ..scenario })
}

fn read_file(path: &Path) -> Result<String, u8> {
    check::text(path).map_err(|(why, code)| {
        let _ = std::io::stderr().write_all(why.as_bytes());
        code
    })
}

fn write_file(path: &Path, text: &str) -> Result<(), u8> {
    std::fs::write(path, text).map_err(|error| complain(&format!("cannot write {}: {error}", path.display())))
}

fn complain(why: &str) -> u8 {
    let _ = writeln!(std::io::stderr(), "overspill: {why}");
    USAGE
}

/// Errors go to standard error: standard output is the result's.
fn refuse(problems: &[Problem], path: &Path, text: &str) -> u8 {
    let errors: Vec<_> =
        problems.iter().filter(|problem| problem.severity == Severity::Error).cloned().collect();
    let shown = render(&errors, &path.display().to_string(), text);
    let _ = std::io::stderr().write_all(shown.as_bytes());
    BAD
}
