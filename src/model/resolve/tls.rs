//! What TLS to clients is made from: certificates, SSL policies, and whose certificates are believed.

use std::sync::Arc;

use rustls::SupportedCipherSuite;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::around::Files;
use super::certificate::Certificates;
use super::names::Names;
use super::report::Report;
use crate::model::tls::{
    ClientAuth, ClientValidation, Termination, TlsPolicy, cipher_suite_list, fips_suites, suite_name,
};
use crate::wire::flaw::{nearest, quote};
use crate::wire::path::Path;
use crate::wire::read::Resources;
use crate::wire::tls as wire;

/// Everything that target proxies refer to.
pub(super) struct Tls<'a> {
    certificates: Certificates<'a>,
    policies: Names<'a>,
    policy_list: Vec<Option<TlsPolicy>>,
    clients: Names<'a>,
    client_list: Vec<Option<Arc<ClientAuth>>>,
}

/// What one proxy refers to.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    /// `sslCertificates`.
    pub(super) certificates: &'a [String],
    /// `sslPolicy`.
    pub(super) policy: Option<&'a str>,
    /// `serverTlsPolicy`.
    pub(super) clients: Option<&'a str>,
}

impl<'a> Tls<'a> {
    pub(super) fn new(resources: &'a Resources, files: &mut Files<'_>, report: &mut Report<'_>) -> Self {
        let certificates = Certificates::new(&resources.ssl_certificates, files, report);
        let of = &resources.ssl_policies;
        let policies = Names::new(of, "SSL policy", report);
        let list = Path::Root.key(of.key);
        let each = of.entries.iter().enumerate();
        let policy_list =
            each.map(|(index, entry)| policy(entry.value.as_ref()?, &list.item(index), report)).collect();
        let trust = Trust::new(resources, files, report);
        let of = &resources.server_tls_policies;
        let clients = Names::new(of, "server TLS policy", report);
        let list = Path::Root.key(of.key);
        let each = of.entries.iter().enumerate();
        let client_list = each
            .map(|(index, entry)| {
                let name = entry.name.as_deref()?;
                trust.clients(name, &entry.value.as_ref()?.mtls_policy, &list.item(index), report)
            })
            .collect();
        Self { certificates, policies, policy_list, clients, client_list }
    }

    /// What a proxy agrees on with its clients. `None` after a report.
    pub(super) fn termination(
        &self,
        asked: Asked<'_>,
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) -> Option<Arc<Termination>> {
        let certificates = self.certificates.follow(asked.certificates, at, report);
        let policy = match asked.policy {
            None | Some("") => Some(TlsPolicy::default()),
            Some(name) => {
                let index = self.policies.follow(name, &at.key("sslPolicy"), report);
                index.and_then(|index| self.policy_list.get(index)?.clone())
            }
        };
        let clients = match asked.clients {
            None | Some("") => Some(None),
            Some(name) => {
                let index = self.clients.follow(name, &at.key("serverTlsPolicy"), report);
                index.and_then(|index| self.client_list.get(index)?.clone()).map(Some)
            }
        };
        Some(Arc::new(Termination { certificates: certificates?, policy: policy?, clients: clients? }))
    }
}

