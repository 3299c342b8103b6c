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
    }
    optional {
        /// PEM: the server's own certificate first, then those that vouch for it.
        certificate: String,
        /// PEM. Input only: it is never written.
        #[serde(skip_serializing)]
        private_key: Secret,
        /// SELF_MANAGED.
        r#type: String,
        /// A second place for the same.
        self_managed: SelfManaged,
        /// **Ours**: a file that holds `certificate`.
        certificate_file: String,
        /// **Ours**: a file that holds `privateKey`.
        private_key_file: String,
        /// **Ours**: a file that holds an OCSP response in DER, which is shown to clients.
        ocsp_file: String,
    }
}

resource! {
    /// `selfManaged`.
    SelfManaged
    required {}
    optional {
        /// As beside it.
        certificate: String,
        /// As beside it.
        #[serde(skip_serializing)]
        private_key: Secret,
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
pub(super) const PEM: Kind = Kind::Text(65_536);

/// Longest path of a file.
pub(super) const FILE: Kind = Kind::Text(1024);

/// Fields of a certificate.
pub static SSL_CERTIFICATE: Table = Table {
    noun: "an SSL certificate",
    fields: &[
        required("name", Kind::Name),
        note("description"),
        optional("certificate", PEM),
        optional("privateKey", PEM),
        optional("type", Kind::Word(TYPES)),
        optional("selfManaged", Kind::Object(&SELF_MANAGED)),
        optional("certificateFile", FILE),
        optional("privateKeyFile", FILE),
        optional("ocspFile", FILE),
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

static SELF_MANAGED: Table =
    Table { noun: "selfManaged", fields: &[optional("certificate", PEM), optional("privateKey", PEM)] };

static TYPES: &[Word] =
    &[Word::Known("SELF_MANAGED"), Word::Later("MANAGED", "certificates that Google renews")];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_is_read_and_never_written_or_printed() {
        let json = serde_json::json!({"name": "c", "certificate": "PEM", "privateKey": "very secret",
            "selfManaged": {"privateKey": "very secret too"}});
        let certificate: SslCertificate = serde_json::from_value(json).unwrap();
        assert_eq!(certificate.private_key.as_ref().unwrap().expose(), "very secret");
        assert!(!format!("{certificate:?}").contains("very secret"));
        assert!(!serde_json::to_string(&certificate).unwrap().contains("secret"));
    }
}
