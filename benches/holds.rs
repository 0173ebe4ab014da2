//! How long changes of many stored responses hold up a hit on the thread of the cache actor.
//!
//! `cargo bench --bench holds`
//!
//! A task on that thread does nothing but let others run, as the hits of a worker do. The longest time between two of its
//! turns is the longest that a hit has waited. The processor time of the thread is what the work itself takes: it does
//! not count the time in which the system runs other programs, which the clock counts. Other programs still take the
//! caches of the processor, so each change is measured some times, and the least and the middle figure are printed.

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
        self, BodyKey, PersistedQueries, Policy, RequestContent, Response, ResponseHeaders, Routes,
        Rules, StoredHead, Time,
    },
};
use rustix::time::{ClockId, clock_gettime};

/// That of the program: another one has other pauses.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MIB: u64 = 1024 * 1024;
/// How much is measured.
#[derive(Clone, Copy)]
struct Extent {
    /// The numbers of keys are divided by this.
    scale: usize,
    /// How often each change is measured.
    rounds: usize,
    /// For how long holds count after a change.
    afterwards: Duration,
}

const BENCH: Extent = Extent {
    scale: 1,
    rounds: 5,
    afterwards: Duration::from_millis(500),
};
/// `cargo test` runs this too.
const TEST: Extent = Extent {
    scale: 10_000,
    rounds: 1,
    afterwards: Duration::ZERO,
};
/// 2026-11-23T03:30:00Z.
const NOW: Time = Time::from_unix_millis(1_795_404_600_000);

fn default_policy() -> Option<Policy> {
    let origin = OriginUrl::parse("http://localhost").ok()?;
    Some(Config::for_origin(origin).policy)
}

fn head(policy: &Policy) -> Option<StoredHead> {
    let asked = HeaderMap::new();
    let mut replied = ResponseHeaders::new();
    replied.insert(&CONTENT_TYPE, &HeaderValue::from_static("application/json"));
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

/// Runs `work` in a thread of its own, as the commands of users run. Returns the longest time for which the actor held up
/// this thread, and how long the work took.
async fn hold<F: Future>(
    cache: &Cache,
    afterwards: Duration,
    work: impl FnOnce(Cache) -> F + Send + 'static,
) -> (Duration, Duration) {
    let longest = Rc::new(Cell::new(Duration::ZERO));
    let hits = {
        let longest = Rc::clone(&longest);
        spawn(async move {
            let mut before = thread_time();
            loop {
                yield_now().await;
                let now = thread_time();
                longest.set(longest.get().max(now - before));
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
    while begun.elapsed() < took + afterwards {
        yield_now().await;
    }
    hits.abort();
    (longest.get(), took)
}

/// Prints the least and the middle of the holds, and the middle of the times that the change took.
fn print(name: &str, rounds: Vec<(Duration, Duration)>) {
    let (mut holds, mut times): (Vec<_>, Vec<_>) = rounds.into_iter().unzip();
    holds.sort();
    times.sort();
    let millis = |times: &[Duration], number: usize| {
        let time = times.get(number).copied().unwrap_or_default();
        time.as_secs_f64() * 1000.0
    };
    println!(
        "{name:<45} held up {:>6.2} ms ({:>6.2} ms in the middle), took {:>8.1} ms",
        millis(&holds, 0),
        millis(&holds, holds.len() / 2),
        millis(&times, times.len() / 2)
    );
}

/// Measures a change some times. Each time `fill` comes before it.
async fn measure<F: Future>(
    (name, extent): (&str, Extent),
    cache: &Cache,
    fill: impl AsyncFn(),
    work: impl Fn(Cache) -> F + Clone + Send + 'static,
) {
    let mut rounds = Vec::new();
    for _ in 0..extent.rounds {
        fill().await;
        rounds.push(hold(cache, extent.afterwards, work.clone()).await);
    }
    print(name, rounds);
}

fn purged(path: &str) -> Option<EntryFilter> {
    let spec = FilterSpec {
        paths: vec![path.to_owned()],
        ..FilterSpec::default()
    };
    EntryFilter::new(&spec, (&Routes::default(), &Rules::default()), false).ok()
}

async fn run(extent: Extent) -> Option<()> {
    let head = head(&default_policy()?)?;
    let cache = Cache::new(8192 * MIB, 64 * MIB);
    cache.start();
    let nothing = async || ();
    measure(("nothing", extent), &cache, nothing, async |_| {}).await;
    for keys in [160_000, 750_000] {
        let filled = async || fill(&cache, &head, keys / extent.scale).await;
        let clear = |cache: Cache| async move { cache.send(Clear).await };
        measure((&format!("clear {keys}"), extent), &cache, filled, clear).await;
    }
    let stored = head.clone();
    let filled = move |cache: Cache| {
        let head = stored.clone();
        async move { fill(&cache, &head, 200_000 / extent.scale).await }
    };
    let cleared = async || drop(cache.send(Clear).await);
    measure(("store 200,000", extent), &cache, cleared, filled).await;
    let million = async || fill(&cache, &head, 1_000_000 / extent.scale).await;
    million().await;
    let list = ListQuery {
        filter: EntryFilter::all(),
        order: ListOrder::Size,
        offset: 0,
        limit: 50,
        disk_time: Duration::ZERO,
    };
    let listed = move |cache: Cache| {
        let list = list.clone();
        async move { cache.list(&list, NOW).await }
    };
    measure(("list 1,000,000 by size", extent), &cache, nothing, listed).await;
    for (name, path) in [
        ("purge the 111,111 of 1,000,000 that match", "/products/1*"),
        ("purge one path", "/products/2"),
    ] {
        let filter = purged(path)?;
        let purge = move |cache: Cache| {
            let filter = filter.clone();
            async move { cache.purge(filter, PurgeAction::Remove, NOW).await }
        };
        measure((name, extent), &cache, million, purge).await;
    }
    let _ = cache.send(Clear).await;
    run_partitions(&cache, &head, extent).await?;
    run_evictions(&head, extent).await;
    Some(())
}

async fn run_evictions(head: &StoredHead, extent: Extent) {
    let full = Cache::new(256 * MIB, 64 * MIB);
    full.start();
    for (name, pieces) in [
        ("evict for a body of 60 MiB", 60 * 1024),
        ("evict for 1 KiB", 1),
    ] {
        let filled = async || fill(&full, head, 300_000 / extent.scale).await;
        let stored = head.clone();
        let store = move |cache: Cache| {
            let head = stored.clone();
            async move { store_pieces(&cache, &head, key("/large", None), pieces).await }
        };
        measure((name, extent), &full, filled, store).await;
    }
}

async fn run_partitions(cache: &Cache, head: &StoredHead, extent: Extent) -> Option<()> {
    let filled = async || fill_partitions(cache, head, 60_000 / extent.scale).await;
    let filter = purged("/search")?;
    let expire = move |cache: Cache| {
        let filter = filter.clone();
        async move { cache.purge(filter, PurgeAction::Expire, NOW).await }
    };
    measure(
        ("expire 60,000 partitions of one path", extent),
        cache,
        filled,
        expire,
    )
    .await;
    let invalidate = |cache: Cache| async move {
        let invalidate = Invalidate::new(vec![Resource::new("/search")], None);
        cache.send(invalidate).await
    };
    measure(
        ("invalidate 60,000 partitions of one path", extent),
        cache,
        filled,
        invalidate,
    )
    .await;
    Some(())
}

fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let extent = if is_bench { BENCH } else { TEST };
    System::new().block_on(run(extent));
}
