//! One origin for all members: a small answer, whatever is asked, on as many loopback addresses as there are members.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread::{self, JoinHandle};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Stops when dropped.
pub(crate) struct Origin {
    pub(crate) port: u16,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Of a member by its number: 127.1.0.1 and on.
pub(crate) fn address(member: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x7F01_0001 + member)
}

impl Origin {
    pub(crate) fn start(members: u32) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("an origin of {members} addresses: {error}");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(failed)?;
        let listeners = runtime.block_on(listen(members)).map_err(failed)?;
        let first = listeners.first().map(TcpListener::local_addr);
        let port = first.ok_or("an origin of no members")?.map_err(failed)?.port();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::spawn(move || {
            tokio::task::LocalSet::new().block_on(&runtime, async {
                for listener in listeners {
                    tokio::task::spawn_local(async move {
                        while let Ok((stream, _)) = listener.accept().await {
                            tokio::task::spawn_local(serve(stream));
                        }
                    });
                }
                let _ = stopped.await;
            });
        });
        Ok(Self { port, stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn listen(members: u32) -> std::io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    let mut port = 0;
    for member in 0..members {
        let listener = TcpListener::bind(SocketAddr::from((address(member), port))).await?;
        port = listener.local_addr()?.port();
        listeners.push(listener);
    }
    Ok(listeners)
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
