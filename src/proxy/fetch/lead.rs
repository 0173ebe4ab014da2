//! Fetches, and what becomes of the origin's answers to them.

use std::{rc::Rc, sync::Arc};

use actix_web::{
    http::{Method, StatusCode},
    web,
};
use tokio::sync::oneshot;

use crate::{
    cache::{BodyWriter, Claimed, Coalescing, Entry, FetchTicket, Found, Remove},
    error::ProxyError,
    headers::{CacheStatus, StoreOutcome},
    origin::{InterimSink, OriginRequest, RequestBody},
    policy::{
        self, Forward, ForwardReason, MissingBytes, Reason, RequestContent, StoredHead, Time,
    },
    proxy::{
        fetch::fetched_response::{FetchedResponse, forward},
        hit::from_stored::reading,
        request::forwarded::ForwardedRequest,
        response::{client_response::ClientResponse, error_response::FailedRequest},
        worker::Worker,
    },
};

/// A fetch that has been decided on.
#[derive(Clone, Debug)]
pub(crate) struct FetchPlan {
    pub(crate) why: Forward,
    pub(crate) coalescing: Coalescing,
    basis: FetchKind,
}

/// What is stored that a fetch has to do with.
#[derive(Clone, Debug)]
enum FetchKind {
    Nothing,
    /// The origin is asked about it.
    Current(Arc<Entry>),
    /// A part: its rest is asked for, from this byte on.
    Rest(Arc<Entry>, u64),
    /// A part, to which what the client asks for may come to be joined.
    Beside(Arc<Entry>),
}

impl FetchPlan {
    pub(crate) fn fetch(why: Forward, coalescing: Coalescing) -> Self {
        Self {
            why,
            coalescing,
            basis: FetchKind::Nothing,
        }
    }

    pub(crate) fn revalidate(why: Forward, entry: Arc<Entry>) -> Self {
        Self {
            why,
            coalescing: Coalescing::Join,
            basis: FetchKind::Current(entry),
        }
    }

    pub(crate) fn extend(part: Arc<Entry>, missing: MissingBytes) -> Self {
        Self {
            why: ForwardReason::Partial.into(),
            coalescing: Coalescing::Never,
            basis: match missing {
                MissingBytes::From(first) => FetchKind::Rest(part, first),
                MissingBytes::Requested => FetchKind::Beside(part),
            },
        }
    }

    /// The stored response that the origin is asked about.
    pub(crate) fn about(&self) -> Option<Arc<Entry>> {
        match &self.basis {
            FetchKind::Current(entry) => Some(Arc::clone(entry)),
            FetchKind::Nothing | FetchKind::Rest(..) | FetchKind::Beside(_) => None,
        }
    }

    /// The client's request, or one of our own in its place: without the client's conditions and range, with ours.
    fn request(&self, ask: &ForwardedRequest) -> OriginRequest {
        match &self.basis {
            FetchKind::Nothing | FetchKind::Beside(_) => request_of(ask),
            // What a condition means for a POST is the origin's to say: it is asked for the whole.
            FetchKind::Current(_) if ask.content == RequestContent::Keyed => request_of(ask),
            FetchKind::Current(entry) => {
                let mut request = request_of(&unconditional(ask));
                for (name, value) in policy::validators(entry.head()) {
                    request.headers.insert(name, value);
                }
                request
            }
            FetchKind::Rest(part, first) => {
                let mut request = request_of(&unconditional(ask));
                for (name, value) in policy::rest_request_fields(part.head(), *first)
                    .into_iter()
                    .flatten()
                {
                    request.headers.insert(name, value);
                }
                request
            }
        }
    }
}

pub(crate) fn request_of(ask: &ForwardedRequest) -> OriginRequest {
    OriginRequest {
        method: ask.method.clone(),
        target: ask.target.clone(),
        headers: ask.fields.clone(),
        body: match &ask.body {
            Some(whole) => whole.to_request(),
            None => RequestBody::Empty,
        },
        interim: None,
    }
}

/// The same request without the client's own conditions and range.
pub(crate) fn unconditional(ask: &ForwardedRequest) -> ForwardedRequest {
    let mut ask = ask.clone();
    for name in policy::CLIENT_CONDITIONS {
        ask.fields.remove(name);
    }
    ask
}

