//! One origin for all members: a small answer, whatever is asked, on every loopback address. This very program, started
//! again as a child, so that its connections do not count among the descriptors of a balancer in this process.

use std::env;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::process::{Server, TempDir, free_addresses};

/// With it, this program is the origin; then comes the port.
const FLAG: &str = "--be-the-origin";
const BACKLOG: i32 = 4096;

/// Stops when dropped.
pub(crate) struct Origin {
    pub(crate) port: u16,
    _server: Server,
}

/// Of a member by its number: 127.1.0.1 and on.
pub(crate) fn address(member: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7F01_0001 + member)
}

impl Origin {
    pub(crate) fn start(dir: &TempDir) -> Result<Self, String> {
        let [free] = free_addresses()?;
        let program = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
        let command = [program.display().to_string(), FLAG.to_owned(), free.port().to_string()];
        let server = Server::start("origin", &command, &[free], dir, None)?;
        Ok(Self { port: free.port(), _server: server })
    }
}

/// Serves for ever when the command line says so.
pub(crate) fn run_if_asked(arguments: &[String]) -> Option<Result<(), String>> {
    let [flag, port] = arguments else { return None };
    let port: u16 = (flag == FLAG).then(|| port.parse().unwrap_or(0))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
    let run = runtime
        .and_then(|runtime| tokio::task::LocalSet::new().block_on(&runtime, async { accept(port).await }));
    Some(run.map_err(|error| format!("origin: {error}")))
}

/// All addresses, of the loopback device alone.
fn listen(port: u16) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind_device(Some(b"lo"))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

async fn accept(port: u16) -> std::io::Result<()> {
    let listener = listen(port)?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::task::spawn_local(serve(stream));
    }
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 128\r\n\r\n{}\n", "x".repeat(127));
    let mut head = Vec::with_capacity(1024);
    while stream.read_buf(&mut head).await? > 0 {
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            stream.write_all(answer.as_bytes()).await?;
        }
    }
    Ok(())
}
