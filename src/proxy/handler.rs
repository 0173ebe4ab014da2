//! The steps of a request, in their order.
//!
//! 1. [`handle`] reads the clock and takes the configuration in force. A plain hit is served at
//!    once ([`fast_path`]).
//! 2. [`respond`] makes the [`ForwardedRequest`]: the request as the origin would get it. The key is made from it.
//!    A WebSocket handshake is forwarded from here, and becomes a tunnel ([`forward_handshake`]). While the proxy is offline,
//!    every request is answered from here ([`offline`]).
//! 3. [`serve_or_fetch`] looks up the key, decides with the policy, and serves from the cache, or claims the fetch. One
//!    request leads; the others follow it.
//!    The one that leads asks the disk first ([`DiskLookup`]), then the tier that several instances share ([`SharedLookup`]).
//!    When memory is full, the disk is asked before the claim.
//! 4. [`lead`] (`fetch/fetch_and_store`) fetches, judges the response, stores it, and delivers it to its client.
//! 5. [`respond`] makes the response name the proxy where the origin names itself.
//! 6. [`handle`] turns the response into what actix-web sends.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, http::Method, web};
use log::Level;

use crate::{
    cache::{CachedLookup, Claimed, Coalescing, Entry, FetchTicket, Found, Loaded},
    clock,
    error::ProxyError,
    headers::StoreOutcome,
    observe::{ClientProtocol, RouteSlot},
    origin::{InterimSink, OriginError},
    policy::{self, Decision, Forward, ForwardReason, Reason, Reuse, Sharing, Time},
    proxy::{
        connection::Connection,
        fetch::{
            claim::claim,
            fetch_and_store::{lead, revalidate_in_background},
            follower::{Follower, in_time},
            from_disk::{DiskLookup, DiskQuestion},
            from_shared::SharedLookup,
            interim::InterimRelay,
            pass_through::pass,
            plan::FetchPlan,
            rest_of_body::let_go_on,
        },
        hit::{
            fast_path::{self, FastPath},
            prepared::PreparedResponses,
            serve::serve,
            stale_at_once::why_stale_at_once,
        },
        offline,
        request::{
            forwarded::ForwardedRequest, max_forwards, preflight, request_id::RequestId,
            upload::UploadBody,
        },
        request_config::RequestConfig,
        response::{access_log::AccessLogEntry, error_response::ResponseResult, for_client},
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
    let protocol = ClientProtocol::of(request.version(), connection.scheme());
    worker.counters.requested(protocol);
    let request_id = RequestId::begin(&request, &config.config);
    let feed = worker.shared.observer.feed();
    let mut entry = AccessLogEntry::begin(&request, &config.config, feed, Level::Info);
    let mut route = RouteSlot::NONE;
    let mut response = match fast_path::respond(&request, &worker, &config, &connection, now) {
        FastPath::Hit(response, of_hit) => {
            route = of_hit;
            response
        }
        // In a box: the future is large, and most hits do not need it.
        path @ (FastPath::NotInIndex | FastPath::Other) => {
            // It may fail, and failures are logged even where other requests are not.
            entry = entry
                .or_else(|| AccessLogEntry::begin(&request, &config.config, feed, Level::Warn));
            let observed = (entry.as_deref_mut(), &mut route);
            let response = Box::pin(respond(
                &request,
                payload,
                &worker,
                &config,
                &connection,
                observed,
                (now, matches!(path, FastPath::NotInIndex)),
            ));
            match response.await {
                Ok(response) => *response,
                Err(failed) => failed.into_response(),
            }
        }
    };
    if let Some(id) = request_id {
        id.set_in(&mut response.headers);
    }
    response.into_http(
        &request,
        (&worker, &config.config, route),
        entry,
        &connection,
    )
}

/// Makes the forwarded request, and finds a response for it.
async fn respond(
    request: &HttpRequest,
    payload: web::Payload,
    worker: &web::Data<Worker>,
    config: &RequestConfig,
    connection: &Connection,
    (mut entry, route): (Option<&mut AccessLogEntry>, &mut RouteSlot),
    (now, is_not_in_index): (Time, bool),
) -> ResponseResult {
    let own_response = max_forwards::final_response(request, &config.config.policy)
        .or_else(|| preflight::response(request, &config.config));
    if let Some(response) = own_response {
        return Ok(response.into());
    }
    let mut forwarded = ForwardedRequest::new(
        (request, connection.scheme(), &connection.header_lines()),
        &worker.shared,
        config,
    )?;
    *route = config.route_slot(forwarded.selection);
    if let Some(entry) = &mut entry {
        entry.set_rule(&forwarded);
    }
    let relay = InterimRelay {
        request,
        connection,
        via: &worker.shared.via,
    };
    let is_offline = config.config.offline;
    if forwarded.is_handshake() && !is_offline {
        let response = Box::pin(forward_handshake(worker, &forwarded, relay)).await;
        return completed(response, request, &forwarded, entry);
    }
    let is_awaited = connection.awaits_continue() && forwarded.framing.has_content();
    let awaited = is_awaited.then(|| connection.interim_sender());
    let body = UploadBody::new(payload, config.config.client_timeout);
    let body = body.awaited_by(awaited.map(|client| Box::new(move || client.send_continue()) as _));
    let body = match forwarded.max_key_body_bytes() {
        None => body,
        // In a box: the future is large, and few requests need it.
        Some(limit) => {
            let forwarded = Rc::make_mut(&mut forwarded);
            let names = (&worker.buffers, &config.names);
            Box::pin(forwarded.read_key_body((body, limit), &worker.shared, names)).await?
        }
    };
    let handling = match config.may_use_cache() {
        // In a box: the future is large, and few proxies are offline.
        may_use_cache if is_offline => {
            let response = offline::respond(worker, &forwarded, may_use_cache, now);
            Handling::Response(Box::pin(response).await)
        }
        true => serve_or_fetch(worker, &forwarded, relay, (now, is_not_in_index)).await,
        false => {
            let storing = StoreOutcome::NotStored(Reason::CacheUnavailable);
            Handling::PassThrough(ForwardReason::Bypass.into(), storing)
        }
    };
    let response = match handling {
        Handling::Response(response) => response,
        // In a box: the future is large, and a request that leads a fetch does not need it.
        Handling::PassThrough(why, storing) => {
            Box::pin(pass(worker, &forwarded, body, why, storing, relay)).await
        }
    };
    completed(response, request, &forwarded, entry)
}

/// The response to `request`, which names the proxy. Notes in `entry` where it comes from and why it is not shared.
fn completed(
    mut response: ResponseResult,
    request: &HttpRequest,
    forwarded: &ForwardedRequest,
    mut entry: Option<&mut AccessLogEntry>,
) -> ResponseResult {
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

/// How a request is handled.
enum Handling {
    /// The response is there, or the request fails.
    Response(ResponseResult),
    /// It passes through, for this reason; its response is not stored.
    PassThrough(Forward, StoreOutcome),
}

/// Looks up, decides, serves or claims; looks up again when the cache has changed in between.
async fn serve_or_fetch(
    worker: &web::Data<Worker>,
    asked: &Rc<ForwardedRequest>,
    relay: InterimRelay<'_>,
    (mut now, is_not_in_index): (Time, bool),
) -> Handling {
    // A HEAD is looked up and fetched as a GET.
    let forwarded = asked.as_get().map_or_else(|| Rc::clone(asked), Rc::new);
    let mut lookup = look_up(worker, &forwarded, is_not_in_index).await;
    let mut follower = Follower::new(worker, &forwarded);
    let mut disk = DiskLookup::new(worker, &forwarded);
    let mut shared = SharedLookup::new(worker, &forwarded);
    let mut changes = 0;
    while changes < MAX_LOOKUPS {
        let plan = match decide(worker, &forwarded, &lookup, (now, &disk, shared.remark())) {
            NextStep::Handle(handling) => return handling,
            NextStep::Claim(plan) => follower.adapted(plan),
            NextStep::AskDisk(question) => {
                let found = lookup.found().clone();
                if let Err(failed) = Box::pin(disk.ask(question, found, now)).await {
                    return Handling::Response(Err(failed));
                }
                lookup = worker.worker_cache.lookup(&forwarded.key).await;
                changes += 1;
                continue;
            }
        };
        let found = lookup.found().clone();
        if let Some(response) = disk.respond(&plan, &found, now).await {
            return Handling::Response(Ok(response.into()));
        }
        match claim(worker, &forwarded, found, &plan, now).await {
            None | Some(Claimed::Declined) => {
                let storing = StoreOutcome::NotStored(Reason::CacheUnavailable);
                return Handling::PassThrough(plan.why, storing);
            }
            Some(Claimed::Lead(ticket)) => {
                let tiers = (&mut disk, &mut shared);
                let ticket = ask_tiers(tiers, ticket, &plan, now).await;
                if let Some(ticket) = ticket {
                    let limit = follower.time_left();
                    drop((follower, disk, shared));
                    let client = (&asked.method, relay.sink(), limit);
                    return fetch(worker, forwarded, plan, ticket, client).await;
                }
                lookup = worker.worker_cache.lookup(&forwarded.key).await;
            }
            Some(Claimed::Changed(found)) => {
                lookup = Rc::new(found.into());
                changes += 1;
            }
            Some(Claimed::Follow(fetch)) => {
                // In a box: the future is large, and most requests follow no other.
                if let Some(mut response) = Box::pin(follower.follow(fetch, &plan)).await {
                    if let Ok(response) = &mut response {
                        let_go_on(response, worker, &forwarded);
                    }
                    return Handling::Response(response);
                }
                lookup = worker.worker_cache.lookup(&forwarded.key).await;
            }
        }
        now = clock::now();
    }
    Handling::PassThrough(ForwardReason::Miss.into(), StoreOutcome::NotApplicable)
}

/// Asks the tiers beneath memory, if they may have something ([`load_from_tiers`]).
async fn ask_tiers(
    tiers: (&mut DiskLookup<'_>, &mut SharedLookup<'_>),
    ticket: FetchTicket,
    plan: &FetchPlan,
    now: Time,
) -> Option<FetchTicket> {
    if !tiers.0.is_to_be_asked(plan) && !tiers.1.is_to_be_asked(plan, &ticket) {
        return Some(ticket);
    }
    // In a box: the future is large, and without tiers beneath memory no request needs it.
    Box::pin(load_from_tiers(tiers, ticket, plan, now)).await
}

/// Brings what the tiers beneath memory have into memory. `None` if they have something: look up again.
async fn load_from_tiers(
    (disk, shared): (&mut DiskLookup<'_>, &mut SharedLookup<'_>),
    mut ticket: FetchTicket,
    plan: &FetchPlan,
    now: Time,
) -> Option<FetchTicket> {
    if disk.is_to_be_asked(plan) {
        match disk.load(ticket, now).await {
            Loaded::Not(unused) => ticket = unused,
            Loaded::InMemory | Loaded::LookAgain => return None,
        }
    }
    if shared.is_to_be_asked(plan, &ticket) {
        match shared.load(ticket, plan, now).await {
            Loaded::Not(unused) => ticket = unused,
            Loaded::InMemory | Loaded::LookAgain => return None,
        }
    }
    Some(ticket)
}

/// Fetches with `ticket`, for a client that has sent a request with this method, and waits for this time.
async fn fetch(
    worker: &web::Data<Worker>,
    forwarded: Rc<ForwardedRequest>,
    plan: FetchPlan,
    ticket: FetchTicket,
    (method, sink, limit): (
        &Method,
        Option<InterimSink>,
        Option<(Duration, OriginError)>,
    ),
) -> Handling {
    // After a response that was not storable, the origin has less to do for what the client asks.
    let is_as_asked = ticket.is_hit_for_miss() && plan.is_without_entry();
    if is_as_asked && *method == Method::HEAD {
        ticket.unused();
        let storing = StoreOutcome::NotStored(Reason::Method);
        return Handling::PassThrough(plan.why, storing);
    }
    let plan = match is_as_asked {
        true => plan.with_conditions(),
        false => plan,
    };
    let why = plan.why;
    let response = || lead(worker.clone(), forwarded, plan, ticket, (method, sink));
    Handling::Response(match limit {
        None => response().await,
        // In a box: the future is large, and most requests have followed no fetch before.
        Some(limit) => Box::pin(in_time(response(), why, limit)).await,
    })
}

/// What is stored for the key, by the index, else by the actor. With `is_not_in_index` the fast path has looked up the same
/// key in the index.
async fn look_up(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    is_not_in_index: bool,
) -> Rc<CachedLookup<PreparedResponses>> {
    // Methods that are not answered from the cache ask nothing.
    if !forwarded.is_retrieval() {
        return Rc::new(Found::default().into());
    }
    if !is_not_in_index && let Some(lookup) = worker.worker_cache.get(&forwarded.key) {
        return lookup;
    }
    // A request that would lead a fetch asks the actor once, with its claim: what the index does not have is mostly not
    // stored, and the claim is declined if it is.
    if policy::is_collapsible(forwarded.policy(), &forwarded.view()) {
        return Rc::new(Found::default().into());
    }
    worker.worker_cache.lookup(&forwarded.key).await
}

/// What is done next for a request.
enum NextStep {
    /// Handle it so. No fetch is claimed.
    Handle(Handling),
    /// Claim the fetch.
    Claim(FetchPlan),
    /// Ask the disk, and decide again.
    AskDisk(DiskQuestion),
}

fn decide(
    worker: &web::Data<Worker>,
    forwarded: &Rc<ForwardedRequest>,
    lookup: &CachedLookup<PreparedResponses>,
    (now, disk, remark): (Time, &DiskLookup<'_>, Option<Reason>),
) -> NextStep {
    let found = lookup.found();
    let heads = found.variants().map(|entry| &**entry.head());
    let decision = policy::decide(forwarded.policy(), &forwarded.view(), heads, now);
    let entry = |index| found.variants().nth(index).map(Arc::clone);
    let hit = |index, entry: &Entry, reuse| {
        let how = (reuse, remark);
        serve(worker, forwarded, lookup, (index, entry), how, now)
    };
    let respond = |response| NextStep::Handle(Handling::Response(Ok(Box::new(response))));
    let pass = |why, storing| NextStep::Handle(Handling::PassThrough(why, storing));
    let next = match decision {
        Decision::Serve { index, reuse } => entry(index).map(|entry| {
            let opened = disk.opened(&entry);
            if entry.body().is_in_file() && opened.is_none() {
                return NextStep::AskDisk(DiskQuestion::Open(entry));
            }
            if reuse == Reuse::StaleWhileRevalidate {
                revalidate_in_background(worker, forwarded, found, Arc::clone(&entry), now);
            }
            respond(hit(index, opened.unwrap_or(&entry), reuse))
        }),
        Decision::Revalidate { index, why } => entry(index).map(|entry| {
            if let Some(why) = why_stale_at_once(worker, forwarded, &entry, now) {
                revalidate_in_background(worker, forwarded, found, Arc::clone(&entry), now);
                let reuse = Reuse::StaleWhileRevalidate;
                let mut response = hit(index, &entry, reuse);
                response.problem = Some(why.into());
                return respond(response);
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
                pass(why, storing.unwrap_or(StoreOutcome::NotApplicable))
            }
            Sharing::PassThrough(reason) => pass(why, StoreOutcome::NotStored(reason)),
        }),
        Decision::NotCached => {
            let failed = ProxyError::OnlyIfCached.into();
            Some(NextStep::AskDisk(DiskQuestion::FindOrFail(failed)))
        }
    };
    // The policy names no variant beyond those it was given.
    next.unwrap_or_else(|| {
        NextStep::Claim(FetchPlan::fetch(
            ForwardReason::Miss.into(),
            Coalescing::Never,
        ))
    })
}
