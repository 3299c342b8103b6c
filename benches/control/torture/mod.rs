//! Random changes of a running `overspill serve`, by its API and in its file, with crashes in between. After each step:
//! what was acknowledged is there, what was refused is not, in the API and in the file; the file parses, is byte for
//! byte what it was outside the changed entry, and keeps its comments; nothing lies beside it.

pub(crate) mod api;
pub(crate) mod calls;
pub(crate) mod chance;
pub(crate) mod crash;
pub(crate) mod editor;
pub(crate) mod edits;
pub(crate) mod load;
pub(crate) mod model;
#[path = "../../compare/process.rs"]
#[allow(dead_code)]
pub(crate) mod process;
pub(crate) mod resources;
pub(crate) mod wrk;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value as Json;

use self::api::{Answer, Api, PROJECT};
use self::calls::{Body, Call, Calls, Expected, place};
use self::chance::Chance;
use self::edits::{entries, replaced};
use self::load::Load;
use self::model::{COLLECTIONS, Model};
use self::process::{Server, TempDir};
use self::wrk::{Seen, Wrk};

/// For what the process does by itself, such as taking an edit; only a fault takes as long.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(5);

/// What is asked of the API, as it goes over the wire: method, path, content type, body.
type Request = (&'static str, String, &'static str, String);

/// What the API and the file should say.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    model: Model,
    text: Text,
}

/// And the file, byte for byte.
#[derive(Clone, Debug)]
enum Text {
    /// All of a batch, which has several resources.
    Any,
    Is(String),
    /// What it was but for one entry: a collection and a name.
    Outside(String, (&'static str, String)),
}

/// A process, its file, and what both should say.
pub(crate) struct Torture {
    chance: Chance,
    api: Api,
    model: Model,
    text: String,
    notes: Vec<String>,
    spare: Vec<SocketAddr>,
    dir: TempDir,
    front: SocketAddr,
    admin: SocketAddr,
    server: Option<Server>,
    wrk: Option<Wrk>,
    has_wrk: bool,
    pub(crate) load: Load,
    pub(crate) counts: Counts,
    /// What the last step was, for people.
    pub(crate) doing: String,
}

/// So far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) changes: u64,
    pub(crate) refused: u64,
    pub(crate) edits: u64,
    pub(crate) at_once: u64,
    /// Changes of the API that an edit without them has replaced.
    pub(crate) replaced: u64,
    pub(crate) broken: u64,
    pub(crate) kills: u64,
    /// Kills after which the file was as before, and as after, a change under way.
    pub(crate) before: u64,
    pub(crate) after: u64,
    pub(crate) wrk: Seen,
}

impl Torture {
    /// `members`: five that are well. `pause`: between two requests of a client.
    pub(crate) fn start(
        seed: u64,
        members: &[SocketAddr],
        [front, admin]: [SocketAddr; 2],
        (has_wrk, pause): (bool, Duration),
    ) -> Result<Self, String> {
        let dir = TempDir::new()?;
        let text = model::base(front, members);
        dir.write("conf/lb.yaml", &text)?;
        let mut torture = Self {
            chance: Chance::new(seed),
            api: Api::new(admin),
            model: Model::of(&text)?,
            notes: text.lines().filter_map(|line| Some(line[line.find("# note-")?..].to_owned())).collect(),
            text,
            spare: members.iter().skip(3).copied().collect(),
            dir,
            front,
            admin,
            server: None,
            wrk: None,
            has_wrk,
            load: Load::idle(front, pause),
            counts: Counts::default(),
            doing: String::new(),
        };
        torture.serve()?;
        torture.stays()?;
        Ok(torture)
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(Server::pid)
    }

    /// One step; what it finds wrong, with what the process said.
    pub(crate) fn step(&mut self, turn: usize, may_crash: bool) -> Result<(), String> {
        let kind = self.chance.below(100);
        let done = match kind {
            0..4 if may_crash => self.crash_idle(),
            4..8 if may_crash => self.crash_in_change(),
            8..10 if may_crash => self.crash_in_both(turn),
            10..60 => self.change(),
            60..80 => self.edit(turn),
            80..94 => self.both(turn),
            94..97 => self.broken(),
            _ => self.change(),
        };
        done.and_then(|()| self.nothing_failed()).map_err(|why| {
            let said = fs::read_to_string(self.dir.path().join("overspill.out")).unwrap_or_default();
            let tail: Vec<_> = said.lines().rev().take(40).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            format!("{why}\nstep {turn}: {}\nthe process said:\n{}", self.doing, tail.join("\n"))
        })
    }

