//! The certificate that all proxies show, and a client that trusts it.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::process::TempDir;

/// Of `config/tls/`: P-256, for `localhost`.
pub(crate) fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("config/tls").join(name)
}

/// Certificate and key in one file, as HAProxy wants them.
pub(crate) fn bundle(dir: &TempDir) -> Result<PathBuf, String> {
    let mut text = String::new();
    for name in ["localhost.pem", "localhost.key"] {
        text += &fs::read_to_string(file(name)).map_err(|error| format!("{name}: {error}"))?;
    }
    dir.write("haproxy.pem", text)
}

/// Greets a proxy over TLS.
pub(crate) fn client(stream: TcpStream) -> Result<StreamOwned<ClientConnection, TcpStream>, String> {
    let name = ServerName::try_from("localhost").map_err(|error| format!("TLS: {error}"))?;
    let connection = ClientConnection::new(Arc::new(config()?), name);
    Ok(StreamOwned::new(connection.map_err(|error| format!("TLS: {error}"))?, stream))
}

/// Trusts the proxies.
pub(crate) fn config() -> Result<ClientConfig, String> {
    let failed = |error: &dyn std::fmt::Display| format!("TLS: {error}");
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(file("ca.pem")).map_err(|error| failed(&error))?;
    roots.add(ca).map_err(|error| failed(&error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth())
}
