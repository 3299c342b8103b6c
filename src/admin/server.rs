//! Listener, routes and limits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, Uri, header};
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::{dashboard, explain, guard, health, status};
use crate::engine::handle::Handle;
use crate::telemetry::metrics;

const CONNECTIONS: usize = 64;
/// For a head, and for the wait between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// A running admin server; lives on the control runtime. Dropping it closes its listener.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl AdminServer {
    /// Binds and serves.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(handle: Handle, address: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(serve(listener, router(handle, address)));
        Ok(Self { address, task })
    }

    /// As bound.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "admin: accept");
                // Out of descriptors, most likely: others must end first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let _place = place;
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "admin: connection ended");
            }
        });
    }
}

fn router(handle: Handle, address: SocketAddr) -> Router {
    Router::new()
        .route("/", get(|| async { Html(dashboard::PAGE) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(|State(handle): State<Handle>| async move { Json(status::of(&handle)) }))
        .route("/metrics", get(metrics_page))
        .route("/explain", post(explain::ask))
        .route(
            "/compute/{version}/projects/{project}/global/backendServices/{name}/getHealth",
            post(health::answer),
        )
        .fallback(|uri: Uri| async move { not_found(uri.path()) })
        .layer(DefaultBodyLimit::max(guard::BODY_LIMIT))
        .layer(middleware::from_fn_with_state(address, guard::check))
        .with_state(handle)
}

async fn readyz(State(handle): State<Handle>) -> (StatusCode, &'static str) {
    if handle.is_ready() {
        (StatusCode::OK, "ready\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "not ready: listeners or the first health sweep are not done\n")
    }
}

async fn metrics_page(State(handle): State<Handle>) -> Response {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::page(&handle)).into_response()
}

fn not_found(path: &str) -> Response {
    health::error(StatusCode::NOT_FOUND, "notFound", &format!("The resource '{path}' was not found"))
}