    /// No request but those of the crashes.
    pub(crate) fn nothing_failed(&self) -> Result<(), String> {
        match self.load.failures() {
            failures if failures.is_empty() => Ok(()),
            failures => Err(format!("requests failed: {failures:?}")),
        }
    }

    /// Ends the loads; the failures of wrk.
    pub(crate) fn finish(&mut self) -> Result<(), String> {
        self.stop_wrk()?;
        self.load.goes_down();
        if self.counts.wrk.failed > 0 {
            return Err(format!("wrk saw {} requests fail", self.counts.wrk.failed));
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("conf/lb.yaml")
    }

    fn on_disk(&self) -> Result<String, String> {
        fs::read_to_string(self.path()).map_err(|error| format!("the file cannot be read: {error}"))
    }

    fn calls(&mut self) -> Calls<'_> {
        Calls { chance: &mut self.chance, model: &self.model, spare: &self.spare }
    }

    /// As the request goes over the wire.
    fn request(&mut self, call: &Call) -> Result<Request, String> {
        let path = format!("{PROJECT}/{}", call.path);
        let json = "application/json";
        Ok(match &call.body {
            Body::Text(text) => (call.method, path, json, text.clone()),
            Body::OnView(overlay) => {
                let mut view = self.api.get(&call.path)?;
                for (key, value) in overlay.as_object().into_iter().flatten() {
                    match (value, view.as_object_mut()) {
                        (Json::Null, Some(fields)) if call.method == "PUT" => drop(fields.remove(key)),
                        _ => view[key] = value.clone(),
                    }
                }
                (call.method, path, json, view.to_string())
            }
            Body::Batch(paths) => {
                let part = |(index, path): (usize, &String)| {
                    format!(
                        "--b\r\nContent-Type: application/http\r\nContent-ID: <{index}>\r\n\r\n\
                         DELETE {PROJECT}/{path} HTTP/1.1\r\n\r\n\r\n"
                    )
                };
                let parts: String = paths.iter().enumerate().map(part).collect();
                (
                    "POST",
                    "/batch/compute/v1".to_owned(),
                    "multipart/mixed; boundary=b",
                    format!("{parts}--b--\r\n"),
                )
            }
        })
    }

    fn send(&mut self, (method, path, kind, body): &Request) -> Result<Answer, String> {
        self.doing = format!("{}\n{method} {path}\n{body}", self.doing);
        self.api.ask(method, path, kind, body)
    }

    fn change(&mut self) -> Result<(), String> {
        self.doing = "a change".to_owned();
        let call = self.calls().any();
        let request = self.request(&call)?;
        let (status, said) = self.send(&request)?;
        self.judge(call.expected, (status, &said))
    }

    /// What was acknowledged is there at once.
    fn judge(&mut self, expected: Expected, (status, said): (u16, &str)) -> Result<(), String> {
        let before = self.text.clone();
        match expected {
            Expected::Done(model, touched) if status == 200 => {
                self.counts.changes += 1;
                let text =
                    if model == self.model { Text::Is(before) } else { Text::Outside(before, touched) };
                self.settle(&[Wanted { model, text }], Duration::ZERO)
            }
            Expected::Refused(statuses) if statuses.contains(&status) => {
                self.counts.refused += 1;
                let model = self.model.clone();
                self.settle(&[Wanted { model, text: Text::Is(before) }], Duration::ZERO)
            }
            Expected::Each(model, statuses) if status == 200 => {
                let lines = said.lines().filter_map(|line| line.strip_prefix("HTTP/1.1 ")?.split(' ').next());
                let found: Vec<u16> = lines.filter_map(|status| status.parse().ok()).collect();
                if found != statuses {
                    return Err(format!("a batch was answered {found:?}, not {statuses:?}: {said}"));
                }
                self.counts.changes += 1;
                self.settle(&[Wanted { model, text: Text::Any }], Duration::ZERO)
            }
            _ => Err(format!("answered {status}: {said}")),
        }
    }

