//! `proxy.admin`: where the admin API listens, and who may use it.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::around::Files;
use super::certificate;
use super::front::Placed;
use super::place::PROXY;
use super::report::Report;
use super::tls::unreadable;
use crate::model::admin::{Access, AdminAccess, AdminTls, AdminToken, LONGEST_TOKEN, SHORTEST_TOKEN};
use crate::model::certificate::Certificate;
use crate::model::config::{DEFAULT_ADMIN, Front};
use crate::model::tls::{ClientAuth, ClientValidation, Termination};
use crate::wire::flaw::quote;
use crate::wire::path::Path;
use crate::wire::proxy as wire;
use crate::wire::read::Section;

/// The admin listener's address, no address of a forwarding rule, and who may use it. Whoever can be reached from other
/// hosts asks for tokens or certificates.
pub(super) fn admin(
    proxy: &Section<wire::Proxy>,
    fronts: &[Placed<Front>],
    files: &mut Files<'_>,
    report: &mut Report<'_>,
) -> (Option<SocketAddr>, AdminAccess) {
    let said = match proxy {
        Section::Sound(proxy) => proxy.admin.as_ref(),
        _ => None,
    };
    let said = match said {
        None => None,
        Some(wire::Admin::Off(_)) => return (None, AdminAccess::default()),
        Some(wire::Admin::At(said)) => Some(said),
    };
    let access = said.map(|said| access(said, files, report)).unwrap_or_default();
    let admin = PROXY.key("admin");
    let at = admin.key("address");
    let address = match said.and_then(|said| said.address.as_deref()) {
        None => Some(DEFAULT_ADMIN),
        Some(address) => parse(address, said, &at, report),
    };
    if let Some(address) = address {
        collision(address, said.is_some_and(|said| said.address.is_some()), fronts, report);
    }
    (address, access)
}

fn parse(
    address: &str,
    said: Option<&wire::AdminAddress>,
    at: &Path<'_>,
    report: &mut Report<'_>,
) -> Option<SocketAddr> {
    let Ok(parsed) = address.parse::<SocketAddr>() else {
        let message = format!("{} is no address with a port", quote(address));
        let expected = "an address, a colon and a port, such as 127.0.0.1:9901";
        report.error(at, "bad-address", message, expected);
        return None;
    };
    let has_tokens = said.is_some_and(|said| said.tokens.as_ref().is_some_and(|tokens| !tokens.is_empty()));
    let tls = said.and_then(|said| said.tls.as_ref());
    let has_authority = tls.is_some_and(|tls| tls.client_ca.is_some());
    if parsed.ip().is_loopback() {
        return Some(parsed);
    }
    if !has_tokens && !has_authority {
        let message =
            format!("{} can be reached from other hosts, and the admin API asks for nothing", quote(address));
        let expected = "tokens or tls.clientCa beside it, or an address of this host alone, such as 127.0.0.1:9901 or [::1]:9901";
        report.error(at, "admin-not-loopback", message, expected);
        return None;
    }
    if tls.is_none() {
        let message = format!("tokens for {} go over the network as they are", quote(address));
        report.warning(
            at,
            "admin-in-the-clear",
            message,
            "tls beside it, so that nobody on the way can read them",
        );
    }
    Some(parsed)
}

fn collision(address: SocketAddr, is_said: bool, fronts: &[Placed<Front>], report: &mut Report<'_>) {
    let Some(front) = fronts.iter().find(|front| front.value.address == address && address.port() != 0)
    else {
        return;
    };
    let message = format!("forwarding rule `{}` and the admin API both want {address}", front.value.name);
    let expected = "an address and a port of their own for both; the admin API has 127.0.0.1:9901 when proxy.admin is absent";
    if is_said {
        report.error(&PROXY.key("admin").key("address"), "duplicate-listener", message, expected);
    } else {
        let list = Path::Root.key("forwardingRules");
        report.error(&list.item(front.index).key("portRange"), "duplicate-listener", message, expected);
    }
}

fn access(said: &wire::AdminAddress, files: &mut Files<'_>, report: &mut Report<'_>) -> AdminAccess {
    let admin = PROXY.key("admin");
    let list = admin.key("tokens");
    let mut tokens: Vec<AdminToken> = Vec::new();
    for (index, said) in said.tokens.iter().flatten().enumerate() {
        let at = list.item(index);
        let Some(token) = token(said, &at, files, report) else { continue };
        if let Some(other) = tokens.iter().find(|other| other.name == token.name || other.is_same(&token)) {
            let message = if other.name == token.name {
                format!("there are two tokens of the name `{}`", token.name)
            } else {
                format!("the tokens `{}` and `{}` are the same", other.name, token.name)
            };
            report.error(&at.key("name"), "duplicate-name", message, "one of them");
            continue;
        }
        tokens.push(token);
    }
    let tls = said.tls.as_ref().and_then(|said| tls(said, !tokens.is_empty(), files, report));
    AdminAccess { is_read_only: said.read_only == Some(true), tokens, tls }
}

