//! `overspill backend-services get-health NAME`: one YAML document for each backend, as gcloud prints it [G 10.12].

use http::Method;
use serde_json::{Value, json};

use super::args::GetHealth;
use super::client::{Admin, Failure};
use super::serve::on_runtime;

const PROJECT: &str = "/compute/v1/projects/local";

/// Exit code: 0 printed, 1 unknown service or no answer, 2 usage.
pub(super) fn run(ask: &GetHealth) -> u8 {
    let admin = match Admin::parse(&ask.admin) {
        Ok(admin) => admin,
        Err(why) => {
            eprintln!("error: {why}");
            return 2;
        }
    };
    on_runtime(async {
        match documents(&admin, &ask.name).await {
            Ok(text) => {
                print!("{text}");
                0
            }
            Err(Failure::Unreachable(why) | Failure::Refused(why)) => {
                eprintln!("ERROR: (overspill.backend-services.get-health) {why}");
                1
            }
        }
    })
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
mod tests {
    use super::*;

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
