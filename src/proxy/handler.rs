//! The steps of a request, in their order.
//!
//! 1. [`handle`] reads the clock and takes the configuration in force. A plain hit is served at
//!    once ([`fast_path`]).
//! 2. [`respond`] makes the [`ForwardedRequest`]: the request as the origin would get it. The key is made from it.
//!    A WebSocket handshake is forwarded from here, and becomes a tunnel ([`forward_handshake`]).
//! 3. [`serve_or_fetch`] looks up the key, decides with the policy, and serves from the cache, or claims the fetch. One
//!    request leads; the others follow it.
//! 4. [`lead`] fetches, judges the response, stores it, and delivers it to its client.
//! 5. [`respond`] makes the response name the proxy where the origin names itself.
//! 6. [`handle`] turns the [`ClientResponse`] into what actix-web sends.

use std::{pin::pin, rc::Rc, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, http::Method, rt, web};
use log::Level;
use tokio::time::Instant;

use crate::{
    cache::{CachedLookup, Claimed, Coalescing, Entry, FetchTicket, Found},
    clock,
    error::ProxyError,
    headers::StoreOutcome,
    observe::RouteSlot,
    origin::{InterimSink, PaceState},
    policy::{self, Decision, Forward, ForwardReason, OriginIndex, Reason, Reuse, Sharing, Time},
    proxy::{
        connection::Connection,
        fetch::{
            carried_fetch::CarriedFetch,
            claim::claim,
            failover::forward,
            follower::{Follower, in_time},
            interim::InterimRelay,
            leader::{LeaderFetch, WaitingClient},
            pass_through::pass,
            plan::{FetchKind, FetchPlan},
            rest_of_body::going_on,
        },
        hit::{
            fast_path, prepared::PreparedResponses, serve::serve, stale_at_once::why_stale_at_once,
        },
        request::{
            forwarded::ForwardedRequest, max_forwards, preflight, request_id::RequestId,
            upload::UploadBody,
        },
        request_config::RequestConfig,
        response::{
            access_log::AccessLogEntry, client_response::ClientResponse,
            error_response::FailedRequest, for_client,
        },
        tunnel::handshake::forward_handshake,
        worker::Worker,
    },
};

/// How often what is stored may change while a request decides, before it is forwarded without the cache.
const MAX_LOOKUPS: usize = 8;

/// Handles one request.
pub async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    worker: web::Data<Worker>,
) -> HttpResponse {
    let connection = Connection::of(&request);
    let now = clock::now();
    let config = worker.config.current();
    let request_id = RequestId::begin(&request, &config.config);
    let feed = worker.shared.observer.feed();
    let mut entry = AccessLogEntry::begin(&request, &config.config, feed, Level::Info);
    let mut route = RouteSlot::NONE;
    let response = match fast_path::respond(&request, &worker, &config, &connection, now) {
        Some((response, of_hit)) => {
            route = of_hit;
            Ok(response)
        }
        // In a box: the future is large, and most hits do not need it.
        None => {
            // It may fail, and failures are logged even where other requests are not.
            entry = entry
                .or_else(|| AccessLogEntry::begin(&request, &config.config, feed, Level::Warn));
            let observed = (entry.as_deref_mut(), &mut route);
            Box::pin(respond(
                &request,
                payload,
                &worker,
                &config,
                &connection,
                observed,
                now,
            ))
            .await
        }
    };
    let response = response.unwrap_or_else(FailedRequest::into_response);
    let mut response = response.into_http(
        &request,
        (&worker, &config.config, route),
        entry,
        &connection,
    );
    if let Some(id) = request_id {
        id.write(response.headers_mut());
    }
    response
}

