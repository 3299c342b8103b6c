//! A connection to a host that is known by name: to one of its addresses, whichever answers first in turn.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::connect::{ConnectError, Stream, open, secure_as};
use crate::clock;
use crate::model::unit::Span;

/// Addresses that one connection tries. The time that is left is shared among those that are.
pub const MAX_TRIED: usize = 4;

/// Connects to `host` on `port` at one of its `addresses`, within `limit` for all of it. Over TLS, the host is greeted
/// by its name (SNI). Tells at which address.
///
/// # Errors
/// That of the last address; [`ConnectError::Unresolved`] without any.
pub async fn dial(
    (host, port): (&str, u16),
    addresses: &[IpAddr],
    tls: Option<&Arc<ClientConfig>>,
    limit: Span,
) -> Result<(Stream, IpAddr), ConnectError> {
    let tls = tls.map(|config| Ok((config, name_of(host)?))).transpose()?;
    in_turn((addresses, port), limit, |address| one(address, tls.as_ref())).await
}

/// Tries the addresses one after the other, within `limit` for all of them. Tells which one it was.
///
/// # Errors
/// That of the last address; [`ConnectError::Unresolved`] without any.
pub async fn in_turn<F: Future<Output = Result<Stream, ConnectError>>>(
    (addresses, port): (&[IpAddr], u16),
    limit: Span,
    attempt: impl Fn(SocketAddr) -> F,
) -> Result<(Stream, IpAddr), ConnectError> {
    let end = clock::now() + limit;
    let mut last = ConnectError::Unresolved;
    let tried = addresses.iter().take(MAX_TRIED);
    for (address, left) in tried.clone().zip((1..=tried.len() as u64).rev()) {
        let part = Span(end.since(clock::now()).0 / left);
        match tokio::time::timeout(part.to_std(), attempt(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => return Ok((stream, *address)),
            Ok(Err(error)) => last = error,
            Err(_) => last = ConnectError::TimedOut(limit),
        }
    }
    Err(last)
}

/// What TLS greets a host as.
///
/// # Errors
/// [`ConnectError::Tls`] when it is no host name.
pub fn name_of(host: &str) -> Result<ServerName<'static>, ConnectError> {
    ServerName::try_from(host.to_owned()).map_err(|error| ConnectError::Tls(error.to_string()))
}

async fn one(
    address: SocketAddr,
    tls: Option<&(&Arc<ClientConfig>, ServerName<'static>)>,
) -> Result<Stream, ConnectError> {
    let stream = open(address).await?;
    match tls {
        None => Ok(Stream::Plain(stream)),
        Some((config, name)) => secure_as(stream, name.clone(), config).await,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tls;
    use super::*;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    const LIMIT: Span = Span::secs(5);

    #[tokio::test]
    async fn the_next_address_is_tried_when_one_does_not_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // Nothing listens on this port of the first address.
        let addresses = [IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 1])];
        let (_, address) = dial(("host.test", port), &addresses, None, LIMIT).await.unwrap();
        assert_eq!(address, addresses[1]);
        let refused = dial(("host.test", port), &addresses[..1], None, LIMIT).await.unwrap_err();
        assert_eq!(refused.kind(), "refused");
        let unresolved = dial(("host.test", port), &[], None, LIMIT).await.unwrap_err();
        assert_eq!(unresolved.to_string(), "the host name has not been resolved");
    }

    #[tokio::test]
    async fn a_host_is_greeted_by_its_name_over_tls() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let greeted = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut hello = vec![0; 2048];
            let read = stream.read(&mut hello).await.unwrap();
            hello.truncate(read);
            hello
        });
        let tls = tls::unverified();
        let failed = dial(("api.example.test", address.port()), &[address.ip()], Some(&tls), LIMIT).await;
        assert!(failed.is_err(), "the server went away");
        let hello = greeted.await.unwrap();
        assert!(memchr::memmem::find(&hello, b"api.example.test").is_some());
    }
}
