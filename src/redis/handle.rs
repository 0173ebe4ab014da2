//! The handle of the shared tier.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    runtime::{Builder, Handle},
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::redis::{
    acknowledgements::{self, Acknowledgements},
    address::{KeyNames, SharedAddress},
    boot_time::boot_time_ms,
    connect::Connector,
    events::{RedisEvents, RedisMessage},
    fetch_lease::{self, FetchTurn},
    keeper::{Keeper, KeeperCall, MAX_CALLS},
    lease_clock::LeaseClock,
    lookup,
    outbox::{Outbox, WaitingEvent},
    pause::Pauses,
    random::random_number,
    reading::StreamReading,
    record::{ChunkedBody, NewRecord, SharedRecord},
    settings::{
        MAX_INSTANCE_BYTES, MAX_TTL, OwnTiers, RedisSettings, RedisSettingsError, RedisTiming,
        milliseconds,
    },
    shared::{RedisShared, RedisSharedParts},
    stamp::Stamp,
    stats::RedisStats,
    unavailable::RedisUnavailable,
    unpublished::{NotPublished, UnpublishedMark},
    waiters::{WaiterMessage, wake_waiters},
    writes::WriteLanes,
};

/// How long closing may take.
const CLOSE_TIME: Duration = Duration::from_secs(2);

/// The shared tier. Clones share it. When the last one is dropped, its thread ends.
#[derive(Clone)]
pub struct Redis {
    inner: Arc<RedisInner>,
}

struct RedisInner {
    shared: Arc<RedisShared>,
    runtime: Handle,
    calls: mpsc::Sender<KeeperCall>,
    lanes: WriteLanes,
    waiters: mpsc::UnboundedSender<WaiterMessage>,
    /// The token of the last event.
    token: AtomicU64,
}

/// An event that is being published.
#[derive(Debug)]
pub struct Publishing {
    /// Grows with each event of this instance.
    pub token: u64,
    limit: Duration,
    answer: oneshot::Receiver<Result<Stamp, NotPublished>>,
}

impl Publishing {
    /// Its position, within a second.
    ///
    /// # Errors
    /// Redis is away. The event waits.
    pub async fn published(self) -> Result<Stamp, NotPublished> {
        match timeout(self.limit, self.answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(NotPublished),
        }
    }
}

impl Redis {
    /// Starts the thread, and returns at once: Redis need not be there.
    ///
    /// # Errors
    /// A name is not as it has to be, or the thread cannot be started.
    pub fn open(settings: RedisSettings) -> Result<(Self, RedisEvents), RedisSettingsError> {
        Self::open_with(settings, RedisTiming::default())
    }

    pub(super) fn open_with(
        settings: RedisSettings,
        timing: RedisTiming,
    ) -> Result<(Self, RedisEvents), RedisSettingsError> {
        let keys = check_settings(&settings)?;
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(RedisSettingsError::Thread)?;
        let timing = timing.fit(settings.lease);
        let has_content = settings.own_tiers != OwnTiers::Empty;
        let lease_ms = settings.lease.map(milliseconds);
        let lease = LeaseClock::new(lease_ms, has_content, boot_time_ms());
        let shared = Arc::new(RedisShared::new(RedisSharedParts {
            keys,
            timing,
            timeout: settings.timeout,
            lease: settings.lease,
            max_object_bytes: settings.max_object_bytes,
            id: format!("{:032x}", random_number()),
            valid_until: lease.shown(),
        }));
        let mark = UnpublishedMark::at(settings.unpublished);
        let mut outbox = Outbox::new(settings.all);
        if mark.is_set() {
            // It is not known any more what waited. The tokens of this run begin later.
            outbox.collapse(0);
        }
        let (calls, keeper_calls) = mpsc::channel(MAX_CALLS);
        let (waiters, waiter_messages) = mpsc::unbounded_channel();
        let (messages, events) = mpsc::unbounded_channel();
        let keeper = Keeper {
            shared: Arc::clone(&shared),
            connector: Connector {
                url: settings.url,
                tls: settings.tls,
                limit: timing.connect,
            },
            name: settings.instance,
            wall_clock_ms: settings.wall_clock_ms,
            calls: keeper_calls,
            waiters: waiters.clone(),
            reading: StreamReading::new(messages, shared.id.clone(), settings.own_tiers.stamp()),
            outbox,
            mark,
            lease,
            pauses: Pauses::new(timing.pause, timing.max_pause),
            seen: (Vec::new(), boot_time_ms()),
            closing: None,
        };
        let inner = RedisInner {
            lanes: WriteLanes::start(&shared, runtime.handle()),
            runtime: runtime.handle().clone(),
            shared,
            calls,
            waiters,
            token: AtomicU64::new(0),
        };
        let thread = thread::Builder::new().name("redis".into());
        let thread = thread.spawn(move || {
            runtime.spawn(wake_waiters(waiter_messages));
            runtime.block_on(keeper.run());
        });
        thread.map_err(RedisSettingsError::Thread)?;
        let inner = Arc::new(inner);
        Ok((Self { inner }, RedisEvents { messages: events }))
    }

    pub(super) fn shared(&self) -> &Arc<RedisShared> {
        &self.inner.shared
    }

    /// Whether Redis is in use at present. If not, all calls answer at once.
    pub fn is_usable(&self) -> bool {
        self.shared().is_usable()
    }

