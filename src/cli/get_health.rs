//! `overspill backend-services get-health NAME`: one YAML document for each backend, as gcloud prints it [G 10.12].

use http::Method;
use serde_json::{Value, json};

use super::args::GetHealth;
use super::client::{self, Admin, Failure};

const PROJECT: &str = "/compute/v1/projects/local";

/// Exit code: 0 printed, 1 unknown service or no answer, 2 usage.
pub(super) fn run(ask: &GetHealth) -> u8 {
    let who = "ERROR: (overspill.backend-services.get-health)";
    client::run(&ask.admin, who, async |admin| documents(admin, &ask.name).await)
}

async fn documents(admin: &Admin, name: &str) -> Result<String, Failure> {
    let status = admin.ask(Method::GET, "/status", &Value::Null).await?;
    let path = format!("{PROJECT}/global/backendServices/{name}");
    let none = Vec::new();
    let services = status["services"].as_array().unwrap_or(&none);
    let Some(service) = services.iter().find(|service| service["name"] == name) else {
        let path = path.trim_start_matches("/compute/v1/");
        return Err(Failure::Refused(format!(
            "Could not fetch resource:\n - The resource '{path}' was not found"
        )));
    };
    let mut text = String::new();
    for backend in service["backends"].as_array().unwrap_or(&none) {
        let word = |key: &str| backend[key].as_str().unwrap_or("").to_owned();
        let group = format!("{PROJECT}/zones/{}/{}/{}", word("zone"), word("kind"), word("group"));
        let health = admin.ask(Method::POST, &format!("{path}/getHealth"), &json!({"group": group})).await?;
        text += &document(&admin.link(&group), &health);
    }
    Ok(text)
}

/// One document, keys sorted [G 10.8].
fn document(backend: &str, health: &Value) -> String {
    let value = json!({"backend": backend, "status": health});
    format!("---\n{}", serde_yaml::to_string(&value).unwrap_or_default())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::path::Path;

    use clap::Parser as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::admin::AdminServer;
    use crate::cli::args::{Arguments, Command};
    use crate::cli::run;
    use crate::cli::toy::{self, ToyBackend};
    use crate::engine::start::{Overrides, start};
    use crate::source::store::Store;

    async fn raw(admin: &AdminServer, head: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(admin.address()).await.unwrap();
        stream.write_all(format!("{head}\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_running_proxy_tells_health_status_and_metrics() {
        let toy = ToyBackend::start(toy::Options::new("a")).unwrap();
        let port = toy.address().port().to_string();
        let arguments = ["overspill", "run", "--listen", "127.0.0.1:0", "--workers", "1", &port];
        let Command::Run(run) = Arguments::try_parse_from(arguments).unwrap().command else { panic!() };
        let text = run::document(&run).unwrap();
        let handle = start(text.clone(), Path::new("test"), Overrides::default()).await.unwrap();
        let store = Store::in_memory(handle.clone(), Path::new("test"), text);
        let server = AdminServer::start(handle.clone(), store, ([127, 0, 0, 1], 0).into()).await.unwrap();
        handle.ready().await;
        let admin = Admin::parse(&server.address().to_string()).unwrap();

        let health = documents(&admin, "web").await.unwrap();
        assert!(health.contains("/zones/us-central1-a/instanceGroups/ig-us-central1-a\n"), "{health}");
        assert!(
            health.contains("  - healthState: HEALTHY\n") && health.contains(&format!("port: {port}\n")),
            "{health}"
        );
        let unknown = documents(&admin, "nope").await;
        assert!(
            matches!(unknown, Err(Failure::Refused(why)) if why.contains("backendServices/nope' was not found"))
        );

        let words = json!({"request": "GET http://shop.test/", "clientIp": "192.0.2.1"});
        let explained = admin.ask(Method::POST, "/explain", &words).await.unwrap();
        assert_eq!(explained["outcome"]["address"], format!("127.0.0.1:{port}"), "{explained:#}");
        assert_eq!(explained["outcome"]["reason"], "nearest");
        let refused = admin.ask(Method::POST, "/explain", &json!({"request": "no such request"})).await;
        assert!(matches!(refused, Err(Failure::Refused(why)) if why.contains("no request such as")));

        assert!(raw(&server, "GET /readyz HTTP/1.1\r\nhost: localhost").await.starts_with("HTTP/1.1 200"));
        let metrics = raw(&server, "GET /metrics HTTP/1.1\r\nhost: 127.0.0.1").await;
        assert!(
            metrics.contains("text/plain; version=0.0.4") && metrics.contains("\noverspill_ready 1\n"),
            "{metrics}"
        );
        assert!(raw(&server, "GET / HTTP/1.1\r\nhost: localhost").await.contains("<title>Overspill</title>"));
        let stranger = raw(&server, "GET /status HTTP/1.1\r\nhost: evil.example").await;
        assert!(stranger.starts_with("HTTP/1.1 403"), "{stranger}");
        let nothing = raw(&server, "GET /nothing HTTP/1.1\r\nhost: localhost").await;
        assert!(
            nothing.starts_with("HTTP/1.1 404") && nothing.contains("\"reason\":\"notFound\""),
            "{nothing}"
        );
        let long = "POST /compute/v1/projects/p/global/backendServices/web/getHealth HTTP/1.1\r\nhost: localhost\r\n\
                    content-length: 1048577";
        assert!(raw(&server, long).await.starts_with("HTTP/1.1 413"));
        drop(server);
        handle.stop().await;
    }

    #[test]
    fn a_document_looks_as_gcloud_prints_it() {
        let health = json!({"kind": "compute#backendServiceGroupHealth", "healthStatus": [
            {"healthState": "HEALTHY", "ipAddress": "127.0.0.1", "port": 8081, "instance": "http://a/instances/www-1"},
        ]});
        let expected = "---\nbackend: http://a/instanceGroups/ig\nstatus:\n  healthStatus:\n  - healthState: HEALTHY\n    \
                        instance: http://a/instances/www-1\n    ipAddress: 127.0.0.1\n    port: 8081\n  \
                        kind: compute#backendServiceGroupHealth\n";
        assert_eq!(document("http://a/instanceGroups/ig", &health), expected);
    }
}