/// The client that waits for a fetch.
pub(crate) struct WaitingClient {
    answering: oneshot::Sender<Result<ClientResponse, FailedRequest>>,
    /// Where it is told of interim responses.
    interim: Option<InterimSink>,
}

impl WaitingClient {
    /// Nobody: the client has been answered.
    fn none() -> Self {
        Self {
            answering: oneshot::channel().0,
            interim: None,
        }
    }

    pub(crate) fn answer(self, answer: Result<ClientResponse, FailedRequest>) {
        // Whoever has left is not missed: the fetch is for the cache as well.
        let _ = self.answering.send(answer);
    }

    /// Has `request` tell of interim responses.
    pub(crate) fn listening(&self, request: OriginRequest) -> OriginRequest {
        OriginRequest {
            interim: self.interim.clone(),
            ..request
        }
    }
}

/// Fetches what is to be stored. The fetch goes on when the client that began it leaves.
pub(crate) async fn lead(
    worker: web::Data<Worker>,
    ask: Rc<ForwardedRequest>,
    plan: FetchPlan,
    ticket: FetchTicket,
    interim: Option<InterimSink>,
) -> Result<ClientResponse, FailedRequest> {
    let why = plan.why;
    let (sender, answering) = oneshot::channel();
    let client = WaitingClient {
        answering: sender,
        interim,
    };
    // In a box: the runtime moves what it is given several times.
    actix_web::rt::spawn(Box::pin(async move {
        fetch(&worker, &ask, plan, ticket, client).await;
    }));
    let interrupted = || Err(FailedRequest::forwarded(ProxyError::Interrupted, why));
    answering.await.unwrap_or_else(|_| interrupted())
}

/// Asks the origin about a stale response that has been served meanwhile (RFC 5861, 3), unless somebody does already,
/// or this worker has as many such questions under way as it may.
pub(crate) fn revalidate_in_background(
    worker: &web::Data<Worker>,
    ask: &Rc<ForwardedRequest>,
    found: &Found,
    entry: Arc<Entry>,
    now: Time,
) {
    let Ok(leave) = Arc::clone(&worker.background).try_acquire_owned() else {
        log::debug!("too many validations in the background: another request will ask");
        return;
    };
    // A HEAD is served by what a GET has stored; that is what has to be validated.
    let ask = match ask.method {
        Method::HEAD => Rc::new(ForwardedRequest {
            method: Method::GET,
            ..ForwardedRequest::clone(ask)
        }),
        _ => Rc::clone(ask),
    };
    let (worker, found) = (worker.clone(), found.clone());
    actix_web::rt::spawn(async move {
        let _leave = leave;
        let plan = FetchPlan {
            coalescing: Coalescing::Background,
            ..FetchPlan::revalidate(ForwardReason::Stale.into(), entry)
        };
        match worker.claim(&ask, found, &plan, now).await {
            Some(Claimed::Lead(ticket)) => {
                fetch(&worker, &ask, plan, ticket, WaitingClient::none()).await;
            }
            // What this worker remembers may have been evicted: then the next request has to fetch.
            Some(Claimed::Changed(changed)) => {
                worker.worker_cache.insert(&ask.key, changed);
            }
            Some(Claimed::Follow(_) | Claimed::Declined) | None => {}
        }
    });
}

async fn fetch(
    worker: &Worker,
    ask: &ForwardedRequest,
    plan: FetchPlan,
    ticket: FetchTicket,
    client: WaitingClient,
) {
    let request = client.listening(plan.request(ask));
    let FetchPlan { why, basis, .. } = plan;
    let fetch = Fetch {
        worker,
        ask,
        why,
        ticket,
        client,
    };
    match (forward(worker, request).await, basis) {
        (Ok(reply), FetchKind::Nothing) => fetch.take_in(reply).await,
        (Ok(reply), FetchKind::Current(entry)) => fetch.validated(&entry, reply).await,
        (Ok(reply), FetchKind::Rest(part, _)) => fetch.rest_came(part, reply).await,
        (Ok(reply), FetchKind::Beside(part)) => fetch.part_came(part, reply).await,
        (Err(error), FetchKind::Current(entry)) => fetch.not_validated(&entry, error).await,
        (Err(error), _) => fetch.fails(error),
    }
}