/// Makes the forwarded request, and finds a response for it.
async fn respond(
    request: &HttpRequest,
    payload: web::Payload,
    worker: &web::Data<Worker>,
    config: &RequestConfig,
    connection: &Connection,
    (mut entry, route): (Option<&mut AccessLogEntry>, &mut RouteSlot),
    now: Time,
) -> Result<ClientResponse, FailedRequest> {
    let own_response = max_forwards::final_response(request, &config.config.policy)
        .or_else(|| preflight::response(request, &config.config));
    if let Some(response) = own_response {
        return Ok(response);
    }
    let mut forwarded =
        ForwardedRequest::new(request, &worker.shared, (&config.config, &config.names))?;
    *route = config.route_slot(forwarded.selection);
    if let Some(entry) = &mut entry {
        entry.set_rule(&forwarded);
    }
    let relay = InterimRelay {
        request,
        connection,
        via: &worker.shared.via,
    };
    if forwarded.is_handshake() {
        let response = forward_handshake(worker, &forwarded, relay).await;
        return completed(response, request, &forwarded, entry);
    }
    let is_awaited = connection.awaits_continue() && forwarded.framing.has_content();
    let awaited = is_awaited.then(|| connection.interim_sender());
    let body = UploadBody::new(payload, config.config.client_timeout);
    let body = body.awaited_by(awaited.map(|client| Box::new(move || client.send_continue()) as _));
    let body = forwarded
        .read_key_body(body, &worker.shared, (&worker.buffers, &config.names))
        .await?;
    let forwarded = Rc::new(forwarded);
    let response = match config.may_use_cache() {
        true => serve_or_fetch(worker, Rc::clone(&forwarded), body, relay, now).await,
        false => {
            let storing = StoreOutcome::NotStored(Reason::CacheUnavailable);
            let why = ForwardReason::Bypass.into();
            pass(worker, &forwarded, body, why, storing, relay).await
        }
    };
    completed(response, request, &forwarded, entry)
}

/// The response to `request`, which names the proxy. Notes in `entry` where it comes from and why it is not shared.
fn completed(
    mut response: Result<ClientResponse, FailedRequest>,
    request: &HttpRequest,
    forwarded: &ForwardedRequest,
    mut entry: Option<&mut AccessLogEntry>,
) -> Result<ClientResponse, FailedRequest> {
    if let Some(entry) = &mut entry {
        entry.set_origin(forwarded);
    }
    if let (Some(entry), Ok(response)) = (entry, &response) {
        match response.cache_status.detail() {
            Some(Reason::OwnPartition) => entry.set_identity(forwarded.identity_parts()),
            Some(Reason::SetCookie) => entry.set_cookies(policy::identifying_set_cookies(
                forwarded.policy(),
                &response.headers,
            )),
            _ => {}
        }
    }
    if let Ok(response) = &mut response {
        for_client::rewrite(response, request, forwarded);
    }
    response
}

