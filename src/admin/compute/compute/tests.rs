use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::sync::Barrier;

use super::super::path::{self, What};
use super::super::write::{self, Manner};
use super::*;
use crate::engine::start::{Overrides, start};
use crate::model::admin::Access;

const UUID: &str = "0f0e0d0c-0b0a-4909-8807-060504030201";
const PLACE: &str = "/compute/v1/projects/p/global/healthChecks";
/// Requests at once.
const MANY: usize = 48;

async fn compute() -> Compute {
    let text = "proxy: {zone: us-central1-a, admin: none, accessLog: {path: none}}\n".to_owned();
    let overrides = Overrides { workers: Some(1), ..Overrides::default() };
    let handle = start(text.clone(), Path::new("lb.yaml"), overrides).await.unwrap();
    let store = Store::in_memory(handle.clone(), Path::new("lb.yaml"), text);
    Compute::new(handle, store)
}

fn asking(request: Option<&str>) -> Asking {
    Asking {
        base: Base { origin: "http://h".to_owned(), version: "v1".to_owned(), project: "p".to_owned() },
        caller: Caller { who: "local".into(), access: Access::ReadWrite, over_tls: false },
        method: Method::POST,
        path: PLACE.to_owned(),
        request: request.map(|request| RequestId::parse(request).unwrap()),
        started: clock::wall(),
    }
}

/// Makes a change that is asked for over HTTP by `method` at `path`.
async fn ask(
    compute: &Compute,
    (method, path): (Method, &str),
    body: Json,
    request: Option<&str>,
) -> Result<Arc<Operation>, ApiError> {
    let asking = asking(request);
    match path::parse(&method, path).unwrap().what {
        What::Insert(place) => write::insert(compute, place, (body, None), &asking).await,
        What::Patch(target) => write::update(compute, target, (body, Manner::Patch), &asking).await,
        What::Delete(target) => write::delete(compute, target, &asking).await,
        other => panic!("{other:?}"),
    }
}

fn check() -> Json {
    json!({"name": "c", "type": "TCP", "tcpHealthCheck": {"port": 80}})
}

/// The same request [`MANY`] times at the same moment; the names of the operations.
async fn at_once(compute: &Compute, asked: (Method, String), body: Json) -> Vec<String> {
    let barrier = Arc::new(Barrier::new(MANY));
    let one = |_| {
        let (compute, barrier, asked, body) = (compute.clone(), barrier.clone(), asked.clone(), body.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            let done = ask(&compute, (asked.0, &asked.1), body, Some(UUID)).await;
            done.map(|operation| operation.name.clone()).unwrap_or_else(|error| error.message)
        })
    };
    let tasks: Vec<_> = (0..MANY).map(one).collect();
    let mut names = Vec::new();
    for task in tasks {
        names.push(task.await.unwrap());
    }
    names
}

