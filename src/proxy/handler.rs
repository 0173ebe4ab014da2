//! The steps of a request, in their order.

use std::{rc::Rc, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, http::Method, web};

use crate::{
    cache::{CachedLookup, Claimed, Coalescing, Found},
    clock,
    config::LogFormat,
    error::ProxyError,
    headers::{CacheStatus, RequestOutcome, StoreOutcome},
    policy::{self, Decision, Forward, ForwardReason, Reason, ResponseForm, Reuse, Sharing, Time},
    proxy::{
        connection::{ActiveRequest, Connection},
        fetch::{
            interim::InterimRelay,
            lead::{self, FetchPlan},
            pass_through as pass,
        },
        hit::{
            from_stored::{FollowOutcome, follow, reuse},
            prepared::PreparedResponses,
        },
        request::{
            forwarded::{self, BodyUse, ForwardedRequest},
            max_forwards,
            upload::{BodyRead, UploadBody},
        },
        request_config::RequestConfig,
        response::{
            access_log::AccessLogEntry, client_response::ClientResponse,
            error_response::FailedRequest,
        },
        worker::Worker,
    },
};

/// How often a request looks at the cache again before it fetches on its own.
const MAX_LOOKS: usize = 8;

/// Answers one request.
pub async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    worker: web::Data<Worker>,
) -> HttpResponse {
    let busy = ActiveRequest::new(
        request.conn_data::<Connection>(),
        forwarded::upload(&request),
    );
    let now = clock::now();
    let current = worker.newest.get();
    let policy = &current.config.policy;
    let feed = worker.shared.observer.feed();
    let shows_client = current.config.log_format == LogFormat::Combined;
    let mut access = AccessLogEntry::begin(&request, policy.mode, feed);
    if let Some(access) = access.as_mut().filter(|_| shows_client) {
        access.asked_by(&request);
    }
    let delivery = match current.quick_answer(&request, &worker, now) {
        Some(delivery) => Ok(delivery),
        // Large, and not needed for most hits.
        None => {
            Box::pin(ask_and_answer(
                &request,
                payload,
                &worker,
                &current,
                &busy,
                &mut access,
                now,
            ))
            .await
        }
    };
    let (delivery, access) = match delivery {
        Ok(delivery) => (delivery, access),
        // What failed is worth a line even where requests are not.
        Err(failed) => {
            let mut access =
                access.unwrap_or_else(|| AccessLogEntry::new(&request, policy.mode, feed));
            if shows_client {
                access.asked_by(&request);
            }
            (failed.delivery(), Some(access))
        }
    };
    delivery.into_response(&request, &worker, access, busy)
}

/// Reads the request as it would be forwarded, and answers that.
async fn ask_and_answer(
    request: &HttpRequest,
    payload: web::Payload,
    worker: &web::Data<Worker>,
    current: &RequestConfig,
    busy: &ActiveRequest,
    access: &mut Option<AccessLogEntry>,
    now: Time,
) -> Result<ClientResponse, FailedRequest> {
    let config = &current.config;
    if let Some(delivery) = max_forwards::final_answer(request, &config.policy) {
        return Ok(delivery);
    }
    let ask = ForwardedRequest::new(request, &worker.shared, config)?;
    if let Some(access) = access {
        access.judged_by(&ask);
    }
    let relay = InterimRelay {
        request,
        busy,
        via: &worker.shared.via,
    };
    let body = UploadBody::new(payload, config.timeout);
    let (ask, body) = keyed(worker, ask, body).await?;
    if !current.may_use_cache() {
        let storing = StoreOutcome::NotStored(Reason::CacheUnavailable);
        return pass::pass(
            worker,
            &ask,
            body,
            ForwardReason::Bypass.into(),
            storing,
            relay,
        )
        .await;
    }
    answer(worker, Rc::new(ask), body, relay, now).await
}

/// Reads the body of a POST that may be a retrieval, which it is when the body fits and asks for no change.
async fn keyed(
    worker: &Worker,
    mut ask: ForwardedRequest,
    body: UploadBody,
) -> Result<(ForwardedRequest, UploadBody), ProxyError> {
    let place = ask
        .keyed_up_to_bytes()
        .and_then(|bytes| worker.held.place(bytes));
    let Some(place) = place else {
        return Ok((ask, body));
    };
    let body = match body.read(place).await? {
        BodyRead::Larger(body) => body,
        BodyRead::Whole(bytes, place) => match ask.keyed_by(bytes, place, &worker.shared) {
            BodyUse::Keyed => UploadBody::nothing(),
            BodyUse::Change(bytes, place) => UploadBody::of(bytes, place),
        },
    };
    Ok((ask, body))
}

