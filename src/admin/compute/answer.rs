//! From a request of HTTP to what is asked, and from what came of it to an answer.

use axum::Extension;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value as Json, json};

use super::batch::{self, Reply};
use super::compute::{Asking, Compute};
use super::error::ApiError;
use super::kinds::{About, Verb};
use super::operation::Operation;
use super::page::Listing;
use super::path::{self, Api, Asked, Place, Resource, Scope, What};
use super::query::{self, Query};
use super::reference::Base;
use super::stored::fields;
use super::write::{self, Manner};
use super::{look, mask, validate, verbs};
use crate::admin::auth::Caller;
use crate::admin::guard::Guard;
use crate::admin::health;
use crate::clock;
use crate::model::admin::Access;
use crate::model::tls::{cipher_suite_list, suite_name};

/// Answers a request of the Compute or the Network Services API.
pub(in crate::admin) async fn answer(
    State(compute): State<Compute>,
    Extension(caller): Extension<Caller>,
    (method, uri, headers): (Method, Uri, HeaderMap),
    body: Bytes,
) -> Response {
    let door = Door { compute: &compute, caller: &caller, host: host(&headers) };
    let (status, body) = door.reply((&method, &uri), &body).await;
    (status, [(header::CONTENT_TYPE, "application/json; charset=UTF-8")], body).into_response()
}

/// Answers several requests in one, one after the other; what is refused keeps nothing back of the others [G 10.13].
pub(in crate::admin) async fn batch(
    State(compute): State<Compute>,
    (Extension(caller), Extension(guard)): (Extension<Caller>, Extension<Guard>),
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let door = Door { compute: &compute, caller: &caller, host: host(&headers) };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let parts = match batch::parse(kind.unwrap_or_default(), &body) {
        Ok(parts) => parts,
        Err(error) => return error.into_response(),
    };
    let mut replies = Vec::with_capacity(parts.len());
    for part in parts {
        let (status, body) = match part.target.parse() {
            // Another host is asked by itself.
            _ if !part.is_path() => {
                let why = "A request of a batch names a path of this server, not a URL.";
                let error = ApiError::invalid(format!("{} {why}", part.shown_target()));
                (error.status, error.body().to_string())
            }
            Ok(uri) if !guard.may_go_on(&part.method, Uri::path(&uri)) => {
                let error = ApiError::rate_limited();
                (error.status, error.body().to_string())
            }
            Ok(uri) => door.reply((&part.method, &uri), &part.body).await,
            Err(_) => {
                let error = ApiError::no_such_url(&part.target);
                (error.status, error.body().to_string())
            }
        };
        replies.push(Reply { content_id: part.content_id, status, body });
    }
    let (content_type, body) = batch::write(&replies);
    ([(header::CONTENT_TYPE, content_type)], body).into_response()
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost")
}

/// Who asks, of what, by which name of this host.
struct Door<'a> {
    compute: &'a Compute,
    caller: &'a Caller,
    host: &'a str,
}

impl Door<'_> {
    /// Status and body; what is refused is an answer too.
    async fn reply(&self, (method, uri): (&Method, &Uri), body: &[u8]) -> (StatusCode, String) {
        match self.ask((method, uri), body).await {
            Ok(answer) => (StatusCode::OK, answer),
            Err(error) => (error.status, format!("{:#}\n", error.body())),
        }
    }

    async fn ask(&self, (method, uri): (&Method, &Uri), body: &[u8]) -> Result<String, ApiError> {
        let asked = path::parse(method, uri.path())?;
        if !asked.what.only_looks() && self.caller.access != Access::ReadWrite {
            return Err(ApiError::read_only(
                "This token is READ_ONLY, and the request would change something",
            ));
        }
        let query = Query::parse(uri.query().unwrap_or_default(), parameters(&asked.what))?;
        let shape = query.shape()?;
        let asking = Asking {
            base: self.base(&asked),
            caller: self.caller.clone(),
            method: method.clone(),
            path: uri.path().to_owned(),
            request: query.request_id()?,
            started: clock::wall(),
        };
        let body = if body.is_empty() { json!({}) } else { json_of(body)? };
        let answer = Question { compute: self.compute, api: asked.api, query: &query, asking: &asking };
        Ok(shape.write(answer.to(asked.what, body).await?))
    }

    /// Where the answer's links begin.
    fn base(&self, asked: &Asked) -> Base {
        let version = match asked.api {
            Api::Compute(version) => version,
            Api::NetworkServices(_) => "v1",
        };
        let project = match &asked.what {
            What::List(place) | What::Insert(place) | What::About(place, _) => &place.project,
            What::Aggregated { project, .. } => project,
            What::Get(resource)
            | What::Update(resource)
            | What::Patch(resource)
            | What::Delete(resource)
            | What::Verb(resource, _) => &resource.place.project,
        };
        let scheme = if self.caller.over_tls { "https" } else { "http" };
        let origin = format!("{scheme}://{}", self.host);
        Base { origin, version: version.to_owned(), project: project.clone() }
    }
}

fn json_of(body: &[u8]) -> Result<Json, ApiError> {
    serde_json::from_slice(body)
        .map_err(|why| ApiError::invalid(format!("Invalid JSON payload received. {why}")))
}