/// A fetch that is under way, and the client that waits for its answer.
pub(crate) struct Fetch<'a> {
    pub(crate) worker: &'a Worker,
    pub(crate) ask: &'a ForwardedRequest,
    pub(crate) why: Forward,
    pub(crate) ticket: FetchTicket,
    pub(crate) client: WaitingClient,
}

impl Fetch<'_> {
    /// Ends the fetch, with nothing to store.
    pub(crate) fn done(self, answer: Result<ClientResponse, FailedRequest>) {
        drop(self.ticket);
        self.client.answer(answer);
    }

    /// Ends the fetch, for it has failed.
    pub(crate) fn fails(self, error: impl Into<ProxyError>) {
        let failed = FailedRequest::forwarded(error, self.why);
        self.done(Err(failed));
    }

    /// Lets an answer pass that is not stored.
    pub(crate) fn pass(self, reply: FetchedResponse, reason: Reason) {
        self.ticket.not_stored(reason);
        let delivery = reply.pass(self.why, StoreOutcome::NotStored(reason));
        self.client.answer(Ok(delivery));
    }

    /// What came does not belong to what is stored: asks for the whole, without conditions.
    pub(crate) async fn again(self) {
        let request = self.client.listening(request_of(&unconditional(self.ask)));
        match forward(self.worker, request).await {
            Ok(reply) => self.take_in(reply).await,
            Err(error) => self.fails(error),
        }
    }

    /// May the answer be stored?
    pub(crate) fn judge(&self, reply: &FetchedResponse) -> Result<StoredHead, Reason> {
        let policy = self.ask.policy();
        let head = policy::admit(policy, &self.ask.view(), &reply.judged())?;
        if reply.contradicts_itself() {
            return Err(Reason::Partial);
        }
        match reply.length() {
            Some(length) if length > self.ticket.max_object_bytes() => Err(Reason::TooLarge),
            _ => Ok(head),
        }
    }

    /// Judges a new answer, and stores it or lets it pass.
    pub(crate) async fn take_in(self, reply: FetchedResponse) {
        if reply.status == StatusCode::NOT_MODIFIED && !self.ask.is_conditional() {
            // Nobody asked whether anything is modified (RFC 9110, 15.4.5): to the client this would mean nothing.
            return self.fails(ProxyError::NotModifiedUnasked);
        }
        let head = match self.judge(&reply) {
            Ok(head) => head,
            Err(reason) => return self.pass(reply, reason),
        };
        let view = self.ask.view();
        let cache_status = CacheStatus::miss(self.why, Some(reply.status), StoreOutcome::Stored);
        let length = reply.length();
        let FetchedResponse { fields, body, .. } = reply;
        let client = self.client;
        let filler = BodyWriter::new(self.ticket, head, length);
        filler
            .run(body, |head, reader| {
                let delivery = reading(&view, &head, fields, (reader, length), cache_status);
                client.answer(Ok(delivery));
            })
            .await;
    }

    /// An answer to a question about `entry` that says that it is no longer true ends it, unless a new one takes its
    /// place.
    pub(crate) async fn supersede(&self, entry: &Arc<Entry>, reply: &FetchedResponse) {
        if self.ask.method != Method::HEAD
            && policy::outdates_stored(reply.status)
            && self.judge(reply).is_err()
        {
            self.remove(entry).await;
        }
    }

    /// A Clear, an invalidation or an eviction may have come since `entry` was found.
    pub(crate) async fn is_stored(&self, entry: &Arc<Entry>) -> bool {
        let known = self.worker.find(self.ask).await;
        known
            .found()
            .variants()
            .any(|other| Arc::ptr_eq(other, entry))
    }

    pub(crate) async fn remove(&self, entry: &Arc<Entry>) {
        let (key, entry) = (self.ask.key.clone(), Arc::clone(entry));
        if self.worker.ask(Remove { key, entry }).await.is_err() {
            self.worker
                .shared
                .cache
                .bump_generation(&self.ask.key.resource);
        }
    }
}