    /// Waits until the API and the file say one of these. Without patience, one look.
    fn settle(&mut self, wanted: &[Wanted], patience: Duration) -> Result<(), String> {
        let end = Instant::now() + patience;
        loop {
            let differences = self.differences(wanted)?;
            if let Some(found) = differences.iter().position(Option::is_none) {
                self.model = wanted[found].model.clone();
                return self.sound();
            }
            if Instant::now() >= end {
                return Err(format!("not as it should be: {differences:#?}\n{}", self.on_disk()?));
            }
            sleep(LOOK);
        }
    }

    /// Everything is as it was.
    fn stays(&mut self) -> Result<(), String> {
        let wanted = Wanted { model: self.model.clone(), text: Text::Is(self.text.clone()) };
        self.settle(&[wanted], PATIENCE)
    }

    /// For each, what is otherwise.
    fn differences(&mut self, wanted: &[Wanted]) -> Result<Vec<Option<String>>, String> {
        let text = self.on_disk()?;
        let difference = |wanted: &Wanted| {
            let in_text = || match &wanted.text {
                Text::Any => None,
                Text::Is(should) => same(should, &text).err(),
                Text::Outside(before, touched) => untouched(before, &text, touched).err(),
            };
            wanted.model.differs_from_file(&text).or_else(in_text)
        };
        let mut differences: Vec<_> = wanted.iter().map(difference).collect();
        for collection in COLLECTIONS {
            let list = self.list(collection)?;
            for (wanted, difference) in wanted.iter().zip(&mut differences) {
                if difference.is_none() {
                    *difference = wanted.model.differs_from_view(collection, &list);
                }
            }
        }
        self.text = text;
        Ok(differences)
    }

    fn list(&mut self, collection: &str) -> Result<Json, String> {
        let mut list = self.api.get(&place(collection, &Json::Null))?;
        if let Some(instances) = list["items"].as_array_mut().filter(|_| collection == "instances") {
            // Members that a group has with their addresses are shown as instances too.
            instances.retain(|instance| instance["name"] != "a" && instance["name"] != "b");
        }
        if collection == "networkEndpointGroups" {
            let far = self.api.get("zones/europe-west1-b/networkEndpointGroups")?;
            let items = far["items"].as_array().cloned().unwrap_or_default();
            if let Some(near) = list["items"].as_array_mut() {
                near.extend(items);
            }
        }
        Ok(list)
    }

    /// The file is good, has its comments, and is alone.
    fn sound(&mut self) -> Result<(), String> {
        if let Some(note) = self.notes.iter().find(|note| !self.text.contains(*note)) {
            return Err(format!("the comment {note:?} is gone:\n{}", self.text));
        }
        check(&self.path())?;
        let end = Instant::now() + PATIENCE;
        loop {
            // A late edit is put in its place and what it replaced is taken away a moment later.
            let beside = self.beside();
            if beside.is_empty() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("beside the file: {beside:?}"));
            }
            sleep(LOOK);
        }
    }

    fn beside(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.path().join("conf")).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| name != "lb.yaml" && name != "edited.yaml").collect()
    }
}

/// `overspill check`.
fn check(file: &Path) -> Result<(), String> {
    let output = Command::new(env!("CARGO_BIN_EXE_overspill")).arg("check").arg(file).output();
    let output = output.map_err(|error| format!("check cannot be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("check says {}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat())))
}

fn same(before: &str, after: &str) -> Result<(), String> {
    if before == after {
        return Ok(());
    }
    Err(format!("the file is another than it should be:\n{before}\n--- but\n{after}"))
}

/// What stands outside the changed entry is byte for byte as it was.
fn untouched(before: &str, after: &str, (collection, name): &(&'static str, String)) -> Result<(), String> {
    let outside = |text: &str| {
        let entry = entries(text, collection)?.into_iter().find(|entry| entry.name == *name);
        Ok::<_, String>(entry.map_or_else(|| text.to_owned(), |entry| replaced(text, &entry.lines, "")))
    };
    if outside(before)? == outside(after)? {
        return Ok(());
    }
    Err(format!("more than {collection} {name} has changed in the file:\n{before}\n--- now\n{after}"))
}
