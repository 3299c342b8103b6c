//! A client connection of a target HTTPS proxy: TLS first, then the same as in clear.

use std::net::IpAddr;
use std::rc::Rc;

use super::arrival::Arrival;
use super::client_cert::ClientCert;
use super::connection::Open;
use super::context::Context;
use super::handshake::{self, Failed, Secured};
use super::respond;
use super::serve::{Ends, converse, part};
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
    let shaken = handshake::unless_cut(&open.watched, shaking).await;
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
        Some(Err(failed)) => Box::pin(refuse(&open, failed, (listener, peer.ip()))).await,
    }
}

async fn refuse(open: &Open, failed: Failed, whence: (u32, IpAddr)) {
    let status = failed.plain.is_some().then_some(400);
    handshake::note(&open.context, failed.detail, whence, status);
    if let Some(mut stream) = failed.plain {
        part(&mut stream, &respond::raw(400, failed.detail)).await;
    }
}