/// The query parameters of a method.
fn parameters(what: &What) -> &'static [&'static str] {
    const PATCH: &[&str] = &["requestId", "updateMask"];
    const CREATE: &[&str] = &["requestId", "serviceLbPolicyId"];
    match what {
        What::List(place) if place.scope == Scope::Location => query::NETWORK_SERVICES_LIST,
        What::List(_) | What::About(..) => query::LIST,
        What::Verb(_, Verb::ListInstances | Verb::ListNetworkEndpoints) => query::LIST,
        What::Aggregated { .. } => query::AGGREGATED,
        What::Insert(place) if write::is_named_in_query(place) => CREATE,
        What::Patch(_) => PATCH,
        What::Get(_) | What::Verb(_, Verb::GetHealth | Verb::Wait | Verb::Validate) => &[],
        What::Insert(_) | What::Update(_) | What::Delete(_) | What::Verb(..) => query::CHANGE,
    }
}

/// What `customFeatures` takes.
fn features() -> Json {
    let mut names: Vec<&str> = cipher_suite_list().iter().map(|suite| suite_name(suite.suite())).collect();
    names.sort_unstable();
    json!({"features": names})
}

/// One request, understood.
struct Question<'a> {
    compute: &'a Compute,
    api: Api,
    query: &'a Query,
    asking: &'a Asking,
}

impl Question<'_> {
    async fn to(&self, what: What, body: Json) -> Result<Json, ApiError> {
        let Self { compute, api, query, asking } = self;
        match what {
            What::Get(resource) => look::get(compute, &resource, (*api, asking)),
            What::List(place) | What::About(place, About::Usable) => self.list(&place),
            What::Aggregated { kind, project } => {
                let place = Place { kind, project, scope: Scope::Global };
                self.aggregated(&place)
            }
            What::About(_, About::Features) => Ok(features()),
            What::Insert(place) => {
                let name = query.text("serviceLbPolicyId").filter(|_| write::is_named_in_query(&place));
                let done = write::insert(compute, place, (body, name), asking).await?;
                Ok(self.done(&done))
            }
            What::Update(target) => self.update(target, (body, Manner::Update)).await,
            What::Patch(target) => {
                let body = match (target.place.kind.file, query.text("updateMask")) {
                    (Some(file), mask) if mask.is_some() || target.place.scope == Scope::Location => {
                        mask::masked(body, mask, fields(file))?
                    }
                    _ => body,
                };
                self.update(target, (body, Manner::Patch)).await
            }
            What::Delete(target) if target.place.kind.collection == "operations" => {
                let was_there = compute.operations(|all| all.delete(&target));
                if was_there { Ok(json!({})) } else { Err(ApiError::not_found(&target.path())) }
            }
            What::Delete(target) => Ok(self.done(&*write::delete(compute, target, asking).await?)),
            What::Verb(target, verb) => self.verb((target, verb), body).await,
        }
    }

    fn list(&self, place: &Place) -> Result<Json, ApiError> {
        let listing = Listing::read(self.query)?;
        let all = look::all(self.compute, place, (self.api, self.asking)).into_iter();
        let items = all.filter(|(scope, _)| *scope == place.scope).map(|(_, item)| item).collect();
        Ok(match self.api {
            Api::Compute(_) => listing.list(place, items, &self.prefix()),
            Api::NetworkServices(_) => listing.network_services(place.kind, items),
        })
    }

    fn aggregated(&self, place: &Place) -> Result<Json, ApiError> {
        let listing = Listing::read(self.query)?;
        let items = look::all(self.compute, place, (self.api, self.asking));
        let scopes = look::scopes(&self.compute.catalog());
        Ok(listing.aggregated((&place.project, place.kind), &scopes, items, &self.prefix()))
    }

    /// Members of a group.
    fn members(&self, group: &Resource, items: Vec<Json>) -> Result<Json, ApiError> {
        let listing = Listing::read(self.query)?;
        let (kind, verb) = match group.place.kind.collection {
            "instanceGroups" => ("compute#instanceGroupsListInstances", "listInstances"),
            _ => ("compute#networkEndpointGroupsListNetworkEndpoints", "listNetworkEndpoints"),
        };
        let path = format!("{}/{verb}", group.path());
        Ok(listing.envelope(kind, &path, items, &self.prefix()))
    }

    fn prefix(&self) -> String {
        self.asking.prefix(self.api)
    }

    async fn update(&self, target: Resource, change: (Json, Manner)) -> Result<Json, ApiError> {
        Ok(self.done(&*write::update(self.compute, target, change, self.asking).await?))
    }

    async fn verb(&self, (target, verb): (Resource, Verb), body: Json) -> Result<Json, ApiError> {
        let Self { compute, api, asking, .. } = self;
        match verb {
            Verb::Wait => look::get(compute, &target, (*api, asking)),
            Verb::GetHealth => {
                let catalog = compute.catalog();
                let id = compute.id(&target, &catalog)?;
                health::find(&compute.handle().world(), &asking.base, &id.name, &body)
            }
            Verb::ListInstances => self.members(&target, look::instances(compute, &target, asking)?),
            Verb::ListNetworkEndpoints => self.members(&target, look::endpoints(compute, &target)?),
            Verb::Validate => validate::answer(compute, &target, &body, &asking.base),
            Verb::TestIamPermissions => Ok(json!({"permissions": body.get("permissions")})),
            _ => Ok(self.done(&*verbs::change(compute, (target, verb), body, asking).await?)),
        }
    }

    fn done(&self, operation: &Operation) -> Json {
        match self.api {
            Api::Compute(_) => operation.view(&self.prefix()),
            Api::NetworkServices(_) => operation.long_running_view(),
        }
    }
}
