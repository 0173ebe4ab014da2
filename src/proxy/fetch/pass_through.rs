//! Requests that pass through: the response is not stored, except that of a POST that stands for later GETs.

use std::time::Duration;

use actix_web::http::{Method, header};

use crate::{
    cache::{
        BodyWriter, Claim, ClaimBasis, Claimed, Coalescing, FetchTicket, Invalidate, Snapshot,
    },
    clock,
    error::ProxyError,
    headers::{CacheStatus, StoreOutcome},
    origin::{Expectation, OriginRequest},
    policy::{self, Forward, Reason, RequestContent, StoredHead},
    proxy::{
        fetch::{
            carried_fetch::CarriedFetch,
            claim::under_current_config,
            failover::forward,
            fetched_response::FetchedResponse,
            interim::InterimRelay,
            invalidate::{InvalidateOnDrop, invalidated_resources, target_uri},
            leader::store_outcome,
            recording,
        },
        request::{forwarded::ForwardedRequest, max_forwards, upload::UploadBody},
        response::{
            client_response::{ClientResponse, ResponseBody},
            error_response::{FailedRequest, ResponseResult},
            streamed_body::StreamedBody,
        },
        worker::Worker,
    },
};

/// Forwards a request with its body, and delivers the response as it arrives. An unsafe request invalidates what is
/// stored for its target (RFC 9111, 4.4).
pub(crate) async fn pass(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    body: UploadBody,
    why: Forward,
    storing: StoreOutcome,
    relay: InterimRelay<'_>,
) -> ResponseResult {
    let cache = &worker.shared.cache;
    let sent_at = cache.snapshot(&forwarded.key.resource);
    let recorded_since = recording::begun(worker, forwarded);
    let mut invalidation = InvalidateOnDrop::of(cache, forwarded);
    let fetched = match forward(worker, forwarded, origin_request(forwarded, body, relay)).await {
        Ok(fetched) => fetched,
        Err(error) => {
            if error.is_unsent() {
                invalidation.disarm();
            }
            return Err(FailedRequest::forwarded(error, why));
        }
    };
    let post = match is_storable_post(forwarded, &fetched) {
        // In a box: the future is large, and few requests need it.
        true => Box::pin(claim_for_post(worker, forwarded, sent_at, &fetched)).await,
        false => None,
    };
    invalidation.disarm();
    if forwarded.invalidates(fetched.status) {
        let resources = invalidated_resources(forwarded, &fetched.received_headers());
        let invalidate = Invalidate::new(resources, post.as_ref().map(|post| &post.ticket))
            .with_related(forwarded.key.resource.clone(), clock::now());
        // The response leaves after this.
        match cache.send(invalidate.clone()).await {
            // A store on disk that fails says so itself, and is not read until it knows.
            Ok(removal) => drop(removal.confirmed().await),
            Err(_) => cache.force_invalidate(invalidate),
        }
    }
    match post {
        Some(post) => post.store(fetched, why).await,
        // In a box: the future is large, and few requests need it.
        None if recorded_since.is_some() => {
            let pass = record_or_pass(worker, forwarded, fetched, (why, storing), recorded_since);
            Box::pin(pass).await
        }
        None => Ok(fetched.into_response(why, storing).into()),
    }
}

/// Delivers a response, and records it if only the client's `no-store` keeps it from being stored.
async fn record_or_pass(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    fetched: FetchedResponse,
    (why, storing): (Forward, StoreOutcome),
    since: Option<Snapshot>,
) -> ResponseResult {
    let reason = match storing {
        StoreOutcome::NotStored(reason @ Reason::ClientNoStore) => reason,
        _ => return Ok(fetched.into_response(why, storing).into()),
    };
    match recording::begin(worker, forwarded, since, (&fetched, false)).await {
        None => Ok(fetched.into_response(why, storing).into()),
        Some(recording) => {
            let fetch = CarriedFetch::new(|client| {
                let deliver = |response| client.fill(Box::new(response));
                Box::pin(recording.run(fetched, (why, reason), deliver))
            });
            let interrupted = || FailedRequest::forwarded(ProxyError::Interrupted, why);
            fetch.await.ok_or_else(interrupted)
        }
    }
}

