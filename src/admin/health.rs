//! `getHealth` of a backend service [G 4.18], and Google's error body [G 12.10].

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::engine::handle::Handle;
use crate::model::service::{Group, GroupKind};
use crate::world::{LiveBackend, LiveService, World};

/// Body of the request; other keys are ignored, as Google does.
#[derive(Debug, Deserialize)]
struct Ask {
    group: String,
}

/// Where the answer's links start.
struct Base {
    host: String,
    version: String,
    project: String,
}

pub(super) async fn answer(
    State(handle): State<Handle>,
    Path((version, project, name)): Path<(String, String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !matches!(&*version, "v1" | "beta" | "alpha") {
        let message = format!("The API version '{version}' was not found");
        return error(StatusCode::NOT_FOUND, "notFound", &message);
    }
    let host =
        headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost").to_owned();
    let base = Base { host, version, project };
    match find(&handle.world(), &base, &name, &body) {
        Ok(value) => Json(value).into_response(),
        Err(refused) => *refused,
    }
}

fn find(world: &World, base: &Base, name: &str, body: &[u8]) -> Result<Value, Box<Response>> {
    let Some(service) = world.services.iter().find(|service| **service.name() == *name) else {
        let path = format!("projects/{}/global/backendServices/{name}", base.project);
        let message = format!("The resource '{path}' was not found");
        return Err(Box::new(error(StatusCode::NOT_FOUND, "notFound", &message)));
    };
    let ask: Ask = serde_json::from_slice(body).map_err(|why| {
        let message = format!("Invalid JSON payload received. {why}");
        Box::new(error(StatusCode::BAD_REQUEST, "invalid", &message))
    })?;
    let Some((group, backend)) = backend(service, &ask.group) else {
        let message = format!(
            "Invalid value for field 'group': '{}'. It is no backend of service '{name}'.",
            ask.group
        );
        return Err(Box::new(error(StatusCode::BAD_REQUEST, "invalid", &message)));
    };
    let status: Vec<Value> =
        backend.members.iter().map(|member| member_health(base, group, member)).collect();
    Ok(json!({"kind": "compute#backendServiceGroupHealth", "healthStatus": status}))
}

fn member_health(base: &Base, group: &Group, member: &crate::world::LiveMember) -> Value {
    let address = member.config.address;
    let mut status = json!({
        "healthState": member.numbered.member.health().basic(),
        "ipAddress": address.ip().to_string(),
        "port": address.port(),
    });
    if group.kind == GroupKind::InstanceGroup {
        let Base { host, version, project } = base;
        let path = format!("projects/{project}/zones/{}/instances/{}", group.zone, member.config.name);
        status["instance"] = format!("http://{host}/compute/{version}/{path}").into();
    }
    status
}

/// The backend whose group `reference` names: its name, or a partial or full URL.
fn backend<'a>(service: &'a LiveService, reference: &str) -> Option<(&'a Group, &'a LiveBackend)> {
    let asked: Vec<&str> = reference.split('/').filter(|part| !part.is_empty()).collect();
    let mut found = service.config.backends.iter().zip(&service.backends).filter(|(config, _)| {
        let group = &config.group;
        let full = ["zones", &group.zone, group.kind.collection(), &group.name];
        // As many of the last segments as were given, at most all four.
        let length = asked.len().min(full.len());
        length > 0 && asked.iter().rev().zip(full.iter().rev()).take(length).all(|(a, b)| a == b)
    });
    found.next().map(|(config, live)| (&*config.group, live))
}

/// Google's error body.
pub(super) fn error(status: StatusCode, reason: &str, message: &str) -> Response {
    let body = json!({"error": {
        "code": status.as_u16(),
        "message": message,
        "errors": [{"message": message, "domain": "global", "reason": reason}],
    }});
    (status, Json(body)).into_response()
}
