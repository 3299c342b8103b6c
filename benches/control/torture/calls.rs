//! Requests of the API, what they change, and what must be refused.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Map, Value as Json, json};

use super::chance::{Chance, NAMES};
use super::model::{HELD, Model, ZONE};

/// Resources that come and go, at most, in a collection.
const MOST: usize = 9;

/// One request.
pub(crate) struct Call {
    pub(crate) method: &'static str,
    /// Behind the project.
    pub(crate) path: String,
    pub(crate) body: Body,
    pub(crate) expected: Expected,
}

pub(crate) enum Body {
    Text(String),
    /// What GET of the resource shows, its fingerprint included, with these fields instead; null takes one away.
    OnView(Json),
    /// Deletions.
    Batch(Vec<String>),
}

pub(crate) enum Expected {
    /// With what is there then, and which resource is another.
    Done(Model, (&'static str, String)),
    /// With one of these.
    Refused(&'static [u16]),
    /// A batch, part by part.
    Each(Model, Vec<u16>),
}

/// Behind the project.
pub(crate) fn place(collection: &str, resource: &Json) -> String {
    match collection {
        "instanceGroups" | "networkEndpointGroups" | "instances" => {
            let zone = resource["zone"].as_str().unwrap_or(ZONE);
            format!("zones/{zone}/{collection}")
        }
        _ => format!("global/{collection}"),
    }
}

/// RFC 7396.
fn merge(target: &mut Json, patch: &Json) {
    let Json::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Json::Object(Map::new());
    }
    for (key, value) in patch {
        match (value, target.as_object_mut()) {
            (Json::Null, Some(fields)) => drop(fields.remove(key)),
            _ => merge(&mut target[key], value),
        }
    }
}

/// What chance makes of a model.
pub(crate) struct Calls<'a> {
    pub(crate) chance: &'a mut Chance,
    pub(crate) model: &'a Model,
    /// Members that are well and serve the load, beyond the first three.
    pub(crate) spare: &'a [SocketAddr],
}

impl Calls<'_> {
    pub(crate) fn any(&mut self) -> Call {
        loop {
            let call = match self.chance.below(23) {
                0 | 1 => self.insert("healthChecks"),
                2 | 3 => self.insert("backendServices"),
                4 => self.insert("instanceGroups"),
                5 => self.insert("networkEndpointGroups"),
                6 => self.insert("instances"),
                7 => self.insert("urlMaps"),
                8 => self.change("healthChecks"),
                9 | 10 => self.change("backendServices"),
                11 | 12 => self.change("urlMaps"),
                13 | 14 => self.scale(),
                15 => self.ports(),
                16 => self.instances(),
                17 | 18 => self.endpoints(),
                19 | 20 => self.delete(),
                21 => self.refused(),
                _ => self.batch(),
            };
            if let Some(call) = call {
                return call;
            }
        }
    }

    fn insert(&mut self, collection: &'static str) -> Option<Call> {
        let names = self.model.names(collection);
        let name = self.chance.pick(NAMES).to_owned();
        // References by name alone must be clear.
        let name = if collection == "networkEndpointGroups" { format!("{name}-neg") } else { name };
        if names.len() >= MOST || names.contains(&name) {
            return None;
        }
        let resource = self.resource(collection, &name)?;
        let path = place(collection, &resource);
        let body = self.spoken(&resource);
        let model = self.model.with(collection, &name, resource);
        let expected = Expected::Done(model, (collection, name));
        Some(Call { method: "POST", path, body: Body::Text(body.to_string()), expected })
    }

    /// The same with references in one of their forms [G 7.11].
    fn spoken(&mut self, resource: &Json) -> Json {
        let mut spoken = resource.clone();
        let form = self.chance.below(4);
        let model = self.model;
        let path = |collection: &str, name: &str| {
            let path =
                format!("{}/{name}", place(collection, model.get(collection, name).unwrap_or(&Json::Null)));
            match form {
                0 => name.to_owned(),
                1 => path,
                2 => format!("projects/local/{path}"),
                _ => format!("https://www.googleapis.com/compute/v1/projects/local/{path}"),
            }
        };
        for backend in spoken["backends"].as_array_mut().into_iter().flatten() {
            let group = backend["group"].as_str().unwrap_or("").to_owned();
            let is_neg = model.get("networkEndpointGroups", &group).is_some();
            backend["group"] =
                json!(path(if is_neg { "networkEndpointGroups" } else { "instanceGroups" }, &group));
        }
        for check in spoken["healthChecks"].as_array_mut().into_iter().flatten() {
            *check = json!(path("healthChecks", check.as_str().unwrap_or("")));
        }
        if let Some(service) = spoken["defaultService"].as_str() {
            spoken["defaultService"] = json!(path("backendServices", service));
        }
        // Indexing has made nulls.
        if let Some(fields) = spoken.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        spoken
    }

