//! The configuration of the demo: a real file, which may be edited while it runs.

use std::net::SocketAddr;

/// Addresses that the file names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Addresses {
    pub(super) front: SocketAddr,
    pub(super) admin: SocketAddr,
    pub(super) near: [SocketAddr; 2],
    pub(super) far: [SocketAddr; 2],
}

/// The text of the file.
pub(super) fn text(at: &Addresses) -> String {
    let (front, admin) = (at.front, at.admin);
    let member = |n: usize, address: SocketAddr| {
        let (ip, port) = (address.ip(), address.port());
        format!("      - {{name: www-{n}, ipAddress: {ip}, ports: {{http: {port}}}}}")
    };
    format!(
        "\
# The running demo. Edit and save: it takes effect at once; a mistake is refused and changes nothing.
proxy:
  zone: us-central1-a
  admin: {{address: \"{admin}\"}}
forwardingRules:
  - {{name: web, IPAddress: {ip}, portRange: \"{port}\", target: web-proxy}}
targetHttpProxies:
  - {{name: web-proxy, urlMap: web-map}}
urlMaps:
  - {{name: web-map, defaultService: web}}
backendServices:
  - name: web
    protocol: HTTP
    portName: http
    healthChecks: [basic]
    backends:
      - {{group: near, balancingMode: RATE, maxRatePerInstance: 50, capacityScaler: 1.0}}
      - {{group: far, balancingMode: RATE, maxRatePerInstance: 200, capacityScaler: 1.0}}
instanceGroups:
  - name: near
    zone: us-central1-a
    namedPorts: [{{name: http, port: 80}}]
    instances:
{}
{}
  - name: far
    zone: europe-west1-b
    namedPorts: [{{name: http, port: 80}}]
    instances:
{}
{}
healthChecks:
  - name: basic
    type: HTTP
    checkIntervalSec: 1
    timeoutSec: 1
    healthyThreshold: 1
    unhealthyThreshold: 2
    httpHealthCheck: {{requestPath: /healthz, portSpecification: USE_SERVING_PORT}}
",
        member(1, at.near[0]),
        member(2, at.near[1]),
        member(3, at.far[0]),
        member(4, at.far[1]),
        ip = front.ip(),
        port = front.port(),
    )
}

/// The text with another scaler for the near group, everything else as the user left it; `None` when the line is not
/// there any more.
pub(super) fn with_scaler(text: &str, scaler: f64) -> Option<String> {
    const KEY: &str = "capacityScaler: ";
    let line = text.find("{group: near,")?;
    let end = line + text.get(line..)?.find('\n')?;
    let value = line + text.get(line..end)?.find(KEY)? + KEY.len();
    let after = value + text.get(value..end)?.find([',', '}'])?;
    Some(format!("{}{scaler:.1}{}", text.get(..value)?, text.get(after..)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn example() -> String {
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        text(&Addresses { front: at(8080), admin: at(9901), near: [at(1), at(2)], far: [at(3), at(4)] })
    }

    #[test]
    fn it_is_yaml_with_two_groups_of_two() {
        let value: serde_yaml::Value = serde_yaml::from_str(&example()).unwrap();
        assert_eq!(value["instanceGroups"][1]["instances"][1]["ports"]["http"], 4);
        assert_eq!(value["forwardingRules"][0]["portRange"], "8080");
        assert_eq!(crate::model::resolve::document(&example()).problems, []);
    }

    #[test]
    fn only_the_scaler_of_the_near_group_changes() {
        let text = example();
        let drained = with_scaler(&text, 0.0).unwrap();
        let changed: Vec<_> = text.lines().zip(drained.lines()).filter(|(a, b)| a != b).collect();
        let expected =
            "      - {group: near, balancingMode: RATE, maxRatePerInstance: 50, capacityScaler: 0.0}";
        assert_eq!(changed.iter().map(|(_, b)| *b).collect::<Vec<_>>(), [expected]);
        assert_eq!(with_scaler(&drained, 1.0).unwrap(), text);
        assert_eq!(with_scaler("something else", 1.0), None);
    }
}
