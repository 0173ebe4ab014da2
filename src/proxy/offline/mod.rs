//! Requests while the proxy is offline: what is stored is served whatever its age, and no origin is contacted.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | the response from what is stored, or a 504 |
//! | `missing` | what the 504 says: the nearest stored key |
//! | `differences` | how that key differs from the request's |

mod differences;
pub(super) mod missing;

use std::{rc::Rc, sync::Arc};

use actix_web::http::{StatusCode, header};

use crate::{
    cache::{CachedLookup, Entry, Key},
    error::ProxyError,
    headers::{CacheStatus, RequestOutcome, ResponseHeaders},
    policy::{self, OfflineDecision, Reason, StoredHead, Time},
    proxy::{
        fetch::{from_disk::load_alone, recording::recorded_key},
        hit::{
            from_stored::{from_entry, hit_status},
            prepared::PreparedResponses,
        },
        request::forwarded::ForwardedRequest,
        response::{
            client_response::{ClientResponse, ResponseBody},
            error_response::ResponseResult,
        },
        shared::Shared,
        worker::Worker,
    },
};

/// Responds to a request without the origin. What is stored counts only with `may_use_cache`.
pub(crate) async fn respond(
    worker: &Worker,
    asked: &Rc<ForwardedRequest>,
    may_use_cache: bool,
    now: Time,
) -> ResponseResult {
    // A HEAD is looked up as a GET.
    let forwarded = asked.as_get().map_or_else(|| Rc::clone(asked), Rc::new);
    let mut missing = Vec::new();
    if may_use_cache && forwarded.is_retrieval() {
        for key in keys(&worker.shared, &forwarded) {
            let lookup = look_up(worker, &forwarded, &key, now).await;
            let found: Vec<_> = lookup.found().variants().cloned().collect();
            match decide(&forwarded, &key, &found) {
                OfflineDecision::Serve { index } => {
                    if let Some(entry) = found.get(index) {
                        lookup.count_hit();
                        return Ok(serve(&forwarded, &key, entry, now).into());
                    }
                }
                OfflineDecision::PreconditionFailed => return Ok(precondition_failed().into()),
                OfflineDecision::NotStored if missing.is_empty() => missing = found,
                OfflineDecision::NotStored => {}
            }
        }
    }
    // The search looks at many keys, so only some requests at a time make it. Nothing is validated in the background now.
    let permit = worker.background.try_acquire();
    let cache = permit.is_ok().then_some(&worker.shared.cache);
    let sentences = missing::sentences(cache, asked, &missing).await;
    Err(ProxyError::Offline { sentences }.into())
}

/// What is stored for `key`, in memory, else on disk.
async fn look_up(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    key: &Key,
    now: Time,
) -> Rc<CachedLookup<PreparedResponses>> {
    let lookup = worker.worker_cache.lookup(key).await;
    let found = lookup.found().clone();
    let in_memory: Vec<_> = found.variants().cloned().collect();
    if decide(forwarded, key, &in_memory) != OfflineDecision::NotStored {
        return lookup;
    }
    let view = forwarded.view().identified(key.identity);
    let choose = |heads: &[&StoredHead]| {
        let heads = heads.iter().copied();
        match policy::decide_offline(forwarded.policy(), &view, heads) {
            OfflineDecision::Serve { index } => Some(index),
            OfflineDecision::PreconditionFailed => Some(0),
            OfflineDecision::NotStored => None,
        }
    };
    let of_key = ForwardedRequest {
        key: key.clone(),
        ..forwarded.clone()
    };
    match load_alone(worker, &of_key, found, now, choose).await {
        true => worker.worker_cache.lookup(key).await,
        false => lookup,
    }
}

/// The keys of what may be served to a request, in this order: what the policy stores, and what was only recorded.
pub(super) fn keys(shared: &Shared, forwarded: &ForwardedRequest) -> [Key; 2] {
    [forwarded.key.clone(), recorded_key(shared, forwarded)]
}

/// Decides which of the responses in `found`, which are stored for `key`, a request gets.
pub(super) fn decide(
    forwarded: &ForwardedRequest,
    key: &Key,
    found: &[Arc<Entry>],
) -> OfflineDecision {
    let heads = found.iter().map(|entry| &**entry.head());
    let view = forwarded.view().identified(key.identity);
    policy::decide_offline(forwarded.policy(), &view, heads)
}

fn serve(forwarded: &ForwardedRequest, key: &Key, entry: &Arc<Entry>, now: Time) -> ClientResponse {
    let hit = hit_status(entry, now);
    let cache_status = CacheStatus {
        outcome: match entry.head().is_fresh(now) {
            true => RequestOutcome::Hit,
            false => RequestOutcome::Stale,
        },
        remark: hit.remark.or(Some(Reason::Offline)),
        ..hit
    };
    let view = forwarded.view().identified(key.identity);
    from_entry(&view, entry, cache_status, now)
}

/// RFC 9110, 15.5.13.
fn precondition_failed() -> ClientResponse {
    let sentence = "The stored response does not meet the condition of the request.\n";
    let mut headers = ResponseHeaders::new();
    headers.insert(
        &header::CACHE_CONTROL,
        &header::HeaderValue::from_static("no-store"),
    );
    ClientResponse {
        status: StatusCode::PRECONDITION_FAILED,
        headers,
        body: ResponseBody::Sentence(sentence.to_owned()),
        cache_status: CacheStatus {
            remark: Some(Reason::Offline),
            ..CacheStatus::own_response()
        },
        problem: None,
    }
}