/// Looks up, decides, serves or claims; looks up again when the cache has changed in between.
async fn serve_or_fetch(
    worker: &web::Data<Worker>,
    asked: Rc<ForwardedRequest>,
    body: UploadBody,
    relay: InterimRelay<'_>,
    mut now: Time,
) -> Result<ClientResponse, FailedRequest> {
    // A HEAD is looked up and fetched as a GET.
    let forwarded = asked.as_get().map_or_else(|| Rc::clone(&asked), Rc::new);
    let mut lookup = look_up(worker, &forwarded).await;
    let mut follower = Follower::new(worker, &forwarded);
    let mut changes = 0;
    while changes < MAX_LOOKUPS {
        let plan = match decide(worker, &forwarded, &lookup, now) {
            NextStep::Respond(result) => return *result,
            NextStep::Pass(why, storing) => {
                return pass(worker, &asked, body, why, storing, relay).await;
            }
            NextStep::Claim(plan) => follower.adapted(plan),
        };
        let found = lookup.found().clone();
        match claim(worker, &forwarded, found, &plan, now).await {
            None | Some(Claimed::Declined) => {
                let storing = StoreOutcome::NotStored(Reason::CacheUnavailable);
                return pass(worker, &asked, body, plan.why, storing, relay).await;
            }
            Some(Claimed::Lead(ticket)) => {
                let limit = follower.time_left();
                drop(follower);
                // After a response that was not storable, the origin has less to do for what the client asks.
                let is_as_asked = ticket.is_hit_for_miss() && plan.is_without_entry();
                if is_as_asked && asked.method == Method::HEAD {
                    ticket.unused();
                    let storing = StoreOutcome::NotStored(Reason::Method);
                    return pass(worker, &asked, body, plan.why, storing, relay).await;
                }
                let plan = match is_as_asked {
                    true => plan.with_conditions(),
                    false => plan,
                };
                let client = (&asked.method, relay.sink());
                let why = plan.why;
                let response = lead(worker.clone(), forwarded, plan, ticket, client);
                return in_time(response, why, limit).await;
            }
            Some(Claimed::Changed(found)) => {
                lookup = Rc::new(found.into());
                changes += 1;
            }
            Some(Claimed::Follow(fetch)) => {
                if let Some(result) = follower.follow(fetch, &plan).await {
                    return result.map(|response| going_on(response, worker, &forwarded));
                }
                lookup = worker.worker_cache.lookup(&forwarded.key).await;
            }
        }
        now = clock::now();
    }
    let (why, storing) = (ForwardReason::Miss.into(), StoreOutcome::NotApplicable);
    pass(worker, &asked, body, why, storing, relay).await
}

/// What is stored for the key, by the index, else by the actor.
async fn look_up(
    worker: &Worker,
    forwarded: &ForwardedRequest,
) -> Rc<CachedLookup<PreparedResponses>> {
    if let Some(lookup) = worker.worker_cache.get(&forwarded.key) {
        return lookup;
    }
    // A request that would lead a fetch asks the actor once, with its claim: what the index does not have is mostly not
    // stored, and the claim is declined if it is. Methods that are not answered from the cache ask nothing.
    if policy::is_collapsible(forwarded.policy(), &forwarded.view()) || !forwarded.is_retrieval() {
        return Rc::new(Found::default().into());
    }
    worker.worker_cache.lookup(&forwarded.key).await
}

/// What is done next for a request.
enum NextStep {
    /// The response is there, or the request fails.
    Respond(Box<Result<ClientResponse, FailedRequest>>),
    /// Forward it, without storing the response.
    Pass(Forward, StoreOutcome),
    /// Claim the fetch.
    Claim(FetchPlan),
}

fn decide(
    worker: &web::Data<Worker>,
    forwarded: &Rc<ForwardedRequest>,
    lookup: &CachedLookup<PreparedResponses>,
    now: Time,
) -> NextStep {
    let found = lookup.found();
    let heads = found.variants().map(|entry| &**entry.head());
    let decision = policy::decide(forwarded.policy(), &forwarded.view(), heads, now);
    let entry = |index| found.variants().nth(index).map(Arc::clone);
    let next = match decision {
        Decision::Serve { index, reuse } => entry(index).map(|entry| {
            if reuse == Reuse::StaleWhileRevalidate {
                revalidate_in_background(worker, forwarded, found, Arc::clone(&entry), now);
            }
            let response = serve(worker, forwarded, lookup, (index, &entry), reuse, now);
            NextStep::Respond(Box::new(Ok(response)))
        }),
        Decision::Revalidate { index, why } => entry(index).map(|entry| {
            if let Some(why) = why_stale_at_once(worker, forwarded, &entry, now) {
                revalidate_in_background(worker, forwarded, found, Arc::clone(&entry), now);
                let reuse = Reuse::StaleWhileRevalidate;
                let mut response = serve(worker, forwarded, lookup, (index, &entry), reuse, now);
                response.problem = Some(why.into());
                return NextStep::Respond(Box::new(Ok(response)));
            }
            NextStep::Claim(FetchPlan::revalidate(why, entry))
        }),
        Decision::Extend { index, missing } => {
            entry(index).map(|entry| NextStep::Claim(FetchPlan::extend(entry, missing)))
        }
        Decision::Fetch { why, sharing } => Some(match sharing {
            Sharing::Collapsible => NextStep::Claim(FetchPlan::fetch(why, Coalescing::Join)),
            Sharing::CollapsibleWhole => NextStep::Claim(FetchPlan::fetch_whole(why)),
            Sharing::StoreOnly => NextStep::Claim(FetchPlan::fetch(why, Coalescing::Never)),
            Sharing::PassThrough(_) if why.reason == ForwardReason::Method => {
                let storing = forwarded.unkeyed.map(StoreOutcome::NotStored);
                NextStep::Pass(why, storing.unwrap_or(StoreOutcome::NotApplicable))
            }
            Sharing::PassThrough(reason) => NextStep::Pass(why, StoreOutcome::NotStored(reason)),
        }),
        Decision::NotCached => Some(NextStep::Respond(Box::new(Err(
            ProxyError::OnlyIfCached.into()
        )))),
    };
    // The policy names no variant beyond those it was given.
    next.unwrap_or_else(|| {
        NextStep::Claim(FetchPlan::fetch(
            ForwardReason::Miss.into(),
            Coalescing::Never,
        ))
    })
}

