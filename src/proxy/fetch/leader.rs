//! The leader's side of a fetch: the right to store what it brings, and the client that waits for it.

use std::{future::Future, sync::Arc, time::Duration};

use actix_web::{
    http::{Method, StatusCode, header},
    rt::time::sleep,
};
use futures_util::future::LocalBoxFuture;

use crate::{
    cache::{
        BodyReader, BodyWriter, Claim, Entry, FetchEnd, FetchFailure, FetchTicket, RemovalReach,
        Remove, Snapshot,
    },
    error::ProxyError,
    headers::{CacheStatus, StoreOutcome},
    origin::{InterimSink, OriginRequest},
    policy::{self, Forward, Reason, ResponseForm, StoredHead},
    proxy::{
        fetch::{
            carried_fetch::ResponseSlot,
            claim::{is_claimed_late, late_claim},
            failover::forward,
            fetched_response::FetchedResponse,
            plan::unconditional_request,
            recording,
        },
        hit::from_stored::{insert_content_range, while_streaming},
        request::forwarded::ForwardedRequest,
        response::{
            client_response::{ClientResponse, ResponseBody},
            error_response::{FailedRequest, ResponseResult, shared_error},
        },
        worker::Worker,
    },
};

/// How often a fetch whose client has left looks whether it still has followers.
const FOLLOWERS_INTERVAL: Duration = Duration::from_millis(250);

/// The client that waits for the response of a fetch.
pub(crate) struct WaitingClient {
    /// `None` if there is no client.
    response: Option<ResponseSlot<ResponseResult>>,
    /// Receives the interim responses; `None` if nobody wants them.
    interim: Option<InterimSink>,
    /// True for a HEAD.
    wants_no_body: bool,
}

impl WaitingClient {
    /// The client of a request with this method, which gets what is put into `response`.
    pub(crate) fn new(
        response: ResponseSlot<ResponseResult>,
        method: &Method,
        interim: Option<InterimSink>,
    ) -> Self {
        Self {
            response: Some(response),
            interim,
            wants_no_body: *method == Method::HEAD,
        }
    }

    /// No client: it was served a stale response before.
    pub(crate) fn none() -> Self {
        Self {
            response: None,
            interim: None,
            wants_no_body: false,
        }
    }

    pub(crate) fn deliver(self, mut response: ResponseResult) {
        if let Some(client) = self.response {
            if let (true, Ok(response)) = (self.wants_no_body, &mut response) {
                response.remove_body();
            }
            client.fill(response);
        }
    }

    /// Waits for the head of a response; `None` if nobody waits for it any more: the client has left, and no other request
    /// follows the fetch of `ticket`. Dropping the request to the origin then gives it up there.
    pub(crate) async fn while_wanted<T>(
        &self,
        ticket: &FetchTicket,
        head: impl Future<Output = T>,
    ) -> Option<T> {
        tokio::select! {
            biased;
            head = head => Some(head),
            () = self.abandoned(ticket) => None,
        }
    }

    /// Resolves when the client and all followers have left; never without a client.
    async fn abandoned(&self, ticket: &FetchTicket) {
        match &self.response {
            Some(client) => client.client_has_left().await,
            None => std::future::pending().await,
        }
        while ticket.has_followers() {
            sleep(FOLLOWERS_INTERVAL).await;
        }
        log::debug!(
            "the fetch is given up: its client has left, and no other request waits for it"
        );
    }

    /// `request` with this client as the receiver of interim responses.
    pub(crate) fn listening(&self, request: OriginRequest) -> OriginRequest {
        OriginRequest {
            interim: self.interim.clone(),
            ..request
        }
    }
}

/// A fetch that its leader carries out.
pub(crate) struct LeaderFetch<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) forwarded: &'a ForwardedRequest,
    pub(crate) why: Forward,
    /// Whether the client's conditions and Range were left out of the request.
    pub(crate) is_whole: bool,
    /// Whether the request carried cookies that are not in the key. Then its response is not stored.
    pub(crate) sends_all_cookies: bool,
    /// The state when the fetch began, if a response that is not stored is recorded; `None` if it is not.
    pub(crate) recorded_since: Option<Snapshot>,
    pub(crate) ticket: FetchTicket,
    pub(crate) client: WaitingClient,
}

impl<'f> LeaderFetch<'f> {
    /// Ends the fetch without storing anything.
    pub(crate) fn finish(self, response: ResponseResult) {
        drop(self.ticket);
        self.client.deliver(response);
    }

