//! The floor: what it costs to move the bytes and do nothing else. This very program, started again as a child.

use std::env;
use std::net::SocketAddr;

use tokio::io::copy_bidirectional_with_sizes;
use tokio::net::{TcpListener, TcpStream};

use super::words;

pub(crate) const NAME: &str = "TCP relay";
/// With it, this program is the relay; then come the address to listen on and the origin's.
const FLAG: &str = "--be-the-relay";
/// Of each direction of a connection.
const BUFFER: usize = 64 * 1024;

/// Not optimised, it is no floor.
pub(crate) fn is_worthwhile() -> bool {
    !cfg!(debug_assertions)
}

pub(crate) fn command(at: SocketAddr, origin: SocketAddr) -> Result<Vec<String>, String> {
    let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    Ok(words(&[&program.display().to_string(), FLAG, &at.to_string(), &origin.to_string()]))
}

/// Relays for ever when the command line says so.
pub(crate) fn run_if_asked(arguments: &[String]) -> Option<Result<(), String>> {
    let [flag, at, origin] = arguments else { return None };
    let addresses = (flag == FLAG).then(|| (at.parse(), origin.parse()))?;
    let (Ok(at), Ok(origin)) = addresses else { return Some(Err("no addresses".to_owned())) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let run = runtime.and_then(|runtime| tokio::task::LocalSet::new().block_on(&runtime, relay(at, origin)));
    Some(run.map_err(|error| format!("relay: {error}")))
}

/// One connection to the origin for each of a client.
async fn relay(at: SocketAddr, origin: SocketAddr) -> std::io::Result<()> {
    let listener = TcpListener::bind(at).await?;
    loop {
        let (mut client, _) = listener.accept().await?;
        tokio::task::spawn_local(async move {
            let mut server = TcpStream::connect(origin).await?;
            client.set_nodelay(true)?;
            server.set_nodelay(true)?;
            copy_bidirectional_with_sizes(&mut client, &mut server, BUFFER, BUFFER).await
        });
    }
}