/// How many operations there are.
fn count(compute: &Compute) -> usize {
    compute.operations(|all| all.all("p").count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn g_12_4_of_many_inserts_with_one_request_id_at_one_moment_one_is_made_and_all_hear_of_it() {
    let compute = compute().await;
    let before = compute.handle().world().generation;
    let names = at_once(&compute, (Method::POST, PLACE.to_owned()), check()).await;
    assert!(names[0].starts_with("operation-"), "{}", names[0]);
    assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_eq!(count(&compute), 1);
    assert_eq!(compute.handle().world().generation, before + 1);
    compute.handle().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn g_12_4_of_many_patches_and_deletions_with_one_request_id_at_one_moment_one_is_made() {
    let compute = compute().await;
    ask(&compute, (Method::POST, PLACE), check(), None).await.unwrap();
    let path = format!("{PLACE}/c");
    let names = at_once(&compute, (Method::PATCH, path.clone()), json!({"timeoutSec": 3})).await;
    assert!(names[0].starts_with("operation-") && names.iter().all(|name| *name == names[0]), "{names:?}");
    assert_eq!(count(&compute), 2);
    let taken = ask(&compute, (Method::DELETE, &path), Json::Null, Some(UUID)).await.unwrap_err();
    assert_eq!(taken.status, StatusCode::BAD_REQUEST, "the id was that of the patch");
    compute.handle().stop().await;
}

#[tokio::test]
async fn g_12_4_a_deletion_that_comes_again_is_that_of_before_by_name_and_by_number() {
    let compute = compute().await;
    ask(&compute, (Method::POST, PLACE), check(), None).await.unwrap();
    let id = compute.catalog().all("healthChecks").map(|(id, _)| number(id)).next().unwrap();
    let path = format!("{PLACE}/c");
    let first = ask(&compute, (Method::DELETE, &path), Json::Null, Some(UUID)).await.unwrap();
    for path in [path.clone(), format!("{PLACE}/{id}")] {
        let again = ask(&compute, (Method::DELETE, &path), Json::Null, Some(UUID)).await.unwrap();
        assert_eq!(again.name, first.name, "{path}");
        let fresh = ask(&compute, (Method::DELETE, &path), Json::Null, None).await.unwrap_err();
        assert_eq!(fresh.status, StatusCode::NOT_FOUND, "{path}");
    }
    compute.handle().stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_nobody_waits_for_any_more_leaves_its_operation_all_the_same() {
    let compute = compute().await;
    let polled = Arc::new(AtomicUsize::new(0));
    // Dropped after so many polls: somewhere in the middle, wherever that is.
    for most in 1..40 {
        let before = compute.shared.store.text();
        let had = count(&compute);
        let mut change = Box::pin(ask(&compute, (Method::POST, PLACE), check(), None));
        polled.store(0, Ordering::Relaxed);
        let ended = std::future::poll_fn(|cx| {
            if polled.fetch_add(1, Ordering::Relaxed) == most {
                return std::task::Poll::Ready(None);
            }
            change.as_mut().poll(cx).map(Some)
        })
        .await;
        drop(change);
        compute.shared.store.idle().await;
        let is_changed = compute.shared.store.text() != before;
        assert_eq!(count(&compute) - had, usize::from(is_changed), "after {most} polls");
        if is_changed {
            ask(&compute, (Method::DELETE, &format!("{PLACE}/c")), Json::Null, None).await.unwrap();
        }
        if ended.is_some() {
            break;
        }
    }
    compute.handle().stop().await;
}

#[tokio::test]
async fn g_4a_a_health_check_of_a_type_alone_has_the_defaults_of_that_type() {
    let compute = compute().await;
    for (word, body, port) in [
        ("HTTP", "httpHealthCheck", 80),
        ("HTTPS", "httpsHealthCheck", 443),
        ("HTTP2", "http2HealthCheck", 443),
        ("TCP", "tcpHealthCheck", 80),
        ("SSL", "sslHealthCheck", 443),
    ] {
        let name = word.to_lowercase();
        ask(&compute, (Method::POST, PLACE), json!({"name": name, "type": word}), None).await.unwrap();
        let id = Id { collection: "healthChecks", scope: Scope::Global, name };
        let whole = Stored::find(&id, &compute.catalog()).unwrap().whole;
        assert_eq!(
            (&whole[body]["port"], &whole[body]["proxyHeader"]),
            (&json!(port), &json!("NONE")),
            "{word}"
        );
    }
    // Its port goes never without saying [G 4b].
    for word in ["GRPC", "GRPC_WITH_TLS"] {
        let error =
            ask(&compute, (Method::POST, PLACE), json!({"name": "g", "type": word}), None).await.unwrap_err();
        assert!(error.message.contains("port"), "{}", error.message);
    }
    // Two bodies are none of its type: what a change of the type leaves behind is told, not dropped.
    let path = format!("{PLACE}/tcp");
    let error = ask(&compute, (Method::PATCH, &path), json!({"type": "HTTP"}), None).await.unwrap_err();
    assert!(error.body().to_string().contains("has `tcpHealthCheck`"), "{}", error.body());
    ask(&compute, (Method::PATCH, &path), json!({"type": "HTTP", "tcpHealthCheck": null}), None)
        .await
        .unwrap();
    compute.handle().stop().await;
}