    /// Ends the fetch with an error. Its followers get it too if it is the origin's.
    pub(crate) fn fail(self, error: impl Into<ProxyError>) {
        let error = error.into();
        if let Some(error) = shared_error(&error) {
            self.ticket.failed(FetchFailure::Error(error.into()));
        }
        let failed = FailedRequest::forwarded(error, self.why);
        self.client.deliver(Err(failed));
    }

    /// Delivers a response that is not stored.
    pub(crate) fn pass(self, fetched: FetchedResponse, reason: Reason) {
        let known_misses = &self.worker.known_misses;
        known_misses.note(&self.ticket, reason, fetched.response_time);
        let form = self.form_of_passed(&fetched);
        self.ticket.not_stored(reason);
        let mut response = fetched.into_response(self.why, StoreOutcome::NotStored(reason));
        bring_into(form, &mut response);
        self.client.deliver(Ok(response.into()));
    }

    /// The form in which a response that is not stored is delivered.
    fn form_of_passed(&self, fetched: &FetchedResponse) -> ResponseForm {
        match self.is_whole {
            true => policy::passed_form(&self.forwarded.view(), &fetched.view(), fetched.length()),
            false => ResponseForm::Full,
        }
    }

    /// The same as [`LeaderFetch::pass`], and records the response if that is possible.
    async fn record_or_pass(self, fetched: FetchedResponse, reason: Reason) {
        let exchange = (&fetched, self.is_whole);
        let since = self.recorded_since;
        let recording = recording::begin(self.worker, self.forwarded, since, exchange).await;
        let Some(recording) = recording else {
            return self.pass(fetched, reason);
        };
        let known_misses = &self.worker.known_misses;
        known_misses.note(&self.ticket, reason, fetched.response_time);
        let form = self.form_of_passed(&fetched);
        self.ticket.not_stored(reason);
        let (why, client) = (self.why, self.client);
        let deliver = move |mut response: ClientResponse| {
            bring_into(form, &mut response);
            client.deliver(Ok(response.into()));
        };
        recording.run(fetched, (why, reason), deliver).await;
    }

    /// Fetches the whole response, without conditions: what came does not belong to what is stored.
    pub(crate) async fn refetch(mut self) {
        self.is_whole = true;
        let request = self.client.listening(unconditional_request(self.forwarded));
        let head = forward(self.worker, self.forwarded, request);
        match self.client.while_wanted(&self.ticket, head).await {
            Some(Ok(fetched)) => self.store_or_pass(fetched).await,
            Some(Err(error)) => self.fail(error),
            None => {}
        }
    }

    /// Judges a new response: what is stored of it, or why it is not stored.
    pub(crate) fn judge(&self, fetched: &FetchedResponse) -> Result<StoredHead, Reason> {
        let policy = self.forwarded.policy();
        let view = match self.is_whole {
            true => self.forwarded.view().fetched_whole(),
            false => self.forwarded.view(),
        };
        let head = policy::admit(policy, &view, &fetched.view())?;
        if fetched.contradicts_itself() {
            return Err(Reason::Partial);
        }
        match fetched.length() {
            Some(length) if length > self.ticket.max_stored_bytes() => Err(Reason::TooLarge),
            _ if self.sends_all_cookies => Err(Reason::IgnoredCookies),
            // It was requested without a content coding, so that errors can be found in it.
            _ if self.forwarded.is_graphql()
                && fetched.headers.contains(&header::CONTENT_ENCODING) =>
            {
                Err(Reason::GraphqlErrors)
            }
            _ => Ok(head),
        }
    }

