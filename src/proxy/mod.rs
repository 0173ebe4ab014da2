//! The handler: the only place that knows the order of things.

mod access;
mod ask;
mod connection;
mod consider;
mod current;
mod deliver;
mod failed;
mod fetch;
mod incoming;
mod interim;
mod max_forwards;
mod multipart;
mod outgoing;
mod parts;
mod pass;
mod quick;
mod ready;
mod reply;
mod reuse;
mod upload;
mod validate;

use std::{
    hash::{BuildHasher as _, RandomState},
    io,
    rc::Rc,
    sync::Arc,
    time::SystemTime,
};

use actix::{Handler, Message};
use actix_web::{
    HttpRequest, HttpResponse,
    http::{Method, header::HeaderValue},
    web,
};
use tokio::sync::{Semaphore, watch};

use self::{
    access::Access,
    ask::{Ask, Keying},
    connection::Busy,
    current::{Current, Newest},
    deliver::Delivery,
    failed::Failed,
    fetch::Plan,
    interim::Relay,
    ready::Ready,
    reuse::{Followed, follow, reuse},
    upload::{ClientBody, Held, Read},
};
use crate::{
    cache::{
        Cache, CacheActor, CacheUnavailable, Claim, Claimed, Company, Found, Near, Remembered, Seen,
    },
    config::{Config, LogFormat},
    error::ProxyError,
    headers::{Handling, Outcome, Storing},
    observe::{Audience, Observer, Tally},
    origin::{Origin, OriginConfig},
    policy::{self, Answer, Decision, Forward, IdentitySecret, Reason, Share, Time, Use, Why},
    reload::InForce,
};

pub use self::{
    access::log_unread,
    connection::{Connection, Upload},
    consider::{Considered, Described, consider},
    outgoing::Outgoing,
};

/// Validations in the background that one worker has under way at the most.
const MAX_BACKGROUND: usize = 32;
/// How often a request looks at the cache again before it fetches on its own.
const MAX_LOOKS: usize = 8;

/// What all workers share.
pub struct Shared {
    /// The cache.
    pub cache: Cache,
    /// Tells identities apart.
    pub secret: IdentitySecret,
    /// Our own member of Via.
    pub via: HeaderValue,
    /// The configuration in force.
    pub in_force: watch::Receiver<InForce>,
    /// The origin's Host.
    pub origin_host: HeaderValue,
    /// Counts what becomes of requests.
    pub observer: Arc<Observer>,
}

impl Shared {
    /// For a proxy with this configuration, before this cache.
    ///
    /// # Errors
    /// The origin's name can not be a Host.
    pub fn new(
        config: &Config,
        in_force: watch::Receiver<InForce>,
        cache: Cache,
    ) -> io::Result<Self> {
        let host = HeaderValue::try_from(config.origin.authority());
        let audience = match config.dashboard {
            Some(_) => Audience::Dashboard,
            None => Audience::None,
        };
        Ok(Self {
            origin_host: host.map_err(io::Error::other)?,
            cache,
            secret: IdentitySecret::new(),
            via: own_via(),
            in_force,
            observer: Arc::new(Observer::new(audience)),
        })
    }

    /// The configuration in force.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.in_force.borrow().config)
    }
}

/// What one worker answers with.
pub struct Worker {
    shared: Arc<Shared>,
    near: Near<Ready>,
    newest: Newest,
    origin: Origin,
    /// Leave to validate behind a client's back.
    background: Arc<Semaphore>,
    held: Held,
    tally: Rc<Tally>,
}

impl Worker {
    /// A worker with connections of its own to the origin. Belongs to the thread that makes it.
    pub fn new(shared: Arc<Shared>, origin: OriginConfig) -> Self {
        let newest = Newest::new(shared.in_force.clone());
        let workers = newest.get().config.workers;
        let tally = Rc::new(shared.observer.tally());
        Self {
            near: Near::new(shared.cache.clone(), workers),
            newest,
            shared,
            origin: Origin::new(origin),
            background: Arc::new(Semaphore::new(MAX_BACKGROUND)),
            held: Held::default(),
            tally,
        }
    }

    /// What is stored for `ask`.
    async fn find(&self, ask: &Ask) -> Rc<Remembered<Ready>> {
        self.near.find(&ask.key).await
    }

    /// Asks the actor.
    async fn ask<M>(&self, message: M) -> Result<M::Result, CacheUnavailable>
    where
        M: Message + Send + 'static,
        M::Result: Send,
        CacheActor: Handler<M>,
    {
        self.shared.cache.ask(message).await
    }

