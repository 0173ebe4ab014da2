//! The follower's side of fetches: a request that waits for the fetches of other requests.

use std::{iter::once, sync::Arc, time::Duration};

use actix_web::http::{Method, StatusCode};
use futures_util::future::select_all;
use tokio::time::{Instant, timeout};

use crate::{
    cache::{Coalescing, FetchEvent, FetchFailure, SharedFetch, SharedHead},
    clock,
    error::ProxyError,
    headers::{CacheStatus, StoreOutcome},
    origin::OriginError,
    policy::{self, Decision, Forward, ForwardReason, OriginFailure},
    proxy::{
        fetch::{
            plan::{FetchKind, FetchPlan},
            revalidate::stale_instead,
        },
        hit::from_stored::{stored_headers, while_streaming},
        request::forwarded::ForwardedRequest,
        response::{
            client_response::ClientResponse,
            error_response::{FailedRequest, ResponseResult},
        },
        worker::Worker,
    },
};

/// Most fetches without a head that a request follows at a time.
const MAX_FOLLOWED: usize = 8;

/// How many voided fetches a request follows before it fetches for itself.
const MAX_VOIDED: usize = 8;

/// Which fetches a request joins.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Joins {
    /// Those for its key.
    All,
    /// Those for its variant. It has waited for a fetch that was for another one, or that has ended.
    OfVariant,
    /// None. It has waited for what it cannot use, and goes to the origin itself.
    None,
}

/// A request that may follow the fetches of other requests, one after the other.
pub(crate) struct Follower<'a> {
    worker: &'a Worker,
    forwarded: &'a ForwardedRequest,
    joins: Joins,
    /// Which variant it asks for, as far as a fetch has shown that.
    variant: Option<u64>,
    /// The fetches whose heads it waits for. The older ones were silent for too long.
    fetches: Vec<SharedFetch>,
    /// When it began to wait; `None` if it has not.
    since: Option<Instant>,
    /// Whether a fetch that it followed has failed.
    has_failed: bool,
    /// How many fetches that it followed were voided.
    voided: usize,
}

impl<'a> Follower<'a> {
    /// A request that has followed none.
    pub(crate) fn new(worker: &'a Worker, forwarded: &'a ForwardedRequest) -> Self {
        Self {
            worker,
            forwarded,
            // The response to a HEAD has no body that followers could read.
            joins: match forwarded.method {
                Method::HEAD => Joins::None,
                _ => Joins::All,
            },
            variant: None,
            fetches: Vec::new(),
            since: None,
            has_failed: false,
            voided: 0,
        }
    }

    /// What was planned, with what the fetches have shown.
    pub(crate) fn adapted(&self, plan: FetchPlan) -> FetchPlan {
        let varies = self.variant.is_some() || plan.why.reason == ForwardReason::VaryMiss;
        FetchPlan {
            variant: self.variant,
            coalescing: match self.joins {
                Joins::All => plan.coalescing,
                Joins::OfVariant if varies => plan.coalescing,
                Joins::OfVariant | Joins::None => Coalescing::Never,
            },
            ..plan
        }
    }

    /// Waits for the head of `fetch`, or of one that was followed before, for a limited time; `None` if the request has to
    /// decide again.
    pub(crate) async fn follow(
        &mut self,
        fetch: SharedFetch,
        plan: &FetchPlan,
    ) -> Option<ResponseResult> {
        let since = *self.since.get_or_insert_with(Instant::now);
        let wait = fetch.wait();
        if self.fetches.len() == MAX_FOLLOWED {
            self.fetches.remove(0);
        }
        self.fetches.push(fetch);
        let events = self.fetches.iter_mut();
        let events = events.map(|fetch| Box::pin(fetch.event()));
        let Ok((event, index, _)) = timeout(wait, select_all(events)).await else {
            return (since.elapsed() >= self.forwarded.config.head_limit().time)
                .then(|| Err(self.timed_out(plan)));
        };
        // It is followed no more.
        drop(self.fetches.swap_remove(index));
        match event {
            FetchEvent::Head(shared) => {
                let response = self.read_along(shared, plan)?;
                Some(Ok(response.into()))
            }
            FetchEvent::Failed(failure) => self.share_failure(failure, plan).await,
            FetchEvent::LookAgain => {
                self.joins = match self.joins {
                    Joins::All => Joins::OfVariant,
                    Joins::OfVariant | Joins::None => Joins::None,
                };
                None
            }
            FetchEvent::Voided => {
                self.voided += 1;
                if self.voided == MAX_VOIDED {
                    self.joins = Joins::None;
                }
                None
            }
            FetchEvent::Released => {
                self.joins = Joins::None;
                None
            }
        }
    }

