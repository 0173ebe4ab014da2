//! A fetch for the cache: for the client whose request leads it, or in the background.

use std::{pin::pin, rc::Rc, sync::Arc, time::Duration};

use actix_web::{http::Method, rt, web};
use tokio::time::Instant;

use crate::{
    cache::{Claimed, Coalescing, Entry, FetchTicket, Found},
    error::ProxyError,
    origin::{InterimSink, PaceState},
    policy::{ForwardReason, OriginIndex, Time},
    proxy::{
        fetch::{
            carried_fetch::CarriedFetch,
            claim::claim,
            failover::forward,
            from_shared::{SharedAnswer, SharedLookup},
            leader::{LeaderFetch, WaitingClient},
            plan::{FetchKind, FetchPlan},
            recording,
            rest_of_body::let_go_on,
        },
        request::forwarded::ForwardedRequest,
        response::error_response::{FailedRequest, ResponseResult},
        worker::Worker,
    },
};

/// Fetches for the cache and for its client. The fetch goes on when its client leaves, as long as another request waits
/// for it.
pub(crate) async fn lead(
    worker: web::Data<Worker>,
    forwarded: Rc<ForwardedRequest>,
    plan: FetchPlan,
    ticket: FetchTicket,
    (method, interim): (&Method, Option<InterimSink>),
) -> ResponseResult {
    let (why, coalescing) = (plan.why, plan.coalescing);
    let (going_on_with, request) = (worker.clone(), Rc::clone(&forwarded));
    let fetch = CarriedFetch::new(|slot| {
        let client = WaitingClient::new(slot, method, interim);
        // In a box, which can become a task.
        Box::pin(fetch_and_store(worker, forwarded, plan, ticket, client))
    });
    let interrupted = || Err(FailedRequest::forwarded(ProxyError::Interrupted, why));
    let mut response = fetch.await.unwrap_or_else(interrupted);
    // Where nobody shares the fetch and nothing is written to disk, its client cannot fall behind.
    let may_fall_behind =
        coalescing != Coalescing::Never || going_on_with.shared.cache.disk().is_some();
    if let (Ok(response), true) = (&mut response, may_fall_behind) {
        let_go_on(response, &going_on_with, &request);
    }
    response
}

/// Fetches, judges, stores, delivers. [`LeaderFetch`] judges and stores in `fetch/leader`; validations are in
/// `fetch/revalidate`, parts in `fetch/combine_ranges`.
async fn fetch_and_store(
    worker: web::Data<Worker>,
    forwarded: Rc<ForwardedRequest>,
    plan: FetchPlan,
    ticket: FetchTicket,
    client: WaitingClient,
) {
    let (worker, forwarded) = (&**worker, &*forwarded);
    let mut request = client.listening(plan.origin_request(forwarded));
    let sends_all_cookies =
        forwarded.leaves_out_cookies() && ticket.is_path_not_stored() && plan.is_without_entry();
    if sends_all_cookies {
        request.headers = forwarded.headers_with_all_cookies();
    }
    let recorded_since = recording::begun(worker, forwarded);
    let fetched = {
        // It takes no room in the future after this.
        let head = pin!(forward(worker, forwarded, request));
        client.while_wanted(&ticket, head).await
    };
    let Some(fetched) = fetched else {
        return;
    };
    let fetch = LeaderFetch {
        worker,
        forwarded,
        why: plan.why,
        is_whole: !matches!(plan.kind, FetchKind::Plain | FetchKind::ExtendPart(_)),
        sends_all_cookies,
        recorded_since,
        ticket,
        client,
    };
    match (fetched, plan.kind) {
        (Ok(fetched), FetchKind::Plain | FetchKind::Whole) => fetch.store_or_pass(fetched).await,
        (Err(error), FetchKind::Revalidate(entry)) => {
            Box::pin(fetch.not_revalidated(&entry, error)).await;
        }
        (Err(error), _) => fetch.fail(error),
        // In boxes: these futures are large, and most fetches do not need them.
        (Ok(fetched), FetchKind::Revalidate(entry)) => {
            Box::pin(fetch.revalidated(&entry, fetched)).await;
        }
        (Ok(fetched), FetchKind::RestOfPart(part, _)) => {
            Box::pin(fetch.rest_received(part, fetched)).await;
        }
        (Ok(fetched), FetchKind::ExtendPart(part)) => {
            Box::pin(fetch.part_received(part, fetched)).await;
        }
    }
}

/// Validates a stale response that is served meanwhile (RFC 5861, 3). Does nothing if its validation is under way, or if
/// this worker runs as many as it may.
pub(crate) fn revalidate_in_background(
    worker: &web::Data<Worker>,
    forwarded: &Rc<ForwardedRequest>,
    found: &Found,
    entry: Arc<Entry>,
    now: Time,
) {
    let is_open = |origin: &OriginIndex| {
        let state = worker.origins.get(*origin).pace().state(Instant::now());
        state == PaceState::Open
    };
    if !forwarded.origins().iter().any(is_open) {
        // It would take the place of a request whose client waits.
        log::debug!("no origin gets a request now: a later request will validate");
        return;
    }
    let Ok(permit) = Arc::clone(&worker.background).try_acquire_owned() else {
        log::debug!("too many validations in the background: a later request will validate");
        return;
    };
    // A HEAD is served from the stored response to a GET, which is what is to be validated.
    let forwarded = match forwarded.method {
        Method::HEAD => Rc::new(ForwardedRequest {
            method: Method::GET,
            ..ForwardedRequest::clone(forwarded)
        }),
        _ => Rc::clone(forwarded),
    };
    let (worker, found) = (worker.clone(), found.clone());
    rt::spawn(async move {
        let _permit = permit;
        let plan = FetchPlan {
            coalescing: Coalescing::Background,
            ..FetchPlan::revalidate(ForwardReason::Stale.into(), entry)
        };
        match claim(&worker, &forwarded, found, &plan, now).await {
            Some(Claimed::Lead(ticket)) => {
                let shared = SharedLookup::new(&worker, &forwarded);
                let ticket = match shared.is_to_be_asked(&plan, &ticket) {
                    false => ticket,
                    true => match shared.ask(ticket, &plan, now, Duration::ZERO).await {
                        SharedAnswer::InMemory | SharedAnswer::LookAgain => return,
                        SharedAnswer::Fetch(ticket) => ticket,
                        // That one validates. A later request finds what it brings.
                        SharedAnswer::OfAnother(ticket) => return ticket.unused(),
                    },
                };
                fetch_and_store(worker, forwarded, plan, ticket, WaitingClient::none()).await;
            }
            Some(Claimed::Changed(_) | Claimed::Follow(_) | Claimed::Declined) | None => {}
        }
    });
}