    async fn claim(&self, ask: &Ask, seen: Found, plan: &Plan, now: Time) -> Option<Claimed> {
        let claim = Claim {
            key: ask.key.clone(),
            seen: Seen::Stored(seen),
            about: plan.about(),
            company: plan.company,
            now,
        };
        let claimed = self.ask(claim).await.ok()?;
        Some(self.still_counting(ask, claimed))
    }

    /// What was divided among users by another configuration must not be stored beside what is divided by this one. To
    /// look after the claim suffices: a fetch that was claimed before the change is voided with the cache.
    fn still_counting(&self, ask: &Ask, claimed: Claimed) -> Claimed {
        match claimed {
            Claimed::Lead(_) if !self.newest.is(&ask.config) => Claimed::Declined,
            claimed => claimed,
        }
    }
}

/// Our own member of Via: a name that no other instance has, for that is how a loop is known.
pub fn own_via() -> HeaderValue {
    let name = RandomState::new().hash_one(std::process::id());
    HeaderValue::try_from(format!("1.1 caching-proxy-{name:016x}"))
        .unwrap_or(HeaderValue::from_static("1.1 caching-proxy"))
}

/// Answers one request.
pub async fn handle(
    request: HttpRequest,
    payload: web::Payload,
    worker: web::Data<Worker>,
) -> HttpResponse {
    let busy = Busy::new(request.conn_data::<Connection>(), ask::upload(&request));
    let now = clock();
    let current = worker.newest.get();
    let policy = &current.config.policy;
    let feed = worker.shared.observer.feed();
    let shows_client = current.config.log_format == LogFormat::Combined;
    let mut access = Access::begin(&request, policy.mode, feed);
    if let Some(access) = access.as_mut().filter(|_| shows_client) {
        access.asked_by(&request);
    }
    let delivery = match current.quick_answer(&request, &worker, now) {
        Some(delivery) => Ok(delivery),
        // Large, and not needed for most hits.
        None => {
            Box::pin(ask_and_answer(
                &request,
                payload,
                &worker,
                &current,
                &busy,
                &mut access,
                now,
            ))
            .await
        }
    };
    let (delivery, access) = match delivery {
        Ok(delivery) => (delivery, access),
        // What failed is worth a line even where requests are not.
        Err(failed) => {
            let mut access = access.unwrap_or_else(|| Access::new(&request, policy.mode, feed));
            if shows_client {
                access.asked_by(&request);
            }
            (failed.delivery(), Some(access))
        }
    };
    delivery.into_response(&request, &worker, access, busy)
}

/// Reads the request as it would be forwarded, and answers that.
async fn ask_and_answer(
    request: &HttpRequest,
    payload: web::Payload,
    worker: &web::Data<Worker>,
    current: &Current,
    busy: &Busy,
    access: &mut Option<Access>,
    now: Time,
) -> Result<Delivery, Failed> {
    let config = &current.config;
    if let Some(delivery) = max_forwards::final_answer(request, &config.policy) {
        return Ok(delivery);
    }
    let ask = Ask::new(request, &worker.shared, config)?;
    if let Some(access) = access {
        access.judged_by(&ask);
    }
    let relay = Relay {
        request,
        busy,
        via: &worker.shared.via,
    };
    let body = ClientBody::new(payload, config.timeout);
    let (ask, body) = keyed(worker, ask, body).await?;
    if !current.may_use_cache() {
        let storing = Storing::NotStored(Reason::CacheUnavailable);
        return pass::pass(worker, &ask, body, Forward::Bypass.into(), storing, relay).await;
    }
    answer(worker, Rc::new(ask), body, relay, now).await
}

/// Reads the body of a POST that may be a retrieval, which it is when the body fits and asks for no change.
async fn keyed(
    worker: &Worker,
    mut ask: Ask,
    body: ClientBody,
) -> Result<(Ask, ClientBody), ProxyError> {
    let place = ask
        .keyed_up_to_bytes()
        .and_then(|bytes| worker.held.place(bytes));
    let Some(place) = place else {
        return Ok((ask, body));
    };
    let body = match body.read(place).await? {
        Read::Larger(body) => body,
        Read::Whole(bytes, place) => match ask.keyed_by(bytes, place, &worker.shared) {
            Keying::Keyed => ClientBody::nothing(),
            Keying::Change(bytes, place) => ClientBody::of(bytes, place),
        },
    };
    Ok((ask, body))
}

