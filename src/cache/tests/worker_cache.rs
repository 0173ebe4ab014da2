//! A worker's copies compared with the entries of the actor.

use super::*;
use crate::cache::{Cache, EntryFilter, WorkerCache, WorkerCacheMode, fetches::messages::MakeRoom};

/// A cache of this size, and the copies of one worker.
fn worker(max_memory_bytes: u64) -> (Cache, WorkerCache<()>) {
    let cache = Cache::new(max_memory_bytes, max_memory_bytes / 4);
    cache.start();
    let worker_cache = WorkerCache::new(cache.clone(), 1, WorkerCacheMode::On);
    (cache, worker_cache)
}

async fn claimed(cache: &Cache, target: &str) -> FetchTicket {
    let claim = Claim {
        variant: None,
        wait: Duration::from_secs(5),
        key: key(target),
        basis: ClaimBasis::Found(Found::default()),
        revalidates: None,
        coalescing: Coalescing::Never,
        now: NOW,
    };
    match cache.send(claim).await {
        Ok(Claimed::Lead(ticket)) => ticket,
        other => panic!("{target} {other:?}"),
    }
}

async fn store(cache: &Cache, target: &str, body: &[u8]) {
    let ticket = claimed(cache, target).await;
    let writer = BodyWriter::new(ticket, plain_head(), Some(body.len() as u64));
    let body = chunks(vec![Bytes::copy_from_slice(body)]);
    writer.run(body, |_, _| {}).await;
}

/// Has the actor evict all it holds; answers what it holds of `/` then.
async fn evicted(cache: &Cache) -> Found {
    cache.send(MakeRoom { bytes: u64::MAX }).await.unwrap();
    let held = cache.send(Get(key("/"))).await.unwrap();
    assert_eq!(held.variants().count(), 0);
    held
}

async fn used(cache: &Cache) -> CacheStats {
    cache.send(GetStats).await.unwrap()
}

#[test]
fn keys_in_use_unknown_to_the_actor_pin_no_bodies() {
    run(async {
        let (cache, worker_cache) = worker(16 * MIB);
        let body = vec![b'x'; 200 * 1024];
        for number in 0..100 {
            let target = format!("/{number}");
            store(&cache, &target, &body).await;
            // CachedLookup, then used; all within the moment for which uses are gathered.
            for _ in 0..2 {
                let known = worker_cache.lookup(&key(&target)).await;
                assert_eq!(known.found().variants().count(), 1);
            }
        }
        cache.send(Clear).await.unwrap();
        let stats = used(&cache).await;
        assert_eq!(stats.stored_bytes, 0);
        assert!(stats.used_bytes <= MIB, "{stats:?}");
    });
}

#[test]
fn long_keys_count_against_the_budget_wherever_they_are_held() {
    run(async {
        let (cache, worker_cache) = worker(8 * MIB);
        let other_worker = WorkerCache::<()>::new(cache.clone(), 1, WorkerCacheMode::On);
        let target = |number: usize| format!("/{number}/{}", "x".repeat(55_000));
        let mut tickets = Vec::new();
        for number in 0..300 {
            store(&cache, &target(number), b"x").await;
            for worker_cache in [&worker_cache, &other_worker] {
                // Each request has its own copy of the key.
                worker_cache.lookup(&key(&target(number))).await;
            }
            let stats = used(&cache).await;
            assert!(stats.stored_bytes <= stats.used_bytes, "{stats:?}");
            assert!(stats.used_bytes <= stats.limit_bytes, "{number}: {stats:?}");
            if number < 20 {
                let before = stats.used_bytes;
                tickets.push(claimed(&cache, &format!("{}/slow", target(number))).await);
                let more = used(&cache).await.used_bytes - before;
                assert!(more > 55_000, "the key of a fetch counts: {more}");
            }
        }
        let copies = (0..300).flat_map(|number| {
            let copies = [&worker_cache, &other_worker];
            copies.map(|copies| copies.get(&key(&target(number))).is_some())
        });
        let copies = copies.filter(|is_copied| *is_copied).count() as u64;
        let stats = used(&cache).await;
        assert!(copies > 0);
        assert!(
            stats.used_bytes >= stats.stored_bytes + (copies + 20) * 55_000,
            "{copies} copies, {stats:?}"
        );
    });
}

