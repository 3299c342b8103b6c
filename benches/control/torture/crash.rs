//! SIGKILL, and what is there afterwards.

use std::fs;
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use super::api::Api;
use super::calls::{Body, Expected};
use super::editor::{outcomes, write};
use super::process::Server;
use super::wrk::Wrk;
use super::{LOOK, PATIENCE, Text, Torture, Wanted, check, same};

impl Torture {
    /// Starts the process on the file and waits until it serves.
    pub(super) fn serve(&mut self) -> Result<(), String> {
        let file = self.path().display().to_string();
        let admin = self.admin.to_string();
        let command =
            [env!("CARGO_BIN_EXE_overspill"), "serve", "-c", &file, "--admin", &admin, "--workers", "2"];
        let command = command.map(str::to_owned);
        self.api.forget();
        self.server = Some(Server::start("overspill", &command, &[self.front, self.admin], &self.dir, None)?);
        let end = Instant::now() + PATIENCE;
        while !matches!(self.api.ask("GET", "/readyz", "text/plain", ""), Ok((200, _))) {
            if Instant::now() > end {
                return Err("it is not ready after a start".to_owned());
            }
            sleep(LOOK);
        }
        self.load.is_up();
        if self.has_wrk {
            self.wrk = Some(Wrk::start(self.front).map_err(|error| format!("wrk: {error}"))?);
        }
        Ok(())
    }

    pub(super) fn stop_wrk(&mut self) -> Result<(), String> {
        if let Some(wrk) = self.wrk.take() {
            let seen = wrk.stop()?;
            self.counts.wrk.requests += seen.requests;
            self.counts.wrk.failed += seen.failed;
            if seen.failed > 0 {
                return Err(format!("wrk saw requests fail: {seen:?}"));
            }
        }
        Ok(())
    }

    fn kill(&mut self) {
        self.counts.kills += 1;
        self.load.goes_down();
        if let Some(mut server) = self.server.take() {
            server.kill();
        }
    }

    /// The file as a crash has left it, and as the next start leaves it, which is the same.
    fn restarted(&mut self) -> Result<String, String> {
        let left = self.on_disk()?;
        check(&self.path())?;
        self.serve()?;
        same(&left, &self.on_disk()?)?;
        Ok(left)
    }

    pub(crate) fn crash_idle(&mut self) -> Result<(), String> {
        self.doing = "a crash between two changes".to_owned();
        self.stop_wrk()?;
        self.kill();
        let left = self.restarted()?;
        same(&self.text, &left)?;
        self.stays()
    }

    /// The change is made and taken back first: so both texts are known to the byte.
    pub(crate) fn crash_in_change(&mut self) -> Result<(), String> {
        let call = loop {
            let call = self.calls().any();
            if matches!((&call.expected, &call.body), (Expected::Done(..), Body::Text(_))) {
                break call;
            }
        };
        let Expected::Done(model, touched) = call.expected else { return Ok(()) };
        let request = (
            call.method,
            format!("{}/{}", super::PROJECT, call.path),
            "application/json",
            match call.body {
                Body::Text(text) => text,
                _ => return Ok(()),
            },
        );
        self.doing = "a crash in a change".to_owned();
        let before = self.text.clone();
        let was = Wanted { model: self.model.clone(), text: Text::Is(before.clone()) };
        let began = Instant::now();
        let (status, said) = self.send(&request)?;
        let took = began.elapsed();
        if status != 200 {
            return Err(format!("answered {status}: {said}"));
        }
        let text = if model == self.model {
            Text::Is(before.clone())
        } else {
            Text::Outside(before.clone(), touched)
        };
        self.settle(&[Wanted { model: model.clone(), text }], Duration::ZERO)?;
        let after = self.text.clone();
        write(&self.path(), &before, true)?;
        self.settle(std::slice::from_ref(&was), PATIENCE)?;
        self.stop_wrk()?;
        let delay = Duration::from_nanos(self.chance.next() % (took.as_nanos() as u64 * 13 / 10 + 1));
        self.doing = format!("{}\n{delay:?} of {took:?} later", self.doing);
        let mut api = Api::new(self.admin);
        let asking = thread::spawn(move || api.ask(request.0, &request.1, request.2, &request.3));
        sleep(delay);
        self.kill();
        let answer = asking.join().map_err(|_| "the client has panicked")?;
        let left = self.restarted()?;
        let is_after = left == after && (left != before || matches!(answer, Ok((200, _))));
        match answer {
            Ok((200, _)) => same(&after, &left)?,
            Ok((status, said)) => return Err(format!("answered {status} the second time: {said}")),
            Err(_) if is_after => {}
            Err(_) => same(&before, &left)?,
        }
        *(if is_after { &mut self.counts.after } else { &mut self.counts.before }) += 1;
        self.settle(&[if is_after { Wanted { model, text: Text::Is(after) } } else { was }], PATIENCE)
    }

    /// An edit, a change and a crash at the same moment. The edit is there, or kept aside where people find it.
    pub(crate) fn crash_in_both(&mut self, turn: usize) -> Result<(), String> {
        let (edited, call) = self.pair(turn)?;
        let Expected::Done(model, touched) = &call.expected else { return Ok(()) };
        let request = self.request(&call)?;
        self.doing = format!("{}, a change and a crash\n{request:?}", self.doing);
        self.stop_wrk()?;
        let delay =
            |most: usize, torture: &mut Self| Duration::from_micros(torture.chance.below(most) as u64);
        let (until_edit, until_crash) = (delay(20_000, self), delay(60_000, self));
        let mut api = Api::new(self.admin);
        let asking = thread::spawn(move || api.ask(request.0, &request.1, request.2, &request.3));
        let (path, text) = (self.path(), edited.text.clone());
        let editor = thread::spawn(move || {
            sleep(until_edit);
            write(&path, &text, true)
        });
        sleep(until_crash);
        self.kill();
        let _ = asking.join();
        editor.join().map_err(|_| "the editor has panicked")??;
        self.restarted()?;
        let mut kept_aside = false;
        for name in self.beside() {
            let path = self.dir.path().join("conf").join(&name);
            let is_edit = name.starts_with("lb.yaml.edit-");
            if is_edit && fs::read_to_string(&path).is_ok_and(|kept| kept == edited.text) {
                fs::remove_file(&path).map_err(|error| error.to_string())?;
                kept_aside = true;
            }
        }
        if kept_aside {
            let text = Text::Outside(self.text.clone(), touched.clone());
            return self.settle(&[Wanted { model: model.clone(), text }], PATIENCE);
        }
        let outcomes = outcomes(&edited, model, touched);
        self.notes = edited.notes;
        self.settle(&outcomes, PATIENCE)
    }
}
