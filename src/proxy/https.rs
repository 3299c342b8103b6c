//! A client connection of a target HTTPS proxy: TLS first, then the same as in clear.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use super::arrival::Arrival;
use super::client_cert::ClientCert;
use super::connection::Open;
use super::context::Context;
use super::handshake::{self, Failed, Secured};
use super::serve::{Ends, converse, part};
use super::{record, respond};
use crate::ledger::doors::Place;
use crate::model::config::Front;
use crate::model::detail::StatusDetail;
use crate::net::connect;

/// Serves a connection until it ends.
pub(crate) async fn serve(
    context: Rc<Context>,
    Arrival { stream, peer, local }: Arrival,
    place: Place,
    listener: u32,
) {
    let open = Open::new(context, listener);
    let terms = open.context.world().front(listener).and_then(Front::tls).cloned();
    let Some(terms) = terms else {
        open.context.process.count_unrouted(open.context.worker, StatusDetail::ConfigNotFound, None);
        return connect::abort(&stream);
    };
    let shaking = handshake::shake(&open.context, &open.watched, stream, &terms, handshake::HTTP);
    let shaken = unless_cut(&open, shaking).await;
    match shaken {
        None => {}
        Some(Ok(stream)) => {
            let secured = Secured::of(stream.get_ref().1);
            let sni = handshake::sni_of(stream.get_ref().1);
            let cert = ClientCert::of(stream.get_ref().1, &terms);
            drop(terms);
            let ends = Ends { listener, peer, local, secured: Some(secured), sni, cert };
            converse(&open, (stream, place), ends).await;
        }
        Some(Err(failed)) => Box::pin(refuse(&open, failed, (listener, peer))).await,
    }
}

async fn unless_cut<F: Future>(open: &Open, handshake: F) -> Option<F::Output> {
    let mut handshake = pin!(handshake);
    poll_fn(|cx| {
        open.watched.register(cx.waker());
        if open.watched.kill.get() {
            return Poll::Ready(None);
        }
        handshake.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Of failed handshakes only those count as requests that Google logs as such, or that get an answer; the rest is
/// the noise of the internet.
async fn refuse(open: &Open, failed: Failed, (listener, peer): (u32, SocketAddr)) {
    let context = &open.context;
    let status = failed.plain.is_some().then_some(400);
    let is_told = matches!(
        failed.detail,
        StatusDetail::ClientCertNotProvided
            | StatusDetail::ClientCertValidationFailed
            | StatusDetail::ClientCertInvalidEku
            | StatusDetail::ClientCertUnsupportedKey
            | StatusDetail::PlainHttpToTls
    );
    if is_told {
        context.process.count_unrouted(context.worker, failed.detail, status);
        record::log_refusal(context, (listener, peer.ip()), status, failed.detail);
    }
    if let Some(mut stream) = failed.plain {
        part(&mut stream, &respond::raw(400, failed.detail)).await;
    }
}