    /// Judges a new response, stores it if the policy allows, and delivers it. A response that is not stored is delivered
    /// before this returns; the future stores one that is.
    pub(crate) fn store_or_pass(
        self,
        fetched: FetchedResponse,
    ) -> impl Future<Output = ()> + use<'f> {
        let storing = self.begin_to_store(fetched);
        async {
            if let Some(storing) = storing {
                storing.await;
            }
        }
    }

    /// The same; `None` if the response is not stored.
    fn begin_to_store(self, fetched: FetchedResponse) -> Option<LocalBoxFuture<'f, ()>> {
        if fetched.status == StatusCode::NOT_MODIFIED && !self.forwarded.is_conditional() {
            // RFC 9110, 15.4.5: a 304 answers a conditional request. The client sent none.
            self.fail(ProxyError::NotModifiedUnasked);
            return None;
        }
        let head = match self.judge(&fetched) {
            Ok(head) => head,
            Err(reason) if self.recorded_since.is_some() => {
                return Some(Box::pin(self.record_or_pass(fetched, reason)));
            }
            Err(reason) => {
                self.pass(fetched, reason);
                return None;
            }
        };
        Some(match late_claim(self.worker, &self.ticket) {
            None => self.store(head, fetched),
            Some(claim) => Box::pin(self.store_if_claimed(claim, head, fetched)),
        })
    }

    /// Stores a response whose fetch was not claimed, if the fetch can be claimed now.
    async fn store_if_claimed(mut self, claim: Claim, head: StoredHead, fetched: FetchedResponse) {
        match is_claimed_late(self.worker, self.forwarded, &mut self.ticket, claim).await {
            true => self.store(head, fetched).await,
            false => self.pass(fetched, Reason::Cleared),
        }
    }

    /// Stores a response, and delivers it while its body arrives.
    fn store(self, head: StoredHead, fetched: FetchedResponse) -> LocalBoxFuture<'f, ()> {
        let (forwarded, why, status) = (self.forwarded, self.why, fetched.status);
        let length = fetched.length();
        let may_have_errors = self.forwarded.is_graphql() && fetched.status == StatusCode::OK;
        let is_whole_part = fetched.status != head.status();
        let FetchedResponse {
            mut headers, body, ..
        } = fetched;
        if is_whole_part {
            // A part that has all bytes is a 200. Otherwise the Content-Range of a 200 is a header like any other.
            headers.remove(&header::CONTENT_RANGE);
        }
        let (client, mut ticket) = (self.client, self.ticket);
        let shared = self.worker.shared.cache.shared();
        if shared.is_some_and(|tier| length.is_some_and(|it| it > tier.max_object_bytes())) {
            ticket.let_others_fetch();
        }
        let mut writer = BodyWriter::new(ticket, head, length);
        if may_have_errors {
            writer = writer.without_errors();
        }
        // In a box: the future is large, and only a fetch that stores needs it.
        Box::pin(writer.run(body, move |head, reader| {
            let cache_status = CacheStatus::miss(why, Some(status), store_outcome(&reader));
            let view = forwarded.view();
            let response = while_streaming(&view, &head, headers, (reader, length), cache_status);
            client.deliver(Ok(response.into()));
        }))
    }

    /// Removes `entry` if the origin's response to its validation says that it is no longer valid, and the response
    /// does not take its place.
    pub(crate) async fn remove_if_superseded(&self, entry: &Arc<Entry>, fetched: &FetchedResponse) {
        if self.forwarded.method != Method::HEAD
            && policy::outdates_stored(fetched.status)
            && self.judge(fetched).is_err()
        {
            self.remove(entry).await;
        }
    }

    /// Whether `entry` may still be served: a Clear, an invalidation or a removal may have come since it was looked up.
    pub(crate) async fn is_stored(&self, entry: &Arc<Entry>) -> bool {
        is_stored(self.worker, self.forwarded, entry).await
    }

    pub(crate) async fn remove(&self, entry: &Arc<Entry>) {
        let (key, entry) = (self.forwarded.key.clone(), Arc::clone(entry));
        let cache = &self.worker.shared.cache;
        let reach = RemovalReach::Everywhere;
        match cache.send(Remove { key, entry, reach }).await {
            // A store on disk that fails says so itself, and is not read until it knows.
            Ok(removal) => drop(removal.confirmed().await),
            Err(_) => cache.doubt(&self.forwarded.key.resource),
        }
    }
}

/// Brings a response with the whole body, which is not stored, into the form that its client asked for.
fn bring_into(form: ResponseForm, response: &mut ClientResponse) {
    match form {
        ResponseForm::NotModified => {
            policy::make_not_modified(&mut response.headers);
            response.status = StatusCode::NOT_MODIFIED;
            response.body = ResponseBody::Empty;
        }
        ResponseForm::Partial(range) => {
            let complete_bytes = Some(range.len_bytes());
            insert_content_range(&mut response.headers, range, complete_bytes);
            response.status = StatusCode::PARTIAL_CONTENT;
        }
        ResponseForm::Full | ResponseForm::Multipart(_) | ResponseForm::RangeNotSatisfiable => {}
    }
}

/// What is known about storing a body when its head is sent.
pub(crate) fn store_outcome(reader: &BodyReader) -> StoreOutcome {
    match reader.end() {
        Some(FetchEnd::Stored) => StoreOutcome::Stored,
        Some(FetchEnd::NotStored(reason)) => StoreOutcome::NotStored(reason),
        Some(FetchEnd::Cut) | None => StoreOutcome::Arriving,
    }
}

/// Whether `entry` is what is stored for this request.
pub(crate) async fn is_stored(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    entry: &Arc<Entry>,
) -> bool {
    let lookup = worker.worker_cache.lookup(&forwarded.key).await;
    let mut variants = lookup.found().variants();
    variants.any(|other| Arc::ptr_eq(other, entry))
}
