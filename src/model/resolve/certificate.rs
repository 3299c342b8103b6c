//! `sslCertificates`: the PEM itself, or files that hold it.

use super::around::Files;
use super::names::Names;
use super::report::Report;
use super::tls::unreadable;
use crate::model::certificate::{Certificate, Fault, MAX_CHAIN};
use crate::model::timestamp::Timestamp;
use crate::model::x509;
use crate::wire::certificate::SslCertificate;
use crate::wire::flaw::quote;
use crate::wire::path::Path;
use crate::wire::read::Collection;

/// All certificates.
pub(super) struct Certificates<'a> {
    names: Names<'a>,
    list: Vec<Option<Certificate>>,
}

impl<'a> Certificates<'a> {
    pub(super) fn new(
        of: &'a Collection<SslCertificate>,
        files: &mut Files<'_>,
        report: &mut Report<'_>,
    ) -> Self {
        let names = Names::new(of, "SSL certificate", report);
        let list = Path::Root.key(of.key);
        let each = of.entries.iter().enumerate();
        let list = each
            .map(|(index, entry)| read(entry.value.as_ref()?, &list.item(index), files, report))
            .collect();
        Self { names, list }
    }

    /// Those that a proxy lists, at least one. `None` after a report.
    pub(super) fn follow(
        &self,
        references: &[String],
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) -> Option<Vec<Certificate>> {
        let at = at.key("sslCertificates");
        if references.is_empty() {
            let message = "a proxy that speaks TLS needs a certificate";
            report.error(&at, "missing-certificate", message, "1 to 15 of `sslCertificates` [G 6.13]");
        }
        let found: Vec<_> = references
            .iter()
            .enumerate()
            .map(|(index, reference)| self.names.follow(reference, &at.item(index), report))
            .collect();
        let found: Option<Vec<_>> = found.into_iter().map(|index| self.list.get(index?)?.clone()).collect();
        found.filter(|found| !found.is_empty())
    }
}

