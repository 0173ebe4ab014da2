//! What becomes of a stored response that the origin was asked about (RFC 9111, 4.3).

use std::sync::Arc;

use actix_web::http::{Method, StatusCode};

use crate::{
    cache::Entry,
    clock,
    error::ProxyError,
    headers::{CacheStatus, RequestOutcome, StoreOutcome},
    origin::OriginError,
    policy::{self, Forward, HeadUpdate, OriginFailure, Reason, RequestContent},
    proxy::{
        fetch::{
            fetched_response::{FetchedResponse, forward},
            lead::{Fetch, WaitingClient, request_of, unconditional},
        },
        hit::from_stored::reuse,
        request::forwarded::ForwardedRequest,
        response::{client_response::ClientResponse, error_response::FailedRequest},
        worker::Worker,
    },
};

impl Fetch<'_> {
    /// The origin has answered the question about `entry`.
    pub(crate) async fn validated(self, entry: &Arc<Entry>, reply: FetchedResponse) {
        if reply.status == StatusCode::NOT_MODIFIED && self.ask.content != RequestContent::Keyed {
            return match policy::revalidation_matches(entry.head(), &reply.judged()) {
                true => self.freshened(entry, reply).await,
                // It speaks of something else than what we have (RFC 9111, 4.3.4).
                false => self.again().await,
            };
        }
        if reply.status.is_server_error() {
            let failure = OriginFailure::Status(reply.status);
            if let Ok(mut delivery) = self.stale_instead(entry, failure).await {
                delivery.problem = Some("stale: the origin failed".into());
                return self.done(Ok(delivery));
            }
        }
        if self.ask.method == Method::HEAD {
            return self.headed(entry, reply).await;
        }
        self.supersede(entry, &reply).await;
        self.take_in(reply).await;
    }

    /// The origin could not answer it.
    pub(crate) async fn not_validated(self, entry: &Arc<Entry>, error: OriginError) {
        match self.stale_instead(entry, OriginFailure::Unreachable).await {
            Ok(mut delivery) => {
                delivery.problem = Some(format!("stale: {error}"));
                self.done(Ok(delivery));
            }
            // It vanished meanwhile: the origin's failure is all there is.
            Err(Reason::Cleared) => self.fails(error),
            Err(_) => self.fails(ProxyError::NotValidated(error)),
        }
    }

    /// The origin calls the stored response current (RFC 9111, 4.3.4).
    async fn freshened(self, entry: &Arc<Entry>, reply: FetchedResponse) {
        let policy = self.ask.policy();
        let view = self.ask.view();
        let now = reply.response_time;
        let mut cache_status = self.validated_hit(Some(reply.status));
        let head = match policy::revalidated(policy, &view, entry.head(), &reply.judged()) {
            Ok(head) => Ok(head),
            Err(reason) if self.is_stored(entry).await => {
                self.remove(entry).await;
                cache_status.store = StoreOutcome::NotStored(reason);
                let delivery = self.for_the_last_time(entry, &reply, cache_status);
                return self.done(Ok(delivery));
            }
            Err(_) => Err(Reason::Cleared),
        };
        let Self {
            worker,
            ask,
            why,
            ticket,
            client,
        } = self;
        let freshened = match head {
            Ok(head) => ticket.freshen(entry, head).await,
            Err(reason) => Err(reason),
        };
        let answer = match freshened {
            Ok(entry) => {
                cache_status.store = StoreOutcome::Stored;
                cache_status.ttl_seconds = entry.head().ttl_seconds(now);
                Ok(reuse(&view, &entry, cache_status, now))
            }
            Err(reason) => whole_anew(worker, ask, &client, why, reason).await,
        };
        client.answer(answer);
    }

    fn validated_hit(&self, forward_status: Option<StatusCode>) -> CacheStatus {
        CacheStatus {
            outcome: RequestOutcome::Validated,
            why: Some(self.why),
            forward_status,
            ..CacheStatus::hit(None)
        }
    }

    /// The origin called `entry` current, with a head under which it may not be kept.
    fn for_the_last_time(
        &self,
        entry: &Entry,
        reply: &FetchedResponse,
        cache_status: CacheStatus,
    ) -> ClientResponse {
        let policy = self.ask.policy();
        let view = self.ask.view();
        let mut delivery = reuse(&view, entry, cache_status, reply.response_time);
        if delivery.status == entry.head().status() && entry.head().content_range().is_none() {
            delivery.fields = policy::merged_head(policy, entry.head(), &reply.judged());
        }
        delivery
    }

    /// The origin answered HEAD anew: that says whether what a GET has stored is current (RFC 9111, 4.3.5).
    async fn headed(self, entry: &Arc<Entry>, reply: FetchedResponse) {
        let policy = self.ask.policy();
        let said = policy::freshen_by_head(
            policy,
            &self.ask.view(),
            entry.head(),
            entry.body().len_bytes(),
            &reply.judged(),
            reply.announced(),
        );
        match said {
            HeadUpdate::Freshened(head) => {
                let storing = match self.ticket.freshen(entry, *head).await {
                    Ok(_) => StoreOutcome::Stored,
                    Err(reason) => StoreOutcome::NotStored(reason),
                };
                self.client.answer(Ok(reply.pass(self.why, storing)));
            }
            HeadUpdate::Outdated => {
                self.remove(entry).await;
                self.take_in(reply).await;
            }
            HeadUpdate::Inconclusive => self.take_in(reply).await,
        }
    }

    /// A stale answer in the place of the origin's failure, where that is allowed (RFC 9111, 4.2.4) and the entry still
    /// counts: a Clear may have come since it was found.
    async fn stale_instead(
        &self,
        entry: &Arc<Entry>,
        failure: OriginFailure,
    ) -> Result<ClientResponse, Reason> {
        let now = clock::now();
        let policy = self.ask.policy();
        let view = self.ask.view();
        policy::may_serve_stale(policy, &view, entry.head(), failure, now)?;
        if !self.is_stored(entry).await {
            return Err(Reason::Cleared);
        }
        let cache_status = CacheStatus {
            outcome: RequestOutcome::Stale,
            ttl_seconds: entry.head().ttl_seconds(now),
            ..self.validated_hit(match failure {
                OriginFailure::Status(status) => Some(status),
                OriginFailure::Unreachable => None,
            })
        };
        Ok(reuse(&view, entry, cache_status, now))
    }
}

/// The stored response vanished while the origin called it current. What was fetched before a Clear is served no more:
/// the whole is asked for, for this client alone.
async fn whole_anew(
    worker: &Worker,
    ask: &ForwardedRequest,
    client: &WaitingClient,
    why: Forward,
    reason: Reason,
) -> Result<ClientResponse, FailedRequest> {
    let request = client.listening(request_of(&unconditional(ask)));
    let reply = forward(worker, request)
        .await
        .map_err(|error| FailedRequest::forwarded(error, why))?;
    Ok(reply.pass(why, StoreOutcome::NotStored(reason)))
}
