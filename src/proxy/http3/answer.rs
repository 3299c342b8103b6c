//! An answer on its way to a client of HTTP/3: what hyper does for the other versions.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::Bytes;
use h3::error::{Code, StreamError};
use h3::server::RequestStream;
use http::header::{CONTENT_LENGTH, DATE, TE};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body::Body as _;

use super::transport::Outgoing;
use crate::proxy::body::ResponseBody;
use crate::proxy::date;
use crate::proxy::headers::OF_A_CONNECTION;

/// Sends an answer, with back-pressure: no more is asked of the member than the client takes. Dropping the future resets
/// the stream.
///
/// # Errors
/// The client does not want it, or is gone.
pub(super) async fn send(
    answer: Response<ResponseBody>,
    stream: &mut RequestStream<Outgoing<Bytes>, Bytes>,
    is_head: bool,
) -> Result<(), StreamError> {
    let (mut head, mut body) = answer.into_parts();
    let is_bare = is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    complete(&mut head.headers, (!is_bare).then(|| body.size_hint().exact()).flatten());
    head.headers.entry(DATE).or_insert_with(date::header);
    stream.send_response(Response::from_parts(head, ())).await?;
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let Ok(frame) = frame else {
            stream.stop_stream(Code::H3_INTERNAL_ERROR);
            return Ok(());
        };
        match frame.into_data() {
            Ok(data) if !is_bare && !data.is_empty() => stream.send_data(data).await?,
            Ok(_) => {}
            Err(frame) => {
                if let Ok(trailers) = frame.into_trailers() {
                    stream.send_trailers(trailers).await?;
                }
            }
        }
        if body.is_end_stream() {
            break;
        }
    }
    stream.finish().await
}

/// What belongs to a connection ends here [RFC 9114 4.2]; a length that is known is told.
fn complete(headers: &mut HeaderMap, length: Option<u64>) {
    for name in &OF_A_CONNECTION {
        headers.remove(name);
    }
    headers.remove(TE);
    if let Some(length) = length {
        headers.entry(CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_nothing_of_a_connection_and_how_long_it_is() {
        let mut headers = HeaderMap::new();
        for name in ["connection", "keep-alive", "transfer-encoding", "upgrade", "te", "x-mine"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        complete(&mut headers, Some(5));
        let left: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(left, [("x-mine", &b"x"[..]), ("content-length", b"5")]);
        complete(&mut headers, None);
        assert_eq!(headers.len(), 2);
    }
}
