//! One command's talk with the server: it asks, changes, waits for operations, and keeps what is to be printed.

use http::Method;
use serde_json::{Value, json};

use super::super::client::Admin;
use super::fault::Fault;
use super::format::Format;
use super::kind::{Kind, Place};
use super::place::{Scope, ScopeFlags, Target};

/// Created by a command, lives as long as it.
#[derive(Debug)]
pub(super) struct Session<'a> {
    admin: &'a Admin,
    project: String,
    /// `--format`; `None` leaves each command its own.
    pub(super) format: Option<Format>,
    /// `--quiet`: nothing is asked.
    pub(super) is_quiet: bool,
    /// For standard output.
    pub(super) out: String,
    /// For standard error: what was done, as gcloud tells it.
    pub(super) notes: String,
}

/// How often the end of one operation is asked for; each time may take two minutes [G 12.9].
const WAITS: usize = 30;

impl<'a> Session<'a> {
    /// Nothing said yet.
    pub(super) const fn new(admin: &'a Admin, project: String) -> Self {
        Self { admin, project, format: None, is_quiet: false, out: String::new(), notes: String::new() }
    }

    /// `/compute/v1/projects/PROJECT/REST`.
    pub(super) fn path(&self, rest: &str) -> String {
        format!("/compute/v1/projects/{}/{rest}", super::place::escaped(&self.project))
    }

    /// Full URL of a resource.
    pub(super) fn link(&self, target: &Target) -> String {
        self.admin.link(&target.path())
    }

    /// A resource of this kind that another one in `scope` refers to: by name, or by any part of its URL.
    pub(super) fn reference(&self, kind: &Kind, name: &str, scope: &Scope) -> String {
        let target = Target::read(name, &self.project).unwrap_or_else(|| {
            let is_there = match scope {
                Scope::Global => Place::Global,
                Scope::Region(_) => Place::Region,
                Scope::Zone(_) => Place::Zone,
            };
            let scope = if kind.places.contains(&is_there) { scope.clone() } else { Scope::Global };
            self.target(kind, scope, name)
        });
        self.link(&target)
    }

    /// The resource of this name.
    pub(super) fn target(&self, kind: &Kind, scope: Scope, name: &str) -> Target {
        Target {
            project: self.project.clone(),
            scope,
            collection: kind.collection.to_owned(),
            name: name.to_owned(),
        }
    }

    /// The resource that a command is about, from its name (or URL) and its scope flags.
    ///
    /// # Errors
    /// When neither says where it is, and gcloud would not know either.
    pub(super) fn resolve(
        &self,
        kind: &Kind,
        name: &str,
        matches: &clap::ArgMatches,
    ) -> Result<Target, Fault> {
        self.resolve_by(kind, name, ScopeFlags::of(kind).said(matches))
    }

    /// The same, where the scope is known or not.
    ///
    /// # Errors
    /// As [`Self::resolve`].
    pub(super) fn resolve_by(&self, kind: &Kind, name: &str, said: Option<Scope>) -> Result<Target, Fault> {
        if let Some(target) = Target::read(name, &self.project) {
            if target.collection == kind.collection {
                return Ok(target);
            }
            // Otherwise `backend-services delete global/urlMaps/m` would delete a URL map.
            return Err(Fault::new(format!(
                "[{name}] is a resource of {}, not of {}.",
                target.collection, kind.collection
            )));
        }
        let scope = match (said, kind.unsaid) {
            (Some(scope), _) => scope,
            (None, Some(Place::Global)) => Scope::Global,
            (None, _) => return Err(ScopeFlags::of(kind).underspecified(name)),
        };
        Ok(self.target(kind, scope, name))
    }

    /// The resource that a full URL names.
    pub(super) fn read(&self, url: &str) -> Option<Target> {
        Target::read(url, &self.project)
    }

    /// # Errors
    /// What the server says against it, or that there is none.
    pub(super) async fn get(&self, path: &str) -> Result<Value, Fault> {
        self.ask(Method::GET, path, &Value::Null).await
    }

