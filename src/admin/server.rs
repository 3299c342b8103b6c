//! Listener, routes and limits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, State};
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Json, Router};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::auth::{Caller, Peer};
use super::compute::{self, Compute};
use super::guard::Guard;
use super::places::{Guest, Places};
use super::{audit, auth, dashboard, explain, guard, health, status};
use crate::clock;
use crate::engine::handle::Handle;
use crate::engine::upgrade::Phase;
use crate::ledger::complaints::Complaints;
use crate::model::tls::Termination;
use crate::net::accept::{HANDSHAKE_TIMEOUT, server_config};
use crate::source::store::Store;
use crate::telemetry::metrics;

const CONNECTIONS: u32 = 64;
/// How long clients that were let in have, when another process takes over.
const LINGER: Duration = Duration::from_secs(1);
/// For a whole head, and the wait for it between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// What routes are given.
#[derive(Debug, Clone)]
pub(super) struct Api {
    /// What serves.
    pub(super) handle: Handle,
    /// Google's API over it.
    pub(super) compute: Compute,
}

impl FromRef<Api> for Handle {
    fn from_ref(api: &Api) -> Self {
        api.handle.clone()
    }
}

impl FromRef<Api> for Compute {
    fn from_ref(api: &Api) -> Self {
        api.compute.clone()
    }
}

/// A running admin server; lives on the control runtime. Dropping it closes its listener.
#[derive(Debug)]
pub struct AdminServer {
    address: SocketAddr,
    task: JoinHandle<()>,
    places: Places,
}

impl AdminServer {
    /// Binds and serves.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn start(handle: Handle, store: Store, address: SocketAddr) -> io::Result<Self> {
        Self::on(handle, store, TcpListener::bind(address).await?.into_std()?)
    }

    /// Serves on a listener that is there already; call it inside the control runtime.
    ///
    /// # Errors
    /// When it is no listener.
    pub fn on(handle: Handle, store: Store, listener: std::net::TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let places = Places::new(CONNECTIONS);
        let api = Api { compute: Compute::new(handle.clone(), store), handle: handle.clone() };
        let router = router(api, address);
        let task = tokio::spawn(serve(listener, places.clone(), Door { handle, router }));
        Ok(Self { address, task, places })
    }

    /// Closes the listener, since another process has it too, and waits until who was let in has an answer.
    pub async fn retire(self) {
        self.task.abort();
        // Idle ones hold their places until the time is over.
        let _ = tokio::time::timeout(LINGER, self.places.are_free()).await;
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

/// What connections are let into.
#[derive(Clone)]
struct Door {
    handle: Handle,
    router: Router,
}

async fn serve(listener: TcpListener, places: Places, door: Door) {
    let complaints = Complaints::default();
    let mut made: Option<Made> = None;
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                if complaints.is_due(clock::now()) {
                    tracing::warn!(%error, "admin: accept");
                }
                // Out of descriptors, most likely: others must end first.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let full = || {
            if complaints.is_due(clock::now()) {
                tracing::warn!(
                    "admin: all {CONNECTIONS} connections are taken; whoever has been idle longest goes"
                );
            }
        };
        let place = places.take(full).await;
        let terms = door.handle.world().config.proxy.admin_access.tls.as_ref().map(|tls| tls.0.clone());
        made = terms.map(|terms| match made.take() {
            Some(made) if Arc::ptr_eq(&made.0, &terms) => made,
            _ => (terms.clone(), server_config(&terms)),
        });
        let (router, made) = (door.router.clone(), made.clone());
        tokio::spawn(async move {
            let guest = place.guest();
            tokio::select! {
                biased;
                () = guest.must_go() => tracing::debug!("admin: an idle connection made room"),
                () = receive((stream, address), made, router, &guest) => {}
            }
        });
    }
}

/// A connection from the first byte to the last.
async fn receive(
    (stream, address): (TcpStream, SocketAddr),
    made: Option<Made>,
    router: Router,
    guest: &Guest,
) {
    let Some((terms, config)) = made else {
        let peer = Peer { address, over_tls: false, certificate: None };
        return converse(stream, router, peer, guest).await;
    };
    let shaken = TlsAcceptor::from(config).accept(stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT.to_std(), shaken).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates().unwrap_or_default();
            let certificate = auth::certified(&terms, shown);
            converse(stream, router, Peer { address, over_tls: true, certificate }, guest).await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "admin: TLS handshake"),
        Err(_) => tracing::debug!("admin: the TLS handshake took too long"),
    }
}

/// What TLS is made from, and what was made.
type Made = (Arc<Termination>, Arc<ServerConfig>);

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router, peer: Peer, guest: &Guest) {
    let inner = TowerToHyperService::new(router.layer(Extension(peer)));
    let service = service_fn(|request: Request<Incoming>| {
        let answer = inner.call(request.map(|body| guest.asks(body)));
        async {
            let answer = answer.await;
            guest.is_answered();
            answer
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "admin: connection ended");
    }
}

fn router(api: Api, address: SocketAddr) -> Router {
    let guard = Guard::new(api.handle.clone(), address, Arc::default());
    Router::new()
        .route("/", get(|| async { Html(dashboard::PAGE) }))
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/status", get(|State(handle): State<Handle>| async move { Json(status::of(&handle)) }))
        .route("/metrics", get(metrics_page))
        .route("/explain", post(explain::ask))
        .route("/upgrade", post(upgrade))
        .route("/compute/{*path}", any(compute::answer))
        .route("/batch/compute/{version}", post(compute::batch))
        .route("/v1/projects/{*path}", any(compute::answer))
        .fallback(|uri: Uri| async move { not_found(uri.path()) })
        .layer(middleware::from_fn_with_state(guard, guard::check))
        .with_state(api)
}

/// Only asks; `/status` tells how it goes.
async fn upgrade(State(handle): State<Handle>, Extension(caller): Extension<Caller>) -> Response {
    let failed = handle.upgrade().failed;
    match handle.ask_upgrade() {
        Ok(()) => {
            let (method, path, operation) = (&Method::POST, "/upgrade", "upgrade");
            audit::record(&caller, &audit::Change { method, path, operation, texts: None });
            (StatusCode::ACCEPTED, Json(json!({"pid": std::process::id(), "failed": failed}))).into_response()
        }
        Err(Phase::Unavailable) => {
            let message = "This process was not started by serve or run, and cannot be upgraded";
            health::error(StatusCode::NOT_IMPLEMENTED, "notImplemented", message)
        }
        Err(_) => health::error(StatusCode::CONFLICT, "conflict", "An upgrade is under way already"),
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
