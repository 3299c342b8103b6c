//! HTTP/3: a client that behaves, and one that writes frames by hand.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use h3::client::{RequestStream, SendRequest};
use h3::error::StreamError;
use h3_quinn::quinn::crypto::rustls::QuicClientConfig;
use h3_quinn::quinn::{self, ClientConfig, Endpoint};
use h3_quinn::{Connection, OpenStreams};
use http::Request;

pub(crate) use super::h2::{Whole, run};

/// A client's connection; its driver ends with the runtime.
pub(crate) struct Http3 {
    pub(crate) conn: quinn::Connection,
    pub(crate) send: SendRequest<OpenStreams, Bytes>,
    pub(crate) endpoint: Endpoint,
}

/// A stream of a request.
pub(crate) type Stream = RequestStream<h3_quinn::BidiStream<Bytes>, Bytes>;

/// A client's side of QUIC, on an address of its own.
pub(crate) fn endpoint(client: &rustls::ClientConfig) -> Endpoint {
    let mut client = client.clone();
    client.alpn_protocols = vec![b"h3".to_vec()];
    let crypto = QuicClientConfig::try_from(client).unwrap();
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    endpoint
}

/// QUIC with nothing inside yet, from an address of its own.
pub(crate) async fn dial(
    address: SocketAddr,
    client: &rustls::ClientConfig,
    name: &str,
) -> Result<(Endpoint, quinn::Connection), quinn::ConnectionError> {
    let endpoint = endpoint(client);
    let conn = endpoint.connect(address, name).unwrap().await?;
    Ok((endpoint, conn))
}

impl Http3 {
    pub(crate) async fn connect(
        address: SocketAddr,
        client: &rustls::ClientConfig,
    ) -> Result<Self, quinn::ConnectionError> {
        let (endpoint, conn) = dial(address, client, "web.example").await?;
        Ok(Self::over(endpoint, conn).await)
    }

    pub(crate) async fn over(endpoint: Endpoint, conn: quinn::Connection) -> Self {
        let (mut driver, send) = h3::client::new(Connection::new(conn.clone())).await.unwrap();
        tokio::spawn(async move {
            std::future::poll_fn(|cx| driver.poll_close(cx)).await;
        });
        Self { conn, send, endpoint }
    }

    /// A request without body.
    pub(crate) async fn get(&mut self, path: &str) -> Result<Whole, StreamError> {
        self.ask(get(path)).await
    }

    pub(crate) async fn ask(&mut self, request: Request<()>) -> Result<Whole, StreamError> {
        let mut stream = self.send.send_request(request).await?;
        stream.finish().await?;
        whole(&mut stream).await
    }

    /// One with a body, which is sent while the answer is read.
    pub(crate) async fn post(&mut self, request: Request<()>, body: Bytes) -> Result<Whole, StreamError> {
        let (mut send, mut recv) = self.send.send_request(request).await?.split();
        let sending = tokio::spawn(async move {
            send.send_data(body).await?;
            send.finish().await
        });
        let answer = recv.recv_response().await?;
        let (head, ()) = answer.into_parts();
        let mut whole = Whole { status: head.status.as_u16(), headers: head.headers, ..Whole::default() };
        while let Some(mut data) = recv.recv_data().await? {
            whole.body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
        }
        whole.trailers = recv.recv_trailers().await?;
        sending.await.unwrap()?;
        Ok(whole)
    }
}

pub(crate) fn get(path: &str) -> Request<()> {
    Request::get(format!("https://web.example{path}")).body(()).unwrap()
}

/// All of an answer.
pub(crate) async fn whole(stream: &mut Stream) -> Result<Whole, StreamError> {
    let (head, ()) = stream.recv_response().await?.into_parts();
    let mut whole = Whole { status: head.status.as_u16(), headers: head.headers, ..Whole::default() };
    while let Some(mut data) = stream.recv_data().await? {
        whole.body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    whole.trailers = stream.recv_trailers().await?;
    Ok(whole)
}

pub(crate) const DATA: u64 = 0;
pub(crate) const HEADERS: u64 = 1;

/// A number as QUIC writes it.
pub(crate) fn number(value: u64) -> Vec<u8> {
    (value | 0xc000_0000_0000_0000).to_be_bytes().to_vec()
}

/// A frame as bytes.
pub(crate) fn frame(kind: u64, payload: &[u8]) -> Vec<u8> {
    [number(kind), number(payload.len() as u64), payload.to_vec()].concat()
}

/// A list of headers, spelt out.
pub(crate) fn list(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut out = vec![0, 0];
    for (name, value) in headers {
        prefixed(&mut out, 0x20, 7, name.as_bytes());
        prefixed(&mut out, 0, 127, value.as_bytes());
    }
    out
}

/// A good head with more behind it, as a frame.
pub(crate) fn head(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo =
        [(":method", method), (":scheme", "https"), (":authority", "web.example"), (":path", "/raw")];
    frame(HEADERS, &list(&[&pseudo[..], more].concat()))
}

fn prefixed(out: &mut Vec<u8>, flags: u8, most: u8, text: &[u8]) {
    if let Ok(short) = u8::try_from(text.len())
        && short < most
    {
        out.push(flags | short);
    } else {
        out.push(flags | most);
        let mut rest = text.len() - usize::from(most);
        while rest >= 128 {
            out.push(u8::try_from(rest % 128).unwrap() | 128);
            rest /= 128;
        }
        out.push(u8::try_from(rest).unwrap());
    }
    out.extend(text);
}

/// A connection with a control stream, and nothing that would mend what is sent on it.
pub(crate) struct Raw {
    pub(crate) conn: quinn::Connection,
    _control: quinn::SendStream,
    _endpoint: Endpoint,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr, client: &rustls::ClientConfig) -> Self {
        let (endpoint, conn) = dial(address, client, "web.example").await.unwrap();
        let mut control = conn.open_uni().await.unwrap();
        // Its type and empty settings.
        control.write_all(&[0, 4, 0]).await.unwrap();
        Self { conn, _control: control, _endpoint: endpoint }
    }

    /// What becomes of a stream with these bytes.
    pub(crate) async fn fate(&self, bytes: &[u8]) -> Fate {
        let Ok((mut send, mut recv)) = self.conn.open_bi().await else { return Fate::Closed(0) };
        if send.write_all(bytes).await.is_ok() {
            let _ = send.finish();
        }
        match recv.read_to_end(1 << 20).await {
            Ok(answer) if answer.is_empty() => Fate::Nothing,
            Ok(answer) => Fate::Answered(answer),
            Err(error) => Fate::of_reading(error),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Frames, unread.
    Answered(Vec<u8>),
    Nothing,
    /// The stream alone.
    Reset(u64),
    /// The connection.
    Closed(u64),
}

impl Fate {
    pub(crate) fn of(error: &quinn::ConnectionError) -> Self {
        match error {
            quinn::ConnectionError::ApplicationClosed(close) => Self::Closed(close.error_code.into_inner()),
            other => panic!("{other}"),
        }
    }

    /// Of a stream that did not end well.
    pub(crate) fn of_reading(error: quinn::ReadToEndError) -> Self {
        match error {
            quinn::ReadToEndError::Read(quinn::ReadError::Reset(code)) => Self::Reset(code.into_inner()),
            quinn::ReadToEndError::Read(quinn::ReadError::ConnectionLost(error)) => Self::of(&error),
            other => panic!("{other}"),
        }
    }

    /// Whether the answer's head holds this text, spelt out.
    pub(crate) fn holds(&self, text: &str) -> bool {
        matches!(self, Self::Answered(bytes) if bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    }
}
