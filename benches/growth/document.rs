//! Configurations of any size.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::origin::address;

/// Of a group at most.
const GROUP: u32 = 1000;

/// How much there is of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Of the service that is asked.
    pub(crate) members: u32,
    /// Each with a path rule of its own; the last one is asked.
    pub(crate) services: u32,
    /// Path rules for the one service; the last one is asked for.
    pub(crate) rules: u32,
    pub(crate) workers: u32,
}

impl Shape {
    pub(crate) const ONE: Self = Self { members: 10, services: 1, rules: 1, workers: 1 };

    /// What is asked for.
    pub(crate) fn path(self) -> String {
        match self {
            Self { services: 2.., .. } => format!("/s-{}", self.services - 1),
            Self { rules: 2.., .. } => format!("/r-{}", self.rules - 1),
            _ => "/".to_owned(),
        }
    }

    /// The document. `name` is the first member's, so that two documents can differ in one member.
    pub(crate) fn document(self, at: SocketAddr, port: u16, name: &str) -> String {
        let mut text = format!(
            "proxy: {{zone: us-central1-a, workers: {}, admin: none, accessLog: {{path: none}}}}\n\
             forwardingRules: [{{name: web, IPAddress: {}, portRange: \"{}\", target: proxy}}]\n\
             targetHttpProxies: [{{name: proxy, urlMap: map}}]\n\
             urlMaps:\n- name: map\n  defaultService: s-0\n",
            self.workers,
            at.ip(),
            at.port()
        );
        self.rules(&mut text);
        self.services(&mut text);
        self.groups(&mut text, port, name);
        text
    }

    fn rules(self, text: &mut String) {
        let services = (1..self.services).map(|n| (format!("/s-{n}"), n));
        let rules: Vec<_> = services.chain((1..self.rules).map(|n| (format!("/r-{n}"), 0))).collect();
        if rules.is_empty() {
            return;
        }
        *text += "  hostRules: [{hosts: ['*'], pathMatcher: all}]\n  \
                  pathMatchers:\n  - name: all\n    defaultService: s-0\n    pathRules:\n";
        for (path, service) in rules {
            let _ = writeln!(text, "    - {{paths: [{path}], service: s-{service}}}");
        }
    }

    fn services(self, text: &mut String) {
        *text += "healthChecks:\n\
                  - {name: basic, type: TCP, checkIntervalSec: 300, timeoutSec: 5, tcpHealthCheck: {portSpecification: USE_SERVING_PORT}}\n\
                  backendServices:\n";
        for service in 0..self.services {
            let _ =
                writeln!(text, "- name: s-{service}\n  protocol: HTTP\n  healthChecks: [basic]\n  backends:");
            for group in 0..self.members.div_ceil(GROUP) {
                let _ = writeln!(text, "  - {{group: ig-{group}, balancingMode: RATE, maxRate: 1000000}}");
            }
        }
    }

    fn groups(self, text: &mut String, port: u16, name: &str) {
        *text += "instanceGroups:\n";
        for member in 0..self.members {
            if member % GROUP == 0 {
                let group = member / GROUP;
                let _ = writeln!(
                    text,
                    "- name: ig-{group}\n  zone: us-central1-a\n  namedPorts: [{{name: http, port: {port}}}]\n  instances:"
                );
            }
            let name = if member == 0 { name.to_owned() } else { format!("m-{member}") };
            let _ = writeln!(text, "  - {{name: {name}, ipAddress: {}}}", address(member));
        }
    }
}
