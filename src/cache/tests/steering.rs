//! Lists and purges: a chunk at a time, and true for every worker.

use super::*;
use crate::{
    cache::{Cache, How, List, Listing, Names, Near, Order, Purged, Wanted, messages::MakeRoom},
    policy::Rules,
};

/// More than fit into one chunk.
const MANY: usize = 17_000;

fn worker(max_memory_bytes: u64) -> (Cache, Near<()>) {
    let cache = Cache::new(max_memory_bytes, max_memory_bytes / 4);
    cache.host();
    let near = Near::new(cache.clone(), 1);
    (cache, near)
}

async fn claimed(cache: &Cache, target: &str) -> Ticket {
    let claim = Claim {
        key: key(target),
        seen: Seen::Stored(cache.ask(Get(key(target))).await.unwrap()),
        about: None,
        company: Company::Alone,
        now: NOW,
    };
    match cache.ask(claim).await {
        Ok(Claimed::Lead(ticket)) => ticket,
        other => panic!("{target} {other:?}"),
    }
}

async fn fill(ticket: Ticket, body: &'static [u8]) {
    let filler = ticket.begin(plain_head(), Some(body.len() as u64));
    let body = chunks(vec![Bytes::from_static(body)]);
    filler.run(body, |_, _| {}).await;
}

async fn store(cache: &Cache, target: &str, body: &'static [u8]) {
    fill(claimed(cache, target).await, body).await;
}

fn wanted(path: &str) -> Wanted {
    let names = Names {
        paths: vec![path.to_owned()],
        ..Names::default()
    };
    Wanted::named(&names, &Rules::default(), false).unwrap()
}

async fn purge(cache: &Cache, path: &str, how: How) -> Purged {
    cache.purge(wanted(path), how, NOW).await.unwrap()
}

async fn list(cache: &Cache, order: Order, offset: usize, limit: usize) -> Listing {
    let list = List {
        wanted: Wanted::everything(),
        order,
        offset,
        limit,
    };
    cache.list(&list, NOW).await.unwrap()
}

fn paths(listing: &Listing) -> Vec<&str> {
    let entries = listing.entries.iter();
    entries.map(|entry| entry.path.as_str()).collect()
}

async fn count(cache: &Cache) -> u64 {
    cache.ask(Statistics).await.unwrap().entries
}

#[test]
fn what_takes_several_chunks_is_listed_and_purged_to_its_end() {
    run(async {
        let (cache, _) = worker(512 * MIB);
        for number in 0..MANY {
            store(&cache, &format!("/{number:05}"), b"x").await;
        }
        let listing = list(&cache, Order::Path, 12_000, 3).await;
        assert_eq!(paths(&listing), ["/12000", "/12001", "/12002"]);
        assert_eq!((listing.total, listing.more), (MANY as u64, 4_997));
        assert_eq!(purge(&cache, "/*", How::Look).await.answers, MANY as u64);
        let purged = purge(&cache, "/*7", How::Remove).await;
        assert_eq!(purged.answers, MANY as u64 / 10);
        assert_eq!(count(&cache).await, MANY as u64 * 9 / 10);
        let purged = purge(&cache, "/*", How::Expire).await;
        assert_eq!(purged.answers, MANY as u64 * 9 / 10);
        assert!(purged.more_paths && purged.paths.len() == 10_000);
        let listing = list(&cache, Order::Path, 0, 10_000).await;
        assert!(listing.entries.iter().all(|entry| entry.is_stale));
        purge(&cache, "/*", How::Remove).await;
        assert_eq!(list(&cache, Order::Path, 0, 1).await, Listing::default());
    });
}

#[test]
fn what_goes_and_comes_between_two_chunks_hides_nothing_from_a_purge() {
    run(async {
        let (cache, _) = worker(512 * MIB);
        for number in 0..MANY {
            store(&cache, &format!("/{number:05}"), b"x").await;
        }
        // Invalidations and answers come in while the purge goes through what is stored.
        let meanwhile = {
            let cache = cache.clone();
            actix_rt::spawn(async move {
                for number in 0..2000 {
                    let resource = Resource::new(&format!("/{number:05}"));
                    let invalidate = Invalidate::new(vec![resource], None);
                    cache.ask(invalidate).await.unwrap();
                    store(&cache, &format!("/new/{number}"), b"x").await;
                }
            })
        };
        purge(&cache, "/?????", How::Remove).await;
        purge(&cache, "/0*", How::Remove).await;
        meanwhile.await.unwrap();
        purge(&cache, "/0*", How::Remove).await;
        let left = list(&cache, Order::Path, 0, 1).await;
        // A question mark is a letter like any other.
        assert_eq!(paths(&left), ["/10000"]);
        purge(&cache, "/1*", How::Remove).await;
        assert_eq!(count(&cache).await, 2000);
    });
}

