//! Requests that only pass through, and what they do to the cache.

use actix_web::http::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderValue},
};
use tokio::sync::oneshot;

use crate::{
    cache::{
        BodyWriter, Cache, Claim, ClaimBasis, Claimed, Coalescing, FetchTicket, Invalidate,
        Resource, Snapshot,
    },
    clock,
    error::ProxyError,
    headers::{CacheStatus, StoreOutcome},
    origin::{OriginErrorKind, OriginRequest},
    policy::{self, Forward, StoredHead, TargetUri},
    proxy::{
        fetch::{
            fetched_response::{FetchedResponse, forward},
            interim::InterimRelay,
        },
        request::{forwarded::ForwardedRequest, max_forwards, upload::UploadBody},
        response::{
            client_response::{ClientResponse, ResponseBody},
            error_response::FailedRequest,
            streamed_body::StreamedBody,
        },
        worker::Worker,
    },
};

/// Forwards a request whose answer is not stored, body and all.
pub(crate) async fn pass(
    worker: &Worker,
    ask: &ForwardedRequest,
    body: UploadBody,
    why: Forward,
    storing: StoreOutcome,
    relay: InterimRelay<'_>,
) -> Result<ClientResponse, FailedRequest> {
    let mut headers = ask.fields.clone();
    max_forwards::count_down(&ask.method, &mut headers);
    let request = OriginRequest {
        method: ask.method.clone(),
        target: ask.target.clone(),
        headers,
        body: match &ask.body {
            Some(whole) => whole.to_request(),
            None => body.into_request(ask.upload),
        },
        interim: relay.sink(),
    };
    let since = worker.shared.cache.snapshot(&ask.key.resource);
    let mut unsure = InvalidateOnDrop::about(worker, ask);
    let reply = match forward(worker, request).await {
        Ok(reply) => reply,
        Err(error) => {
            if matches!(
                error.kind(),
                OriginErrorKind::Unreachable | OriginErrorKind::Busy
            ) {
                unsure.disarm();
            }
            return Err(FailedRequest::forwarded(error, why));
        }
    };
    let kept = kept_for_gets(worker, ask, since, &reply).await;
    unsure.disarm();
    if ask.invalidates(reply.status) {
        let resources = invalidated(ask, &reply.fields);
        let invalidate = Invalidate::new(resources, kept.as_ref().map(|kept| &kept.ticket));
        // Before the answer leaves.
        if worker.ask(invalidate.clone()).await.is_err() {
            worker.shared.cache.force_invalidate(invalidate);
        }
    }
    match kept {
        Some(kept) => kept.store(reply, why).await,
        None => Ok(reply.pass(why, storing)),
    }
}

/// An answer to a POST that is what later GETs of the target would get (RFC 9110, 9.3.3).
struct StorablePost {
    head: StoredHead,
    /// The right to store it.
    ticket: FetchTicket,
}

/// Is the answer to be stored, to a request sent at `since`? A Clear or an invalidation while it was under way voids it.
async fn kept_for_gets(
    worker: &Worker,
    ask: &ForwardedRequest,
    since: Snapshot,
    reply: &FetchedResponse,
) -> Option<StorablePost> {
    if ask.method != Method::POST || ask.is_retrieval() || ask.carries_ignored_cookies() {
        return None;
    }
    let target = target_uri(ask);
    let head = policy::admit_post(ask.policy(), &ask.view(), &target, &reply.judged()).ok()?;
    let claim = Claim {
        key: ask.key.clone(),
        basis: ClaimBasis::Since(since),
        revalidates: None,
        coalescing: Coalescing::Never,
        now: clock::now(),
    };
    let claimed = worker.ask(claim).await.ok()?;
    let Claimed::Lead(ticket) = worker.still_counting(ask, claimed) else {
        return None;
    };
    let is_too_large = reply
        .length()
        .is_some_and(|length| length > ticket.max_object_bytes());
    (!is_too_large).then_some(StorablePost { head, ticket })
}

impl StorablePost {
    /// Stores the answer, and hands it on as it comes.
    async fn store(
        self,
        reply: FetchedResponse,
        why: Forward,
    ) -> Result<ClientResponse, FailedRequest> {
        let length = reply.length();
        let FetchedResponse {
            status,
            fields,
            body,
            ..
        } = reply;
        let (sender, answer) = oneshot::channel();
        let filler = BodyWriter::new(self.ticket, self.head, length);
        actix_web::rt::spawn(filler.run(body, move |_, reader| {
            let _ = sender.send(ClientResponse {
                status,
                fields,
                body: ResponseBody::Streamed(StreamedBody::whole(reader, length)),
                cache_status: CacheStatus::miss(why, Some(status), StoreOutcome::Stored),
                problem: None,
            });
        }));
        answer
            .await
            .map_err(|_| FailedRequest::forwarded(ProxyError::Interrupted, why))
    }
}

/// What an unsafe request has made invalid: its target, and what the answer names beside it (RFC 9111, 4.4).
fn invalidated(ask: &ForwardedRequest, fields: &HeaderMap) -> Vec<Resource> {
    let prefix = ask.config.origin.path_prefix();
    let others = target_uri(ask).also_invalidated(fields);
    let others = others
        .iter()
        .filter_map(|target| target.strip_prefix(prefix))
        // Under the name by which requests for it are stored.
        .map(|target| ask.config.rules.rewritten(target))
        .map(|target| match preserved_host(ask) {
            Some(host) => Resource::with_host(&target, host.as_bytes()),
            None => Resource::new(&target),
        });
    std::iter::once(ask.key.resource.clone())
        .chain(others)
        .collect()
}

/// Where the origin was asked.
fn target_uri(ask: &ForwardedRequest) -> TargetUri<'_> {
    let origin = &ask.config.origin;
    TargetUri {
        scheme: origin.scheme(),
        authority: match preserved_host(ask) {
            Some(host) => String::from_utf8_lossy(host.as_bytes()),
            None => origin.authority().into(),
        },
        target: format!("{}{}", origin.path_prefix(), ask.target).into(),
    }
}

fn preserved_host(ask: &ForwardedRequest) -> Option<&HeaderValue> {
    let host = ask.fields.get(header::HOST);
    host.filter(|_| ask.config.preserve_host)
}

/// Invalidates the target of an unsafe request when nobody learns what became of it: the client left, or the origin
/// broke off. It may have done what was asked.
struct InvalidateOnDrop(Option<(Cache, Resource)>);

impl InvalidateOnDrop {
    fn about(worker: &Worker, ask: &ForwardedRequest) -> Self {
        let is_unsafe = ask.invalidates(StatusCode::OK);
        Self(is_unsafe.then(|| (worker.shared.cache.clone(), ask.key.resource.clone())))
    }

    fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for InvalidateOnDrop {
    fn drop(&mut self) {
        if let Some((cache, resource)) = self.0.take() {
            cache.force_invalidate(Invalidate::new(vec![resource], None));
        }
    }
}
