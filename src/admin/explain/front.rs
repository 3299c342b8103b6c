//! Where a request or a connection comes in: its forwarding rule, and the address of ours that it is for.

use std::net::{IpAddr, Ipv4Addr};

use super::Asked;
use super::question::{Kind, Question};
use crate::model::config::Front;

/// The forwarding rule that it comes in at.
///
/// # Errors
/// When there is none, or it is not for this kind of question; names those that are.
pub(super) fn find<'a>(asked: &Asked<'a>, question: &Question) -> Result<&'a Front, String> {
    let fronts = &asked.world.config.fronts;
    if let Some(name) = &question.rule {
        let named = fronts.iter().find(|front| *front.name == **name);
        let front = named.ok_or_else(|| {
            format!("there is no forwarding rule `{name}`; there are: {}", list(asked, |_| true))
        })?;
        return if fits(front, question) { Ok(front) } else { Err(ask_otherwise(asked, front)) };
    }
    let fitting = fronts.iter().filter(|front| fits(front, question));
    // The first of the best: what the words say, as far as they say it.
    let rank = |front: &&Front| {
        let ip = front.address.ip();
        let is_at = question.ip().map(|asked| (ip == asked, ip.is_unspecified()));
        (
            question.port() == Some(asked.port(front)),
            question.scheme.as_deref() == Some(front.url_scheme()),
            is_at.unwrap_or_default(),
        )
    };
    let best = fitting.clone().fold(None, |best: Option<&Front>, front| match best {
        Some(best) if rank(&best) >= rank(&front) => Some(best),
        _ => Some(front),
    });
    let is_guess = |front: &Front| question.port() != Some(asked.port(front));
    match (&question.kind, best) {
        (Kind::Http(_), Some(front)) => Ok(front),
        // A connection says nothing of itself but its port.
        (Kind::Connection, Some(front)) if !is_guess(front) => Ok(front),
        (Kind::Connection, Some(front)) if question.port().is_none() && fitting.count() == 1 => Ok(front),
        (Kind::Connection, _) => {
            let scheme = question.scheme.as_deref().unwrap_or_default();
            let known = list(asked, |front| front.relay().is_some());
            let known = if known.is_empty() { "none".to_owned() } else { known };
            let port = question.port().map(|port| format!(" at port {port}")).unwrap_or_default();
            Err(format!("no forwarding rule takes {scheme}:// connections{port}; there are: {known}"))
        }
        (Kind::Http(_), None) => match fronts.iter().find(|front| front.relay().is_some()) {
            Some(front) => {
                Err(format!("no forwarding rule leads to an HTTP proxy; {}", ask_otherwise(asked, front)))
            }
            None => Err("no forwarding rule leads to an HTTP proxy".to_owned()),
        },
    }
}

fn fits(front: &Front, question: &Question) -> bool {
    match question.kind {
        Kind::Http(_) => front.http().is_some(),
        Kind::Connection => front.relay().is_some() && question.scheme.as_deref() == Some(front.url_scheme()),
    }
}

fn ask_otherwise(asked: &Asked<'_>, front: &Front) -> String {
    let (scheme, word, port) = (front.url_scheme(), front.word(), asked.port(front));
    let form = match front.http() {
        Some(_) => format!("GET {scheme}://HOST:{port}/"),
        None => format!("{scheme}://HOST:{port}"),
    };
    format!("`{}` leads to a target {word}: ask with --request \"{form}\"", front.name)
}

/// Names and URLs of forwarding rules.
fn list(asked: &Asked<'_>, is_shown: impl Fn(&Front) -> bool) -> String {
    let shown = asked.world.config.fronts.iter().filter(|front| is_shown(front));
    let name = |front: &Front| format!("{} ({}, port {})", front.name, front.url_scheme(), asked.port(front));
    shown.map(name).collect::<Vec<_>>().join(", ")
}

/// The address of ours that the client connects to, and how it is known: the proxy goes by that of the connection,
/// which a forwarding rule for all addresses does not tell.
pub(super) fn local(question: &Question, front: &Front) -> (IpAddr, &'static str) {
    let configured = front.address.ip();
    match (question.to, question.ip()) {
        (Some(to), _) => (to, "as asked"),
        (None, Some(ip)) => (ip, "as the request names it"),
        (None, None) if !configured.is_unspecified() => (configured, "as the forwarding rule has it"),
        (None, None) => (
            Ipv4Addr::LOCALHOST.into(),
            "assumed, since the forwarding rule is for all addresses: --to IP says another one",
        ),
    }
}
