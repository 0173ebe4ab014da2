//! Lists and purges, which run in chunks and apply to every worker.

use std::pin::Pin;

use futures_util::FutureExt as _;

use super::*;
use crate::{
    cache::{
        Cache, EntryFilter, FilterSpec, ListOrder, ListQuery, Listing, PurgeAction, Purged,
        WorkerCache, WorkerCacheMode,
    },
    policy::{Routes, Rules},
};

/// More entries than one step covers.
const MANY: usize = 17_000;

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
        basis: ClaimBasis::Found(cache.send(Get(key(target))).await.unwrap()),
        revalidates: None,
        coalescing: Coalescing::Never,
        now: NOW,
    };
    match cache.send(claim).await {
        Ok(Claimed::Lead(ticket)) => ticket,
        other => panic!("{target} {other:?}"),
    }
}

async fn fill(ticket: FetchTicket, body: &'static [u8]) {
    let writer = BodyWriter::new(ticket, plain_head(), Some(body.len() as u64));
    let body = chunks(vec![Bytes::from_static(body)]);
    writer.run(body, |_, _| {}).await;
}

async fn store(cache: &Cache, target: &str, body: &'static [u8]) {
    fill(claimed(cache, target).await, body).await;
}

fn wanted(path: &str) -> EntryFilter {
    let names = FilterSpec {
        paths: vec![path.to_owned()],
        ..FilterSpec::default()
    };
    EntryFilter::new(&names, (&Routes::default(), &Rules::default()), false).unwrap()
}

async fn purge(cache: &Cache, path: &str, how: PurgeAction) -> Purged {
    cache.purge(wanted(path), how, NOW).await.unwrap().0
}

/// A purge of `/400` to `/499` that has gone through the first chunk: they come after it. All from `/000` on are stored.
async fn half_purged(cache: &Cache) -> Pin<Box<impl Future<Output = Purged>>> {
    for number in 0..500 {
        store(cache, &format!("/{number:03}"), b"old").await;
    }
    let mut purging = Box::pin(purge(cache, "/4*", PurgeAction::Remove));
    assert!((&mut purging).now_or_never().is_none());
    purging
}

async fn list(cache: &Cache, order: ListOrder, offset: usize, limit: usize) -> Listing {
    let list = ListQuery {
        filter: EntryFilter::all(),
        order,
        offset,
        limit,
        disk_time: Duration::ZERO,
    };
    cache.list(&list, NOW).await.unwrap()
}

fn paths(listing: &Listing) -> Vec<&str> {
    let entries = listing.entries.iter();
    entries.map(|entry| entry.path.as_str()).collect()
}

async fn count(cache: &Cache) -> u64 {
    cache.send(GetStats).await.unwrap().entries
}

#[test]
fn a_list_or_purge_of_several_chunks_is_complete() {
    run(async {
        let (cache, _) = worker(512 * MIB);
        for number in 0..MANY {
            store(&cache, &format!("/{number:05}"), b"x").await;
        }
        let listing = list(&cache, ListOrder::Path, 12_000, 3).await;
        assert_eq!(paths(&listing), ["/12000", "/12001", "/12002"]);
        assert_eq!((listing.total, listing.more), (MANY as u64, 4_997));
        assert_eq!(
            purge(&cache, "/*", PurgeAction::DryRun).await.responses,
            MANY as u64
        );
        let purged = purge(&cache, "/*7", PurgeAction::Remove).await;
        assert_eq!(purged.responses, MANY as u64 / 10);
        assert_eq!(count(&cache).await, MANY as u64 * 9 / 10);
        let purged = purge(&cache, "/*", PurgeAction::Expire).await;
        assert_eq!(purged.responses, MANY as u64 * 9 / 10);
        assert!(purged.more_paths && purged.paths.len() == 10_000);
        let listing = list(&cache, ListOrder::Path, 0, 10_000).await;
        assert!(listing.entries.iter().all(|entry| entry.is_stale));
        purge(&cache, "/*", PurgeAction::Remove).await;
        assert_eq!(
            list(&cache, ListOrder::Path, 0, 1).await,
            Listing::default()
        );
    });
}

#[test]
fn other_tasks_run_between_two_steps_of_the_actor() {
    run(async {
        let (cache, _) = worker(MIB);
        store(&cache, "/a", b"x").await;
        let mut listings = [(); 2].map(|()| Box::pin(list(&cache, ListOrder::Path, 0, 1)));
        for listing in &mut listings {
            assert!(listing.now_or_never().is_none());
        }
        let [first, mut second] = listings;
        assert_eq!(first.await.total, 1);
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(second.await.total, 1);
        let dry_run = || Box::pin(purge(&cache, "/*", PurgeAction::DryRun));
        let (mut first, mut second) = (dry_run(), dry_run());
        assert!((&mut first).now_or_never().is_none() && (&mut second).now_or_never().is_none());
        assert_eq!(first.await.responses, 1);
        assert!((&mut second).now_or_never().is_none());
        assert_eq!(second.await.responses, 1);
    });
}

