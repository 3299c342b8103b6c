//! The API over one configuration: what is read comes from the text that serves, what is changed goes through the store.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use axum::http::{Method, StatusCode};
use serde_json::Value as Json;

use super::catalog::{Catalog, Id};
use super::error::{ApiError, Detail};
use super::operation::{Done, Operation, Operations, RequestId};
use super::path::{Api, Resource, Scope};
use super::reference::Base;
use super::stored::{Stored, number};
use crate::admin::audit;
use crate::admin::auth::Caller;
use crate::clock;
use crate::engine::handle::Handle;
use crate::model::problem::{Problem, Severity};
use crate::model::timestamp::Timestamp;
use crate::source::store::{ChangeError, Store};
use crate::wire::edit::{self, Edit};

/// Most problems of one change that are told.
const TOLD: usize = 50;

/// One for a process; clones are the same.
#[derive(Debug, Clone)]
pub(in crate::admin) struct Compute {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    handle: Handle,
    store: Store,
    operations: Mutex<Operations>,
    /// What was read last, and when each resource was first seen.
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct Seen {
    catalog: Arc<Catalog>,
    since: BTreeMap<Id, SystemTime>,
}

/// Who asks, and how the answer's links begin.
#[derive(Debug, Clone)]
pub(super) struct Asking {
    pub(super) base: Base,
    /// Who it is.
    pub(super) caller: Caller,
    /// What was asked, as the audit tells it.
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) request: Option<RequestId>,
    pub(super) started: SystemTime,
}

impl Asking {
    /// The same in the form that operations take: it ends before `projects/`.
    pub(super) fn prefix(&self, api: Api) -> String {
        format!("{}{}", self.base.origin, api.prefix())
    }
}

/// What a change consists of.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    /// The operation's type: `insert`, `patch`, a verb.
    pub(super) kind: &'static str,
    /// What is changed.
    pub(super) target: Resource,
    /// Its place in the file.
    pub(super) id: Id,
}

impl Compute {
    pub(in crate::admin) fn new(handle: Handle, store: Store) -> Self {
        let catalog = Arc::new(Catalog::of(store.text()));
        let started = handle.started();
        let since = catalog.everything().map(|(id, _)| (id.clone(), started)).collect();
        let seen = Mutex::new(Seen { catalog, since });
        let shared = Shared { handle, store, operations: Mutex::default(), seen };
        Self { shared: Arc::new(shared) }
    }

    /// What serves.
    pub(super) fn handle(&self) -> &Handle {
        &self.shared.handle
    }

