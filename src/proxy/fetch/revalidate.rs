//! Validation of a stored response by the origin (RFC 9111, 4.3).

use std::sync::Arc;

use actix_web::http::{Method, StatusCode};

use crate::{
    cache::{Entry, FetchFailure},
    clock,
    error::ProxyError,
    headers::{CacheStatus, RequestOutcome, StoreOutcome},
    origin::OriginError,
    policy::{self, Forward, HeadUpdate, MergedHead, OriginFailure, Reason, RequestContent},
    proxy::{
        fetch::{
            failover::forward,
            fetched_response::FetchedResponse,
            leader::{LeaderFetch, WaitingClient, is_stored},
            plan::unconditional_request,
        },
        hit::from_stored::{from_entry, replace_cookies},
        request::forwarded::ForwardedRequest,
        response::{
            client_response::ClientResponse,
            error_response::{FailedRequest, ResponseResult, shared_error},
        },
        worker::Worker,
    },
};

impl LeaderFetch<'_> {
    /// Handles the response to the validation of `entry`.
    pub(crate) async fn revalidated(self, entry: &Arc<Entry>, fetched: FetchedResponse) {
        if fetched.status == StatusCode::NOT_MODIFIED
            && self.forwarded.content != RequestContent::Keyed
        {
            return match policy::revalidation_matches(entry.head(), &fetched.view()) {
                true => self.freshened(entry, fetched).await,
                // RFC 9111, 4.3.4: it selects another response than the stored one.
                false => self.refetch().await,
            };
        }
        if let Some((failure, problem)) = failure_of(&fetched)
            && let Ok(mut response) = self.stale_instead(entry, failure).await
        {
            response.problem = Some(problem.into());
            self.ticket.failed(FetchFailure::Status(fetched.status));
            return self.client.deliver(Ok(response.into()));
        }
        if self.forwarded.method == Method::HEAD {
            return self.freshened_by_head(entry, fetched).await;
        }
        self.remove_if_superseded(entry, &fetched).await;
        self.store_or_pass(fetched).await;
    }

    /// Handles a validation of `entry` that failed.
    pub(crate) async fn not_revalidated(self, entry: &Arc<Entry>, error: OriginError) {
        match self.stale_instead(entry, OriginFailure::Unreachable).await {
            Ok(mut response) => {
                response.problem = Some(format!("stale: {error}"));
                if let Some(error) = shared_error(&ProxyError::NotValidated(error)) {
                    self.ticket.failed(FetchFailure::Error(error.into()));
                }
                self.client.deliver(Ok(response.into()));
            }
            // The entry is gone, so the client gets the origin's failure.
            Err(Reason::Cleared) => self.fail(error),
            // The client is told when to come back.
            Err(_) if error.retry_after_seconds().is_some() => self.fail(error),
            Err(_) => self.fail(ProxyError::NotValidated(error)),
        }
    }

    /// Freshens `entry`, which the origin has confirmed (RFC 9111, 4.3.4).
    async fn freshened(self, entry: &Arc<Entry>, fetched: FetchedResponse) {
        let policy = self.forwarded.policy();
        let view = self.forwarded.view();
        let now = fetched.response_time;
        let mut cache_status = validated_hit(self.why, Some(fetched.status));
        let head = match policy::revalidated(policy, &view, entry.head(), &fetched.view()) {
            Ok(head) => Ok(head),
            Err(reason) if self.is_stored(entry).await => {
                // Its file is removed with it.
                let opened = self.worker.shared.cache.opened(entry).await;
                self.remove(entry).await;
                cache_status.store = StoreOutcome::NotStored(reason);
                let last = opened.as_ref().unwrap_or(entry);
                let response = self.last_use(last, &fetched, cache_status);
                return self.finish(Ok(response.into()));
            }
            Err(_) => Err(Reason::Cleared),
        };
        let Self {
            worker,
            forwarded,
            why,
            ticket,
            client,
            is_whole: _,
            sends_all_cookies: _,
            recorded_since: _,
        } = self;
        let freshened = match head {
            Ok(head) => ticket.freshen(entry, head).await,
            Err(reason) => {
                ticket.voided();
                Err(reason)
            }
        };
        let opened = match freshened {
            Ok((entry, stored)) => {
                let opened = worker.shared.cache.opened(&entry).await;
                opened.map(|entry| (entry, stored)).ok_or(Reason::Cleared)
            }
            Err(reason) => Err(reason),
        };
        let response = match opened {
            Ok((entry, stored)) => {
                cache_status.store =
                    stored.map_or_else(StoreOutcome::NotStored, |()| StoreOutcome::Stored);
                cache_status.ttl_seconds = entry.head().ttl_seconds(now);
                let mut response = from_entry(&view, &entry, cache_status, now);
                replace_cookies(&mut response.headers, &fetched.headers);
                Ok(response.into())
            }
            Err(reason) => refetch_for_client(worker, forwarded, &client, why, reason).await,
        };
        client.deliver(response);
    }

    /// The response from `entry`, which the origin has confirmed with headers that forbid storing it.
    fn last_use(
        &self,
        entry: &Entry,
        fetched: &FetchedResponse,
        cache_status: CacheStatus,
    ) -> ClientResponse {
        let view = self.forwarded.view();
        let mut response = from_entry(&view, entry, cache_status, fetched.response_time);
        if response.status == entry.head().status() && entry.head().content_range().is_none() {
            let policy = self.forwarded.policy();
            response.headers = MergedHead::new(policy, entry.head(), &fetched.view()).headers;
        }
        replace_cookies(&mut response.headers, &fetched.headers);
        response
    }

    /// Handles a new response to HEAD: it says whether the stored response to GET is current (RFC 9111, 4.3.5).
    async fn freshened_by_head(self, entry: &Arc<Entry>, fetched: FetchedResponse) {
        let policy = self.forwarded.policy();
        let said = policy::freshen_by_head(
            policy,
            &self.forwarded.view(),
            entry.head(),
            entry.body().len_bytes(),
            &fetched.view(),
            fetched.announced_bytes(),
        );
        match said {
            HeadUpdate::Freshened(head) => {
                let storing = match self.ticket.freshen(entry, *head).await {
                    Ok((_, Ok(()))) => StoreOutcome::Stored,
                    Ok((_, Err(reason))) | Err(reason) => StoreOutcome::NotStored(reason),
                };
                let response = fetched.into_response(self.why, storing);
                self.client.deliver(Ok(response.into()));
            }
            HeadUpdate::Outdated => {
                self.remove(entry).await;
                self.store_or_pass(fetched).await;
            }
            HeadUpdate::Inconclusive => self.store_or_pass(fetched).await,
        }
    }

    async fn stale_instead(
        &self,
        entry: &Arc<Entry>,
        failure: OriginFailure,
    ) -> Result<ClientResponse, Reason> {
        stale_instead(self.worker, self.forwarded, (entry, self.why), failure).await
    }
}