fn origin_request(
    forwarded: &ForwardedRequest,
    body: UploadBody,
    relay: InterimRelay<'_>,
) -> OriginRequest {
    let mut headers = match forwarded.content {
        RequestContent::None | RequestContent::Some => forwarded.headers_with_all_cookies(),
        // The next request with this body may be stored, and its response should be the same.
        RequestContent::Keyed => forwarded.headers.clone(),
    };
    max_forwards::count_down(&forwarded.method, &mut headers);
    OriginRequest {
        method: forwarded.method.clone(),
        target: forwarded.origin_target().into_owned(),
        headers,
        body: match &forwarded.body {
            Some(body) => body.to_request(),
            None => body.into_request(forwarded.framing),
        },
        expectation: match forwarded.content {
            RequestContent::Some => relay.expectation(),
            RequestContent::None | RequestContent::Keyed => Expectation::Nothing,
        },
        interim: relay.sink(),
    }
}

/// The response to a POST that a later GET of the target may be served (RFC 9110, 9.3.3).
struct StorablePost {
    head: StoredHead,
    /// The right to store it.
    ticket: FetchTicket,
}

/// True if the response to a POST may be stored, as far as the request allows it.
fn is_storable_post(forwarded: &ForwardedRequest, fetched: &FetchedResponse) -> bool {
    forwarded.method == Method::POST
        && !forwarded.is_retrieval()
        && names_itself(fetched)
        && !forwarded.carries_ignored_cookies()
}

/// The response to a POST sent at `sent_at`, if it is to be stored; `None` if it is not, also after a Clear or an
/// invalidation since then.
async fn claim_for_post(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    sent_at: Snapshot,
    fetched: &FetchedResponse,
) -> Option<StorablePost> {
    let (policy, view) = (forwarded.policy(), forwarded.view());
    let head = policy::admit_post(policy, &view, &target_uri(forwarded), &fetched.view()).ok()?;
    let claim = Claim {
        variant: None,
        wait: Duration::ZERO,
        key: forwarded.key.clone(),
        basis: ClaimBasis::Since(sent_at),
        revalidates: None,
        coalescing: Coalescing::Never,
        now: clock::now(),
    };
    let claimed = worker.shared.cache.send(claim).await.ok()?;
    let Claimed::Lead(ticket) = under_current_config(worker, forwarded, claimed) else {
        return None;
    };
    let is_too_large = fetched
        .length()
        .is_some_and(|length| length > ticket.max_stored_bytes());
    (!is_too_large).then_some(StorablePost { head, ticket })
}

/// True if the response may say that it is the representation of a target.
fn names_itself(fetched: &FetchedResponse) -> bool {
    let headers = fetched.received_headers();
    headers.contains(&header::CONTENT_LOCATION)
}

impl StorablePost {
    /// Stores the response, and delivers it while it arrives.
    async fn store(self, fetched: FetchedResponse, why: Forward) -> ResponseResult {
        let length = fetched.length();
        let FetchedResponse {
            status,
            headers,
            body,
            ..
        } = fetched;
        let writer = BodyWriter::new(self.ticket, self.head, length);
        let fetch = CarriedFetch::new(|client| {
            Box::pin(writer.run(body, move |_, reader| {
                let cache_status = CacheStatus::miss(why, Some(status), store_outcome(&reader));
                client.fill(Box::new(ClientResponse {
                    status,
                    headers,
                    body: ResponseBody::Streamed(StreamedBody::whole(reader, length).into()),
                    cache_status,
                    problem: None,
                }));
            }))
        });
        let interrupted = || FailedRequest::forwarded(ProxyError::Interrupted, why);
        fetch.await.ok_or_else(interrupted)
    }
}