    /// The operations so far; never held across a wait.
    pub(super) fn operations<T>(&self, with: impl FnOnce(&mut Operations) -> T) -> T {
        with(&mut self.shared.operations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The resources of the text that serves now.
    pub(super) fn catalog(&self) -> Arc<Catalog> {
        let text = self.shared.store.text();
        let seen = self.seen(|seen| seen.catalog.clone());
        if Arc::ptr_eq(&seen.text, &text) {
            return seen;
        }
        // Read without the lock: it may take long.
        let catalog = Arc::new(Catalog::of(text));
        let now = clock::wall();
        self.seen(|seen| {
            let before = std::mem::take(&mut seen.since);
            let since = |id: &Id| before.get(id).copied().unwrap_or(now);
            seen.since = catalog.everything().map(|(id, _)| (id.clone(), since(id))).collect();
            seen.catalog = catalog.clone();
        });
        catalog
    }

    /// When a resource was first seen, as the API writes it.
    pub(super) fn since(&self, id: &Id) -> String {
        let since = self.seen(|seen| seen.since.get(id).copied());
        Timestamp(since.unwrap_or_else(clock::wall)).to_string()
    }

    fn seen<T>(&self, with: impl FnOnce(&mut Seen) -> T) -> T {
        with(&mut self.shared.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The resource that a path means, by name or by number [G 12.7].
    pub(super) fn id(&self, resource: &Resource, catalog: &Catalog) -> Result<Id, ApiError> {
        let missing = || ApiError::not_found(&resource.path());
        let collection = resource.place.kind.file.ok_or_else(missing)?;
        let scope = &resource.place.scope;
        let mut all = catalog.all(collection).map(|(id, _)| id).filter(|id| id.scope == *scope);
        let found = match resource.id() {
            Some(wanted) => all.find(|id| number(id) == wanted),
            None => all.find(|id| id.name == resource.name),
        };
        found.cloned().ok_or_else(missing)
    }

    /// The same with the resource itself.
    pub(super) fn stored(&self, resource: &Resource, catalog: &Catalog) -> Result<Stored, ApiError> {
        let id = self.id(resource, catalog)?;
        Stored::find(&id, catalog).ok_or_else(|| ApiError::not_found(&resource.path()))
    }

    /// The operation of the first request with this one's `requestId`; this one then does nothing [G 12.4].
    pub(super) fn repeated(
        &self,
        (kind, target): (&str, &Resource),
        asking: &Asking,
    ) -> Result<Option<Arc<Operation>>, ApiError> {
        let Some(request) = asking.request else { return Ok(None) };
        self.operations(|all| all.repeated(request, kind, target, clock::wall()))
    }

    /// Makes a change, whole or not at all, and keeps its operation. `make` says which edits; none is a change that
    /// changes nothing.
    pub(super) async fn change(
        &self,
        plan: Plan,
        asking: &Asking,
        make: impl Fn(&Catalog) -> Result<Vec<Edit>, ApiError>,
    ) -> Result<Arc<Operation>, ApiError> {
        // Who comes late need not wait for a turn.
        if let Some(first) = self.repeated((plan.kind, &plan.target), asking)? {
            return Ok(first);
        }
        let id = plan.id.clone();
        let making = |text: &str| {
            // Of two at the same moment the second one finds the first here: its operation was kept in its turn.
            if let Some(first) = self.repeated((plan.kind, &plan.target), asking).map_err(Unmade::Refused)? {
                return Err(Unmade::Repeated(first));
            }
            let catalog = Catalog::of(Arc::from(text));
            let edits = make(&catalog).map_err(Unmade::Refused)?;
            if edits.is_empty() {
                return Ok((None, ()));
            }
            let new = edit::apply(text, &edits).map_err(|why| Unmade::Refused(unclear(&why)))?;
            Ok((Some(new), ()))
        };
        let ending = (self.clone(), plan.clone(), asking.clone());
        let ended = move |before: &str, after: &str| {
            let (compute, plan, asking) = &ending;
            compute.keep(plan, asking, (before, after))
        };
        match self.shared.store.change_and(making, ended).await {
            Ok((_, operation)) => Ok(operation),
            Err(ChangeError::Made(Unmade::Repeated(first))) => Ok(first),
            Err(error) => Err(refused(error, &id, &self.catalog())),
        }
    }

    /// The operation of a change that was made, and its line for the audit.
    fn keep(&self, plan: &Plan, asking: &Asking, texts: (&str, &str)) -> Arc<Operation> {
        let Plan { kind, target, id } = plan;
        let catalog = self.catalog();
        let response = match Stored::find(id, &catalog) {
            Some(stored) if id.scope == Scope::Location => {
                stored.shown(&catalog, &asking.base, &self.since(id))
            }
            _ => Json::Null,
        };
        let done = Done {
            operation_type: kind,
            target: target.clone(),
            target_id: number(id),
            user: asking.caller.who.to_string(),
            started: asking.started,
            request: asking.request,
            error: None,
            response,
        };
        let operation = self.operations(|all| all.keep(done, clock::wall()));
        let (method, path) = (&asking.method, &*asking.path);
        let change = audit::Change { method, path, operation: &operation.name, texts: Some(texts) };
        audit::record(&asking.caller, &change);
        if let Some((path, mode)) = self.shared.store.exposed_key(texts) {
            audit::record_exposed(&asking.caller, &operation.name, (path, mode));
        }
        operation
    }

    /// What `check` would say of the configuration with these edits; nothing is changed.
    pub(super) fn judge(&self, catalog: &Catalog, edits: &[Edit]) -> Result<Vec<Problem>, ApiError> {
        let new = edit::apply(&catalog.text, edits).map_err(|refused| unclear(&refused))?;
        Ok(self.shared.store.judge(&new))
    }
}

/// Why there is nothing to change.
enum Unmade {
    Refused(ApiError),
    /// The request was here before, and left this behind.
    Repeated(Arc<Operation>),
}

fn unclear(refused: &edit::Refused) -> ApiError {
    match refused {
        edit::Refused::TooLarge(why) => ApiError::invalid(why.clone()),
        edit::Refused::Unreadable(why) | edit::Refused::Missing(why) | edit::Refused::Internal(why) => {
            ApiError::internal(format!("The configuration file cannot be changed: {why}."))
        }
    }
}

/// Why a change was not made, in Google's words where it has any.
fn refused(error: ChangeError<Unmade>, id: &Id, catalog: &Catalog) -> ApiError {
    match error {
        ChangeError::Made(Unmade::Refused(error)) => error,
        ChangeError::Made(Unmade::Repeated(first)) => {
            ApiError::internal(format!("{} has done this before.", first.name))
        }
        ChangeError::Refused(problems) => invalid(&problems, id, catalog),
        ChangeError::FileIsBroken(problems) => {
            let first = problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
            let why = format!("The configuration file has an edit that is refused; mend it first: {first}.");
            ApiError::new(StatusCode::CONFLICT, "conflict", why)
        }
        ChangeError::ReadOnly(why) => ApiError::read_only(&format!("The configuration is read-only: {why}.")),
        ChangeError::NotKept(error) => {
            ApiError::internal(format!("The configuration file could not be written: {error}."))
        }
    }
}

/// The problems of a new configuration as Google words them, those of the changed resource by its fields.
pub(super) fn invalid(problems: &[Problem], id: &Id, catalog: &Catalog) -> ApiError {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let mut details = errors.take(TOLD).map(|problem| detail(problem, id, catalog));
    let Some(first) = details.next() else {
        return ApiError::internal("The process takes no changes any more.");
    };
    let mut error = ApiError::invalid(first.message);
    error.location = first.location;
    details.fold(error, ApiError::with)
}

fn detail(problem: &Problem, id: &Id, catalog: &Catalog) -> Detail {
    let (field, value) = field(problem, id, catalog);
    let expected = problem.expected.as_ref().map(|expected| format!(" Expected: {expected}."));
    let expected = expected.unwrap_or_default();
    let message = match &value {
        Some(field) => format!("Invalid value for field '{field}': {}.{expected}", problem.message),
        None if field.is_empty() => format!("{}.{expected}", problem.message),
        None => format!("{field}: {}.{expected}", problem.message),
    };
    Detail { reason: "invalid", message, location: Some(value.unwrap_or(field)).filter(|at| !at.is_empty()) }
}

/// Where a problem is: in the changed resource (`resource.backends[0].maxRate`), or elsewhere in the document.
fn field(problem: &Problem, id: &Id, catalog: &Catalog) -> (String, Option<String>) {
    let path = &problem.path;
    let Some(rest) = path.strip_prefix(id.collection).and_then(|rest| rest.strip_prefix('[')) else {
        return (path.clone(), None);
    };
    let (which, rest) = rest.split_once(']').unwrap_or((rest, ""));
    // A new one stands behind the others.
    let index = catalog.find(id).map_or_else(|| catalog.all(id.collection).count(), |(index, _)| index);
    if which == id.name || which == index.to_string() {
        // `check` tells of a key at the name, since the key's line must not be shown; here no line is.
        let rest = match rest {
            ".name" if problem.code == "bad-certificate" => key_field(&problem.message),
            rest => rest,
        };
        return (path.clone(), Some(format!("resource{rest}")));
    }
    (path.clone(), None)
}

/// The field that holds a private key, by what is said of the key.
fn key_field(message: &str) -> &'static str {
    if message.contains("`selfManaged.privateKey`") { ".selfManaged.privateKey" } else { ".privateKey" }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
