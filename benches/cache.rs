//! What the cache costs a request: a key, a worker's memory, a question to the actor, and a fetch that is stored; and how
//! much processor time of the actor's thread such a fetch takes.
//!
//! `cargo bench --bench cache`

use std::{
    convert::Infallible,
    hint::black_box,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix::Arbiter;
use actix_web::{
    http::{Method, StatusCode, header::HeaderMap},
    rt::{System, SystemRunner, spawn, time::sleep},
};
use bytes::Bytes;
use caching_proxy::{
    cache::{
        BodyWriter, Cache, Claim, ClaimBasis, Claimed, Clear, Coalescing, EntryFilter, Found, Get,
        GetStats, Key, KeyRef, ListOrder, ListQuery, Resource, WorkerCache, WorkerCacheMode,
    },
    config::Config,
    origin::OriginUrl,
    policy::{self, Policy, RequestContent, Response, ResponseHeaders, StoredHead, Time},
};
use criterion::{Criterion, SamplingMode, criterion_group, criterion_main};
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;

/// That of the program: another one takes other times.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MIB: u64 = 1024 * 1024;
/// 2026-11-23T03:30:00Z.
const NOW: Time = Time::from_unix_millis(1_795_404_600_000);
const TARGET: &str = "/products/17?lang=en";

fn key(target: &str) -> Key {
    Key {
        resource: Resource::new(target),
        identity: None,
        content: None,
        is_recorded: false,
    }
}

fn default_policy() -> Option<Policy> {
    let origin = OriginUrl::parse("http://localhost").ok()?;
    Some(Config::for_origin(origin).policy)
}

/// The head of a usual answer.
fn head(policy: &Policy) -> Option<StoredHead> {
    let asked = HeaderMap::new();
    let lines = [
        ("Cache-Control", "public, max-age=3600"),
        ("Content-Type", "application/json"),
        ("Date", "Mon, 23 Nov 2026 03:30:00 GMT"),
        ("ETag", "\"5f3c1a-400\""),
        ("Last-Modified", "Mon, 01 Jan 2024 00:00:00 GMT"),
    ];
    let lines = lines.iter();
    let replied: ResponseHeaders = lines
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
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

/// Claims, takes a body of 1 KiB in, and stores it.
async fn store(cache: &Cache, head: &StoredHead, target: &str) {
    let claim = Claim {
        variant: None,
        wait: Duration::from_secs(5),
        key: key(target),
        basis: ClaimBasis::Found(Found::default()),
        revalidates: None,
        coalescing: Coalescing::Join,
        now: NOW,
    };
    if let Ok(Claimed::Lead(ticket)) = cache.send(claim).await {
        let bytes = Bytes::from_static(&[b'x'; 1024]);
        let body = futures_util::stream::iter([Ok::<_, Infallible>(bytes)]);
        let filler = BodyWriter::new(ticket, head.clone(), Some(1024));
        filler.run(body, |_, reader| drop(black_box(reader))).await;
    }
}

fn with_cache(bench: impl FnOnce(&SystemRunner, &Cache, &StoredHead)) {
    let system = System::new();
    let Some(head) = default_policy().and_then(|policy| head(&policy)) else {
        return;
    };
    let cache = Cache::new(256 * MIB, 64 * MIB);
    system.block_on(async {
        cache.start();
        store(&cache, &head, TARGET).await;
    });
    bench(&system, &cache, &head);
}

fn keys(criterion: &mut Criterion) {
    criterion.bench_function("key: made of a target", |bencher| {
        bencher.iter(|| key(black_box(TARGET)));
    });
}

fn index(criterion: &mut Criterion) {
    with_cache(|system, cache, _| {
        let worker_cache: WorkerCache<()> = WorkerCache::new(cache.clone(), 1, WorkerCacheMode::On);
        system.block_on(worker_cache.lookup(&key(TARGET)));
        criterion.bench_function("index: a hit", |bencher| {
            bencher.iter(|| worker_cache.get(KeyRef::new(black_box(TARGET), None)));
        });
        criterion.bench_function("index: nothing stored", |bencher| {
            bencher.iter(|| worker_cache.get(KeyRef::new(black_box("/other"), None)));
        });
    });
}

fn actor(criterion: &mut Criterion) {
    with_cache(|system, cache, _| {
        let key = key(TARGET);
        criterion.bench_function("actor: Get, in the same thread", |bencher| {
            bencher.iter(|| -> Found {
                let get = Get(key.clone());
                system.block_on(cache.send(get)).unwrap_or_default()
            });
        });
    });
}

fn fills(criterion: &mut Criterion) {
    with_cache(|system, cache, head| {
        let mut number = 0_u64;
        criterion.bench_function("store: 1 KiB claimed, taken in and put", |bencher| {
            bencher.iter(|| {
                number += 1;
                let target = format!("/products/{number}");
                system.block_on(store(cache, head, &target));
            });
        });
    });
}

/// The processor time that this thread has used.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Stores responses for targets with these `numbers`. So many `fetches` run at a time, in the threads of `fetchers`. Returns
/// the processor time of this thread, in which the actor runs.
async fn store_elsewhere(
    (cache, head): (&Cache, &StoredHead),
    (fetchers, fetches): (&[Arbiter], usize),
    numbers: Range<u64>,
) -> Duration {
    let before = thread_time();
    let next = Arc::new(AtomicU64::new(numbers.start));
    let (running, mut all) = mpsc::channel::<Infallible>(1);
    for fetcher in fetchers.iter().cycle().take(fetches) {
        let (cache, head, next) = (cache.clone(), head.clone(), Arc::clone(&next));
        let running = running.clone();
        let fetch = async move || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    break;
                }
                store(&cache, &head, &format!("/products/{number}")).await;
            }
            drop(running);
        };
        fetcher.spawn_fn(|| drop(spawn(fetch())));
    }
    drop(running);
    // The channel ends when all fetches have.
    let _ = all.recv().await;
    thread_time() - before
}

