//! Configurations: a service and its groups in a few words, the rest as it mostly is.

use std::fmt::Write as _;
use std::net::SocketAddr;

use overspill::cli::toy::ToyBackend;

use super::backend::Scripted;

/// Near the proxy, the same region, and across the sea.
pub(crate) const NEAR: &str = "us-central1-a";
pub(crate) const NEAR_B: &str = "us-central1-b";
pub(crate) const FAR: &str = "europe-west1-b";

/// What has an address.
pub(crate) trait Serves {
    fn at(&self) -> SocketAddr;
}

impl Serves for ToyBackend {
    fn at(&self) -> SocketAddr {
        self.address()
    }
}

impl Serves for Scripted {
    fn at(&self) -> SocketAddr {
        self.address()
    }
}

impl Serves for SocketAddr {
    fn at(&self) -> SocketAddr {
        *self
    }
}

/// One backend with its group.
#[derive(Clone)]
pub(crate) struct Group {
    name: String,
    zone: &'static str,
    mode: String,
    members: Vec<(String, SocketAddr)>,
}

/// A group that is never full.
pub(crate) fn group(name: &str, zone: &'static str) -> Group {
    let mode = "balancingMode: RATE, maxRate: 1000000".to_owned();
    Group { name: name.to_owned(), zone, mode, members: Vec::new() }
}

impl Group {
    /// `balancingMode: …` and what belongs to it.
    pub(crate) fn mode(mut self, mode: &str) -> Self {
        self.mode = mode.to_owned();
        self
    }

    pub(crate) fn rate(self, rate: u32) -> Self {
        self.mode(&format!("balancingMode: RATE, maxRate: {rate}"))
    }

    pub(crate) fn scaler(mut self, scaler: &str) -> Self {
        let _ = write!(self.mode, ", capacityScaler: {scaler}");
        self
    }

    pub(crate) fn member(mut self, name: &str, backend: &impl Serves) -> Self {
        self.members.push((name.to_owned(), backend.at()));
        self
    }

    pub(crate) fn members(mut self, toys: &[ToyBackend]) -> Self {
        for toy in toys {
            self = self.member(toy.name(), toy);
        }
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.members.retain(|(member, _)| member != name);
        self
    }
}

/// One service named `web` behind one front on a port of the system's choice, unless said otherwise.
#[derive(Clone)]
pub(crate) struct Setup {
    service: String,
    health: String,
    proxy: String,
    scheme: String,
    target: String,
    fronts: Vec<(String, String)>,
    more: String,
    groups: Vec<Group>,
}

/// With these groups. Members are probed once a second at `/healthz` on the port that they serve on. Three failures
/// are a verdict: a probe has a second, and a busy machine may let any thread stand still for longer.
pub(crate) fn setup(groups: &[Group]) -> Setup {
    Setup {
        service: String::new(),
        health: "healthyThreshold: 1, unhealthyThreshold: 3".to_owned(),
        proxy: "accessLog: {path: none}".to_owned(),
        scheme: String::new(),
        target: String::new(),
        fronts: vec![("web".to_owned(), "0".to_owned())],
        more: String::new(),
        groups: groups.to_vec(),
    }
    .probed("type: HTTP, httpHealthCheck: {requestPath: /healthz, portSpecification: USE_SERVING_PORT}")
}

/// A scripted backend alone, never probed itself: its health is that of a toy elsewhere.
pub(crate) fn scripted(backend: &Scripted, healthy: &ToyBackend) -> Setup {
    setup(&[group("ig", NEAR).member("s", backend)]).probed_at(healthy)
}

impl Setup {
    /// More of the backend service: lines of `key: value`.
    pub(crate) fn service(mut self, line: &str) -> Self {
        let _ = writeln!(self.service, "    {line}");
        self
    }

    /// A `serviceLbPolicy` of the service with these fields: `key: value, …`.
    pub(crate) fn policy(mut self, fields: &str) -> Self {
        let _ = writeln!(self.more, "serviceLbPolicies: [{{name: policy, {fields}}}]");
        self.service("serviceLbPolicy: policy")
    }

    /// Of the forwarding rules; the service has its own line.
    pub(crate) fn scheme(mut self, scheme: &str) -> Self {
        self.scheme = format!(", loadBalancingScheme: {scheme}");
        self
    }

    /// More of the target proxy: `key: value`.
    pub(crate) fn target(mut self, more: &str) -> Self {
        self.target = format!(", {more}");
        self
    }

    /// More of the proxy: lines of `key: value`.
    pub(crate) fn proxy(mut self, line: &str) -> Self {
        self.proxy = line.to_owned();
        self
    }

    pub(crate) fn probed(mut self, check: &str) -> Self {
        let thresholds = self.health.split(", type:").next().unwrap_or("").to_owned();
        self.health = format!("{thresholds}, {check}");
        self
    }

    pub(crate) fn thresholds(mut self, healthy: u32, unhealthy: u32) -> Self {
        let check = self.health.split_once(", type:").map(|(_, check)| check.to_owned()).unwrap_or_default();
        self.health = format!("healthyThreshold: {healthy}, unhealthyThreshold: {unhealthy}, type:{check}");
        self
    }

    /// All members are as healthy as this one.
    pub(crate) fn probed_at(self, toy: &impl Serves) -> Self {
        let port = toy.at().port();
        self.probed(&format!("type: HTTP, httpHealthCheck: {{requestPath: /healthz, port: {port}}}"))
    }

    /// The forwarding rules: name and port.
    pub(crate) fn fronts(mut self, fronts: &[(&str, &str)]) -> Self {
        self.fronts = fronts.iter().map(|(name, port)| ((*name).to_owned(), (*port).to_owned())).collect();
        self
    }

    pub(crate) fn text(&self) -> String {
        let mut out = format!("proxy:\n  zone: {NEAR}\n  {}\nforwardingRules:\n", self.proxy);
        for (name, port) in &self.fronts {
            let _ = writeln!(
                out,
                "  - {{name: {name}, IPAddress: 127.0.0.1, portRange: \"{port}\", target: web-proxy{}}}",
                self.scheme
            );
        }
        let _ = writeln!(out, "targetHttpProxies:\n  - {{name: web-proxy, urlMap: web-map{}}}", self.target);
        out += "urlMaps:\n  - {name: web-map, defaultService: web}\nbackendServices:\n";
        let _ = write!(
            out,
            "  - name: web\n    protocol: HTTP\n    portName: http\n    healthChecks: [basic]\n{}    backends:\n",
            self.service
        );
        for group in &self.groups {
            let _ = writeln!(out, "      - {{group: {}, {}}}", group.name, group.mode);
        }
        out += "instanceGroups:\n";
        for Group { name, zone, members, .. } in &self.groups {
            let _ = writeln!(
                out,
                "  - name: {name}\n    zone: {zone}\n    namedPorts: [{{name: http, port: 1}}]\n    instances:{}",
                if members.is_empty() { " []" } else { "" }
            );
            for (name, address) in members {
                let (ip, port) = (address.ip(), address.port());
                let _ = writeln!(out, "      - {{name: {name}, ipAddress: {ip}, ports: {{http: {port}}}}}");
            }
        }
        let _ = writeln!(
            out,
            "healthChecks:\n  - {{name: basic, checkIntervalSec: 1, timeoutSec: 1, {}}}",
            self.health
        );
        out + &self.more
    }
}
