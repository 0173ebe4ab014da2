//! A worker's lookups compared with what the actor has stored.

use super::*;
use std::{
    rc::Rc,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::cache::{
    Cache, EntryFilter, KeyRef, RemovalReach, WorkerCache, WorkerCacheMode,
    fetches::messages::{MakeRoom, RoomMade},
};

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

/// Has the actor evict all it holds.
async fn evict_all(cache: &Cache) {
    while cache.send(MakeRoom { bytes: u64::MAX }).await.unwrap() == RoomMade::NotYet {}
    let held = cache.send(Get(key("/"))).await.unwrap();
    assert_eq!(held.variants().count(), 0);
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
        assert_eq!(used(&cache).await.stored_bytes, 0);
        // What is large is freed in a thread of its own.
        until(|| used(&cache), |stats| stats.used_bytes <= MIB).await;
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
                for worker_cache in [&worker_cache, &other_worker] {
                    while worker_cache.kept.drop_unused() {}
                }
                let before = used(&cache).await.used_bytes;
                tickets.push(claimed(&cache, &format!("{}/slow", target(number))).await);
                let more = used(&cache).await.used_bytes - before;
                assert!(more > 55_000, "the key of a fetch counts: {more}");
            }
        }
    });
}

#[test]
fn what_is_evicted_or_removed_is_not_found_even_if_it_was_just_used() {
    run(async {
        let (cache, worker_cache) = worker(MIB);
        store(&cache, "/", b"old").await;
        let old = worker_cache.lookup(&key("/")).await;
        let remove = Remove {
            key: key("/"),
            entry: Arc::clone(old.found().variants().next().unwrap()),
            reach: RemovalReach::Everywhere,
        };
        assert!(worker_cache.get(&key("/")).is_some());
        cache.send(remove).await.unwrap();
        assert!(worker_cache.get(&key("/")).is_none());
        store(&cache, "/", b"new").await;
        assert!(worker_cache.get(&key("/")).is_some());
        evict_all(&cache).await;
        assert!(worker_cache.get(&key("/")).is_none());
    });
}

#[test]
fn every_stored_key_is_found_while_the_index_grows_and_shrinks() {
    run(async {
        let (cache, worker_cache) = worker(64 * MIB);
        let target = |number: usize| format!("/{number}");
        let found = |number| {
            worker_cache
                .get(KeyRef::new(&*target(number), None))
                .is_some()
        };
        for number in 0..5000 {
            assert!(!found(number));
            store(&cache, &target(number), b"x").await;
            assert!(found(number) && found(number / 2));
        }
        assert!((0..5000).all(found));
        for number in (0..5000).step_by(3) {
            let resource = Resource::new(&target(number));
            cache
                .send(Invalidate::new(vec![resource], None))
                .await
                .unwrap();
        }
        for number in 0..5000 {
            assert_eq!(found(number), number % 3 != 0, "{number}");
        }
        cache.send(Clear).await.unwrap();
        assert!(!(0..5000).any(found));
    });
}

#[test]
fn a_look_in_the_index_finds_nothing_that_was_removed_before_it_began() {
    const KEYS: usize = 3000;
    run(async {
        let (cache, _) = worker(64 * MIB);
        let removed = Arc::new(AtomicUsize::new(0));
        let readers = [(); 2].map(|()| {
            let (index, removed) = (Arc::clone(&cache.index), Arc::clone(&removed));
            std::thread::spawn(move || {
                let mut found = 0;
                for number in (0..KEYS).cycle() {
                    let removed = removed.load(Ordering::Acquire);
                    let (kept, other) = (format!("/kept/{}", number % 100), format!("/{number}"));
                    for target in [kept, other] {
                        let seen = index.load().find(KeyRef::new(&*target, None));
                        if let Some(stored) = &*seen {
                            found += 1;
                            assert_eq!(stored.key.key(), key(&target));
                            assert!(number >= removed || target.starts_with("/kept"), "{target}");
                        }
                    }
                    if removed == KEYS {
                        return found;
                    }
                }
                0
            })
        });
        for number in 0..100 {
            store(&cache, &format!("/kept/{number}"), b"x").await;
        }
        for number in 0..KEYS {
            store(&cache, &format!("/{number}"), b"x").await;
        }
        for number in 0..KEYS {
            let resource = Resource::new(&format!("/{number}"));
            cache
                .send(Invalidate::new(vec![resource], None))
                .await
                .unwrap();
            removed.store(number + 1, Ordering::Release);
        }
        for reader in readers {
            assert!(reader.join().unwrap() > 0);
        }
    });
}