/// Looks, decides, claims, and looks again when the cache has changed meanwhile.
async fn answer(
    worker: &web::Data<Worker>,
    ask: Rc<Ask>,
    body: ClientBody,
    relay: Relay<'_>,
    mut now: Time,
) -> Result<Delivery, Failed> {
    let nothing = || worker.near.learn(&ask.key, Found::default());
    let mut known = match worker.near.recall(&ask.key) {
        Some(known) => known,
        // What is not remembered is mostly not stored either; if it is, the claim says so.
        None if policy::leads(&ask.view()) => nothing(),
        None if ask.is_retrieval() => worker.find(&ask).await,
        None => nothing(),
    };
    // An answer to HEAD has nothing for those who follow.
    let mut is_alone = ask.method == Method::HEAD;
    for _ in 0..MAX_LOOKS {
        let mut plan = match decide(worker, &ask, &known, now) {
            Next::Done(result) => return *result,
            Next::Pass(why, storing) => {
                return pass::pass(worker, &ask, body, why, storing, relay).await;
            }
            Next::Claim(plan) => plan,
        };
        if is_alone {
            plan.company = Company::Alone;
        }
        match worker.claim(&ask, known.found().clone(), &plan, now).await {
            None | Some(Claimed::Declined) => {
                let storing = Storing::NotStored(Reason::CacheUnavailable);
                return pass::pass(worker, &ask, body, plan.why, storing, relay).await;
            }
            Some(Claimed::Lead(ticket)) => {
                let interim = relay.sink();
                return fetch::lead(worker.clone(), ask, plan, ticket, interim).await;
            }
            Some(Claimed::Changed(changed)) => known = worker.near.learn(&ask.key, changed),
            Some(Claimed::Follow(fill)) => {
                if let Followed::Delivery(delivery) = follow(&ask, fill, plan.why).await {
                    return Ok(*delivery);
                }
                // Whatever is stored by now, nobody is waited for a second time.
                known = worker.find(&ask).await;
                is_alone = true;
            }
        }
        now = clock();
    }
    let why = Forward::Miss.into();
    pass::pass(worker, &ask, body, why, Storing::Untouched, relay).await
}

enum Next {
    Done(Box<Result<Delivery, Failed>>),
    Pass(Why, Storing),
    Claim(Plan),
}

fn decide(worker: &web::Data<Worker>, ask: &Rc<Ask>, known: &Remembered<Ready>, now: Time) -> Next {
    let view = ask.view();
    let found = known.found();
    let heads = found.variants().map(|entry| &**entry.head());
    let decision = policy::decide(ask.policy(), &view, heads, now);
    let entry = |index| found.variants().nth(index).map(Arc::clone);
    let plan = match decision {
        Decision::Serve { index, use_ } => found.variants().nth(index).map(|entry| {
            if use_ == Use::StaleWhileRevalidate {
                fetch::revalidate_in_background(worker, ask, found, Arc::clone(entry), now);
            }
            worker.near.hit(known);
            let via = &worker.shared.via;
            let ready = match policy::answer(&view, entry.head(), Some(entry.body().len_bytes())) {
                Answer::Full if known.is_recalled() => known.made.deliver(index, entry, now, via),
                _ => None,
            };
            let mut delivery = ready.unwrap_or_else(|| {
                let handling = Handling {
                    spared_millis: entry.fetch_millis(),
                    ..Handling::hit(entry.head().ttl_seconds(now))
                };
                reuse(&view, entry, handling, now)
            });
            if use_ != Use::Fresh {
                delivery.handling.outcome = Outcome::Stale;
            }
            Next::Done(Box::new(Ok(delivery)))
        }),
        Decision::Revalidate { index, why } => {
            entry(index).map(|entry| Next::Claim(Plan::revalidate(why, entry)))
        }
        Decision::Extend { index, missing } => {
            entry(index).map(|entry| Next::Claim(Plan::extend(entry, missing)))
        }
        Decision::Fetch { why, share } => Some(match share {
            Share::Lead => Next::Claim(Plan::fetch(why, Company::Shared)),
            Share::Alone => Next::Claim(Plan::fetch(why, Company::Alone)),
            Share::Pass(_) if why.forward == Forward::Method => Next::Pass(why, Storing::Untouched),
            Share::Pass(reason) => Next::Pass(why, Storing::NotStored(reason)),
        }),
        Decision::Unsatisfiable => Some(Next::Done(Box::new(Err(ProxyError::OnlyIfCached.into())))),
    };
    // The policy counts no further than what it was given.
    plan.unwrap_or(Next::Claim(Plan::fetch(
        Forward::Miss.into(),
        Company::Alone,
    )))
}

/// The time, read once for every step that needs it and handed on as a value.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub fn clock() -> Time {
    Time::from(SystemTime::now())
}
