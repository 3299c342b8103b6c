//! Whole resources, as chance has them.

use serde_json::{Value as Json, json};

use super::calls::Calls;
use super::chance::NAMES;
use super::model::ZONE;

impl Calls<'_> {
    /// A whole resource.
    pub(crate) fn resource(&mut self, collection: &str, name: &str) -> Option<Json> {
        let mut resource = match collection {
            "healthChecks" => self.health_check(),
            "backendServices" => self.service(),
            "instanceGroups" => json!({"zone": ZONE, "namedPorts": self.named_ports()}),
            "networkEndpointGroups" => json!({"zone": ZONE, "networkEndpoints": []}),
            "instances" => {
                let ip = self.free_address();
                json!({"zone": ZONE, "networkInterfaces": [{"networkIP": ip}]})
            }
            _ => self.url_map(name),
        };
        resource["name"] = json!(name);
        if self.chance.percent(70) {
            resource["description"] = json!(self.chance.text());
        }
        Some(resource)
    }

    /// Two members of a group must not be at one address.
    fn free_address(&mut self) -> String {
        loop {
            let ip = format!("127.0.0.{}", self.chance.between(2, 250));
            let has_it = |instance: &Json| instance["networkInterfaces"][0]["networkIP"] == *ip;
            if !self.model.all.get("instances").is_some_and(|all| all.values().any(has_it)) {
                return ip;
            }
        }
    }

    fn health_check(&mut self) -> Json {
        let interval = self.chance.between(2, 30);
        json!({
            "type": "HTTP", "checkIntervalSec": interval, "timeoutSec": self.chance.between(1, interval),
            "httpHealthCheck": {"port": self.chance.between(1, 65_535), "requestPath": self.path()},
        })
    }

    pub(super) fn path(&mut self) -> String {
        let paths = [
            "/", "/healthz", "/no", "/null", "/~", "/a:b", "/'q'", "/1e3", "/*x", "/&y", "/%20", "/[z]", "/-",
        ];
        self.chance.pick(&paths).to_owned()
    }

    fn service(&mut self) -> Json {
        let check = self.one_of("healthChecks");
        let mut service = json!({
            "loadBalancingScheme": "EXTERNAL_MANAGED", "protocol": "HTTP", "portName": "http",
            "timeoutSec": self.chance.between(60, 86_400), "healthChecks": [check],
        });
        let mut groups = self.model.names("networkEndpointGroups");
        groups.extend(self.model.names("instanceGroups"));
        let mut backends = Vec::new();
        for _ in 0..self.chance.below(3) {
            let group = groups.remove(self.chance.below(groups.len()));
            let is_neg = self.model.get("networkEndpointGroups", &group).is_some();
            // A service has groups of one kind.
            groups.retain(|other| self.model.get("networkEndpointGroups", other).is_some() == is_neg);
            let mut backend =
                json!({"group": group, "balancingMode": "RATE", "capacityScaler": self.scaler().max(0.1)});
            let target = if is_neg { "maxRatePerEndpoint" } else { "maxRatePerInstance" };
            backend[target] = json!(self.chance.between(1, 100_000));
            if self.chance.percent(30) {
                backend["description"] = json!(self.chance.text());
            }
            backends.push(backend);
            if groups.is_empty() {
                break;
            }
        }
        if !backends.is_empty() {
            service["backends"] = json!(backends);
        }
        service
    }

    pub(super) fn scaler(&mut self) -> f64 {
        self.chance.pick(&[0.0, 0.1, 0.25, 0.5, 0.999, 1.0])
    }

    pub(super) fn named_ports(&mut self) -> Json {
        let mut ports = vec![json!({"name": "http", "port": self.chance.between(1, 65_535)})];
        for name in &NAMES[..self.chance.below(4)] {
            ports.push(json!({"name": name, "port": self.chance.between(1, 65_535)}));
        }
        json!(ports)
    }

    pub(super) fn url_map(&mut self, name: &str) -> Json {
        let mut rules = Vec::new();
        if name == "front-map" {
            rules.push(json!({"paths": ["/ig/*"], "service": "anchored"}));
        }
        for turn in 0..self.chance.below(4) {
            let paths = [format!("/p{turn}{}", self.path()), format!("/q{turn}/*")];
            let paths: Vec<_> = paths.into_iter().filter(|path| !path.ends_with("*x")).collect();
            rules.push(json!({"paths": paths, "service": self.one_of("backendServices")}));
        }
        let default = if name == "front-map" { "web".to_owned() } else { self.one_of("backendServices") };
        let mut matcher = json!({"name": "pm", "defaultService": default});
        if !rules.is_empty() {
            matcher["pathRules"] = json!(rules);
        }
        if self.chance.percent(40) {
            matcher["description"] = json!(self.chance.text());
        }
        let hosts = json!([{"hosts": ["*"], "pathMatcher": "pm"}]);
        json!({"defaultService": default, "hostRules": hosts, "pathMatchers": [matcher]})
    }

    pub(super) fn one_of(&mut self, collection: &str) -> String {
        let names = self.model.names(collection);
        self.chance.one_of(&names).cloned().unwrap_or_default()
    }
}