/// The stale response in place of the origin's failure, if that is allowed (RFC 9111, 4.2.4) and the entry is still stored:
/// a Clear may have come since it was looked up.
pub(crate) async fn stale_instead(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    (entry, why): (&Arc<Entry>, Forward),
    failure: OriginFailure,
) -> Result<ClientResponse, Reason> {
    let now = clock::now();
    let view = forwarded.view();
    policy::may_serve_stale(forwarded.policy(), &view, entry.head(), failure, now)?;
    if !is_stored(worker, forwarded, entry).await {
        return Err(Reason::Cleared);
    }
    let forward_status = match failure {
        OriginFailure::Status(status) | OriginFailure::Paused(status) => Some(status),
        OriginFailure::Unreachable => None,
    };
    let cache_status = CacheStatus {
        outcome: RequestOutcome::Stale,
        ttl_seconds: entry.head().ttl_seconds(now),
        ..validated_hit(why, forward_status)
    };
    Ok(from_entry(&view, entry, cache_status, now))
}

/// In what way the response to a validation is a failure, and the words for the log; `None` if it is not.
fn failure_of(fetched: &FetchedResponse) -> Option<(OriginFailure, &'static str)> {
    let status = fetched.status;
    if fetched.asks_for_pause() {
        let problem = "stale: the origin has asked for a pause";
        return Some((OriginFailure::Paused(status), problem));
    }
    let failure = (OriginFailure::Status(status), "stale: the origin failed");
    status.is_server_error().then_some(failure)
}

fn validated_hit(why: Forward, forward_status: Option<StatusCode>) -> CacheStatus {
    CacheStatus {
        outcome: RequestOutcome::Validated,
        why: Some(why),
        forward_status,
        ..CacheStatus::hit(None)
    }
}

/// Fetches the whole response for this client alone. The stored response was removed while the origin confirmed it, and a
/// response that was fetched before a Clear is never served after it.
async fn refetch_for_client(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    client: &WaitingClient,
    why: Forward,
    reason: Reason,
) -> ResponseResult {
    let request = client.listening(unconditional_request(forwarded));
    let fetched = forward(worker, forwarded, request)
        .await
        .map_err(|error| FailedRequest::forwarded(error, why))?;
    let response = fetched.into_response(why, StoreOutcome::NotStored(reason));
    Ok(response.into())
}