/// What a store takes of the actor's thread, in which nothing else runs. With one fetch at a time, each message wakes the
/// thread. With many, several messages come at once, as under load.
fn actor_thread(criterion: &mut Criterion) {
    /// How many responses are stored in a round, at least.
    const ROUND: u64 = 20_000;
    let system = System::new();
    let Some(head) = default_policy().and_then(|policy| head(&policy)) else {
        return;
    };
    let (empty, full) = (
        Cache::new(8192 * MIB, 64 * MIB),
        Cache::new(256 * MIB, 64 * MIB),
    );
    system.block_on(async {
        empty.start();
        full.start();
        let mut number = 0;
        while full.send(GetStats).await.is_ok_and(|it| it.evictions == 0) {
            store(&full, &head, &format!("/others/{number}")).await;
            number += 1;
        }
    });
    let mut group = criterion.benchmark_group("actor's thread");
    group
        .sampling_mode(SamplingMode::Flat)
        .sample_size(20)
        .measurement_time(Duration::from_secs(5));
    let mut number = 0;
    for (name, threads, fetches) in [
        ("1 fetch at a time", 1, 1),
        ("64 fetches in 1 thread", 1, 64),
        ("64 fetches in 2 threads", 2, 64),
    ] {
        let fetchers: Vec<_> = (0..threads).map(|_| Arbiter::new()).collect();
        let mut run = async |cache: &Cache, times: u64| {
            let stores = times.max(ROUND);
            let numbers = number..number + stores;
            number = numbers.end;
            let used = store_elsewhere((cache, &head), (&fetchers, fetches), numbers).await;
            used.mul_f64(times as f64 / stores as f64)
        };
        group.bench_function(format!("a store in an empty cache, {name}"), |bencher| {
            bencher.iter_custom(|times| {
                system.block_on(async {
                    let _ = empty.send(Clear).await;
                    // Another thread frees what was stored.
                    sleep(Duration::from_millis(500)).await;
                    run(&empty, times).await
                })
            });
        });
        group.bench_function(format!("a store in a full cache, {name}"), |bencher| {
            bencher.iter_custom(|times| system.block_on(run(&full, times)));
        });
        for fetcher in fetchers {
            fetcher.stop();
        }
    }
}

/// What a list of everything costs: all of it, of which the actor does a part for each chunk of keys.
fn lists(criterion: &mut Criterion) {
    const KEYS: usize = 1_000_000;
    let system = System::new();
    let Some(head) = default_policy().and_then(|policy| head(&policy)) else {
        return;
    };
    let cache = Cache::new(8192 * MIB, 64 * MIB);
    system.block_on(async {
        cache.start();
        for number in 0..KEYS {
            store(&cache, &head, &format!("/products/{number}")).await;
        }
    });
    let list = ListQuery {
        filter: EntryFilter::all(),
        order: ListOrder::Size,
        offset: 0,
        limit: 50,
        disk_time: Duration::ZERO,
    };
    let mut group = criterion.benchmark_group("list");
    group.sample_size(10);
    group.bench_function("50 of 1,000,000 keys, by size", |bencher| {
        bencher.iter(|| system.block_on(cache.list(&list, NOW)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().measurement_time(Duration::from_secs(3));
    targets = keys, index, actor, fills, actor_thread, lists
}
criterion_main!(benches);
