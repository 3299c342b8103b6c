//! `overspill import FILE…`: what gcloud prints of load balancers, as one configuration.
//!
//! `input` reads texts into objects, `kind` tells what each is, `stock` keeps every resource once. `prepare` and
//! `clean` make it fit the schema and say what they take out. `members` puts machines into groups, `front` gives
//! forwarding rules addresses of this machine, `reference` makes names of URLs, and `write` writes it all down. The
//! result is then checked as any configuration is.

mod clean;
mod front;
mod input;
mod kind;
mod members;
mod node;
mod prepare;
mod reference;
mod said;
mod stock;
mod write;

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::Args;

pub use self::front::Listen;
pub use self::input::Input;
pub use self::said::Said;
use self::stock::Stock;
use super::check;
use crate::engine::files;
use crate::wire::yaml::MAX_BYTES;

/// `overspill import`.
#[derive(Debug, Args)]
pub struct Import {
    /// Outputs of `gcloud … describe`, `list` or `export`, in YAML or JSON; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Output of `instance-groups list-instances`, and the group that it is about; once for each group
    #[arg(long, value_name = "GROUP=FILE", value_parser = of_group)]
    pub instances_of: Vec<(String, PathBuf)>,
    /// Output of `network-endpoint-groups list-network-endpoints`, and the group that it is about; once for each group
    #[arg(long, value_name = "GROUP=FILE", value_parser = of_group)]
    pub endpoints_of: Vec<(String, PathBuf)>,
    /// Address instead of Google's for forwarding rules, or for one of them [default: 127.0.0.1]
    #[arg(long, value_name = "[RULE=]ADDR")]
    pub listen: Vec<Listen>,
    /// Zone where the proxy stands [default: that of the first group]
    #[arg(long)]
    pub zone: Option<String>,
    /// Collection of resources that do not say what they are, such as backendServices
    #[arg(long, value_name = "COLLECTION", value_parser = collection)]
    pub kind: Option<&'static str>,
    /// Write to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Replace the output file if it is there
    #[arg(long, requires = "output")]
    pub force: bool,
    /// Exit with 1 when something is not carried over or has to be filled in
    #[arg(long)]
    pub strict: bool,
}

/// What the user decides about an import.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Addresses of forwarding rules; the last one counts. 127.0.0.1 if none.
    pub listen: Vec<Listen>,
    /// Zone of the proxy; that of the first group if none.
    pub zone: Option<String>,
    /// Collection of resources that do not say what they are.
    pub kind: Option<&'static str>,
}

/// A configuration, and what has to be said about it.
#[derive(Debug)]
pub struct Made {
    /// The text of the configuration.
    pub text: String,
    /// What is not in it, and what is other than it was.
    pub said: Said,
}

/// Runs the command. Returns the exit code.
pub(super) fn run(import: &Import) -> u8 {
    match attempt(import) {
        Ok(code) => code,
        Err((lines, code)) => {
            complain(&lines.iter().map(|line| format!("overspill: {line}\n")).collect::<String>());
            code
        }
    }
}

fn attempt(import: &Import) -> Result<u8, (Vec<String>, u8)> {
    let usage = |why: String| (vec![why], check::USAGE);
    let inputs = inputs(import).map_err(|(why, code)| (vec![why], code))?;
    let wishes = Wishes { listen: import.listen.clone(), zone: import.zone.clone(), kind: import.kind };
    let made = make(&inputs, &wishes).map_err(|why| (why, check::BAD))?;
    let shown = match &import.output {
        Some(path) => {
            save(path, &made.text, import.force).map_err(usage)?;
            path.display().to_string()
        }
        None => {
            super::say(&made.text);
            "the configuration".to_owned()
        }
    };
    let origin = import.output.as_deref().unwrap_or(Path::new(""));
    let resolved = files::resolve(&made.text, origin).0;
    complain(&made.said.render());
    complain(&check::render(&resolved.problems, &shown, &made.text));
    let is_good = check::is_good(&resolved.problems, false) && (made.said.is_complete() || !import.strict);
    Ok(if is_good { check::GOOD } else { check::BAD })
}

