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

use actix_web::http::{
    StatusCode,
    header::{self, HeaderMap},
};

use crate::{
    cache::{CachedLookup, Entry, Found},
    error::ProxyError,
    headers::{CacheStatus, RequestOutcome},
    policy::{self, OfflineDecision, Reason, Time},
    proxy::{
        hit::{
            from_stored::{from_entry, hit_status},
            prepared::PreparedResponses,
        },
        request::forwarded::ForwardedRequest,
        response::{
            client_response::{ClientResponse, ResponseBody},
            error_response::ResponseResult,
        },
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
    let lookup = match may_use_cache && forwarded.is_retrieval() {
        true => worker.worker_cache.lookup(&forwarded.key).await,
        false => Rc::new(CachedLookup::<PreparedResponses>::from(Found::default())),
    };
    let found = lookup.found();
    match decide(&forwarded, found) {
        OfflineDecision::Serve { index } => {
            if let Some(entry) = found.variants().nth(index) {
                lookup.count_hit();
                return Ok(serve(&forwarded, entry, now).into());
            }
        }
        OfflineDecision::PreconditionFailed => return Ok(precondition_failed().into()),
        OfflineDecision::NotStored => {}
    }
    // The search looks at many keys, so only some requests at a time make it. Nothing is validated in the background now.
    let permit = worker.background.try_acquire();
    let cache = permit.is_ok().then_some(&worker.shared.cache);
    let sentences = missing::sentences(cache, asked, found).await;
    Err(ProxyError::Offline { sentences }.into())
}

/// Decides which of the responses in `found` a request gets.
pub(super) fn decide(forwarded: &ForwardedRequest, found: &Found) -> OfflineDecision {
    let heads = found.variants().map(|entry| &**entry.head());
    policy::decide_offline(forwarded.policy(), &forwarded.view(), heads)
}

fn serve(forwarded: &ForwardedRequest, entry: &Arc<Entry>, now: Time) -> ClientResponse {
    let hit = hit_status(entry, now);
    let cache_status = CacheStatus {
        outcome: match entry.head().is_fresh(now) {
            true => RequestOutcome::Hit,
            false => RequestOutcome::Stale,
        },
        remark: hit.remark.or(Some(Reason::Offline)),
        ..hit
    };
    from_entry(&forwarded.view(), entry, cache_status, now)
}

/// RFC 9110, 15.5.13.
fn precondition_failed() -> ClientResponse {
    let sentence = "The stored response does not meet the condition of the request.\n";
    let mut headers = HeaderMap::new();
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
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
