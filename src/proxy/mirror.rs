//! `requestMirrorPolicy`: a copy of a request goes to another service, and nobody hears what that says [G 7c].
//!
//! A copy is a task of its own on the same worker. It starts when its request is sent first, or when the request's body
//! has come whole, and the request never waits for it. How it is sent, [`super::aside`] says.

use std::net::Ipv6Addr;
use std::rc::Rc;

use http::header::{HOST, TE};
use http::{HeaderMap, HeaderValue, Method, Request, Uri};

use super::aside::{Aside, Missed, Terms};
use super::body::RequestBody;
use super::context::{Context, Current};
use super::kept::{Copying, Kept};
use super::record::Record;
use super::serve::Client;
use crate::ledger::service::Mirrored;
use crate::model::config::ServiceId;
use crate::model::place::OriginId;
use crate::model::route::action::Action;

/// Copies under way on a worker. Above, a request is not copied.
pub(crate) const MAX_COPIES: usize = 512;
/// How much of an answer is read, so that its connection can be kept. Of a longer one, the connection is closed.
const MAX_ANSWER: usize = 1024 * 1024;

/// Who gets a copy.
pub(crate) struct Mirror {
    client: Rc<Client>,
    world: Rc<Current>,
    id: ServiceId,
    origin: OriginId,
}

impl Mirror {
    /// Throws the dice for `mirrorPercent`.
    pub(super) fn of(action: &Action, record: &Record, origin: OriginId) -> Option<Box<Self>> {
        let policy = action.mirror?;
        let client = &record.client;
        if policy.share < 1.0 && client.context.rng.borrow_mut().unit() >= policy.share {
            return None;
        }
        let world = record.world.clone();
        Some(Box::new(Self { client: client.clone(), world, id: policy.service, origin }))
    }

    /// Copies a request that is about to be sent. `copying`: its body, if it has one.
    pub(super) fn launch(self, request: &Request<RequestBody>, copying: Option<&Copying>) {
        let Self { client, world, id, origin } = self;
        let context = client.context.clone();
        let Some(service) = world.service(id) else { return };
        if context.copies.get() >= MAX_COPIES {
            service.ledger.count_mirrored(context.worker, Mirrored::NoRoom);
            return;
        }
        let mut headers = request.headers().clone();
        shadow(&mut headers);
        if !service.config.protocol.is_http2() {
            headers.remove(TE);
        }
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let Some(to) = Aside::new(&client, world, (id, origin)) else { return };
        context.copies.set(context.copies.get() + 1);
        let result = Mirrored::Failed;
        let mut copy = Box::new(Copy { context, to, head: Some((method, uri, headers)), result });
        let Some(copying) = copying else { return copy.start(RequestBody::Empty) };
        copying.then(Box::new(move |kept: Option<Kept>| match kept {
            Some(kept) => copy.start(RequestBody::Kept(Some(kept))),
            None => copy.result = Mirrored::TooLarge,
        }));
    }
}

/// `-shadow` behind the name of the host, as Envoy has it; an address of IPv6 stays.
fn shadow(headers: &mut HeaderMap) {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return };
    let (name, port) = host.rsplit_once(':').map_or((host, None), |(name, port)| (name, Some(port)));
    if host.starts_with('[') || host.parse::<Ipv6Addr>().is_ok() {
        return;
    }
    let text = port.map_or_else(|| format!("{name}-shadow"), |port| format!("{name}-shadow:{port}"));
    if let Ok(value) = HeaderValue::try_from(text) {
        headers.insert(HOST, value);
    }
}

/// A copy. However it ends, it is counted once, by being dropped.
struct Copy {
    context: Rc<Context>,
    to: Aside,
    head: Option<(Method, Uri, HeaderMap)>,
    result: Mirrored,
}

impl Drop for Copy {
    fn drop(&mut self) {
        let context = &self.context;
        context.copies.set(context.copies.get().saturating_sub(1));
        self.to.service().ledger.count_mirrored(context.worker, self.result);
    }
}

impl Copy {
    fn start(mut self: Box<Self>, body: RequestBody) {
        drop(tokio::task::spawn_local(async move {
            self.result = Box::pin(self.run(body)).await;
        }));
    }

    async fn run(&mut self, body: RequestBody) -> Mirrored {
        let Some((method, uri, headers)) = self.head.take() else { return Mirrored::Failed };
        let mut request = Request::new(body);
        (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
        let timeout = self.to.service().config.timeout;
        match self.to.ask(request, Terms { timeout, most: MAX_ANSWER, is_kept: false }).await {
            Ok(_) => Mirrored::Answered,
            Err(Missed::NoRoom) => Mirrored::NoRoom,
            Err(Missed::NoMember) => Mirrored::NoMember,
            Err(Missed::Failed) => Mirrored::Failed,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn g_7c_the_host_of_a_copy_is_a_shadow() {
        for (host, want) in [
            ("a.test", "a.test-shadow"),
            ("a.test:8080", "a.test-shadow:8080"),
            ("127.0.0.1", "127.0.0.1-shadow"),
            ("[::1]:80", "[::1]:80"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            shadow(&mut headers);
            assert_eq!(headers.get(HOST).unwrap(), want);
        }
    }
}