/// Makes one configuration of all inputs.
///
/// # Errors
/// Why there is none, a sentence each: what cannot be read, what does not say what it is, and what stands twice with
/// different content.
pub fn make(inputs: &[Input], wishes: &Wishes) -> Result<Made, Vec<String>> {
    let objects = input::objects(inputs)?;
    let mut stock = Stock::default();
    stock.take(objects, inputs, wishes.kind);
    members::attach(&mut stock, inputs);
    front::place(&mut stock, &wishes.listen);
    if !stock.refused.is_empty() {
        return Err(stock.refused);
    }
    if stock.resources.is_empty() {
        let mut why = vec!["there is no resource in the inputs that could be carried over".to_owned()];
        why.extend(stock.said.lost);
        return Err(why);
    }
    let Stock { resources, mut said, .. } = stock;
    let resources = shorten(resources, &mut said);
    let zone = wishes.zone.clone().or_else(|| first_zone(&resources, &mut said));
    Ok(Made { text: write::text(&resources, inputs, zone.as_deref()), said })
}

fn shorten(mut resources: Vec<stock::Resource>, said: &mut Said) -> Vec<stock::Resource> {
    // Names are found among resources as they were; what is shortened is changed one by one.
    let names: Vec<_> = resources.iter().map(stock::Resource::named).collect();
    let index = reference::Index::new(&names);
    resources.iter_mut().for_each(|resource| reference::shorten(resource, &index, said));
    resources
}

/// The zone of the first group.
fn first_zone(resources: &[stock::Resource], said: &mut Said) -> Option<String> {
    let groups = resources.iter().filter(|resource| resource.collection.ends_with("Groups"));
    let Some(zone) = groups.filter_map(|group| node::last(&group.node, "zone")).next() else {
        said.miss("proxy.zone", "where the proxy stands; `--zone` says it");
        return None;
    };
    said.note("proxy.zone", &format!("{}, as the first group; `--zone` says another", said::shown(zone)));
    Some(zone.to_owned())
}

/// The texts of all files that were named.
fn inputs(import: &Import) -> Result<Vec<Input>, (String, u8)> {
    let plain = import.files.iter().map(|file| (None, file));
    let lists = import.instances_of.iter().chain(&import.endpoints_of);
    let all = plain.chain(lists.map(|(group, file)| (Some(group.clone()), file)));
    all.map(|(members_of, file)| {
        let (name, bytes) = if file.as_os_str() == "-" {
            ("standard input".to_owned(), read(std::io::stdin()))
        } else {
            (file.display().to_string(), std::fs::File::open(file).and_then(read))
        };
        let bytes = bytes.map_err(|error| (format!("cannot read {name}: {error}"), check::USAGE))?;
        let text = String::from_utf8(bytes).map_err(|_| (format!("{name} is not UTF-8 text"), check::BAD))?;
        Ok(Input { name, text, members_of })
    })
    .collect()
}

/// No more than can be used.
fn read(from: impl std::io::Read) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes the file; one that is there stays unless `may_replace`.
fn save(path: &Path, text: &str, may_replace: bool) -> Result<(), String> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true);
    if may_replace {
        options.truncate(true)
    } else {
        options.create_new(true)
    };
    options.open(path).and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| {
        let hint =
            if error.kind() == std::io::ErrorKind::AlreadyExists { "; `--force` replaces it" } else { "" };
        format!("cannot write {}: {error}{hint}", path.display())
    })
}

fn complain(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}

fn of_group(word: &str) -> Result<(String, PathBuf), String> {
    match word.split_once('=') {
        Some((group, file)) if !group.is_empty() && !file.is_empty() => Ok((group.to_owned(), file.into())),
        _ => Err(format!("`{word}` is no GROUP=FILE, such as ig1=instances.yaml")),
    }
}

fn collection(word: &str) -> Result<&'static str, String> {
    kind::ours(word).ok_or_else(|| format!("`{word}` is no collection such as backendServices or urlMaps"))
}

#[cfg(test)]
mod tests;
