//! Fetches for all who want the same, and what becomes of the origin's answers to them.

use std::{rc::Rc, sync::Arc};

use actix_web::{
    http::{Method, StatusCode},
    web,
};
use tokio::sync::oneshot;

use super::{
    Ask, Worker, clock,
    deliver::Delivery,
    reply::{Reply, forward},
    reuse::{reading, reuse},
};
use crate::{
    cache::{self, Claimed, Company, Entry, Found, Remove, Ticket},
    error::ProxyError,
    headers::{Handling, Source, Storing},
    origin::{OriginError, OriginRequest, RequestBody},
    policy::{self, Failure, Forward, Reason, Stored, Time},
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
        if let Some(Claimed::Lead(ticket)) =
            worker.claim(&ask, found, Company::Background, now).await
        {
            let plan = Plan::revalidate(Forward::Stale, entry);
            let (answering, _) = oneshot::channel();
            fetch(&worker, &ask, plan, ticket, answering).await;
        }
    });
}

async fn fetch(worker: &Worker, ask: &Ask, plan: Plan, ticket: Ticket, answering: Answering) {
    match forward(worker, request_of(ask, plan.current.as_deref())).await {
        Ok(reply) => settle(worker, ask, plan, ticket, reply, answering).await,
        Err(error) => {
            drop(ticket);
            let _ = answering.send(unreachable(worker, ask, plan, error).await);
        }
    }
}

async fn unreachable(
    worker: &Worker,
    ask: &Ask,
    plan: Plan,
    error: OriginError,
) -> Result<Delivery, ProxyError> {
    let Some(entry) = plan.current else {
        return Err(error.into());
    };
    match stale_instead(worker, ask, &entry, Failure::Unreachable, plan.forward).await {
        Ok(mut delivery) => {
            delivery.problem = Some(format!("stale: {error}"));
            Ok(delivery)
        }
        // It vanished meanwhile: the origin's failure is all there is.
        Err(Reason::Cleared) => Err(error.into()),
        Err(_) => Err(ProxyError::NotValidated(error)),
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
    let why = plan.forward;
    let Some(entry) = plan.current else {
        return take_in(worker, ask, why, ticket, reply, answering).await;
    };
    if reply.status == StatusCode::NOT_MODIFIED {
        if policy::revalidation_matches(entry.head(), &reply.judged()) {
            let _ = answering.send(freshened(worker, ask, &entry, ticket, reply, why).await);
            return;
        }
        // It speaks of something else than what we have (RFC 9111, 4.3.4): ask for the whole.
        return match forward(worker, request_of(&unconditional(ask), None)).await {
            Ok(reply) => take_in(worker, ask, why, ticket, reply, answering).await,
            Err(error) => {
                let _ = answering.send(Err(error.into()));
            }
        };
    }
    if reply.status.is_server_error() {
        let failure = Failure::Status(reply.status);
        if let Ok(mut delivery) = stale_instead(worker, ask, &entry, failure, why).await {
            drop(ticket);
            delivery.problem = Some("stale: the origin failed".into());
            let _ = answering.send(Ok(delivery));
            return;
        }
    } else if ask.method == Method::GET
        && policy::supersedes(reply.status)
        && judge(worker, ask, &ticket, &reply).is_err()
    {
        // The origin has another answer now, be it one that is not kept: this one is no longer true.
        remove(worker, ask, &entry).await;
    }
    take_in(worker, ask, why, ticket, reply, answering).await;
}

/// May the answer be stored?
fn judge(worker: &Worker, ask: &Ask, ticket: &Ticket, reply: &Reply) -> Result<Stored, Reason> {
    let head = policy::admit(worker.policy(), &ask.view(worker.policy()), &reply.judged())?;
    match reply.length() {
        Some(length) if length > ticket.max_object_bytes() => Err(Reason::TooLarge),
        _ => Ok(head),
    }
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
    if reply.status == StatusCode::NOT_MODIFIED && !ask.is_conditional() {
        // Nobody asked whether anything is modified (RFC 9110, 15.4.5): to the client this would mean nothing.
        let _ = answering.send(Err(ProxyError::NotModifiedUnasked));
        return;
    }
    let head = match judge(worker, ask, &ticket, &reply) {
        Ok(head) => head,
        Err(reason) => {
            ticket.not_stored(reason);
            let _ = answering.send(Ok(reply.pass(why, Storing::NotStored(reason))));
            return;
        }
    };
    let view = ask.view(worker.policy());
    let handling = Handling::miss(why, Some(reply.status), Storing::Stored);
    let length = reply.length();
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
    entry: &Arc<Entry>,
    ticket: Ticket,
    reply: Reply,
    why: Forward,
) -> Result<Delivery, ProxyError> {
    let view = ask.view(worker.policy());
    let now = reply.response_time;
    let mut handling = Handling {
        source: Source::Hit,
        forward: Some(why),
        forward_status: Some(reply.status),
        storing: Storing::Stored,
        ttl_seconds: None,
    };
    // A HEAD validates what a GET has stored (RFC 9111, 4.3.5).
    let get = Ask {
        method: Method::GET,
        ..ask.clone()
    };
    let revalidated = policy::revalidated(
        worker.policy(),
        &get.view(worker.policy()),
        entry.head(),
        &reply.judged(),
    );
    let freshened = match revalidated {
        Ok(head) => ticket.freshen(entry, head).await,
        Err(reason) if is_stored(worker, ask, entry).await => {
            ticket.not_stored(reason);
            remove(worker, ask, entry).await;
            handling.storing = Storing::NotStored(reason);
            return Ok(for_the_last_time(worker, ask, entry, &reply, handling));
        }
        Err(_) => Err(Reason::Cleared),
    };
    match freshened {
        Ok(entry) => {
            handling.ttl_seconds = entry.head().ttl_seconds(now);
            Ok(reuse(&view, &entry, handling, now))
        }
        // What was fetched before a Clear is served no more: ask for the whole.
        Err(reason) => {
            let reply = forward(worker, request_of(&unconditional(ask), None)).await?;
            Ok(reply.pass(why, Storing::NotStored(reason)))
        }
    }
}

/// The origin called `entry` current, with a head under which it may not be kept.
fn for_the_last_time(
    worker: &Worker,
    ask: &Ask,
    entry: &Entry,
    reply: &Reply,
    handling: Handling,
) -> Delivery {
    let view = ask.view(worker.policy());
    let mut delivery = reuse(&view, entry, handling, reply.response_time);
    if delivery.status == entry.head().status() {
        delivery.fields = policy::merged_head(worker.policy(), entry.head(), &reply.judged());
    }
    delivery
}

/// The same request without the client's own conditions.
fn unconditional(ask: &Ask) -> Ask {
    let mut ask = ask.clone();
    for name in policy::CLIENT_CONDITIONS {
        ask.fields.remove(name);
    }
    ask
}

/// A Clear, an invalidation or an eviction may have come since `entry` was found.
async fn is_stored(worker: &Worker, ask: &Ask, entry: &Arc<Entry>) -> bool {
    let found = worker.find(ask).await;
    found.variants().any(|other| Arc::ptr_eq(other, entry))
}

async fn remove(worker: &Worker, ask: &Ask, entry: &Arc<Entry>) {
    let (key, entry) = (ask.key.clone(), Arc::clone(entry));
    // A cache that does not answer serves nothing either.
    let _ = cache::ask(&worker.shared.cache, Remove { key, entry }).await;
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
    if !is_stored(worker, ask, entry).await {
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
    Ok(reuse(&view, entry, handling, now))
}