/// What is wrong is told at the name or the file: the place of a digest could show a token.
fn token(
    said: &wire::AdminToken,
    at: &Path<'_>,
    files: &mut Files<'_>,
    report: &mut Report<'_>,
) -> Option<AdminToken> {
    let access = if said.access == "READ_WRITE" { Access::ReadWrite } else { Access::ReadOnly };
    match (&said.file, &said.sha256) {
        (Some(path), None) => {
            let at = at.key("file");
            let contents = match files.read(path) {
                Ok(contents) => contents,
                Err(why) => {
                    unreadable(path, &why, &at, report);
                    return None;
                }
            };
            let token = AdminToken::of(&said.name, access, contents.trim_ascii());
            if token.is_none() {
                let message = format!("the file {} holds no token", quote(path));
                let expected = format!(
                    "{SHORTEST_TOKEN} to {LONGEST_TOKEN} visible ASCII characters, such as `openssl rand -hex 32` writes"
                );
                report.error(&at, "bad-token", message, expected);
            }
            token
        }
        (None, Some(sha256)) => {
            let token = AdminToken::of_digest(&said.name, access, sha256);
            if token.is_none() {
                let message = format!("`sha256` of the token {} is no digest", quote(&said.name));
                let expected = "64 hexadecimal digits, such as `printf %s TOKEN | sha256sum` writes";
                report.error(&at.key("name"), "bad-token", message, expected);
            }
            token
        }
        _ => {
            let message = format!("the token {} stands in a file, or its SHA-256 here", quote(&said.name));
            report.error(&at.key("name"), "missing-field", message, "one of `file` and `sha256`");
            None
        }
    }
}

fn tls(
    said: &wire::AdminTls,
    has_tokens: bool,
    files: &mut Files<'_>,
    report: &mut Report<'_>,
) -> Option<AdminTls> {
    let admin = PROXY.key("admin");
    let at = admin.key("tls");
    let chain = text(&said.certificate, &at.key("certificate"), files, report);
    let key = text(&said.private_key, &at.key("privateKey"), files, report);
    let clients = match &said.client_ca {
        None => Some(None),
        Some(path) => clients(path, has_tokens, &at.key("clientCa"), files, report).map(Some),
    };
    let certificate = match Certificate::read("proxy.admin", &chain?, &key?) {
        Ok(certificate) => certificate,
        Err(fault) => {
            let places = ("certificate", "privateKey");
            certificate::tell_of_files(fault, "proxy.admin", places, &at, report);
            return None;
        }
    };
    let clients = clients?.map(Arc::new);
    Some(AdminTls(Arc::new(Termination { clients, ..Termination::new(vec![certificate]) })))
}

fn text(path: &str, at: &Path<'_>, files: &mut Files<'_>, report: &mut Report<'_>) -> Option<String> {
    match files.read(path) {
        // What is no text is no PEM either.
        Ok(bytes) => Some(String::from_utf8(bytes).unwrap_or_default()),
        Err(why) => {
            unreadable(path, &why, at, report);
            None
        }
    }
}

/// Beside tokens, a client may do without a certificate; alone, it is what opens the door.
fn clients(
    path: &str,
    has_tokens: bool,
    at: &Path<'_>,
    files: &mut Files<'_>,
    report: &mut Report<'_>,
) -> Option<ClientAuth> {
    let pem = match files.read(path) {
        Ok(pem) => pem,
        Err(why) => {
            unreadable(path, &why, at, report);
            return None;
        }
    };
    let anchors: Vec<_> = CertificateDer::pem_slice_iter(&pem).filter_map(Result::ok).collect();
    let mode = if has_tokens { ClientValidation::Allow } else { ClientValidation::Reject };
    let made = if anchors.is_empty() { None } else { ClientAuth::new("proxy.admin", mode, &anchors, &[]) };
    if made.is_none() {
        let message = format!("the file {} holds no authority's certificate", quote(path));
        let expected = "PEM of authorities, X.509 version 3";
        report.error(at, "bad-certificate", message, expected);
    }
    made
}
