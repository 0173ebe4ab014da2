//! Tests with real servers.

mod acknowledging;
mod cluster;
mod events;
mod faults;
mod fetches;
mod hostile;
mod leases;
mod records;
mod server;

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::task::AbortHandle;

use crate::redis::{
    NewRecord, OwnTiers, Redis, RedisEvents, RedisMessage, RedisMessageKind, RedisSettings,
    SharedAddress, SharedRecord, SharedRecordBody, Stamp, settings::RedisTiming,
};
use server::RedisServer;

/// How long a condition may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Waits for a condition.
#[track_caller]
fn until<F: FnMut() -> bool>(condition: F) -> impl Future<Output = ()> {
    let place = std::panic::Location::caller();
    wait_for(condition, place)
}

async fn wait_for<F: FnMut() -> bool>(
    mut condition: F,
    place: &'static std::panic::Location<'static>,
) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen: {place}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Short pauses, and long limits: a test machine is busy.
fn timing() -> RedisTiming {
    RedisTiming {
        connect: LIMIT,
        heartbeat: Duration::from_millis(20),
        answer: LIMIT,
        hard_limit: LIMIT,
        pause: Duration::from_millis(10),
        max_pause: Duration::from_millis(50),
        block: Duration::from_millis(100),
        write: LIMIT,
        leave: LIMIT,
        fetch_lease: LIMIT,
        fetch_renewal: LIMIT,
        fetch_poll: Duration::from_millis(20),
        kept: Duration::from_secs(3_600),
        stream_events: 10_000,
    }
}

fn settings(url: &str, name: &str) -> RedisSettings {
    RedisSettings {
        url: url.parse().unwrap(),
        namespace: "test".into(),
        instance: name.into(),
        tls: None,
        timeout: LIMIT,
        lease: Some(Duration::from_secs(600)),
        max_object_bytes: 8 * 1024 * 1024,
        all: Bytes::from_static(b"all"),
        own_tiers: OwnTiers::Empty,
        unpublished: None,
        wall_clock_ms: || 0,
    }
}

/// An instance that applies all events at once, and remembers them.
struct Instance {
    redis: Redis,
    heard: Arc<Mutex<Vec<RedisMessageKind>>>,
    task: AbortHandle,
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Instance {
    fn start(server: &RedisServer, name: &str) -> Self {
        Self::open(settings(&server.url(), name), timing())
    }

    fn open(settings: RedisSettings, timing: RedisTiming) -> Self {
        let (redis, events) = Redis::open_with(settings, timing).unwrap();
        Self::follow(redis, events)
    }

    /// Applies the events from now on.
    fn follow(redis: Redis, mut events: RedisEvents) -> Self {
        let heard: Arc<Mutex<Vec<RedisMessageKind>>> = Arc::default();
        let (hears, confirms) = (heard.clone(), redis.clone());
        let task = tokio::spawn(async move {
            while let Some(message) = events.next().await {
                hears.lock().unwrap().push(message.kind.clone());
                confirms.confirm(&message);
            }
        });
        Self {
            redis,
            heard,
            task: task.abort_handle(),
        }
    }

    /// Starts, and waits until Redis is in use.
    async fn ready(server: &RedisServer, name: &str) -> Self {
        let instance = Self::start(server, name);
        instance.is_ready().await;
        instance
    }

    async fn is_ready(&self) {
        until(|| self.redis.is_usable()).await;
    }

    /// The events that were heard, as text.
    fn events(&self) -> Vec<String> {
        let heard = self.heard.lock().unwrap();
        let events = heard.iter().filter_map(|kind| match kind {
            RedisMessageKind::Event { bytes, .. } => Some(String::from_utf8_lossy(bytes).into()),
            _ => None,
        });
        events.collect()
    }

    /// Whether each reading of the stream was continuous.
    fn beginnings(&self) -> Vec<bool> {
        let heard = self.heard.lock().unwrap();
        let beginnings = heard.iter().filter_map(|kind| match kind {
            RedisMessageKind::Begins { is_continuous, .. } => Some(*is_continuous),
            _ => None,
        });
        beginnings.collect()
    }

    fn has_lost_its_lease(&self) -> bool {
        self.heard
            .lock()
            .unwrap()
            .contains(&RedisMessageKind::LeaseEnded)
    }

    async fn publish(&self, text: &str) -> Stamp {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        self.redis.publish(bytes).published().await.unwrap()
    }

    fn record(&self, resource: &str, body: &[u8]) -> NewRecord {
        NewRecord {
            address: address(resource),
            variant: Vec::new(),
            head: b"head".to_vec(),
            body: vec![Bytes::copy_from_slice(body)],
            stamp: self.redis.stamp().unwrap(),
            ttl: Duration::from_secs(600),
            lease: None,
        }
    }

    /// Stores a record, and waits until it is written.
    async fn put(&self, record: NewRecord) {
        let before = self.redis.stats().written;
        self.redis.put(record);
        until(|| self.redis.stats().written > before).await;
    }

    async fn get(&self, resource: &str) -> Vec<SharedRecord> {
        self.redis.get(vec![address(resource)]).await.unwrap()
    }

    /// The body of the only record of a resource. `None` if there is no record, or its body is not whole.
    async fn body(&self, resource: &str) -> Option<Vec<u8>> {
        let record = self.get(resource).await.pop()?;
        match record.body {
            SharedRecordBody::Inline(body) => Some(body.to_vec()),
            SharedRecordBody::Chunked(body) => Some(self.redis.body(&body).await.ok()?.concat()),
        }
    }
}

fn address(resource: &str) -> SharedAddress {
    SharedAddress {
        resource: resource.as_bytes().into(),
        partition: Box::default(),
    }
}

/// The next message.
async fn next(events: &mut RedisEvents) -> RedisMessage {
    tokio::time::timeout(LIMIT, events.next())
        .await
        .unwrap()
        .unwrap()
}