    /// The response that arrives, if it would be served to this request from the cache.
    fn read_along(&mut self, shared: SharedHead, plan: &FetchPlan) -> Option<ClientResponse> {
        let now = clock::now();
        let view = self.forwarded.view();
        let head = Arc::clone(&shared.head);
        let decision = match shared.is_shared() {
            true => policy::decide(self.forwarded.policy(), &view, once(&*head), now),
            false => Decision::NotCached,
        };
        match decision {
            Decision::Serve { .. } => {}
            // The requests for one variant share a fetch of their own.
            Decision::Fetch { why, .. }
                if why.reason == ForwardReason::VaryMiss && self.joins == Joins::All =>
            {
                self.joins = Joins::OfVariant;
                self.variant = policy::variant(&head, &self.forwarded.headers);
                return None;
            }
            _ => {
                self.joins = Joins::None;
                return None;
            }
        }
        let cache_status = CacheStatus::miss(plan.why, None, StoreOutcome::Collapsed);
        let length = shared.length;
        let reader = shared.reader();
        let headers = stored_headers(&head, now);
        Some(while_streaming(
            &view,
            &head,
            headers,
            (reader, length),
            cache_status,
        ))
    }

    /// What a failed fetch means for this request: the stale response or the same error. A failure that may not happen
    /// again, as a cut connection, is shared from the second one on.
    async fn share_failure(
        &mut self,
        failure: FetchFailure,
        plan: &FetchPlan,
    ) -> Option<ResponseResult> {
        let origin = match &failure {
            FetchFailure::Error(_) => OriginFailure::Unreachable,
            // A 429 is a failure only if it asks for a pause.
            FetchFailure::Status(StatusCode::TOO_MANY_REQUESTS) => {
                OriginFailure::Paused(StatusCode::TOO_MANY_REQUESTS)
            }
            FetchFailure::Status(status) => OriginFailure::Status(*status),
        };
        if let FetchKind::Revalidate(entry) = &plan.kind
            && let Ok(mut response) =
                stale_instead(self.worker, self.forwarded, (entry, plan.why), origin).await
        {
            response.problem = Some("stale: the origin failed".into());
            return Some(Ok(response.into()));
        }
        match failure {
            FetchFailure::Error(error) if error.lasts || self.has_failed => {
                return Some(Err(FailedRequest::shared(error, plan.why)));
            }
            FetchFailure::Error(_) => self.has_failed = true,
            FetchFailure::Status(_) => self.joins = Joins::None,
        }
        None
    }

    /// How long the request may still wait for a fetch of its own, and the error after that; `None` if it has waited for no
    /// other fetch. What leaders wait for in vain, their followers do not wait for again.
    pub(crate) fn time_left(&self) -> Option<(Duration, OriginError)> {
        let limit = self.forwarded.config.head_limit();
        let left = limit.time.saturating_sub(self.since?.elapsed());
        Some((left, OriginError::no_head(limit)))
    }

    /// The leaders of all fetches wait in vain, and this request has waited for as long as one of them would.
    fn timed_out(&self, plan: &FetchPlan) -> FailedRequest {
        let error = OriginError::no_head(self.forwarded.config.head_limit());
        FailedRequest::forwarded(ProxyError::Origin(error), plan.why)
    }
}

/// The response of a fetch, or the error of a request that has waited for too long with the fetches that it followed before.
/// `limit` is how long it may still wait. One that has followed none needs no limit: those of the origin are enough.
pub(crate) async fn in_time(
    response: impl Future<Output = ResponseResult>,
    why: Forward,
    (limit, error): (Duration, OriginError),
) -> ResponseResult {
    let too_late = |_| Err(FailedRequest::forwarded(ProxyError::Origin(error), why));
    timeout(limit, response).await.unwrap_or_else(too_late)
}