#[test]
fn copies_of_removed_entries_are_dropped_when_the_actor_reports_them() {
    run(async {
        let (cache, worker_cache) = worker(MIB);
        store(&cache, "/", b"old").await;
        worker_cache.lookup(&key("/")).await;
        let held = evicted(&cache).await;
        assert!(worker_cache.get(&key("/")).is_some());
        worker_cache.insert(&key("/"), held);
        assert!(worker_cache.get(&key("/")).is_none());
    });
}

#[test]
fn a_copy_of_an_evicted_entry_is_void_after_its_removal() {
    run(async {
        let (cache, worker_cache) = worker(MIB);
        store(&cache, "/", b"old").await;
        let old = worker_cache.lookup(&key("/")).await;
        evicted(&cache).await;
        assert!(worker_cache.get(&key("/")).is_some());
        let entry = old.found().variants().next().unwrap();
        let remove = Remove {
            key: key("/"),
            entry: Arc::clone(entry),
        };
        cache.send(remove).await.unwrap();
        assert!(worker_cache.get(&key("/")).is_none());
    });
}

#[test]
fn an_invalidation_applies_without_a_response_of_the_actor() {
    run(async {
        let (cache, worker_cache) = worker(MIB);
        for target in ["/a", "/b"] {
            store(&cache, target, b"old").await;
            worker_cache.lookup(&key(target)).await;
        }
        cache.force_invalidate(Invalidate::new(vec![Resource::new("/a")], None));
        assert!(worker_cache.get(&key("/a")).is_none());
        let known = worker_cache.lookup(&key("/a")).await;
        assert_eq!(known.found().variants().count(), 0);
        // This invalidation only makes workers look up again.
        cache.bump_generation(&Resource::new("/b"));
        assert!(worker_cache.get(&key("/b")).is_none());
        let known = worker_cache.lookup(&key("/b")).await;
        assert_eq!(known.found().variants().count(), 1);
    });
}

#[test]
fn an_unsafe_request_makes_copies_of_related_guesses_invalid() {
    run(async {
        let (cache, worker_cache) = worker(MIB);
        let is_stale = |known: &Found| {
            let head = Arc::clone(known.variants().next().unwrap().head());
            !head.is_fresh(NOW)
        };
        let concerned = ["/items?a", "/items/5/b"];
        let others = ["/users", "/a", "/b", "/c"];
        for target in concerned.iter().chain(&others) {
            store(&cache, target, b"x").await;
            let known = worker_cache.lookup(&key(target)).await;
            assert!(!is_stale(known.found()), "{target}");
        }
        let request = || {
            let other = vec![Resource::new("/other")];
            Invalidate::new(other, None).with_related(Resource::new("/items/5"), NOW)
        };
        // The actor may answer too late. Then the copies are invalid all the same.
        cache.force_invalidate(request());
        let is_copied = |target: &str| worker_cache.get(&key(target)).is_some();
        assert!(!concerned.iter().any(|target| is_copied(target)));
        // Resources share counters, so one of the others may be looked up again.
        assert!(others.iter().any(|target| is_copied(target)));
        for target in concerned.iter().chain(&others) {
            let known = worker_cache.lookup(&key(target)).await;
            let is_concerned = concerned.contains(target);
            assert_eq!(is_stale(known.found()), is_concerned, "{target}");
            assert!(is_copied(target), "{target}");
        }
        cache.send(request()).await.unwrap();
        store(&cache, "/items/5/c", b"x").await;
        let known = worker_cache.lookup(&key("/items/5/c")).await;
        assert!(!is_stale(known.found()));
    });
}

#[test]
fn a_worker_cache_that_is_off_copies_nothing_and_still_counts_hits() {
    run(async {
        let cache = Cache::new(MIB, MIB / 4);
        cache.start();
        let worker_cache: WorkerCache<()> =
            WorkerCache::new(cache.clone(), 1, WorkerCacheMode::Off);
        store(&cache, "/", b"x").await;
        for _ in 0..2 {
            let lookup = worker_cache.lookup(&key("/")).await;
            assert_eq!(lookup.found().variants().count(), 1);
            worker_cache.count_hit(&lookup);
            assert!(worker_cache.get(&key("/")).is_none());
        }
        let lookup = worker_cache.lookup(&key("/")).await;
        for _ in 0..200 {
            let target = key("/other");
            worker_cache.count_hit(&worker_cache.insert(&target, lookup.found().clone()));
        }
        // The actor receives uses in batches; one batch is full now.
        let rows = cache.matching(&EntryFilter::all()).await.unwrap();
        assert_eq!(rows[0].hits, 2);
    });
}