    /// Whether records may be judged by the events that were applied here: the lease of this instance holds, or it needs
    /// none.
    pub fn has_lease(&self) -> bool {
        self.shared().has_lease()
    }

    /// What is applied here now. Read at the beginning of a fetch. `None` if that is not known: then the response cannot
    /// be stored in Redis.
    pub fn stamp(&self) -> Option<Stamp> {
        self.shared().applied().map(|applied| applied.stamp)
    }

    /// A message was applied, and all before it.
    pub fn confirm(&self, message: &RedisMessage) {
        self.shared().confirm(message.number);
    }

    /// Until when the own tiers may serve, in milliseconds of [`boot_time_ms`]. `u64::MAX` if they need not hear of Redis.
    pub fn valid_until(&self) -> u64 {
        self.shared().valid_until.load(Ordering::SeqCst)
    }

    /// All variants at these addresses that can be judged: their heads, and small bodies. An event after the stamp of a
    /// record may have ended it.
    ///
    /// # Errors
    /// Redis is not in use, or does not answer in time.
    pub fn get(
        &self,
        addresses: Vec<SharedAddress>,
    ) -> impl Future<Output = Result<Vec<SharedRecord>, RedisUnavailable>> + Send + 'static {
        let shared = Arc::clone(self.shared());
        async move { lookup::get(&shared, addresses).await }
    }

    /// The whole body of a record, in pieces, within 150 ms.
    ///
    /// # Errors
    /// A part is not there or not as it was written, or Redis does not answer in time.
    pub fn body(
        &self,
        body: &ChunkedBody,
    ) -> impl Future<Output = Result<Vec<Bytes>, RedisUnavailable>> + Send + 'static {
        let shared = Arc::clone(self.shared());
        let body = body.clone();
        async move { lookup::body(&shared, &body).await }
    }

    /// Writes a record later. It never waits. The record is dropped and counted if too much waits, if it is too large, or
    /// if Redis is not in use; what it would have replaced stays.
    pub fn put(&self, record: NewRecord) {
        self.inner.lanes.put(record);
    }

    /// Keeps a record for at least this time, of at most 30 days.
    pub fn renew(&self, record: &SharedRecord, ttl: Duration) {
        let ms = milliseconds(ttl.min(MAX_TTL));
        self.inner.lanes.lengthen(&record.place, ms);
    }

    /// Tells all instances of an event. Until it has come back it ends, for the caller, every record that it names.
    pub fn publish(&self, bytes: Bytes) -> Publishing {
        let token = self.inner.token.fetch_add(1, Ordering::SeqCst) + 1;
        let (sender, answer) = oneshot::channel();
        let event = WaitingEvent {
            token,
            bytes,
            answer: Some(sender),
        };
        if self
            .inner
            .calls
            .try_send(KeeperCall::Publish(event))
            .is_err()
        {
            // Too many wait: the thread publishes one that stands for all.
            self.shared().lost_token.fetch_max(token, Ordering::SeqCst);
        }
        Publishing {
            token,
            limit: self.shared().timing.answer,
            answer,
        }
    }

    /// The instances that have not acknowledged the event at `stamp`, after at most `wait`. This one is not among them.
    pub fn acknowledged(
        &self,
        stamp: Stamp,
        wait: Duration,
    ) -> impl Future<Output = Acknowledgements> + Send + 'static {
        let shared = Arc::clone(self.shared());
        async move { acknowledgements::acknowledged(&shared, stamp, wait).await }
    }

    /// Asks whether this instance fetches a record, or another one does.
    ///
    /// # Errors
    /// Redis is not in use, or does not answer in time: the caller fetches.
    pub fn begin_fetch(
        &self,
        address: &SharedAddress,
    ) -> impl Future<Output = Result<FetchTurn, RedisUnavailable>> + Send + 'static {
        let shared = Arc::clone(self.shared());
        let (runtime, waiters) = (self.inner.runtime.clone(), self.inner.waiters.clone());
        let address = address.clone();
        async move { fetch_lease::begin_fetch(shared, runtime, waiters, &address).await }
    }

    /// Redis's clock minus ours, in milliseconds.
    pub fn clock_difference_ms(&self) -> i64 {
        self.shared().clock_difference_ms.load(Ordering::Relaxed)
    }

    /// The numbers of the shared tier.
    pub fn stats(&self) -> RedisStats {
        self.shared().stats()
    }

    /// Publishes what waits, removes the registration of this instance and ends the thread. It takes at most 2 s.
    pub fn close(&self) -> impl Future<Output = ()> + Send + 'static {
        let calls = self.inner.calls.clone();
        async move {
            let (closing, closed) = oneshot::channel();
            let close = async {
                if calls.send(KeeperCall::Close(closing)).await.is_ok() {
                    let _ = closed.await;
                }
            };
            // The thread ends by itself later.
            let _ = timeout(CLOSE_TIME, close).await;
        }
    }
}

fn check_settings(settings: &RedisSettings) -> Result<KeyNames, RedisSettingsError> {
    let name = &settings.instance;
    let is_name = (1..=MAX_INSTANCE_BYTES).contains(&name.len());
    if !is_name || name.chars().any(char::is_control) {
        return Err(RedisSettingsError::Instance);
    }
    if settings.url.is_tls && settings.tls.is_none() {
        return Err(RedisSettingsError::Tls);
    }
    KeyNames::new(&settings.namespace).ok_or(RedisSettingsError::Namespace)
}

impl fmt::Debug for Redis {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Redis")
    }
}