    /// The same, where there may be nothing.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn find(&self, path: &str) -> Result<Option<Value>, Fault> {
        let found = self.admin.find(path).await?;
        found.map(|found| self.known(path, found)).transpose()
    }

    /// A question that needs a body.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn post(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        self.ask(Method::POST, path, body).await
    }

    /// A change that somebody else waits for.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn patch(&self, path: &str, body: &Value) -> Result<Value, Fault> {
        self.ask(Method::PATCH, path, body).await
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, Fault> {
        let answer = self.admin.ask(method, path, body).await?;
        self.known(path, answer)
    }

    /// An answer, if it is one of the API's: another server may answer with success, too.
    ///
    /// # Errors
    /// That it is none.
    pub(super) fn known(&self, path: &str, answer: Value) -> Result<Value, Fault> {
        let is_known = if path.starts_with("/v1/") {
            // The networkservices API has no kinds: names in full, and lists that are nothing when they are empty.
            let name = answer["name"].as_str();
            name.is_some_and(|name| name.starts_with("projects/"))
                || answer["serviceLbPolicies"].is_array()
                || answer == json!({})
        } else if path == "/status" {
            answer["services"].is_array()
        } else {
            let kind = answer["kind"].as_str();
            kind.is_some_and(|kind| kind.starts_with("compute#")) || answer["result"].is_object()
        };
        if is_known {
            Ok(answer)
        } else {
            Err(self.admin.is_no_api(path, "of no kind that the API has").into())
        }
    }

    /// Changes `target` by a request at `path`, waits for its end and reads the resource as it is then [G 10.3].
    ///
    /// # Errors
    /// As [`Self::get`], and what the operation says went wrong.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        target: &Target,
    ) -> Result<Value, Fault> {
        let operation = self.ask(method, path, body).await?;
        self.end_of(operation, &target.scope, Wait::IfOpen).await?;
        self.get(&target.path()).await
    }

    /// Deletes `target`.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub(super) async fn delete(&self, target: &Target) -> Result<(), Fault> {
        let operation = self.ask(Method::DELETE, &target.path(), &Value::Null).await?;
        self.end_of(operation, &target.scope, Wait::IfOpen).await
    }

    /// Sends a multipart batch.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(super) async fn batch(&self, content_type: &str, body: String) -> Result<(String, String), Fault> {
        Ok(self.admin.send(Method::POST, "/batch/compute/v1", content_type, body).await?)
    }

    /// Waits until an operation is done.
    ///
    /// # Errors
    /// What it says went wrong.
    pub(super) async fn end_of(&self, mut operation: Value, scope: &Scope, wait: Wait) -> Result<(), Fault> {
        let is_done = |operation: &Value| operation["status"] == "DONE" || operation["done"] == true;
        let name = operation["name"].as_str().unwrap_or_default().to_owned();
        // Only an operation can be waited for: whatever else answers a change ends it at once.
        let is_operation = operation["status"].is_string() || operation["done"].is_boolean();
        let mut must_wait = wait == Wait::Always || !is_done(&operation);
        let mut waits = 0;
        while must_wait && is_operation && waits < WAITS {
            operation = if operation["done"].is_boolean() {
                self.get(&format!("/v1/{name}")).await?
            } else {
                let path = self.path(&format!("{}/operations/{name}/wait", scope.path()));
                self.post(&path, &json!({})).await?
            };
            must_wait = !is_done(&operation);
            waits += 1;
        }
        if must_wait && is_operation {
            return Err(Fault::new(format!("operation [{name}] is not done yet")));
        }
        let none = Vec::new();
        let errors = operation["error"]["errors"].as_array().unwrap_or(&none);
        let messages = errors.iter().filter_map(|error| error["message"].as_str().map(str::to_owned));
        let messages: Vec<String> = messages.collect();
        if let Some(message) = operation["error"]["message"].as_str() {
            return Err(Fault::new(message));
        }
        if messages.is_empty() { Ok(()) } else { Err(Fault::Refused(messages)) }
    }

    /// Tells what was done, as gcloud does: `Created [URL].`
    pub(super) fn note(&mut self, done: &str, target: &Target) {
        let link = self.link(target);
        self.notes.push_str(&format!("{done} [{link}].\n"));
    }
}

/// Whether an operation is waited for that is done already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wait {
    /// As nearly all commands do.
    IfOpen,
    /// As `network-endpoint-groups update` does [G 10.3].
    Always,
}
