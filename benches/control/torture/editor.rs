//! Steps in which the file is edited, alone or at the moment of a change.

use std::fs;
use std::path::Path;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::calls::{Body, Call, Expected};
use super::edits::Edited;
use super::model::{COLLECTIONS, Model};
use super::{LOOK, PATIENCE, Text, Torture, Wanted, same};

impl Torture {
    pub(super) fn edit(&mut self, turn: usize) -> Result<(), String> {
        let edited = self.edited(turn)?;
        self.counts.edits += 1;
        let is_renamed = self.chance.percent(50);
        write(&self.path(), &edited.text, is_renamed)?;
        self.notes = edited.notes;
        self.settle(&[Wanted { model: edited.model, text: Text::Is(edited.text) }], PATIENCE)
    }

    pub(super) fn edited(&mut self, turn: usize) -> Result<Edited, String> {
        let (text, notes) = (self.text.clone(), self.notes.clone());
        let edited = self.calls().edit(&text, &notes, turn)?;
        self.doing = format!("an edit of the file: {}", edited.what);
        Ok(edited)
    }

    /// An edit and a change at the same moment. The edit knows nothing of the change: if it comes later it replaces it.
    pub(super) fn both(&mut self, turn: usize) -> Result<(), String> {
        let (edited, call) = self.pair(turn)?;
        let Expected::Done(model, touched) = &call.expected else { return Ok(()) };
        let request = self.request(&call)?;
        let (path, is_renamed) = (self.path(), self.chance.percent(50));
        let (head_start, text) =
            (Duration::from_micros(self.chance.below(150_000) as u64), edited.text.clone());
        let is_late = self.chance.percent(50);
        self.doing = format!("{}, renamed: {is_renamed}, {head_start:?} later: {is_late}", self.doing);
        let editor = thread::spawn(move || {
            if is_late {
                sleep(head_start);
            }
            write(&path, &text, is_renamed).map(|()| Instant::now())
        });
        if !is_late {
            sleep(head_start);
        }
        let asked = Instant::now();
        let (status, said) = self.send(&request)?;
        let written = editor.join().map_err(|_| "the editor has panicked")??;
        self.counts.at_once += 1;
        if status >= 500 || said.contains("mend it first") {
            return Err(format!("answered {status}: {said}"));
        }
        let [with, alone] = outcomes(&edited, model, touched);
        let candidates = match status {
            // The edit was there before the change was asked for.
            200 if written < asked => vec![with],
            200 => vec![with, alone],
            _ => vec![alone],
        };
        self.notes = edited.notes;
        self.settle(&candidates, PATIENCE)?;
        self.counts.replaced += u64::from(status == 200 && self.model != candidates[0].model);
        Ok(())
    }

    /// An edit and a change of two resources.
    pub(super) fn pair(&mut self, turn: usize) -> Result<(Edited, Call), String> {
        loop {
            let (edited, call) = (self.edited(turn)?, self.calls().any());
            let Expected::Done(_, (collection, name)) = &call.expected else { continue };
            if edited.model.get(collection, name) == self.model.get(collection, name)
                && !matches!(call.body, Body::OnView(_))
            {
                return Ok((edited, call));
            }
        }
    }

    /// An edit that is no configuration: nothing changes until it is mended.
    pub(super) fn broken(&mut self) -> Result<(), String> {
        self.doing = "a broken edit".to_owned();
        self.counts.broken += 1;
        let whole = self.text.clone();
        let broken = match self.chance.below(4) {
            0 => format!("{whole}\nbackendServices: [\n"),
            1 => whole.replace("urlMap: front-map", "urlMap: nobody"),
            2 => format!("{whole}\nnobodyKnows: 1\n"),
            _ => whole.replace("backendServices:", "backendServices:\n- {name: web, protocol: GOPHER}"),
        };
        let is_renamed = self.chance.percent(50);
        write(&self.path(), &broken, is_renamed)?;
        self.until("the break is reported", "overspill_config_last_reload_ok 0")?;
        let call = loop {
            let call = self.calls().any();
            if matches!((&call.expected, &call.body), (Expected::Done(..), Body::Text(_))) {
                break call;
            }
        };
        let request = self.request(&call)?;
        let (status, said) = self.send(&request)?;
        if status != 409 {
            return Err(format!("a change on a broken file was answered {status}: {said}"));
        }
        same(&broken, &self.on_disk()?)?;
        for collection in COLLECTIONS {
            let list = self.list(collection)?;
            if let Some(why) = self.model.differs_from_view(collection, &list) {
                return Err(why);
            }
        }
        write(&self.path(), &whole, !is_renamed)?;
        self.until("it is mended", "overspill_config_last_reload_ok 1")?;
        self.stays()
    }

    fn until(&mut self, what: &str, line: &str) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let (_, page) = self.api.ask("GET", "/metrics", "text/plain", "")?;
            if page.lines().any(|found| found == line) {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(format!("waited in vain until {what}"));
            }
            sleep(LOOK);
        }
    }
}

/// As editors write: over the old one, or in it.
pub(super) fn write(path: &Path, text: &str, is_renamed: bool) -> Result<(), String> {
    let aside = path.with_file_name("edited.yaml");
    let written = match is_renamed {
        true => fs::write(&aside, text).and_then(|()| fs::rename(&aside, path)),
        false => fs::write(path, text),
    };
    written.map_err(|error| format!("the file cannot be written: {error}"))
}

/// An edit with the resource that a change has made or taken away, and the edit alone.
pub(super) fn outcomes(edited: &Edited, changed: &Model, touched: &(&'static str, String)) -> [Wanted; 2] {
    let (collection, name) = touched;
    let model = match changed.get(collection, name) {
        Some(resource) => edited.model.with(collection, name, resource.clone()),
        None => edited.model.without(collection, name),
    };
    let text = edited.text.clone();
    [
        Wanted { model, text: Text::Outside(text.clone(), touched.clone()) },
        Wanted { model: edited.model.clone(), text: Text::Is(text) },
    ]
}