#[test]
fn a_purge_makes_void_what_a_worker_remembers_of_what_was_evicted() {
    run(async {
        for path in ["/a", "/*"] {
            let (cache, near) = worker(MIB);
            store(&cache, "/a", b"old").await;
            near.find(&key("/a")).await;
            cache.ask(MakeRoom { bytes: u64::MAX }).await.unwrap();
            assert!(near.recall(&key("/a")).is_some());
            let purged = purge(&cache, path, How::Remove).await;
            assert_eq!(purged.answers, 0);
            assert!(near.recall(&key("/a")).is_none(), "{path}");
        }
    });
}

#[test]
fn a_look_changes_nothing() {
    run(async {
        let (cache, near) = worker(MIB);
        store(&cache, "/a", b"old").await;
        near.find(&key("/a")).await;
        let ticket = claimed(&cache, "/a/slow").await;
        let looked = purge(&cache, "/a*", How::Look).await;
        assert_eq!((looked.answers, looked.fetches), (1, 1));
        assert!(near.recall(&key("/a")).is_some());
        fill(ticket, b"new").await;
        assert_eq!(count(&cache).await, 2);
    });
}

#[test]
fn fetches_that_began_before_a_purge_store_nothing_and_those_after_it_do() {
    run(async {
        let (cache, _) = worker(MIB);
        for (path, how) in [
            ("/a", How::Remove),
            ("/*", How::Remove),
            ("/a", How::Expire),
        ] {
            let before = claimed(&cache, "/a").await;
            assert_eq!(purge(&cache, path, how).await.fetches, 1);
            let after = claimed(&cache, "/a").await;
            fill(before, b"old").await;
            assert_eq!(count(&cache).await, 0);
            fill(after, b"new").await;
            assert_eq!(purge(&cache, "/a", How::Remove).await.answers, 1);
        }
    });
}

#[test]
fn more_purges_by_tag_than_are_remembered_void_all_that_is_under_way() {
    run(async {
        let (cache, _) = worker(MIB);
        let before = claimed(&cache, "/a").await;
        for number in 0..100 {
            let names = Names {
                tags: vec![format!("t{number}")],
                ..Names::default()
            };
            let wanted = Wanted::named(&names, &Rules::default(), false).unwrap();
            cache.purge(wanted, How::Remove, NOW).await.unwrap();
        }
        fill(before, b"old").await;
        assert_eq!(count(&cache).await, 0);
        store(&cache, "/a", b"new").await;
        assert_eq!(count(&cache).await, 1);
    });
}

#[test]
fn hits_are_counted_where_they_happen_and_told_of_in_batches() {
    run(async {
        let (cache, near) = worker(16 * MIB);
        for number in 0..300 {
            let target = format!("/{number:03}");
            store(&cache, &target, b"x").await;
            for _ in 0..=number % 3 {
                let known = near.find(&key(&target)).await;
                near.hit(&known);
            }
        }
        // The last batch is told of soon; others when they are full.
        tokio::task::yield_now().await;
        let listing = list(&cache, Order::Hits, 0, 1).await;
        assert_eq!(
            (paths(&listing), listing.entries[0].hits),
            (vec!["/002"], 3)
        );
        // What replaces an answer goes on with its count.
        store(&cache, "/002", b"y").await;
        let listing = list(&cache, Order::Hits, 0, 1).await;
        assert_eq!(
            (paths(&listing), listing.entries[0].hits),
            (vec!["/002"], 3)
        );
    });
}

#[test]
fn a_list_is_ordered_as_it_is_asked_for() {
    run(async {
        let (cache, _) = worker(MIB);
        store(&cache, "/b", b"xxx").await;
        store(&cache, "/a", b"x").await;
        store(&cache, "/c", b"xx").await;
        for (order, expected) in [
            (Order::Path, ["/a", "/b", "/c"]),
            (Order::Size, ["/b", "/c", "/a"]),
            (Order::Hits, ["/a", "/b", "/c"]),
        ] {
            assert_eq!(
                paths(&list(&cache, order, 0, 9).await),
                expected,
                "{order:?}"
            );
        }
        purge(&cache, "/c", How::Expire).await;
        let listing = list(&cache, Order::Fresh, 0, 1).await;
        assert_eq!(paths(&listing), ["/c"]);
        assert_eq!(list(&cache, Order::Path, 3, 9).await.entries, []);
    });
}

#[test]
fn the_nearest_key_has_the_longest_beginning_in_common() {
    run(async {
        let (cache, _) = worker(MIB);
        assert_eq!(cache.nearest("/a").await.unwrap(), None);
        for target in [
            "/products",
            "/products/1",
            "/products?limit=1",
            "/products?token=1",
            "/z",
        ] {
            store(&cache, target, b"x").await;
        }
        let nearest = |target| cache.nearest(target);
        assert_eq!(
            nearest("/products/2").await.unwrap().as_deref(),
            Some("/products/1")
        );
        assert_eq!(
            nearest("/products?Limit=1").await.unwrap().as_deref(),
            Some("/products?limit=1")
        );
        assert_eq!(nearest("/zz").await.unwrap().as_deref(), Some("/z"));
    });
}
