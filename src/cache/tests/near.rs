//! What a worker remembers, beside what the actor holds.

use super::*;
use crate::cache::{Cache, Near, messages::MakeRoom};

/// One worker before a cache of that size, and both.
fn worker(max_memory_bytes: u64) -> (Cache, Near<()>) {
    let cache = Cache::new(max_memory_bytes, max_memory_bytes / 4);
    cache.host();
    let near = Near::new(cache.clone(), 1);
    (cache, near)
}

async fn store(cache: &Cache, target: &str, body: &[u8]) {
    let claim = Claim {
        key: key(target),
        seen: Seen::Stored(Found::default()),
        about: None,
        company: Company::Alone,
        now: NOW,
    };
    let Ok(Claimed::Lead(ticket)) = cache.ask(claim).await else {
        panic!("{target}");
    };
    let filler = ticket.begin(plain_head(), Some(body.len() as u64));
    let body = chunks(vec![Bytes::copy_from_slice(body)]);
    filler.run(body, |_, _| {}).await;
}

/// Has the actor evict all it holds; answers what it holds of `/` then.
async fn evicted(cache: &Cache) -> Found {
    cache.ask(MakeRoom { bytes: u64::MAX }).await.unwrap();
    let held = cache.ask(Get(key("/"))).await.unwrap();
    assert_eq!(held.variants().count(), 0);
    held
}

async fn used(cache: &Cache) -> Stats {
    cache.ask(Statistics).await.unwrap()
}

#[test]
fn keys_in_use_that_the_actor_was_not_told_of_pin_no_bodies() {
    run(async {
        let (cache, near) = worker(16 * MIB);
        let body = vec![b'x'; 200 * 1024];
        for number in 0..100 {
            let target = format!("/{number}");
            store(&cache, &target, &body).await;
            // Remembered, then used; all within the moment for which uses are gathered.
            for _ in 0..2 {
                let known = near.find(&key(&target)).await;
                assert_eq!(known.found().variants().count(), 1);
            }
        }
        cache.ask(Clear).await.unwrap();
        let stats = used(&cache).await;
        assert_eq!(stats.stored_bytes, 0);
        assert!(stats.used_bytes <= MIB, "{stats:?}");
    });
}

#[test]
fn what_is_no_longer_stored_is_forgotten_when_the_actor_says_so() {
    run(async {
        let (cache, near) = worker(MIB);
        store(&cache, "/", b"old").await;
        near.find(&key("/")).await;
        let held = evicted(&cache).await;
        assert!(near.recall(&key("/")).is_some());
        near.learn(&key("/"), held);
        assert!(near.recall(&key("/")).is_none());
    });
}

#[test]
fn what_was_evicted_and_then_removed_is_void_for_who_remembers_it() {
    run(async {
        let (cache, near) = worker(MIB);
        store(&cache, "/", b"old").await;
        let old = near.find(&key("/")).await;
        evicted(&cache).await;
        assert!(near.recall(&key("/")).is_some());
        let entry = old.found().variants().next().unwrap();
        let remove = Remove {
            key: key("/"),
            entry: Arc::clone(entry),
        };
        cache.ask(remove).await.unwrap();
        assert!(near.recall(&key("/")).is_none());
    });
}

#[test]
fn an_invalidation_that_the_actor_did_not_answer_holds_all_the_same() {
    run(async {
        let (cache, near) = worker(MIB);
        for target in ["/a", "/b"] {
            store(&cache, target, b"old").await;
            near.find(&key(target)).await;
        }
        cache.insist(Invalidate::new(vec![Resource::new("/a")], None));
        assert!(near.recall(&key("/a")).is_none());
        let known = near.find(&key("/a")).await;
        assert_eq!(known.found().variants().count(), 0);
        // Of this one only workers are to ask again.
        cache.doubt(&Resource::new("/b"));
        assert!(near.recall(&key("/b")).is_none());
        let known = near.find(&key("/b")).await;
        assert_eq!(known.found().variants().count(), 1);
    });
}