#[test]
fn changes_between_two_chunks_hide_no_entry_from_a_purge() {
    run(async {
        let (cache, _) = worker(512 * MIB);
        for number in 0..MANY {
            store(&cache, &format!("/{number:05}"), b"x").await;
        }
        // Invalidations and responses arrive while the purge goes through the entries.
        let meanwhile = {
            let cache = cache.clone();
            actix_rt::spawn(async move {
                for number in 0..2000 {
                    let resource = Resource::new(&format!("/{number:05}"));
                    let invalidate = Invalidate::new(vec![resource], None);
                    cache.send(invalidate).await.unwrap();
                    store(&cache, &format!("/new/{number}"), b"x").await;
                }
            })
        };
        purge(&cache, "/?????", PurgeAction::Remove).await;
        purge(&cache, "/0*", PurgeAction::Remove).await;
        meanwhile.await.unwrap();
        purge(&cache, "/0*", PurgeAction::Remove).await;
        let left = list(&cache, ListOrder::Path, 0, 1).await;
        // A question mark matches itself.
        assert_eq!(paths(&left), ["/10000"]);
        purge(&cache, "/1*", PurgeAction::Remove).await;
        assert_eq!(count(&cache).await, 2000);
    });
}

#[test]
fn what_is_purged_does_not_come_back_with_a_fetch_that_began_between_two_chunks() {
    run(async {
        let (cache, _) = worker(64 * MIB);
        let purging = half_purged(&cache).await;
        // They are after the first chunk.
        let stored = |target: &'static str| async {
            let found = cache.send(Get(key(target))).await.unwrap();
            found.variants().next().cloned().unwrap()
        };
        let validated = stored("/496").await;
        let parts = [stored("/497").await, stored("/498").await];
        let validation = claimed(&cache, "/496").await;
        let rests = [claimed(&cache, "/497").await, claimed(&cache, "/498").await];
        let whole = claimed(&cache, "/499").await;
        assert_eq!(purging.await.responses, 100);
        let freshened = validation.freshen(&validated, plain_head()).await;
        assert_eq!(freshened.unwrap_err(), Reason::Cleared);
        // A later response has taken the place of the purged one.
        store(&cache, "/498", b"new").await;
        for (rest, part) in rests.into_iter().zip(&parts) {
            let later = head_at("*/*", None, NOW.saturating_add(Duration::from_secs(1)));
            let rest = BodyWriter::new(rest, later, Some(3));
            let rest = rest.join(part, Some(0..=2), None);
            rest.run(chunks(vec![Bytes::from_static(b"new")]), |_, _| {})
                .await;
        }
        fill(whole, b"new").await;
        let left = list(&cache, ListOrder::Path, 400, 10).await;
        assert_eq!(paths(&left), ["/498", "/499"], "what is new is stored");
        assert_eq!(stored("/498").await.body().len_bytes(), 3);
    });
}

#[test]
fn a_validation_that_ends_between_two_chunks_does_not_store_what_is_purged_later() {
    run(async {
        let directory = tempfile::tempdir().unwrap();
        let cache = with_store(directory.path());
        let purging = half_purged(&cache).await;
        // They are after the first chunk. The disk was told of the purge already.
        let mut stored = Vec::new();
        for target in ["/300", "/497"] {
            let found = cache.send(Get(key(target))).await.unwrap();
            let entry = found.variants().next().unwrap();
            let validation = claimed(&cache, target).await;
            let freshened = validation.freshen(entry, plain_head()).await;
            stored.push(freshened.map(|(_, stored)| stored));
        }
        assert!(
            matches!(stored[..], [Ok(Ok(())), Err(Reason::Cleared)]),
            "{stored:?}"
        );
        assert_eq!(purging.await.responses, 100);
        let ticket = claimed(&cache, "/497").await;
        let on_disk = cache.find_on_disk(&ticket, NOW, |_| Some(0)).await;
        assert!(on_disk.is_none());
    });
}

#[test]
fn a_validation_after_a_purge_that_was_given_up_is_stored() {
    run(async {
        let (cache, _) = worker(64 * MIB);
        let purging = half_purged(&cache).await;
        drop(purging);
        let found = cache.send(Get(key("/497"))).await.unwrap();
        let entry = found.variants().next().unwrap();
        let validation = claimed(&cache, "/497").await;
        let (_, stored) = validation.freshen(entry, plain_head()).await.unwrap();
        assert_eq!(stored, Ok(()));
    });
}

#[test]
fn a_validation_between_two_chunks_of_a_purge_of_others_is_stored() {
    run(async {
        let (cache, _) = worker(64 * MIB);
        let purging = half_purged(&cache).await;
        let found = cache.send(Get(key("/100"))).await.unwrap();
        let entry = found.variants().next().unwrap();
        let validation = claimed(&cache, "/100").await;
        purging.await;
        let (_, stored) = validation.freshen(entry, plain_head()).await.unwrap();
        assert_eq!(stored, Ok(()));
    });
}