/// A text with the field that it came from.
type Source = (&'static str, String);

fn read(
    of: &SslCertificate,
    at: &Path<'_>,
    files: &mut Files<'_>,
    report: &mut Report<'_>,
) -> Option<Certificate> {
    let inner = of.self_managed.as_ref();
    let chain = [
        ("certificate", of.certificate.as_deref()),
        ("selfManaged.certificate", inner.and_then(|inner| inner.certificate.as_deref())),
    ];
    let key = [
        ("privateKey", of.private_key.as_ref().map(|key| key.expose())),
        (
            "selfManaged.privateKey",
            inner.and_then(|inner| inner.private_key.as_ref().map(|key| key.expose())),
        ),
    ];
    let mut from = Sources { at, name: &of.name, files, report };
    let chain = from.one(chain, ("certificateFile", of.certificate_file.as_deref()));
    let key = from.one(key, ("privateKeyFile", of.private_key_file.as_deref()));
    let (chain, key) = (chain?, key?);
    let certificate = match Certificate::read(&of.name, &chain.1, &key.1) {
        Ok(certificate) => certificate,
        Err(fault) => {
            tell(fault, &of.name, (chain.0, key.0), at, report);
            return None;
        }
    };
    judge_dates(&certificate, (chain.0, at), files.now(), report);
    let Some(path) = &of.ocsp_file else { return Some(certificate) };
    let at = at.key("ocspFile");
    let stapled = match files.read(path) {
        Err(why) => {
            unreadable(path, &why, &at, report);
            return None;
        }
        Ok(response) if is_stale(path, &response, (&at, files.now()), report) => return Some(certificate),
        Ok(response) => certificate.stapled(response),
    };
    if stapled.is_none() {
        let message = format!("the file {} holds no OCSP response", quote(path));
        let expected = "DER of a successful response, as `openssl ocsp -respout` writes it";
        report.error(&at, "bad-certificate", message, expected);
    }
    stapled
}

/// Whether a response says nothing of today: then clients are better off without it, and the certificate is used all the
/// same.
fn is_stale(
    path: &str,
    response: &[u8],
    (at, now): (&Path<'_>, Option<i64>),
    report: &mut Report<'_>,
) -> bool {
    let (Some(now), Some(validity)) = (now, x509::ocsp_validity(response)) else { return false };
    let message = if let Some(until) = validity.until.filter(|until| *until < now) {
        format!("the OCSP response in {} ended on {}, and is not shown", quote(path), day(until))
    } else if now < validity.from {
        format!("the OCSP response in {} begins on {}, and is not shown", quote(path), day(validity.from))
    } else {
        return false;
    };
    let expected = "a response that holds today; clients that ask for one get none";
    report.warning(at, "stale-ocsp", message, expected);
    true
}

/// `2026-11-21`.
fn day(seconds: i64) -> String {
    let at = u64::try_from(seconds).unwrap_or(0);
    let text = std::time::UNIX_EPOCH
        .checked_add(std::time::Duration::from_secs(at))
        .map(|at| Timestamp(at).to_string())
        .unwrap_or_default();
    text.get(..10).unwrap_or_default().to_owned()
}

struct Sources<'a, 'f, 'r> {
    at: &'a Path<'a>,
    name: &'a str,
    files: &'a mut Files<'f>,
    report: &'a mut Report<'r>,
}

impl Sources<'_, '_, '_> {
    /// The one text among two fields and a file. `describe` prints the same certificate in both fields.
    fn one(
        &mut self,
        inline: [(&'static str, Option<&str>); 2],
        file: (&'static str, Option<&str>),
    ) -> Option<Source> {
        let [(field, outer), (_, inner)] = inline;
        let both = outer.zip(inner).is_some_and(|(outer, inner)| outer.trim() != inner.trim());
        let text = inline.into_iter().find_map(|(field, text)| Some((field, text?.to_owned())));
        match (text, file.1) {
            (Some(text), None) if !both => Some(text),
            (None, Some(path)) => match self.files.read(path) {
                // What is no text is no PEM either.
                Ok(bytes) => Some((file.0, String::from_utf8(bytes).unwrap_or_default())),
                Err(why) => {
                    unreadable(path, &why, &self.at.key(file.0), self.report);
                    None
                }
            },
            (None, None) => {
                let message = format!("SSL certificate {} has no `{field}`", quote(self.name));
                let expected = format!("PEM in `{field}`, or `{}` with a path", file.0);
                self.report.error(self.at, "missing-field", message, expected);
                None
            }
            _ => {
                let message = format!("SSL certificate {} has more than one `{field}`", quote(self.name));
                let expected = format!("one of `{field}`, `selfManaged.{field}` and `{}`", file.0);
                // At the name: the place of a key shows the key.
                self.report.error(&self.at.key("name"), "forbidden-field", message, expected);
                None
            }
        }
    }
}

/// Legal, and no client will like it.
fn judge_dates(
    certificate: &Certificate,
    (field, at): (&str, &Path<'_>),
    now: Option<i64>,
    report: &mut Report<'_>,
) {
    let (Some(now), facts) = (now, certificate.facts()) else { return };
    let name = quote(&certificate.name);
    let (code, message) = if now > facts.not_after {
        ("expired-certificate", format!("the certificate {name} expired on {}", day(facts.not_after)))
    } else if now < facts.not_before {
        ("early-certificate", format!("the certificate {name} is not valid before {}", day(facts.not_before)))
    } else {
        return;
    };
    at_field(field, at, |at| {
        report.warning(at, code, message, "a certificate that is valid today: clients refuse others")
    });
}

/// `selfManaged.certificate` is two steps away.
fn at_field(field: &str, at: &Path<'_>, tell: impl FnOnce(&Path<'_>)) {
    match field.split_once('.') {
        Some((outer, inner)) => tell(&at.key(outer).key(inner)),
        None => tell(&at.key(field)),
    }
}

/// The same for a chain and a key that both stand in files.
pub(super) fn tell_of_files(
    fault: Fault,
    name: &str,
    (chain, key): (&'static str, &'static str),
    at: &Path<'_>,
    report: &mut Report<'_>,
) {
    let (field, message, expected) = words(fault, &quote(name), chain, (key, key));
    report.error(&at.key(field), "bad-certificate", message, expected);
}

/// Faults of inline keys are told at the name, since whoever shows a place shows the line that stands there.
fn tell(
    fault: Fault,
    name: &str,
    (chain, key): (&'static str, &'static str),
    at: &Path<'_>,
    report: &mut Report<'_>,
) {
    let is_file = key == "privateKeyFile";
    let key_field = if is_file { key } else { "name" };
    let (field, message, expected) = words(fault, &quote(name), chain, (key, key_field));
    at_field(field, at, |at| report.error(at, "bad-certificate", message, expected));
}

/// Where a fault is, what it is, and what was expected.
fn words(
    fault: Fault,
    name: &str,
    chain: &'static str,
    (key, key_field): (&'static str, &'static str),
) -> (&'static str, String, String) {
    // Told apart for who sent it: a place in the text is not to be had.
    let which = if key == "selfManaged.privateKey" { " in `selfManaged.privateKey`" } else { "" };
    match fault {
        Fault::NoCertificate => (
            chain,
            format!("there is no certificate in `{chain}` of {name}"),
            "PEM: lines from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----".to_owned(),
        ),
        Fault::LongChain(length) => (
            chain,
            format!("the chain of {name} has {length} certificates"),
            format!("at most {MAX_CHAIN}, the server's own first [G 6.13]"),
        ),
        Fault::BadCertificate => (
            chain,
            format!("the first certificate of {name} cannot be read"),
            "X.509 version 3 in PEM, the server's own certificate first".to_owned(),
        ),
        Fault::NoKey => (
            key_field,
            format!("there is no private key in `{key}` of {name}"),
            "PEM that is not encrypted: from -----BEGIN PRIVATE KEY----- to -----END PRIVATE KEY-----"
                .to_owned(),
        ),
        Fault::BadKey => (
            key_field,
            format!("the private key{which} of {name} cannot be used"),
            "RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519".to_owned(),
        ),
        Fault::Mismatch => (
            key_field,
            format!("the private key{which} of {name} does not belong to its first certificate"),
            "the key that the certificate was made for, the server's own certificate first".to_owned(),
        ),
    }
}