/// Looks, decides, claims, and looks again when the cache has changed meanwhile.
async fn answer(
    worker: &web::Data<Worker>,
    ask: Rc<ForwardedRequest>,
    body: UploadBody,
    relay: InterimRelay<'_>,
    mut now: Time,
) -> Result<ClientResponse, FailedRequest> {
    let nothing = || worker.worker_cache.insert(&ask.key, Found::default());
    let mut known = match worker.worker_cache.get(&ask.key) {
        Some(known) => known,
        // What is not remembered is mostly not stored either; if it is, the claim says so.
        None if policy::is_collapsible(&ask.view()) => nothing(),
        None if ask.is_retrieval() => worker.find(&ask).await,
        None => nothing(),
    };
    // An answer to HEAD has nothing for those who follow.
    let mut is_alone = ask.method == Method::HEAD;
    for _ in 0..MAX_LOOKS {
        let mut plan = match decide(worker, &ask, &known, now) {
            NextStep::Done(result) => return *result,
            NextStep::Pass(why, storing) => {
                return pass::pass(worker, &ask, body, why, storing, relay).await;
            }
            NextStep::Claim(plan) => plan,
        };
        if is_alone {
            plan.coalescing = Coalescing::Never;
        }
        match worker.claim(&ask, known.found().clone(), &plan, now).await {
            None | Some(Claimed::Declined) => {
                let storing = StoreOutcome::NotStored(Reason::CacheUnavailable);
                return pass::pass(worker, &ask, body, plan.why, storing, relay).await;
            }
            Some(Claimed::Lead(ticket)) => {
                let interim = relay.sink();
                return lead::lead(worker.clone(), ask, plan, ticket, interim).await;
            }
            Some(Claimed::Changed(changed)) => {
                known = worker.worker_cache.insert(&ask.key, changed)
            }
            Some(Claimed::Follow(fill)) => {
                if let FollowOutcome::ClientResponse(delivery) = follow(&ask, fill, plan.why).await
                {
                    return Ok(*delivery);
                }
                // Whatever is stored by now, nobody is waited for a second time.
                known = worker.find(&ask).await;
                is_alone = true;
            }
        }
        now = clock::now();
    }
    let why = ForwardReason::Miss.into();
    pass::pass(worker, &ask, body, why, StoreOutcome::NotApplicable, relay).await
}

enum NextStep {
    Done(Box<Result<ClientResponse, FailedRequest>>),
    Pass(Forward, StoreOutcome),
    Claim(FetchPlan),
}

fn decide(
    worker: &web::Data<Worker>,
    ask: &Rc<ForwardedRequest>,
    known: &CachedLookup<PreparedResponses>,
    now: Time,
) -> NextStep {
    let view = ask.view();
    let found = known.found();
    let heads = found.variants().map(|entry| &**entry.head());
    let decision = policy::decide(ask.policy(), &view, heads, now);
    let entry = |index| found.variants().nth(index).map(Arc::clone);
    let plan = match decision {
        Decision::Serve {
            index,
            reuse: allowed_by,
        } => found.variants().nth(index).map(|entry| {
            if allowed_by == Reuse::StaleWhileRevalidate {
                lead::revalidate_in_background(worker, ask, found, Arc::clone(entry), now);
            }
            worker.worker_cache.count_hit(known);
            let via = &worker.shared.via;
            let ready =
                match policy::response_form(&view, entry.head(), Some(entry.body().len_bytes())) {
                    ResponseForm::Full if known.is_reused() => {
                        known.prepared.deliver(index, entry, now, via)
                    }
                    _ => None,
                };
            let mut delivery = ready.unwrap_or_else(|| {
                let cache_status = CacheStatus {
                    saved_millis: entry.fetch_millis(),
                    ..CacheStatus::hit(entry.head().ttl_seconds(now))
                };
                reuse(&view, entry, cache_status, now)
            });
            if allowed_by != Reuse::Fresh {
                delivery.cache_status.outcome = RequestOutcome::Stale;
            }
            NextStep::Done(Box::new(Ok(delivery)))
        }),
        Decision::Revalidate { index, why } => {
            entry(index).map(|entry| NextStep::Claim(FetchPlan::revalidate(why, entry)))
        }
        Decision::Extend { index, missing } => {
            entry(index).map(|entry| NextStep::Claim(FetchPlan::extend(entry, missing)))
        }
        Decision::Fetch { why, sharing } => Some(match sharing {
            Sharing::Collapsible => NextStep::Claim(FetchPlan::fetch(why, Coalescing::Join)),
            Sharing::StoreOnly => NextStep::Claim(FetchPlan::fetch(why, Coalescing::Never)),
            Sharing::PassThrough(_) if why.reason == ForwardReason::Method => {
                NextStep::Pass(why, StoreOutcome::NotApplicable)
            }
            Sharing::PassThrough(reason) => NextStep::Pass(why, StoreOutcome::NotStored(reason)),
        }),
        Decision::NotCached => Some(NextStep::Done(Box::new(Err(
            ProxyError::OnlyIfCached.into()
        )))),
    };
    // The policy counts no further than what it was given.
    plan.unwrap_or(NextStep::Claim(FetchPlan::fetch(
        ForwardReason::Miss.into(),
        Coalescing::Never,
    )))
}
