//! The follower's side of a fetch: a request that waits for another request's fetch.

use std::{iter::once, sync::Arc};

use crate::{
    cache::{FetchEvent, SharedFetch},
    clock,
    headers::{CacheStatus, StoreOutcome},
    policy::{self, Decision, Forward},
    proxy::{
        hit::from_stored::{stored_headers, while_streaming},
        request::forwarded::ForwardedRequest,
        response::client_response::ClientResponse,
    },
};

/// How following another request's fetch ended.
pub(crate) enum FollowOutcome {
    /// Its response serves this request too.
    Response(Box<ClientResponse>),
    /// It does not: the response may not be shared, does not suit this request, or the fetch failed.
    LookAgain,
}

/// Waits for the response headers of another request's fetch. Reads its body along if the response would be served to
/// `forwarded` from the cache.
pub(crate) async fn follow(
    forwarded: &ForwardedRequest,
    mut fetch: SharedFetch,
    why: Forward,
) -> FollowOutcome {
    let shared = match fetch.event().await {
        FetchEvent::Head(shared) => shared,
        FetchEvent::LookAgain | FetchEvent::Released => return FollowOutcome::LookAgain,
    };
    let now = clock::now();
    if !shared.is_joinable(now) {
        return FollowOutcome::LookAgain;
    }
    let view = forwarded.view();
    let head = Arc::clone(&shared.head);
    let decision = policy::decide(forwarded.policy(), &view, once(&*head), now);
    if !matches!(decision, Decision::Serve { .. }) {
        return FollowOutcome::LookAgain;
    }
    let cache_status = CacheStatus::miss(why, None, StoreOutcome::Collapsed);
    let length = shared.length;
    let reader = fetch.reader(shared);
    let headers = stored_headers(&head, now);
    let response = while_streaming(&view, &head, headers, (reader, length), cache_status);
    FollowOutcome::Response(Box::new(response))
}