    /// PATCH, or PUT of what GET shows.
    fn change(&mut self, collection: &'static str) -> Option<Call> {
        let name = self.one_of(collection);
        let resource = self.model.get(collection, &name)?.clone();
        let overlay = self.overlay(collection, &name);
        let mut after = resource.clone();
        let method = self.chance.pick(&["PATCH", "PATCH", "PUT"]);
        let body = if method == "PUT" || self.chance.percent(20) {
            // Whole fields.
            for (key, value) in overlay.as_object()? {
                if value.is_null() {
                    after.as_object_mut()?.remove(key);
                } else {
                    after[key] = value.clone();
                }
            }
            Body::OnView(overlay)
        } else {
            merge(&mut after, &overlay);
            Body::Text(overlay.to_string())
        };
        let path = format!("{}/{name}", place(collection, &resource));
        let expected = Expected::Done(self.model.with(collection, &name, after), (collection, name));
        Some(Call { method, path, body, expected })
    }

    /// Fields that differ; none is an echo.
    fn overlay(&mut self, collection: &str, name: &str) -> Json {
        let mut overlay = json!({});
        if self.chance.percent(60) {
            overlay["description"] =
                if self.chance.percent(15) { Json::Null } else { json!(self.chance.text()) };
        }
        match collection {
            "healthChecks" if self.chance.percent(50) => {
                overlay["unhealthyThreshold"] = json!(self.chance.between(5, 10));
                if !HELD.contains(&name) {
                    overlay["httpHealthCheck"] =
                        json!({"port": self.chance.between(1, 65_535), "requestPath": self.path()});
                }
            }
            "backendServices" => {
                if self.chance.percent(50) {
                    overlay["timeoutSec"] = json!(self.chance.between(60, 86_400));
                }
                if self.chance.percent(30) && name != "anchored" {
                    overlay["connectionDraining"] = json!({"drainingTimeoutSec": self.chance.between(1, 5)});
                }
                if self.chance.percent(20) {
                    let header = self.chance.pick(&[
                        "x-a: b #c",
                        "x-a: 'q'",
                        "x-a: \"q\": 1",
                        "x-a:null",
                        "x-a: {{b}}",
                    ]);
                    overlay["customResponseHeaders"] = json!([header]);
                }
            }
            "urlMaps" if self.chance.percent(70) => {
                let map = self.url_map(name);
                overlay["pathMatchers"] = map["pathMatchers"].clone();
            }
            _ => {}
        }
        overlay
    }

    /// Scalers of what the load goes through, never all at 0.
    fn scale(&mut self) -> Option<Call> {
        let web = self.model.get("backendServices", "web")?;
        let mut backends = web["backends"].clone();
        let drained = self.chance.below(3);
        for (index, backend) in backends.as_array_mut()?.iter_mut().enumerate() {
            backend["capacityScaler"] = json!(if index == drained { 0.0 } else { self.scaler().max(0.1) });
        }
        let mut after = web.clone();
        after["backends"] = backends.clone();
        let body = self.spoken(&json!({"backends": backends}));
        Some(Call {
            method: "PATCH",
            path: "global/backendServices/web".to_owned(),
            body: Body::Text(body.to_string()),
            expected: Expected::Done(
                self.model.with("backendServices", "web", after),
                ("backendServices", "web".to_owned()),
            ),
        })
    }

    fn ports(&mut self) -> Option<Call> {
        let ports = self.named_ports();
        let name = self.one_of("instanceGroups");
        self.verb("instanceGroups", &name, ("setNamedPorts", json!({"namedPorts": ports.clone()})), |group| {
            group["namedPorts"] = ports;
        })
    }

    fn verb(
        &mut self,
        collection: &'static str,
        name: &str,
        (verb, body): (&str, Json),
        change: impl FnOnce(&mut Json),
    ) -> Option<Call> {
        let mut resource = self.model.get(collection, name)?.clone();
        let path = format!("{}/{name}/{verb}", place(collection, &resource));
        change(&mut resource);
        let expected =
            Expected::Done(self.model.with(collection, name, resource), (collection, name.to_owned()));
        Some(Call { method: "POST", path, body: Body::Text(body.to_string()), expected })
    }

    fn instances(&mut self) -> Option<Call> {
        let groups =
            self.model.names("instanceGroups").into_iter().filter(|name| !HELD.contains(&name.as_str()));
        let groups: Vec<_> = groups.collect();
        let group = self.chance.one_of(&groups)?.clone();
        let members =
            self.model.get("instanceGroups", &group)?["instances"].as_array().cloned().unwrap_or_default();
        let is_member = |name: &String| members.iter().any(|member| member["name"] == **name);
        let name = self.one_of("instances");
        if !is_member(&name) && self.model.is_used("instances", &name) {
            // An instance may be in one load-balanced group only [G 1.29].
            return None;
        }
        let body = json!({"instances": [{"instance": format!("zones/{ZONE}/instances/{name}")}]});
        let (verb, members): (_, Vec<Json>) = if is_member(&name) {
            ("removeInstances", members.iter().filter(|member| member["name"] != *name).cloned().collect())
        } else {
            ("addInstances", members.iter().cloned().chain([json!({"name": name})]).collect())
        };
        self.verb("instanceGroups", &group, (verb, body), |group| group["instances"] = json!(members))
    }