#[test]
fn an_inspection_changes_nothing() {
    run(async {
        let (cache, worker_cache) = worker(MIB);
        store(&cache, "/a", b"old").await;
        worker_cache.lookup(&key("/a")).await;
        let ticket = claimed(&cache, "/a/slow").await;
        let looked = purge(&cache, "/a*", PurgeAction::DryRun).await;
        assert_eq!((looked.responses, looked.fetches), (1, 1));
        assert!(worker_cache.get(&key("/a")).is_some());
        fill(ticket, b"new").await;
        assert_eq!(count(&cache).await, 2);
    });
}

#[test]
fn fetches_started_before_a_purge_are_not_stored_and_later_ones_are() {
    run(async {
        let (cache, _) = worker(MIB);
        for (path, how) in [
            ("/a", PurgeAction::Remove),
            ("/*", PurgeAction::Remove),
            ("/a", PurgeAction::Expire),
        ] {
            let before = claimed(&cache, "/a").await;
            assert_eq!(purge(&cache, path, how).await.fetches, 1);
            let after = claimed(&cache, "/a").await;
            fill(before, b"old").await;
            assert_eq!(count(&cache).await, 0);
            fill(after, b"new").await;
            assert_eq!(purge(&cache, "/a", PurgeAction::Remove).await.responses, 1);
        }
    });
}

#[test]
fn too_many_purges_by_tag_void_every_fetch_in_progress() {
    run(async {
        let (cache, _) = worker(MIB);
        let before = claimed(&cache, "/a").await;
        for number in 0..100 {
            let names = FilterSpec {
                tags: vec![format!("t{number}")],
                ..FilterSpec::default()
            };
            let wanted =
                EntryFilter::new(&names, (&Routes::default(), &Rules::default()), false).unwrap();
            cache.purge(wanted, PurgeAction::Remove, NOW).await.unwrap();
        }
        fill(before, b"old").await;
        assert_eq!(count(&cache).await, 0);
        store(&cache, "/a", b"new").await;
        assert_eq!(count(&cache).await, 1);
    });
}

#[test]
fn hits_are_counted_by_the_worker_and_added_when_a_lookup_is_dropped() {
    run(async {
        let (cache, worker_cache) = worker(16 * MIB);
        for number in 0..300 {
            let target = format!("/{number:03}");
            store(&cache, &target, b"x").await;
            for _ in 0..=number % 3 {
                let known = worker_cache.lookup(&key(&target)).await;
                known.count_hit();
            }
        }
        while worker_cache.kept.drop_unused() {}
        let listing = list(&cache, ListOrder::Hits, 0, 1).await;
        assert_eq!(
            (paths(&listing), listing.entries[0].hits),
            (vec!["/002"], 3)
        );
        // A response that replaces another one continues its count.
        store(&cache, "/002", b"y").await;
        let listing = list(&cache, ListOrder::Hits, 0, 1).await;
        assert_eq!(
            (paths(&listing), listing.entries[0].hits),
            (vec!["/002"], 3)
        );
    });
}

#[test]
fn a_list_has_the_requested_order() {
    run(async {
        let (cache, _) = worker(MIB);
        store(&cache, "/b", b"xxx").await;
        store(&cache, "/a", b"x").await;
        store(&cache, "/c", b"xx").await;
        for (order, expected) in [
            (ListOrder::Path, ["/a", "/b", "/c"]),
            (ListOrder::Size, ["/b", "/c", "/a"]),
            (ListOrder::Hits, ["/a", "/b", "/c"]),
        ] {
            assert_eq!(
                paths(&list(&cache, order, 0, 9).await),
                expected,
                "{order:?}"
            );
        }
        purge(&cache, "/c", PurgeAction::Expire).await;
        let listing = list(&cache, ListOrder::Fresh, 0, 1).await;
        assert_eq!(paths(&listing), ["/c"]);
        assert_eq!(list(&cache, ListOrder::Path, 3, 9).await.entries, []);
    });
}

#[test]
fn the_nearest_key_has_the_longest_beginning_in_common() {
    run(async {
        let (cache, _) = worker(MIB);
        let nearest = async |target| {
            let found = cache.nearest(&key(target)).await.unwrap();
            found.map(|row| row.key.resource.target().to_owned())
        };
        assert_eq!(nearest("/a").await, None);
        for target in [
            "/products",
            "/products/1",
            "/products?limit=1",
            "/products?token=1",
            "/z",
        ] {
            store(&cache, target, b"x").await;
        }
        for (target, expected) in [
            ("/products/2", "/products/1"),
            ("/products?Limit=1", "/products?limit=1"),
            ("/products?a&token=1", "/products?token=1"),
            ("/zz", "/z"),
        ] {
            assert_eq!(nearest(target).await.as_deref(), Some(expected));
        }
    });
}
