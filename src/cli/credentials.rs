//! What a command shows the admin API of a running proxy, and by what it knows that one: a token, and over TLS an
//! authority and a certificate.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use clap::Args;
use http::HeaderValue;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// The variable that holds a token, where no file is named.
const TOKEN: &str = "OVERSPILL_ADMIN_TOKEN";

/// Heading of the flags that say which proxy is meant, and how to speak with it.
pub(super) const HEADING: &str = "Running proxy";

/// For whichever command is run.
static CREDENTIALS: OnceLock<Credentials> = OnceLock::new();

/// Options of every command that asks a running proxy.
#[derive(Debug, Clone, Default, Args)]
pub struct Credentials {
    /// File with the token for the admin address of a running proxy, instead of OVERSPILL_ADMIN_TOKEN
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file with the authority that an https:// admin address is to be known by
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// PEM file with the certificate to show to an https:// admin address; needs --client-key
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", requires = "client_key")]
    pub client_certificate: Option<PathBuf>,
    /// PEM file with the key of --client-certificate
    #[arg(long, global = true, help_heading = HEADING, value_name = "FILE", requires = "client_certificate")]
    pub client_key: Option<PathBuf>,
}

/// Says what to use. For the beginning; a second call changes nothing.
pub(super) fn set(credentials: &Credentials) {
    let _ = CREDENTIALS.set(credentials.clone());
}

/// What was said.
pub(super) fn said() -> Credentials {
    CREDENTIALS.get().cloned().unwrap_or_default()
}

impl Credentials {
    /// The `Authorization` to show, if there is any. It is never printed.
    ///
    /// # Errors
    /// Of the file, and of tokens that are no header.
    pub(super) fn authorization(&self) -> Result<Option<HeaderValue>, String> {
        bearer(self.token_file.as_deref(), std::env::var(TOKEN).ok())
    }

    /// How to speak TLS.
    ///
    /// # Errors
    /// Without an authority, since no public one vouches for an admin address; of the files.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, String> {
        let Some(ca) = &self.ca_file else {
            return Err("an https:// address needs --ca-file, the authority to know it by".to_owned());
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(ca)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", ca.display()))?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots);
        let config = match (&self.client_certificate, &self.client_key) {
            (Some(certificate), Some(key)) => {
                let shown = certificates(certificate)?;
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|error| format!("cannot read {}: {error}", key.display()))?;
                builder
                    .with_client_auth_cert(shown, key)
                    .map_err(|error| format!("{}: {error}", certificate.display()))?
            }
            _ => builder.with_no_client_auth(),
        };
        Ok(Arc::new(config))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("cannot read {}: {error}", path.display());
    let all: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?.collect();
    match all {
        Ok(all) if all.is_empty() => Err(wrong(&"there is no certificate in it")),
        Ok(all) => Ok(all),
        Err(error) => Err(wrong(&error)),
    }
}

fn bearer(file: Option<&Path>, variable: Option<String>) -> Result<Option<HeaderValue>, String> {
    let text = match file {
        Some(path) => Some(
            std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?,
        ),
        None => variable.filter(|value| !value.is_empty()),
    };
    let Some(text) = text else { return Ok(None) };
    let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
        .map_err(|_| "the token has other characters than visible ASCII".to_owned())?;
    value.set_sensitive(true);
    Ok(Some(value))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_token_comes_from_its_file_or_else_from_the_variable() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "of-the-file\n").unwrap();
        let variable = || Some("of-the-variable".to_owned());
        assert_eq!(bearer(Some(file.path()), variable()).unwrap().unwrap(), "Bearer of-the-file");
        let shown = bearer(None, variable()).unwrap().unwrap();
        assert_eq!(shown, "Bearer of-the-variable");
        assert!(!format!("{shown:?}").contains("variable"));
        assert_eq!((bearer(None, None), bearer(None, Some(String::new()))), (Ok(None), Ok(None)));
        assert!(bearer(Some(Path::new("/nowhere/at/all")), None).is_err());
        assert!(bearer(None, Some("a\nb".to_owned())).is_err());
    }

    #[test]
    fn tls_needs_an_authority_and_certificates_that_can_be_read() {
        let tls = |folder: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("config/tls").join(folder);
        let none = Credentials::default();
        assert!(none.tls().unwrap_err().contains("--ca-file"));
        let ca = Credentials { ca_file: Some(tls("ca.pem")), ..none };
        assert!(!ca.tls().unwrap().client_auth_cert_resolver.has_certs());
        let certificate = (Some(tls("localhost.pem")), Some(tls("localhost.key")));
        let both = Credentials { client_certificate: certificate.0, client_key: certificate.1, ..ca.clone() };
        assert!(both.tls().unwrap().client_auth_cert_resolver.has_certs());
        for wrong in ["localhost.key", "nothing.pem"] {
            let wrong = Credentials { ca_file: Some(tls(wrong)), ..ca.clone() };
            assert!(wrong.tls().unwrap_err().starts_with("cannot read"), "{wrong:?}");
        }
    }
}