    /// The load's group gets and loses members that are well; the others, any.
    fn endpoints(&mut self) -> Option<Call> {
        let is_held = self.chance.percent(50);
        let group = if is_held { "web-neg".to_owned() } else { self.one_of("networkEndpointGroups") };
        if HELD.contains(&group.as_str()) != is_held {
            return None;
        }
        let members =
            self.model.get("networkEndpointGroups", &group)?["networkEndpoints"].as_array()?.clone();
        let at = if is_held {
            *self.chance.one_of(self.spare)?
        } else {
            (Ipv4Addr::LOCALHOST, self.chance.pick(&[9, 19, 29, 39])).into()
        };
        let (ip, port) = (at.ip().to_string(), at.port());
        let is_it = |member: &Json| member["ipAddress"] == *ip && member["port"] == port;
        let said = if self.chance.percent(30) { json!(port.to_string()) } else { json!(port) };
        let body = json!({"networkEndpoints": [{"ipAddress": ip, "port": said}]});
        let (verb, members): (_, Vec<Json>) = if members.iter().any(is_it) {
            ("detachNetworkEndpoints", members.iter().filter(|member| !is_it(member)).cloned().collect())
        } else {
            let new = json!({"ipAddress": ip, "port": port});
            ("attachNetworkEndpoints", members.iter().cloned().chain([new]).collect())
        };
        self.verb("networkEndpointGroups", &group, (verb, body), |group| {
            group["networkEndpoints"] = json!(members)
        })
    }

    fn any_collection(&mut self) -> &'static str {
        self.chance.pick(super::model::COLLECTIONS)
    }

    fn delete(&mut self) -> Option<Call> {
        let collection = self.any_collection();
        let name = self.chance.one_of(&self.model.free(collection))?.clone();
        let path = format!("{}/{name}", place(collection, self.model.get(collection, &name)?));
        let expected = Expected::Done(self.model.without(collection, &name), (collection, name));
        Some(Call { method: "DELETE", path, body: Body::Text(String::new()), expected })
    }

    fn batch(&mut self) -> Option<Call> {
        let (mut model, mut paths, mut statuses) = (self.model.clone(), Vec::new(), Vec::new());
        for _ in 0..self.chance.between(1, 4) {
            let collection = self.any_collection();
            let names = model.names(collection);
            let name = self.chance.one_of(&names)?.clone();
            let resource = model.get(collection, &name)?;
            paths.push(format!("{}/{name}", place(collection, resource)));
            if HELD.contains(&name.as_str()) && !model.is_used(collection, &name) {
                // The load needs it; what is used cannot go.
                return None;
            }
            let is_used = model.is_used(collection, &name);
            statuses.push(if is_used { 400 } else { 200 });
            if !is_used {
                model = model.without(collection, &name);
            }
        }
        let expected = Expected::Each(model, statuses);
        Some(Call { method: "POST", path: String::new(), body: Body::Batch(paths), expected })
    }

    fn refused(&mut self) -> Option<Call> {
        let (service, check) = (self.one_of("backendServices"), self.one_of("healthChecks"));
        let service_path = format!("global/backendServices/{service}");
        let at = |method, path: &str, body: Json, statuses| {
            let (path, body) = (path.to_owned(), Body::Text(body.to_string()));
            Some(Call { method, path, body, expected: Expected::Refused(statuses) })
        };
        match self.chance.below(9) {
            0 => at(
                "POST",
                "global/healthChecks",
                json!({"name": check, "type": "TCP", "tcpHealthCheck": {}}),
                &[409],
            ),
            1 => at("DELETE", "global/backendServices/web", Json::Null, &[400]),
            2 => at("PATCH", "global/backendServices/nobody", json!({"timeoutSec": 7}), &[404]),
            3 => at("PATCH", &service_path, json!({"timeoutSec": 7, "fingerprint": "AAAAAAAAAAA="}), &[412]),
            4 => at("PUT", &service_path, json!({"name": service, "timeoutSec": 7}), &[412]),
            5 => at("PATCH", &service_path, json!({"timeoutSec": -1}), &[400]),
            6 => at(
                "PATCH",
                &service_path,
                json!({"protocol": "GOPHER", "description": self.chance.text()}),
                &[400],
            ),
            7 => at(
                "PATCH",
                &service_path,
                json!({"healthChecks": ["global/healthChecks/nobody"]}),
                &[400, 404],
            ),
            _ => at("POST", "global/urlMaps", json!({"name": "Not_A-Name", "defaultService": "web"}), &[400]),
        }
    }
}
