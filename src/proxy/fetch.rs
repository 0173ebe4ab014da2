//! Fetches for all who want the same, and what becomes of the origin's answers to them.

use std::{rc::Rc, sync::Arc};

use actix_web::{
    http::{Method, StatusCode, header::HeaderMap},
    web,
};
use tokio::sync::oneshot;

use super::{
    Ask, Worker, clock,
    deliver::Delivery,
    pass::invalidate,
    reply::{Reply, forward},
    reuse::{reading, reuse},
};
use crate::{
    cache::{Claimed, Company, Entry, Found, Ticket},
    error::ProxyError,
    headers::{Handling, Source, Storing},
    origin::{OriginError, OriginRequest, RequestBody},
    policy::{self, Failure, Forward, Reason, Time},
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

/// Forwards a request without a body again, when the answer to its validation could not be used.
async fn pass_bodiless(
    worker: &Worker,
    ask: &Ask,
    why: Forward,
    storing: Storing,
) -> Result<Delivery, ProxyError> {
    let reply = forward(worker, request_of(ask, None)).await?;
    Ok(reply.pass(why, storing))
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
    let view = ask.view(worker.policy());
    let handling = Handling::miss(why, Some(reply.status), Storing::Stored);
    let Reply { fields, body, .. } = reply;
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
        return pass_bodiless(worker, ask, why, Storing::Untouched).await;
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
            let merged = policy::merged_head(worker.policy(), entry.head(), &judged);
            return Ok(no_longer_kept(worker, ask, entry, merged, handling, now).await);
        }
    };
    match ticket.freshen(entry, head).await {
        Some(entry) => {
            handling.ttl_seconds = entry.head().ttl_seconds(now);
            Ok(reuse(&view, &entry, handling, now))
        }
        // A Clear came in between: what was fetched before it is served no more.
        None => pass_bodiless(worker, ask, why, Storing::NotStored(Reason::Cleared)).await,
    }
}

/// The origin calls the stored response current for the last time: with its new head it may not be kept.
async fn no_longer_kept(
    worker: &Worker,
    ask: &Ask,
    entry: &Entry,
    merged: HeaderMap,
    handling: Handling,
    now: Time,
) -> Delivery {
    invalidate(worker, vec![ask.key.resource.clone()]).await;
    let mut delivery = reuse(&ask.view(worker.policy()), entry, handling, now);
    if delivery.status == entry.head().status() {
        delivery.fields = merged;
    }
    delivery
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
