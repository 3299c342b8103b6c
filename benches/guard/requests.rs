//! Requests through `overspill serve`, one after the other on one connection, from this process to a toy backend in it.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use overspill::cli::toy::{self, ToyBackend};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::counting::Counting;
use super::counting::client::{connect, exchange, head, until_healthy};
use super::process::{Server, TempDir, free_addresses};

/// Requests: few, many. The few make all warm.
const REQUESTS: [usize; 2] = [500, 2_500];
const LARGE: usize = 100 * 1024;
const UPLOAD: usize = 16 * 1024;

/// What is asked.
pub(crate) struct Work {
    pub(crate) name: &'static str,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Get,
    /// With a body.
    Post,
    /// An answer of 100 KiB.
    Large,
    /// A new connection for each.
    Close,
    /// Over TLS.
    Tls,
    /// HTTP/2 with prior knowledge.
    Http2,
}

pub(crate) const ALL: [Work; 6] = [
    Work { name: "request, HTTP/1.1", how: How::Get },
    Work { name: "request, HTTP/1.1, 16 KiB upload", how: How::Post },
    Work { name: "request, HTTP/1.1, 100 KiB answer", how: How::Large },
    Work { name: "request, HTTP/1.1, new connection", how: How::Close },
    Work { name: "request, HTTP/1.1 over TLS", how: How::Tls },
    Work { name: "request, HTTP/2", how: How::Http2 },
];

/// Instructions of the whole balancer per request.
pub(crate) fn count(
    work: &Work,
    overspill: &Path,
    counting: &Counting<'_>,
    dir: &TempDir,
) -> Result<u64, String> {
    let mut options = toy::Options::new("origin");
    options.settings.body_bytes = if work.how == How::Large { LARGE } else { 128 };
    let toy = ToyBackend::start(options).map_err(|error| format!("no backend: {error}"))?;
    let run = |requests| {
        let [at, beside] = free_addresses()?;
        let text = document((at, beside), toy.address(), work.how == How::Tls);
        let config = dir.write("guard/overspill.yaml", text)?;
        let command = ["serve", "--log-level", "error", "-c"].map(str::to_owned);
        let mut all = vec![overspill.display().to_string()];
        all.extend(command);
        all.push(config.display().to_string());
        counting.of_server(
            |counting| Server::start("overspill", &counting.command(&all), &[at, beside], dir, None),
            || ask(work.how, (at, beside), requests),
        )
    };
    let [few, many] = REQUESTS;
    let (less, more) = (run(few)?, run(many)?);
    Ok(more.saturating_sub(less) / (many - few) as u64)
}

/// One worker; a health check so seldom that it is no part of the figure. `beside` is always in clear.
fn document((at, beside): (SocketAddr, SocketAddr), to: SocketAddr, is_secured: bool) -> String {
    let root = env!("CARGO_MANIFEST_DIR");
    let (secured, target) = if is_secured {
        let text = format!(
            "targetHttpsProxies: [{{name: secured, urlMap: map, sslCertificates: [localhost], quicOverride: NONE}}]\n\
             sslCertificates: [{{name: localhost, certificateFile: {root}/config/tls/localhost.pem, \
             privateKeyFile: {root}/config/tls/localhost.key}}]\n"
        );
        (text, "secured")
    } else {
        (String::new(), "clear")
    };
    format!(
        "proxy: {{zone: us-central1-a, workers: 1, admin: none, accessLog: {{path: none}}}}
forwardingRules:
- {{name: web, IPAddress: {}, portRange: \"{}\", target: {target}}}
- {{name: beside, IPAddress: {}, portRange: \"{}\", target: clear}}
targetHttpProxies: [{{name: clear, urlMap: map}}]
{secured}urlMaps: [{{name: map, defaultService: web}}]
backendServices:
- {{name: web, protocol: HTTP, healthChecks: [basic], backends: [{{group: ig, balancingMode: RATE, maxRate: 1000000}}]}}
healthChecks:
- {{name: basic, type: TCP, checkIntervalSec: 300, timeoutSec: 5, tcpHealthCheck: {{portSpecification: USE_SERVING_PORT}}}}
instanceGroups:
- name: ig
  zone: us-central1-a
  namedPorts: [{{name: http, port: {}}}]
  instances: [{{name: a, ipAddress: {}}}]
",
        at.ip(),
        at.port(),
        beside.ip(),
        beside.port(),
        to.port(),
        to.ip()
    )
}

/// Waits until the backend has been found healthy, which is asked where it costs least, and asks.
fn ask(how: How, (at, beside): (SocketAddr, SocketAddr), requests: usize) -> Result<(), String> {
    let request = head(("GET", "/"), beside, "Connection: close\r\n");
    until_healthy(|| exchange(&mut connect(beside)?, &request))?;
    match how {
        How::Get | How::Large => {
            let (mut stream, request) = (connect(at)?, head(("GET", "/"), at, ""));
            (0..requests).try_for_each(|_| exchange(&mut stream, &request))
        }
        How::Post => {
            let mut request = head(("POST", "/"), at, &format!("Content-Length: {UPLOAD}\r\n"));
            request.extend(std::iter::repeat_n(b'x', UPLOAD));
            let mut stream = connect(at)?;
            (0..requests).try_for_each(|_| exchange(&mut stream, &request))
        }
        How::Close => {
            let request = head(("GET", "/"), at, "Connection: close\r\n");
            (0..requests).try_for_each(|_| exchange(&mut connect(at)?, &request))
        }
        How::Tls => {
            let mut stream = secured(connect(at)?)?;
            let request = head(("GET", "/"), at, "");
            (0..requests).try_for_each(|_| exchange(&mut stream, &request))
        }
        How::Http2 => http2(at, requests),
    }
}

fn secured(stream: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("TLS: {error}");
    let mut roots = RootCertStore::empty();
    let ca = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tls/ca.pem");
    let ca = CertificateDer::from_pem_file(ca).map_err(|error| failed(&error))?;
    roots.add(ca).map_err(|error| failed(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").map_err(|error| failed(&error))?;
    let connection = ClientConnection::new(Arc::new(config), name).map_err(|error| failed(&error))?;
    Ok(StreamOwned::new(connection, stream))
}

fn http2(at: SocketAddr, requests: usize) -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("HTTP/2: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| failed(&error))?.block_on(async {
        let stream = tokio::net::TcpStream::connect(at).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let (mut sender, connection) = h2::client::handshake(stream).await.map_err(|error| failed(&error))?;
        let driver = tokio::spawn(connection);
        for _ in 0..requests {
            sender = sender.ready().await.map_err(|error| failed(&error))?;
            let request = http::Request::get(format!("http://{at}/")).header("user-agent", "guard").body(());
            let request = request.map_err(|error| failed(&error))?;
            let (response, _) = sender.send_request(request, true).map_err(|error| failed(&error))?;
            let response = response.await.map_err(|error| failed(&error))?;
            if response.status() != http::StatusCode::OK {
                return Err(format!("HTTP/2: {}", response.status()));
            }
            let mut body = response.into_body();
            while let Some(piece) = body.data().await {
                let piece = piece.map_err(|error| failed(&error))?;
                body.flow_control().release_capacity(piece.len()).map_err(|error| failed(&error))?;
            }
        }
        drop(sender);
        driver.abort();
        Ok(())
    })
}
