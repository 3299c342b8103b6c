//! `sslCertificates`.

use std::fmt;

use serde::Deserialize;

use super::resource;
use super::schema::{Kind, Off, Table, Word, later, note, optional, output, required};

resource! {
    /// A certificate with its key.
    SslCertificate
    required {
        /// Name, unique among certificates.
        name: String,
        /// PEM: the server's own certificate first, then those that vouch for it.
        certificate: String,
        /// PEM. Input only: it is never written.
        #[serde(skip_serializing)]
        private_key: Secret,
    }
    optional {
        /// SELF_MANAGED.
        r#type: String,
    }
}

/// A text that is read and never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself; for whoever makes use of it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Longest PEM: a chain of five certificates with large keys and many names fits in.
const PEM: Kind = Kind::Text(65_536);

/// Fields of a certificate.
pub static SSL_CERTIFICATE: Table = Table {
    noun: "an SSL certificate",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        required("certificate", PEM),
        required("privateKey", PEM),
        optional("type", Kind::Word(TYPES)),
        later(
            "certificateFile",
            "certificates from files; `certificate` holds the PEM itself",
            &[Off::Empty],
        ),
        later("privateKeyFile", "keys from files; `privateKey` holds the PEM itself", &[Off::Empty]),
        later(
            "selfManaged",
            "a second place for the same; `certificate` and `privateKey` hold the PEM",
            &[Off::Empty],
        ),
        later("managed", "certificates that Google renews", &[Off::Empty]),
        output("kind"),
        output("id"),
        output("selfLink"),
        output("creationTimestamp"),
        output("expireTime"),
        output("subjectAlternativeNames"),
        output("region"),
    ],
};

static TYPES: &[Word] =
    &[Word::Known("SELF_MANAGED"), Word::Later("MANAGED", "certificates that Google renews")];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_read_and_never_written_or_printed() {
        let json = serde_json::json!({"name": "c", "certificate": "PEM", "privateKey": "very secret"});
        let certificate: SslCertificate = serde_json::from_value(json).unwrap();
        assert_eq!(certificate.private_key.expose(), "very secret");
        assert!(!format!("{certificate:?}").contains("very secret"));
        assert!(!serde_json::to_string(&certificate).unwrap().contains("secret"));
    }
}
