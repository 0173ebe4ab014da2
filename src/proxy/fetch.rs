//! Asking the origin, and what becomes of its answer.

use std::{pin::Pin, rc::Rc, sync::Arc, time::Duration};

use actix_http::error::PayloadError;
use actix_web::{
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderValue},
    },
    web,
};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;
use tokio::sync::oneshot;

use super::{
    Ask, Worker, clock,
    deliver::{Content, Delivery},
    reuse::{reading, reuse},
};
use crate::{
    cache::{Claimed, Company, Entry, Found, Invalidate, Resource, Ticket},
    error::ProxyError,
    headers::{self, Handling, Source, Storing},
    origin::{BodyFraming, OriginBody, OriginError, OriginRequest, OriginResponse, RequestBody},
    policy::{self, Failure, Forward, Framing, Reason, RequestContent, Time},
};

/// A fetch that has been decided on.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) forward: Forward,
    /// The stored response that the origin is asked about.
    current: Option<Arc<Entry>>,
}

impl Plan {
    pub(super) fn fetch(forward: Forward) -> Self {
        Self {
            forward,
            current: None,
        }
    }

    pub(super) fn revalidate(forward: Forward, entry: Arc<Entry>) -> Self {
        Self {
            forward,
            current: Some(entry),
        }
    }
}

/// An answer of the origin, ready to be judged.
struct Reply {
    status: StatusCode,
    fields: HeaderMap,
    framing: BodyFraming,
    /// A transfer coding other than chunked, which nobody asked for.
    unknown_coding: bool,
    body: OriginBody,
    request_time: Time,
    response_time: Time,
}

impl Reply {
    fn judged(&self) -> policy::Reply<'_> {
        policy::Reply {
            status: self.status,
            headers: &self.fields,
            request_time: self.request_time,
            response_time: self.response_time,
            framing: match self.framing {
                BodyFraming::Length(_) | BodyFraming::Chunked | BodyFraming::None => {
                    Framing::Delimited
                }
                BodyFraming::UntilClose if self.unknown_coding => Framing::UnknownCoding,
                BodyFraming::UntilClose => Framing::UntilClose,
            },
        }
    }

    fn length(&self) -> Option<u64> {
        match self.framing {
            BodyFraming::Length(length) => Some(length),
            BodyFraming::None => Some(0),
            BodyFraming::Chunked | BodyFraming::UntilClose => None,
        }
    }

    fn pass(self, forward: Forward, storing: Storing) -> Delivery {
        Delivery {
            status: self.status,
            handling: Handling::miss(forward, Some(self.status), storing),
            content: Content::Passing(self.body, self.framing),
            fields: self.fields,
            problem: None,
        }
    }
}

async fn forward(worker: &Worker, request: OriginRequest) -> Result<Reply, OriginError> {
    let request_time = clock();
    let OriginResponse {
        status,
        headers: mut fields,
        framing,
        body,
    } = worker.origin.forward(request).await?;
    let unknown_coding =
        framing == BodyFraming::UntilClose && fields.contains_key(header::TRANSFER_ENCODING);
    headers::remove_hop_by_hop(&mut fields);
    Ok(Reply {
        unknown_coding,
        status,
        fields,
        framing,
        body,
        request_time,
        response_time: clock(),
    })
}

/// Forwards a request whose answer is not stored, body and all.
pub(super) async fn pass(
    worker: &Worker,
    ask: &Ask,
    payload: web::Payload,
    why: Forward,
    storing: Storing,
) -> Result<Delivery, ProxyError> {
    let request = OriginRequest {
        method: ask.method.clone(),
        target: ask.target.clone(),
        headers: ask.fields.clone(),
        body: upload(ask, payload, worker.shared.config.timeout),
    };
    let reply = forward(worker, request).await?;
    if policy::invalidates(&ask.method, reply.status) {
        invalidate(worker, ask, &reply.fields).await;
    }
    Ok(reply.pass(why, storing))
}

/// Forwards a request without a body again, when the answer to its validation could not be used.
async fn pass_bodiless(worker: &Worker, ask: &Ask, why: Forward) -> Result<Delivery, ProxyError> {
    let reply = forward(worker, request_of(ask, None)).await?;
    Ok(reply.pass(why, Storing::NotStored(Reason::Cleared)))
}