#[test]
fn lookups_are_kept_while_they_are_used_and_their_hits_are_counted() {
    run(async {
        let (cache, worker_cache) = worker(MIB);
        store(&cache, "/", b"x").await;
        let empty = used(&cache).await.used_bytes;
        let hits = || async { cache.matching(&EntryFilter::all()).await.unwrap()[0].hits };
        let lookup = worker_cache.get(&key("/")).unwrap();
        lookup.count_hit();
        assert!(Rc::ptr_eq(&lookup, &worker_cache.get(&key("/")).unwrap()));
        assert!(
            used(&cache).await.used_bytes > empty,
            "it counts against the budget"
        );
        let kept = Rc::downgrade(&lookup);
        drop(lookup);
        assert!(worker_cache.kept.drop_unused());
        assert!(kept.upgrade().is_some());
        assert!(!worker_cache.kept.drop_unused());
        assert!(kept.upgrade().is_none());
        assert_eq!(used(&cache).await.used_bytes, empty);
        assert_eq!(hits().await, 1);
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
        // This only makes workers ask the actor.
        cache.doubt(&Resource::new("/b"));
        assert!(worker_cache.get(&key("/b")).is_none());
        let known = worker_cache.lookup(&key("/b")).await;
        assert_eq!(known.found().variants().count(), 1);
        assert!(worker_cache.get(&key("/b")).is_some());
    });
}

#[test]
fn an_unsafe_request_makes_workers_ask_about_related_guesses() {
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
        // The actor may answer too late. Workers ask it all the same.
        cache.force_invalidate(request());
        let is_found = |target: &str| worker_cache.get(&key(target)).is_some();
        assert!(!concerned.iter().any(|target| is_found(target)));
        // Resources share counters, so the actor may be asked about one of the others.
        assert!(others.iter().any(|target| is_found(target)));
        for target in concerned.iter().chain(&others) {
            let known = worker_cache.lookup(&key(target)).await;
            let is_concerned = concerned.contains(target);
            assert_eq!(is_stale(known.found()), is_concerned, "{target}");
            assert!(is_found(target), "{target}");
        }
        cache.send(request()).await.unwrap();
        store(&cache, "/items/5/c", b"x").await;
        let known = worker_cache.lookup(&key("/items/5/c")).await;
        assert!(!is_stale(known.found()));
    });
}

#[test]
fn a_worker_cache_that_is_off_asks_the_actor_and_still_counts_hits() {
    run(async {
        let cache = Cache::new(MIB, MIB / 4);
        cache.start();
        let worker_cache: WorkerCache<()> =
            WorkerCache::new(cache.clone(), 1, WorkerCacheMode::Off);
        store(&cache, "/", b"x").await;
        for _ in 0..2 {
            let lookup = worker_cache.lookup(&key("/")).await;
            assert_eq!(lookup.found().variants().count(), 1);
            lookup.count_hit();
            assert!(worker_cache.get(&key("/")).is_none());
        }
        let rows = cache.matching(&EntryFilter::all()).await.unwrap();
        assert_eq!(rows[0].hits, 2);
    });
}

#[test]
fn what_was_found_before_a_clear_keeps_nothing_else_in_memory() {
    run(async {
        let (cache, worker_cache) = worker(MIB);
        let mut found = Vec::new();
        for number in 0..60 {
            let target = format!("/{number}");
            store(&cache, &target, b"x").await;
            found.push(worker_cache.lookup(&key(&target)).await);
        }
        let linked = || {
            let stored = found.iter().flat_map(|lookup| lookup.found().stored());
            stored.filter(|stored| stored.next.load().is_some()).count()
        };
        assert!(linked() > 0, "no two keys are in the same bucket");
        cache.send(Clear).await.unwrap();
        assert_eq!(linked(), 0);
    });
}

#[test]
fn a_look_knows_whether_a_removal_may_have_hidden_something_from_it() {
    run(async {
        let (cache, _) = worker(16 * MIB);
        store(&cache, "/a", b"a").await;
        let index = cache.index.load();
        let before = index.links();
        assert!(index.hid_nothing_since(before));
        evict_all(&cache).await;
        assert!(!index.hid_nothing_since(before));
        assert!(index.hid_nothing_since(index.links()));
    });
}
