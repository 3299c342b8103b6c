//! Looks host names up: addresses and how long they hold.
//!
//! The system's configuration (`/etc/resolv.conf`, `/etc/hosts`) is read anew for each lookup, so that a machine that
//! changes its network needs no restart; whoever asks keeps the answer as long as it holds, so that this is seldom.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;

use crate::model::unit::Span;

/// Longest wait for an answer, over all servers and attempts.
pub const LOOKUP_TIMEOUT: Span = Span::secs(10);

/// The shortest and the longest time that an answer holds, whatever its TTL. A TTL of 0 would mean a lookup without
/// end; names from `/etc/hosts` have none.
pub const HOLD: (Span, Span) = (Span::secs(1), Span::secs(300));

/// The most addresses that one name may lead to; more are cut off.
pub const MAX_ADDRESSES: usize = 64;

/// Whom to ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dns {
    /// This server alone, and no `/etc/hosts`; `None` = as the system is configured.
    pub server: Option<SocketAddr>,
}

/// Where a name leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// At least one, in ascending order, so that an answer in another order is the same.
    pub addresses: Vec<IpAddr>,
    /// The least TTL of the answer, within [`HOLD`].
    pub ttl: Span,
}

impl Dns {
    /// IPv4 addresses of `host`, else its IPv6 ones.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub async fn look_up(self, host: &str) -> Result<Found, String> {
        // It reads files.
        let resolver = tokio::task::spawn_blocking(move || self.resolver()).await;
        let resolver = resolver.map_err(|error| error.to_string())?.map_err(|error| words(&error))?;
        let answer = tokio::time::timeout(LOOKUP_TIMEOUT.to_std(), resolver.lookup_ip(host)).await;
        let answer = answer.map_err(|_| format!("no answer within {} s", LOOKUP_TIMEOUT.as_secs()))?;
        let answer = answer.map_err(|error| words(&error))?;
        let ttl = answer.as_lookup().answers().iter().map(|record| record.ttl).min();
        let ttl = Span::secs(ttl.unwrap_or(0).into()).clamp(HOLD.0, HOLD.1);
        let mut addresses: Vec<_> = answer.iter().collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses.truncate(MAX_ADDRESSES);
        if addresses.is_empty() {
            Err("the name has no address".to_owned())
        } else {
            Ok(Found { addresses, ttl })
        }
    }

    fn resolver(self) -> Result<TokioResolver, NetError> {
        let mut builder = match self.server {
            None => TokioResolver::builder_tokio()?,
            Some(server) => {
                let mut config = NameServerConfig::udp_and_tcp(server.ip());
                for connection in &mut config.connections {
                    connection.port = server.port();
                }
                let config = ResolverConfig::from_name_servers(vec![config]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options = builder.options_mut();
        if self.server.is_some() {
            options.use_hosts_file = ResolveHosts::Never;
            options.timeout = Duration::from_secs(1);
        }
        options.ip_strategy = LookupIpStrategy::Ipv4thenIpv6;
        // What has been found is kept elsewhere.
        options.cache_size = 0;
        builder.build()
    }
}

fn words(error: &NetError) -> String {
    match error {
        _ if error.is_nx_domain() => "no such name".to_owned(),
        _ if error.is_no_records_found() => "the name has no address".to_owned(),
        NetError::Timeout => "no answer from the name server".to_owned(),
        other => other.to_string(),
    }
}