fn upload(ask: &Ask, payload: web::Payload, pause: Duration) -> RequestBody {
    match (ask.content, ask.length) {
        (RequestContent::None, Some(_)) => {
            return RequestBody::Sized(0, Box::pin(futures_util::stream::empty()));
        }
        (RequestContent::None, None) => return RequestBody::Empty,
        (RequestContent::Some, _) => {}
    }
    let stream: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> = Box::pin(
        futures_util::stream::unfold(Some(payload), move |payload| async move {
            let mut payload = payload?;
            match tokio::time::timeout(pause, payload.next()).await {
                Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(payload))),
                Ok(Some(Err(error))) => Some((Err(error), None)),
                Ok(None) => None,
                Err(_) => Some((Err(PayloadError::Incomplete(None)), None)),
            }
        }),
    );
    match ask.length {
        Some(length) => RequestBody::Sized(length, stream),
        None => RequestBody::Chunked(stream),
    }
}

/// Removes what an unsafe request has made invalid, before its answer leaves (RFC 9111, 4.4).
async fn invalidate(worker: &Worker, ask: &Ask, fields: &HeaderMap) {
    let origin = &worker.shared.config.origin;
    let prefix = origin.path_prefix();
    let target = format!("{prefix}{}", ask.target);
    let others = policy::also_invalidated(&origin.authority(), origin.scheme(), &target, fields);
    let host = worker
        .shared
        .config
        .preserve_host
        .then(|| ask.fields.get(header::HOST))
        .flatten();
    let resources = others
        .iter()
        .filter_map(|target| target.strip_prefix(prefix))
        .map(|target| resource(target, host));
    let all = std::iter::once(ask.key.resource.clone())
        .chain(resources)
        .collect();
    if let Err(error) = worker.shared.cache.send(Invalidate(all)).await {
        log::error!("the cache does not answer: {error}");
    }
}

fn resource(target: &str, host: Option<&HeaderValue>) -> Resource {
    match host {
        Some(host) => Resource::with_host(target, &String::from_utf8_lossy(host.as_bytes())),
        None => Resource::new(target),
    }
}

fn request_of(ask: &Ask, current: Option<&Entry>) -> OriginRequest {
    let mut fields = ask.fields.clone();
    if let Some(entry) = current {
        for name in policy::CLIENT_CONDITIONS {
            fields.remove(name);
        }
        for (name, value) in policy::validators(entry.head()) {
            fields.insert(name, value);
        }
    }
    OriginRequest {
        method: ask.method.clone(),
        target: ask.target.clone(),
        headers: fields,
        body: RequestBody::Empty,
    }
}

type Answering = oneshot::Sender<Result<Delivery, ProxyError>>;

/// Fetches for all who want the same. The fetch goes on when the client that began it leaves.
pub(super) async fn lead(
    worker: web::Data<Worker>,
    ask: Rc<Ask>,
    plan: Plan,
    ticket: Ticket,
) -> Result<Delivery, ProxyError> {
    let (sender, answer) = oneshot::channel();
    actix_web::rt::spawn(async move { fetch(&worker, &ask, plan, ticket, sender).await });
    answer.await.unwrap_or(Err(ProxyError::Interrupted))
}

/// Asks the origin about a stale response that has been served meanwhile (RFC 5861, 3), unless somebody does already.
pub(super) fn revalidate_in_background(
    worker: &web::Data<Worker>,
    ask: &Rc<Ask>,
    found: &Found,
    entry: Arc<Entry>,
    now: Time,
) {
    if ask.method != Method::GET {
        return;
    }
    let (worker, ask, found) = (worker.clone(), Rc::clone(ask), found.clone());
    actix_web::rt::spawn(async move {
        let company = Company::Shared(Vec::new());
        if let Some(Claimed::Lead(ticket)) = worker.claim(&ask, found, company, now).await {
            let (sender, _) = oneshot::channel();
            fetch(
                &worker,
                &ask,
                Plan::revalidate(Forward::Stale, entry),
                ticket,
                sender,
            )
            .await;
        }
    });
}

async fn fetch(worker: &Worker, ask: &Ask, plan: Plan, ticket: Ticket, answering: Answering) {
    match forward(worker, request_of(ask, plan.current.as_deref())).await {
        Ok(reply) => settle(worker, ask, plan, ticket, reply, answering).await,
        Err(error) => {
            drop(ticket);
            let answer = match plan.current {
                Some(entry) => {
                    stale_instead(worker, ask, &entry, Failure::Unreachable, plan.forward)
                        .await
                        .map_err(|reason| unvalidated(reason, error))
                }
                None => Err(error.into()),
            };
            let _ = answering.send(answer);
        }
    }
}

fn unvalidated(reason: Reason, error: OriginError) -> ProxyError {
    match reason {
        // The stored answer vanished meanwhile: the origin's failure is all there is.
        Reason::Cleared => error.into(),
        _ => ProxyError::NotValidated(error),
    }
}