/// One policy [G 6.12].
fn policy(policy: &wire::SslPolicy, at: &Path<'_>, report: &mut Report<'_>) -> Option<TlsPolicy> {
    let version = policy.min_tls_version.as_deref();
    let profile = policy.profile.as_deref().unwrap_or("COMPATIBLE");
    let errors = report.errors();
    let name = &policy.name;
    if let Some(old @ ("TLS_1_0" | "TLS_1_1")) = version
        && profile != "FIPS_202205"
    {
        let message =
            format!("SSL policy `{name}` allows {old}, and TLS 1.2 is the oldest that is spoken here");
        let expected =
            "TLS_1_2, if no client is older; rustls has neither TLS 1.0 nor 1.1, which RFC 8996 forbids";
        report.warning(&at.key("minTlsVersion"), "old-tls", message, expected);
    }
    match (profile, version) {
        ("RESTRICTED", _) | (_, None | Some("TLS_1_0" | "TLS_1_1" | "TLS_1_2")) => {}
        _ => {
            let message = format!("profile {profile} does not go with TLS_1_3 alone");
            let expected = "profile RESTRICTED with TLS_1_3, or an older minTlsVersion [G 6.12]";
            report.error(&at.key("minTlsVersion"), "forbidden-field", message, expected);
        }
    }
    if profile == "FIPS_202205" && version != Some("TLS_1_2") {
        let message = format!("SSL policy `{name}` is FIPS_202205 without TLS_1_2");
        let expected = "minTlsVersion: TLS_1_2 [G 6.12]";
        report.error(&at.key("minTlsVersion"), "forbidden-field", message, expected);
    }
    let features = policy.custom_features.as_deref().unwrap_or_default();
    let suites = match profile {
        "CUSTOM" => custom(features, at, report),
        _ if !features.is_empty() => {
            let message =
                format!("SSL policy `{name}` lists features, and its profile {profile} has its own");
            report.error(
                &at.key("customFeatures"),
                "forbidden-field",
                message,
                "none, or profile CUSTOM [G 6.12]",
            );
            Vec::new()
        }
        "FIPS_202205" => fips_suites(),
        _ => cipher_suite_list().to_vec(),
    };
    (report.errors() == errors).then(|| TlsPolicy {
        name: name.as_str().into(),
        is_1_3_only: version == Some("TLS_1_3"),
        suites,
        is_nist_only: profile == "FIPS_202205",
    })
}

/// Google's features that rustls does not have: no forward secrecy, or no authenticated encryption.
const OLD_SUITES: &[&str] = &[
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384",
];

/// The suites of `customFeatures`, in our order of preference. Those of TLS 1.3 need not be named.
fn custom(features: &[String], at: &Path<'_>, report: &mut Report<'_>) -> Vec<SupportedCipherSuite> {
    let at = at.key("customFeatures");
    let known = || cipher_suite_list().iter().map(|suite| suite_name(suite.suite()));
    for (index, feature) in features.iter().enumerate() {
        let (at, feature) = (at.item(index), feature.as_str());
        if OLD_SUITES.contains(&feature) {
            let message = format!("{feature} is not spoken here");
            let expected = "a suite with ECDHE and GCM or CHACHA20_POLY1305; rustls has no older ones";
            report.warning(&at, "old-tls", message, expected);
        } else if !known().any(|name| name == feature) {
            let expected = match nearest(feature, known()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("one of {}", known().collect::<Vec<_>>().join(", ")),
            };
            report.error(&at, "unknown-word", format!("there is no feature {}", quote(feature)), expected);
        }
    }
    let is_named = |suite: &SupportedCipherSuite| features.iter().any(|f| f == suite_name(suite.suite()));
    let (new, old): (Vec<_>, Vec<_>) = cipher_suite_list().iter().partition(|suite| suite.tls13().is_some());
    let named: Vec<SupportedCipherSuite> = new.iter().copied().filter(is_named).collect();
    let old: Vec<SupportedCipherSuite> = old.into_iter().filter(is_named).collect();
    if named.is_empty() && old.is_empty() {
        let message = "no suite is left to speak";
        let expected = format!("at least one of {}", known().collect::<Vec<_>>().join(", "));
        report.error(&at, "missing-field", message, expected);
    }
    let new = if named.is_empty() { new } else { named };
    new.into_iter().chain(old).collect()
}

/// All trust configs.
struct Trust<'a> {
    names: Names<'a>,
    list: Vec<Option<Store>>,
}

