//! Lists, purges and the search for the nearest key, over what is on disk.

use std::{path::Path, pin::pin, task::Poll};

use super::*;
use crate::{
    cache::{Cache, EntryFilter, FilterSpec, ListOrder, ListQuery, Listing, PurgeAction, Purged},
    policy::{Routes, Rules},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A cache with `/000`, `/001`, ... on disk alone.
async fn with_on_disk(directory: &Path, count: u64) -> Cache {
    let cache = with_store(directory);
    for number in 0..count {
        store(&cache, &format!("/{number:03}")).await;
    }
    cache.disk().unwrap().close().await;
    drop(cache);
    let cache = with_store(directory);
    // The index is read in the background.
    while cache.disk().unwrap().stats().is_loading {
        tokio::task::yield_now().await;
    }
    cache
}

async fn store(cache: &Cache, target: &str) {
    let claim = Claim {
        variant: None,
        wait: Duration::from_secs(5),
        key: key(target),
        basis: ClaimBasis::Found(cache.send(Get(key(target))).await.unwrap()),
        revalidates: None,
        coalescing: Coalescing::Never,
        now: NOW,
    };
    let Ok(Claimed::Lead(ticket)) = cache.send(claim).await else {
        panic!("{target}");
    };
    let writer = BodyWriter::new(ticket, plain_head(), Some(1));
    writer
        .run(chunks(vec![Bytes::from_static(b"x")]), |_, _| {})
        .await;
}

fn named(path: &str) -> EntryFilter {
    let names = FilterSpec {
        paths: vec![path.to_owned()],
        ..FilterSpec::default()
    };
    EntryFilter::new(&names, (&Routes::default(), &Rules::default()), false).unwrap()
}

async fn list(cache: &Cache, path: &str, disk_time: Duration) -> Listing {
    let list = ListQuery {
        filter: named(path),
        order: ListOrder::Path,
        offset: 0,
        limit: 2,
        disk_time,
    };
    cache.list(&list, NOW).await.unwrap()
}

async fn purge(cache: &Cache, path: &str, how: PurgeAction) -> Purged {
    cache.purge(named(path), how, NOW).await.unwrap().0
}

fn paths(listing: &Listing) -> Vec<&str> {
    let entries = listing.entries.iter();
    entries.map(|entry| entry.path.as_str()).collect()
}

#[test]
fn a_list_has_the_first_of_all_that_is_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        // More than are read in one step.
        let cache = with_on_disk(directory.path(), 1100).await;
        store(&cache, "/001").await;
        store(&cache, "/zz").await;
        let listing = list(&cache, "/*", MINUTE).await;
        assert_eq!(paths(&listing), ["/000", "/001"]);
        let is_on_disk: Vec<_> = listing.entries.iter().map(|it| it.is_on_disk).collect();
        assert_eq!(is_on_disk, [true, false]);
        assert_eq!((listing.total, listing.more), (1101, 1099));
        assert_eq!((listing.not_read_on_disk, listing.is_cut), (0, false));
        assert_eq!(list(&cache, "/99*", MINUTE).await.total, 10);
    });
}

#[test]
fn a_list_says_what_it_had_no_time_to_look_at() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let cache = with_on_disk(directory.path(), 40).await;
        store(&cache, "/zz").await;
        let listing = list(&cache, "/*", Duration::ZERO).await;
        assert_eq!(paths(&listing), ["/zz"]);
        assert!(listing.not_read_on_disk >= 40, "{listing:?}");
        // A path is found by the index, which takes no time.
        let listing = list(&cache, "/007", Duration::ZERO).await;
        assert_eq!(paths(&listing), ["/007"]);
        assert_eq!(listing.not_read_on_disk, 0);
    });
}

#[test]
fn lists_at_the_same_time_wait_for_each_other() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let cache = with_on_disk(directory.path(), 40).await;
        let turn = cache.disk().unwrap().walk_turn(MINUTE).await;
        let mut lists = pin!(async {
            let lists = [0; 4].map(|_| list(&cache, "/*", MINUTE));
            futures_util::future::join_all(lists).await
        });
        let is_pending =
            std::future::poll_fn(|context| Poll::Ready(lists.as_mut().poll(context).is_pending()));
        assert!(is_pending.await);
        drop(turn);
        for listing in lists.await {
            assert_eq!((listing.total, listing.not_read_on_disk), (40, 0));
        }
    });
}

#[test]
fn the_nearest_key_is_searched_for_among_the_newest_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let cache = with_on_disk(directory.path(), 40).await;
        let nearest = async |target: &str| {
            let found = cache.nearest(&key(target)).await.unwrap();
            found.map(|row| row.key.resource.target().to_owned())
        };
        assert_eq!(nearest("/0070").await.as_deref(), Some("/007"));
        // While another walk reads the disk, what is in memory has to do.
        let turn = cache.disk().unwrap().walk_turn(MINUTE).await;
        assert_eq!(nearest("/0070").await, None);
        drop(turn);
        assert_eq!(nearest("/0070").await.as_deref(), Some("/007"));
    });
}

#[test]
fn a_purge_counts_and_lists_what_it_names_on_disk() {
    let directory = tempfile::tempdir().unwrap();
    run(async {
        let cache = with_on_disk(directory.path(), 40).await;
        store(&cache, "/zz").await;
        let expected = ["/010", "/011", "/012", "/013", "/014"];
        let expected = [&expected[..], &["/015", "/016", "/017", "/018", "/019"]].concat();
        for how in [
            PurgeAction::DryRun,
            PurgeAction::Expire,
            PurgeAction::Remove,
        ] {
            let purged = purge(&cache, "/01*", how).await;
            assert_eq!((purged.on_disk, purged.responses), (10, 0), "{how:?}");
            assert_eq!(purged.paths, expected, "{how:?}");
            assert_eq!((purged.more_paths, purged.not_read_on_disk), (false, 0));
        }
        for (how, count) in [
            (PurgeAction::DryRun, 1),
            (PurgeAction::Expire, 1),
            (PurgeAction::Remove, 1),
            (PurgeAction::DryRun, 0),
        ] {
            let purged = purge(&cache, "/007", how).await;
            assert_eq!(purged.on_disk, count, "{how:?}");
            assert_eq!(purged.paths.len() as u64, count, "{how:?}");
        }
        assert_eq!(list(&cache, "/*", MINUTE).await.total, 30);
    });
}
