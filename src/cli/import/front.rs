//! Forwarding rules: an address of Google's is none of this machine's, so each rule gets another one.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use super::node::{self, word};
use super::said::shown;
use super::stock::Stock;

/// Where rules listen: `ADDR`, or `RULE=ADDR` for one of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    rule: Option<String>,
    ip: IpAddr,
    /// Instead of the rule's.
    port: Option<u16>,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let (rule, address) = match word.split_once('=') {
            Some((rule, address)) => (Some(rule.to_owned()), address),
            None => (None, word),
        };
        if let Ok(ip) = address.trim_start_matches('[').trim_end_matches(']').parse() {
            return Ok(Self { rule, ip, port: None });
        }
        match address.parse::<SocketAddr>() {
            Ok(at) => Ok(Self { rule, ip: at.ip(), port: Some(at.port()) }),
            Err(_) => Err(format!("`{address}` is no address such as 127.0.0.1 or 127.0.0.1:8080")),
        }
    }
}

/// Ports below it are for the superuser, and for whom it allows them.
const PRIVILEGED: u16 = 1024;

/// Gives each rule its address. Of two rules that would do the same at one address, one is enough.
pub(super) fn place(stock: &mut Stock, listen: &[Listen]) {
    for name in listen.iter().filter_map(|listen| listen.rule.as_deref()) {
        let is_rule = |name: &str| {
            stock.resources.iter().any(|rule| rule.collection == "forwardingRules" && rule.name() == name)
        };
        if !is_rule(name) {
            stock.refused.push(format!("--listen: there is no forwarding rule `{}`", shown(name)));
        }
    }
    let mut taken: BTreeMap<(String, String), (String, String)> = BTreeMap::new();
    let said = &mut stock.said;
    stock.resources.retain_mut(|rule| {
        if rule.collection != "forwardingRules" {
            return true;
        }
        let label = rule.label();
        let own = listen.iter().rfind(|listen| listen.rule.as_deref() == Some(rule.name()));
        let chosen = own.or_else(|| listen.iter().rfind(|listen| listen.rule.is_none()));
        let ip = chosen.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |chosen| chosen.ip).to_string();
        let was = shown(word(&rule.node, "IPAddress").unwrap_or_default());
        node::set(&mut rule.node, "IPAddress", node::text(&ip));
        if let Some(port) = chosen.and_then(|chosen| chosen.port) {
            node::set(&mut rule.node, "portRange", node::text(&port.to_string()));
        }
        let port = word(&rule.node, "portRange").unwrap_or_default().to_owned();
        let target = word(&rule.node, "target").unwrap_or_default().to_owned();
        match taken.get(&(ip.clone(), port.clone())) {
            Some((other, same)) if *same == target => {
                said.note(&label, &format!("is what `{other}` is, but for Google's address {was}; one listener does for both"));
                return false;
            }
            Some((other, _)) => {
                let why = format!(
                    "an address of its own, since `{other}` listens on {ip} port {} too; `--listen {}=ADDR` gives it one",
                    shown(&port),
                    rule.name()
                );
                said.miss(&label, &why);
            }
            None => {
                taken.insert((ip.clone(), port.clone()), (rule.name().to_owned(), target));
            }
        }
        said.note(&label, &format!("listens on {ip} instead of Google's {was}; `--listen` says another address"));
        if port.parse::<u16>().is_ok_and(|port| (1..PRIVILEGED).contains(&port)) {
            said.note(&label, &format!("port {port} is below {PRIVILEGED}: the process needs the right to bind it"));
        }
        true
    });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_have_a_port_and_a_rule() {
        let read = |word: &str| word.parse::<Listen>().map(|l| (l.rule, l.ip.to_string(), l.port));
        assert_eq!(read("0.0.0.0"), Ok((None, "0.0.0.0".into(), None)));
        assert_eq!(read("web=[::1]:8080"), Ok((Some("web".into()), "::1".into(), Some(8080))));
        assert_eq!(read("web=::1"), Ok((Some("web".into()), "::1".into(), None)));
        assert!(read("localhost").is_err() && read("web=").is_err());
    }
}
