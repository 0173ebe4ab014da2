//! How long changes of many stored responses hold up a hit on the thread of the cache actor.
//!
//! `cargo bench --bench holds`
//!
//! A task on that thread does nothing but let others run, as the hits of a worker do. The longest time between two of its
//! turns is the longest that a hit has waited. The processor time of the thread is what the work itself takes: it does
//! not count the time in which the system runs other programs, which the clock counts.

#![allow(clippy::print_stdout, reason = "the figures are the result")]

use std::{
    cell::Cell,
    convert::Infallible,
    rc::Rc,
    thread,
    time::{Duration, Instant},
};

use actix_web::{
    http::{
        Method, StatusCode,
        header::{CONTENT_TYPE, HeaderMap, HeaderValue},
    },
    rt::{System, spawn, task::yield_now},
};
use bytes::Bytes;
use caching_proxy::{
    cache::{
        BodyWriter, Cache, Claim, ClaimBasis, Claimed, Clear, Coalescing, EntryFilter, FilterSpec,
        Invalidate, Key, ListOrder, ListQuery, PurgeAction, Resource,
    },
    config::Config,
    origin::OriginUrl,
    policy::{
        self, BodyKey, PersistedQueries, Policy, RequestContent, Response, Routes, Rules,
        StoredHead, Time,
    },
};
use rustix::time::{ClockId, clock_gettime};

const MIB: u64 = 1024 * 1024;
/// 2026-11-23T03:30:00Z.
const NOW: Time = Time::from_unix_millis(1_795_404_600_000);

fn default_policy() -> Option<Policy> {
    let origin = OriginUrl::parse("http://localhost").ok()?;
    Some(Config::for_origin(origin).policy)
}

fn head(policy: &Policy) -> Option<StoredHead> {
    let asked = HeaderMap::new();
    let mut replied = HeaderMap::new();
    replied.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let request = policy::Request::new(policy, &Method::GET, &asked, RequestContent::None, None);
    let reply = Response {
        status: StatusCode::OK,
        headers: &replied,
        connection_fields: None,
        request_time: NOW,
        response_time: NOW,
    };
    policy::admit(policy, &request, &reply).ok()
}

fn key(target: &str, content: Option<BodyKey>) -> Key {
    Key {
        resource: Resource::new(target),
        identity: None,
        content,
        is_recorded: false,
    }
}

/// Claims, takes a body of 1 KiB in, and stores it.
async fn store(cache: &Cache, head: &StoredHead, key: Key) {
    store_pieces(cache, head, key, 1).await;
}

/// The same for a body of so many pieces of 1 KiB.
async fn store_pieces(cache: &Cache, head: &StoredHead, key: Key, pieces: u64) {
    let claim = Claim {
        basis: ClaimBasis::Since(cache.snapshot(&key.resource)),
        key,
        revalidates: None,
        coalescing: Coalescing::Never,
        variant: None,
        wait: Duration::ZERO,
        now: NOW,
    };
    if let Ok(Claimed::Lead(ticket)) = cache.send(claim).await {
        let bytes = Bytes::from_static(&[b'x'; 1024]);
        let body = (0..pieces).map(move |_| Ok::<_, Infallible>(bytes.clone()));
        let body = futures_util::stream::iter(body);
        let writer = BodyWriter::new(ticket, head.clone(), Some(pieces * 1024));
        writer.run(body, |_, _| {}).await;
    }
}

/// Stores responses for so many targets.
async fn fill(cache: &Cache, head: &StoredHead, keys: usize) {
    for number in 0..keys {
        store(cache, head, key(&format!("/products/{number}"), None)).await;
    }
}

/// Stores responses to so many POSTs with different bodies, all to `/search`.
async fn fill_partitions(cache: &Cache, head: &StoredHead, keys: usize) {
    let mut json = HeaderMap::new();
    json.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for number in 0..keys {
        let content = BodyKey::of(
            &json,
            format!("[{number}]").as_bytes(),
            PersistedQueries::Change,
        );
        store(cache, head, key("/search", content.ok())).await;
    }
}

