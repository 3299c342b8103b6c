//! `getHealth` of a backend service [G 4.18], and Google's error body [G 12.10].

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::compute::{ApiError, Base};
use crate::model::service::{Group, GroupKind};
use crate::world::{LiveBackend, LiveService, World};

/// Body of the request; other keys are ignored, as Google does.
#[derive(Debug, Deserialize)]
struct Ask {
    group: String,
}

/// Health of the members of one backend of a service.
pub(super) fn find(world: &World, base: &Base, name: &str, body: &Value) -> Result<Value, ApiError> {
    let Some(service) = world.services.iter().find(|service| **service.name() == *name) else {
        let path = format!("projects/{}/global/backendServices/{name}", base.project);
        return Err(ApiError::not_found(&path));
    };
    let ask = Ask::deserialize(body)
        .map_err(|why| ApiError::invalid(format!("Invalid JSON payload received. {why}")))?;
    let Some((group, backend)) = backend(service, &ask.group) else {
        let why = format!("It is no backend of service '{name}'.");
        return Err(ApiError::invalid_field("group", &ask.group, &why));
    };
    // A service that no forwarding rule leads to is not probed and has no health [G 4.15].
    let members = backend.members.iter().filter(|_| service.config.is_reachable);
    let status: Vec<Value> = members.map(|member| member_health(base, group, member)).collect();
    Ok(json!({"kind": "compute#backendServiceGroupHealth", "healthStatus": status}))
}

fn member_health(base: &Base, group: &Group, member: &crate::world::LiveMember) -> Value {
    let address = member.config.address;
    let mut status = json!({
        "healthState": member.numbered.member.health().basic(),
        "port": address.port(),
    });
    let ip = match &member.endpoint.resolution {
        Some(resolution) => resolution.addresses().first().copied(),
        None => Some(address.ip()),
    };
    if let Some(ip) = ip {
        status["ipAddress"] = ip.to_string().into();
    }
    if group.kind == GroupKind::InstanceGroup {
        // A member behind one of several ports is called `instance:port` [G 1.34].
        let instance = member.config.name.split(':').next().unwrap_or_default();
        status["instance"] = base.link(&format!("zones/{}/instances/{instance}", group.zone)).into();
    }
    status
}

/// The backend whose group `reference` names: its name, or a partial or full URL.
fn backend<'a>(service: &'a LiveService, reference: &str) -> Option<(&'a Group, &'a LiveBackend)> {
    let asked: Vec<&str> = reference.split('/').filter(|part| !part.is_empty()).collect();
    let mut found = service.config.backends.iter().zip(&service.backends).filter(|(config, _)| {
        let group = &config.group;
        let full: &[&str] = match &*group.zone {
            "global" => &["global", group.kind.collection(), &group.name],
            _ if group.endpoint_type.is_internet() => {
                &["regions", &group.zone, group.kind.collection(), &group.name]
            }
            zone => &["zones", zone, group.kind.collection(), &group.name],
        };
        // As many of the last segments as were given, at most all of them.
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::ledger::member::{Health, ProbeDetail};
    use crate::telemetry::fixture;

    fn base() -> Base {
        let (origin, version) = ("http://127.0.0.1:9901".to_owned(), "v1".to_owned());
        Base { origin, version, project: "p".to_owned() }
    }

    fn ask(world: &World, name: &str, body: &str) -> Result<Value, StatusCode> {
        let body = serde_json::from_str(body).unwrap();
        find(world, &base(), name, &body).map_err(|error| error.status)
    }

    #[test]
    fn a_member_is_healthy_or_unhealthy_and_unknown_counts_as_unhealthy() {
        let world = fixture::world(2);
        world.services[0].backends[0].members[0]
            .numbered
            .member
            .record_probe(Health::Healthy, ProbeDetail::default());
        let health = ask(&world, "web", r#"{"group": "zones/us-central1-a/instanceGroups/near"}"#).unwrap();
        let instance = "http://127.0.0.1:9901/compute/v1/projects/p/zones/us-central1-a/instances/near-1";
        let first =
            json!({"healthState": "HEALTHY", "ipAddress": "127.0.0.1", "port": 1001, "instance": instance});
        assert_eq!(health["kind"], "compute#backendServiceGroupHealth");
        assert_eq!(
            (&health["healthStatus"][0], &health["healthStatus"][1]["healthState"]),
            (&first, &json!("UNHEALTHY"))
        );
    }

    #[test]
    fn a_group_is_named_by_any_tail_of_its_url() {
        let world = fixture::world(1);
        for group in [
            "near",
            "instanceGroups/near",
            "https://www.googleapis.com/compute/v1/projects/p/zones/us-central1-a/instanceGroups/near",
        ] {
            assert!(ask(&world, "web", &json!({"group": group}).to_string()).is_ok(), "{group}");
        }
        for group in ["", "nearer", "zones/us-central1-b/instanceGroups/near", "networkEndpointGroups/near"] {
            let asked = ask(&world, "web", &json!({"group": group}).to_string());
            assert_eq!(asked, Err(StatusCode::BAD_REQUEST), "{group}");
        }
    }

    #[test]
    fn an_unknown_service_is_404_and_a_bad_body_400() {
        let world = fixture::world(1);
        assert_eq!(ask(&world, "nope", "{}"), Err(StatusCode::NOT_FOUND));
        assert_eq!(ask(&world, "web", "{}"), Err(StatusCode::BAD_REQUEST));
    }
}