/// Fetches for the cache and for its client. The fetch goes on when its client leaves, as long as another request waits
/// for it.
async fn lead(
    worker: web::Data<Worker>,
    forwarded: Rc<ForwardedRequest>,
    plan: FetchPlan,
    ticket: FetchTicket,
    (method, interim): (&Method, Option<InterimSink>),
) -> Result<ClientResponse, FailedRequest> {
    let (why, coalescing) = (plan.why, plan.coalescing);
    let (going_on_with, request) = (worker.clone(), Rc::clone(&forwarded));
    let (client, response) = WaitingClient::new(method, interim);
    // In a box, which can become a task.
    let fetch = Box::pin(fetch_and_store(worker, forwarded, plan, ticket, client));
    let response = CarriedFetch::new(fetch, response).await;
    let interrupted = || Err(FailedRequest::forwarded(ProxyError::Interrupted, why));
    let response = response.unwrap_or_else(interrupted);
    match coalescing {
        // Nobody shares the fetch, so its client cannot fall behind others.
        Coalescing::Never => response,
        Coalescing::Join | Coalescing::Background => {
            response.map(|response| going_on(response, &going_on_with, &request))
        }
    }
}

/// Fetches, judges, stores, delivers. [`LeaderFetch`] judges and stores in `fetch/leader`; validations are in
/// `fetch/revalidate`, parts in `fetch/combine_ranges`.
async fn fetch_and_store(
    worker: web::Data<Worker>,
    forwarded: Rc<ForwardedRequest>,
    plan: FetchPlan,
    ticket: FetchTicket,
    mut client: WaitingClient,
) {
    let (worker, forwarded) = (&**worker, &*forwarded);
    let mut request = client.listening(plan.origin_request(forwarded));
    let sends_all_cookies =
        forwarded.leaves_out_cookies() && ticket.is_path_not_stored() && plan.is_without_entry();
    if sends_all_cookies {
        request.headers = forwarded.headers_with_all_cookies();
    }
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
        ticket,
        client,
    };
    match (fetched, plan.kind) {
        (Ok(fetched), FetchKind::Plain | FetchKind::Whole) => fetch.store_or_pass(fetched).await,
        (Err(error), FetchKind::Revalidate(entry)) => fetch.not_revalidated(&entry, error).await,
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
fn revalidate_in_background(
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
                fetch_and_store(worker, forwarded, plan, ticket, WaitingClient::none()).await;
            }
            Some(Claimed::Changed(_) | Claimed::Follow(_) | Claimed::Declined) | None => {}
        }
    });
}