/// The processor time that this thread has used.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Runs `work` in a thread of its own, as the commands of users run, and prints the longest time for which the actor held
/// up this thread, and how long it took.
async fn measure<F: Future>(
    name: &str,
    cache: &Cache,
    work: impl FnOnce(Cache) -> F + Send + 'static,
) {
    let longest = Rc::new(Cell::new((Duration::ZERO, Duration::ZERO)));
    let hits = {
        let longest = Rc::clone(&longest);
        spawn(async move {
            let mut before = (thread_time(), Instant::now());
            loop {
                yield_now().await;
                let now = (thread_time(), Instant::now());
                let (thread, clock) = longest.get();
                longest.set((thread.max(now.0 - before.0), clock.max(now.1 - before.1)));
                before = now;
            }
        })
    };
    let begun = Instant::now();
    let cache = cache.clone();
    let worker = thread::spawn(move || {
        System::new().block_on(work(cache));
    });
    while !worker.is_finished() {
        yield_now().await;
    }
    let took = begun.elapsed();
    // What goes on after the work is done counts too.
    while begun.elapsed() < took + Duration::from_millis(500) {
        yield_now().await;
    }
    hits.abort();
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let (thread, clock) = longest.get();
    println!(
        "{name:<45} held up {:>7.2} ms ({:>7.2} by the clock), took {:>8.1} ms",
        millis(thread),
        millis(clock),
        millis(took)
    );
}

fn purged(path: &str) -> Option<EntryFilter> {
    let spec = FilterSpec {
        paths: vec![path.to_owned()],
        ..FilterSpec::default()
    };
    EntryFilter::new(&spec, (&Routes::default(), &Rules::default()), false).ok()
}

async fn run(scale: usize) -> Option<()> {
    let head = head(&default_policy()?)?;
    let cache = Cache::new(8192 * MIB, 64 * MIB);
    cache.start();
    measure("nothing", &cache, async |_| {}).await;
    for keys in [160_000, 750_000] {
        fill(&cache, &head, keys / scale).await;
        let clear = async |cache: Cache| cache.send(Clear).await;
        measure(&format!("clear {keys}"), &cache, clear).await;
    }
    let stored = head.clone();
    let filled = async move |cache: Cache| fill(&cache, &stored, 1_000_000 / scale).await;
    measure("store 1,000,000", &cache, filled).await;
    let list = ListQuery {
        filter: EntryFilter::all(),
        order: ListOrder::Size,
        offset: 0,
        limit: 50,
        disk_time: Duration::ZERO,
    };
    let listed = async move |cache: Cache| cache.list(&list, NOW).await;
    measure("list 1,000,000 by size", &cache, listed).await;
    for (name, path) in [
        ("purge the 111,111 of 1,000,000 that match", "/products/1*"),
        ("purge one path", "/products/2"),
    ] {
        let filter = purged(path)?;
        let purge = async move |cache: Cache| cache.purge(filter, PurgeAction::Remove, NOW).await;
        measure(name, &cache, purge).await;
    }
    let _ = cache.send(Clear).await;
    fill_partitions(&cache, &head, 60_000 / scale).await;
    let filter = purged("/search")?;
    let expire = async move |cache: Cache| cache.purge(filter, PurgeAction::Expire, NOW).await;
    measure("expire 60,000 partitions of one path", &cache, expire).await;
    let invalidate = Invalidate::new(vec![Resource::new("/search")], None);
    let invalidated = async move |cache: Cache| cache.send(invalidate).await;
    measure(
        "invalidate 60,000 partitions of one path",
        &cache,
        invalidated,
    )
    .await;
    let full = Cache::new(256 * MIB, 64 * MIB);
    full.start();
    fill(&full, &head, 300_000 / scale).await;
    let large = async move |cache: Cache| {
        store_pieces(&cache, &head, key("/large", None), 60 * 1024).await;
    };
    measure("evict for a body of 60 MiB", &full, large).await;
    Some(())
}

fn main() {
    // `cargo test` runs this too, with few keys.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let scale = if is_bench { 1 } else { 10_000 };
    System::new().block_on(run(scale));
}