async fn settle(
    worker: &Worker,
    ask: &Ask,
    plan: Plan,
    ticket: Ticket,
    reply: Reply,
    answering: Answering,
) {
    let Plan {
        forward: why,
        current,
    } = plan;
    if let Some(entry) = current {
        if reply.status == StatusCode::NOT_MODIFIED {
            let _ = answering.send(freshened(worker, ask, &entry, ticket, reply, why).await);
            return;
        }
        if reply.status.is_server_error() {
            let failure = Failure::Status(reply.status);
            if let Ok(delivery) = stale_instead(worker, ask, &entry, failure, why).await {
                drop(ticket);
                let _ = answering.send(Ok(delivery));
                return;
            }
        }
    }
    take_in(worker, ask, why, ticket, reply, answering).await;
}

/// Judges a new answer, and stores it or lets it pass.
async fn take_in(
    worker: &Worker,
    ask: &Ask,
    why: Forward,
    ticket: Ticket,
    reply: Reply,
    answering: Answering,
) {
    let length = reply.length();
    let admitted = policy::admit(worker.policy(), &ask.view(worker.policy()), &reply.judged());
    let head = match admitted {
        Ok(_) if length.is_some_and(|length| length > ticket.max_object_bytes()) => {
            Err(Reason::TooLarge)
        }
        other => other,
    };
    let head = match head {
        Ok(head) => head,
        Err(reason) => {
            ticket.not_shareable();
            let _ = answering.send(Ok(reply.pass(why, Storing::NotStored(reason))));
            return;
        }
    };
    let Reply {
        status,
        fields,
        body,
        ..
    } = reply;
    let view = ask.view(worker.policy());
    let handling = Handling::miss(why, Some(status), Storing::Stored);
    let filler = ticket.begin(head, length);
    filler
        .run(body, |head, reader| {
            let delivery = reading(&view, &head, fields, (reader, length), handling);
            let _ = answering.send(Ok(delivery));
        })
        .await;
}

/// The origin calls the stored response current (RFC 9111, 4.3.4).
async fn freshened(
    worker: &Worker,
    ask: &Ask,
    entry: &Entry,
    ticket: Ticket,
    reply: Reply,
    why: Forward,
) -> Result<Delivery, ProxyError> {
    let view = ask.view(worker.policy());
    let judged = reply.judged();
    if !policy::revalidation_matches(entry.head(), &judged) {
        drop(ticket);
        return pass_bodiless(worker, ask, why).await;
    }
    let now = reply.response_time;
    let mut handling = Handling {
        source: Source::Hit,
        forward: Some(why),
        forward_status: Some(reply.status),
        storing: Storing::Stored,
        ttl_seconds: None,
    };
    let head = match policy::revalidated(worker.policy(), &view, entry.head(), &judged) {
        Ok(head) => head,
        Err(reason) => {
            ticket.not_shareable();
            handling.storing = Storing::NotStored(reason);
            return Ok(reuse(&view, entry, handling, now));
        }
    };
    match ticket.freshen(entry, head).await {
        Some(entry) => {
            handling.ttl_seconds = entry.head().ttl_seconds(now);
            Ok(reuse(&view, &entry, handling, now))
        }
        // A Clear came in between: what was fetched before it is served no more.
        None => pass_bodiless(worker, ask, why).await,
    }
}

/// A stale answer in the place of the origin's failure, where that is allowed (RFC 9111, 4.2.4) and the entry still
/// counts: a Clear may have come since it was found.
async fn stale_instead(
    worker: &Worker,
    ask: &Ask,
    entry: &Arc<Entry>,
    failure: Failure,
    why: Forward,
) -> Result<Delivery, Reason> {
    let now = clock();
    let view = ask.view(worker.policy());
    policy::stale_answer(worker.policy(), &view, entry.head(), failure, now)?;
    let found = worker.find(ask).await;
    if !found.variants().any(|other| Arc::ptr_eq(other, entry)) {
        return Err(Reason::Cleared);
    }
    let handling = Handling {
        source: Source::Hit,
        forward: Some(why),
        forward_status: match failure {
            Failure::Status(status) => Some(status),
            Failure::Unreachable => None,
        },
        storing: Storing::Untouched,
        ttl_seconds: entry.head().ttl_seconds(now),
    };
    let mut delivery = reuse(&view, entry, handling, now);
    delivery.problem = Some("stale: the origin could not be asked".into());
    Ok(delivery)
}