struct Store {
    anchors: Vec<CertificateDer<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl<'a> Trust<'a> {
    fn new(resources: &'a Resources, files: &mut Files<'_>, report: &mut Report<'_>) -> Self {
        let of = &resources.trust_configs;
        let names = Names::new(of, "trust config", report);
        let list = Path::Root.key(of.key);
        let mut read = |index: usize, config: &wire::TrustConfig| {
            let item = list.item(index);
            let stores = item.key("trustStores");
            let Some(store) = config.trust_stores.first() else {
                let expected = "one trust store with at least one of trustAnchors";
                report.error(&stores, "missing-field", "a trust config needs a trust store", expected);
                return None;
            };
            let at = stores.item(0);
            let anchors = certificates(&store.trust_anchors, &at.key("trustAnchors"), files, report);
            let between = store.intermediate_cas.as_deref().unwrap_or_default();
            let intermediates = certificates(between, &at.key("intermediateCas"), files, report);
            Some(Store { anchors: anchors?, intermediates: intermediates? })
        };
        let each = of.entries.iter().enumerate();
        let list = each.map(|(index, entry)| read(index, entry.value.as_ref()?)).collect();
        Self { names, list }
    }

    fn clients(
        &self,
        name: &str,
        policy: &wire::MtlsPolicy,
        at: &Path<'_>,
        report: &mut Report<'_>,
    ) -> Option<Arc<ClientAuth>> {
        let at = at.key("mtlsPolicy");
        let field = at.key("clientValidationTrustConfig");
        let mode = match policy.client_validation_mode.as_str() {
            "REJECT_INVALID" => ClientValidation::Reject,
            _ => ClientValidation::Allow,
        };
        let store = match policy.client_validation_trust_config.as_deref() {
            None | Some("") => None,
            Some(config) => {
                let index = self.names.follow(config, &field, report)?;
                Some(self.list.get(index)?.as_ref()?)
            }
        };
        let expected = "a trust config whose trustAnchors are certificates of authorities, X.509 version 3";
        if mode == ClientValidation::Reject && store.is_none() {
            let message = "REJECT_INVALID needs to know which certificates are valid";
            report.error(&at, "missing-field", message, format!("clientValidationTrustConfig: {expected}"));
            return None;
        }
        let (anchors, between) =
            store.map_or((&[][..], &[][..]), |store| (&store.anchors[..], &store.intermediates[..]));
        let made = ClientAuth::new(name, mode, anchors, between).map(Arc::new);
        if made.is_none() {
            let message = format!("no client could be believed by {}", quote(name));
            report.error(&field, "bad-certificate", message, expected);
        }
        made
    }
}

/// The certificates of a list of anchors; each entry is one in PEM, or a file of some.
fn certificates(
    of: &[wire::Anchor],
    at: &Path<'_>,
    files: &mut Files<'_>,
    report: &mut Report<'_>,
) -> Option<Vec<CertificateDer<'static>>> {
    let mut all = Vec::new();
    let mut is_sound = true;
    for (index, anchor) in of.iter().enumerate() {
        let item = at.item(index);
        let (field, pem) = match (&anchor.pem_certificate, &anchor.pem_file) {
            (Some(pem), None) => ("pemCertificate", Ok(pem.clone().into_bytes())),
            (None, Some(path)) => ("pemFile", files.read(path)),
            _ => {
                let message = "a certificate stands in `pemCertificate` or in the file `pemFile`";
                report.error(&item, "missing-field", message, "one of the two");
                is_sound = false;
                continue;
            }
        };
        let at = item.key(field);
        match pem {
            Err(why) => {
                unreadable(anchor.pem_file.as_deref().unwrap_or_default(), &why, &at, report);
                is_sound = false;
            }
            Ok(pem) => {
                let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
                match found.ok().filter(|found| !found.is_empty()) {
                    Some(found) => all.extend(found),
                    None => {
                        let message = format!("there is no certificate in `{field}`");
                        let expected =
                            "PEM: lines from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----";
                        report.error(&at, "bad-certificate", message, expected);
                        is_sound = false;
                    }
                }
            }
        }
    }
    is_sound.then_some(all)
}

/// Says that a file cannot be read.
pub(super) fn unreadable(path: &str, why: &str, at: &Path<'_>, report: &mut Report<'_>) {
    let message = format!("the file {} cannot be read: {why}", quote(path));
    let expected =
        "a file that the proxy's user may read; a relative path begins at the folder of the configuration";
    report.error(at, "unreadable-file", message, expected);
}
