//! An actor that fails is started again.

use actix::{Arbiter, Context, Handler, Message};

use super::*;
use crate::cache::{Cache, EntryFilter, FilterSpec, WorkerCache, WorkerCacheMode};
use crate::policy::{Routes, Rules};

/// Makes the actor panic.
#[derive(Message)]
#[rtype(result = "()")]
struct Panic;

impl Handler<Panic> for CacheActor {
    type Result = ();

    fn handle(&mut self, _: Panic, _: &mut Context<Self>) {
        panic!("a test makes the actor panic");
    }
}

async fn claimed(cache: &Cache, target: &str) -> FetchTicket {
    match claim_of(cache.address().unwrap(), target, Coalescing::Never).await {
        Claimed::Lead(ticket) => ticket,
        other => panic!("{target} {other:?}"),
    }
}

async fn fill(ticket: FetchTicket) -> Option<FetchEnd> {
    let mut reader = None;
    let writer = BodyWriter::new(ticket, plain_head(), Some(1));
    let body = chunks(vec![Bytes::from_static(b"x")]);
    writer.run(body, |_, opened| reader = Some(opened)).await;
    reader.and_then(|reader| reader.end())
}

async fn entries(cache: &Cache) -> u64 {
    cache.send(GetStats).await.unwrap().entries
}

#[test]
fn an_actor_that_ends_with_the_proxy_is_not_started_again() {
    run(async {
        let cache = Cache::new(MIB, MIB / 4);
        cache.start();
        cache.end();
        assert_eq!(entries(&cache).await, 0);
        assert!(cache.send(Panic).await.is_err());
        assert!(cache.send(GetStats).await.is_err());
        assert!(cache.address().is_none());
    });
}

#[test]
fn an_actor_that_panics_is_started_again_empty_for_every_worker() {
    run(async {
        let cache = Cache::new(MIB, MIB / 4);
        cache.start();
        let workers =
            [(); 2].map(|()| WorkerCache::<()>::new(cache.clone(), 2, WorkerCacheMode::On));
        for round in 0..3 {
            assert_eq!(
                fill(claimed(&cache, "/a").await).await,
                Some(FetchEnd::Stored)
            );
            for worker in &workers {
                worker.lookup(&key("/a")).await;
                assert!(worker.get(&key("/a")).is_some(), "{round}");
            }
            let before = claimed(&cache, "/b").await;
            assert!(cache.send(Panic).await.is_err());
            // The first message after that finds an empty cache, and a Clear holds.
            assert_eq!(cache.send(Clear).await.unwrap().cleared, Cleared::default());
            for worker in &workers {
                assert!(worker.get(&key("/a")).is_none(), "{round}");
                assert_eq!(
                    worker.lookup(&key("/a")).await.found().variants().count(),
                    0
                );
            }
            let end = fill(before).await;
            assert_eq!(end, Some(FetchEnd::NotStored(Reason::CacheUnavailable)));
            assert_eq!(entries(&cache).await, 0);
        }
        for worker in &workers {
            while worker.kept.drop_unused() {}
        }
        assert_eq!(cache.send(GetStats).await.unwrap().used_bytes, 0);
    });
}

#[test]
fn an_actor_whose_thread_has_ended_is_started_again_in_another_one() {
    run(async {
        let cache = Cache::new(MIB, MIB / 4);
        let thread = Arbiter::new();
        let (starts, started) = oneshot::channel();
        let there = cache.clone();
        thread.spawn_fn(move || {
            there.start();
            let _ = starts.send(());
        });
        started.await.unwrap();
        assert_eq!(
            fill(claimed(&cache, "/a").await).await,
            Some(FetchEnd::Stored)
        );
        thread.stop();
        thread.join().unwrap();
        assert_eq!(entries(&cache).await, 0);
        assert_eq!(
            fill(claimed(&cache, "/a").await).await,
            Some(FetchEnd::Stored)
        );
        assert_eq!(entries(&cache).await, 1);
    });
}

#[test]
fn purges_by_tag_are_remembered_until_the_fetches_before_them_have_ended() {
    run(async {
        let budget = Budget::new(MIB);
        let mut actor = CacheActor::new(
            empty_store(&budget),
            (budget, MIB / 4),
            (None, None),
            (FetchId::default(), false),
        );
        let spec = FilterSpec {
            tags: vec!["t".to_owned()],
            ..FilterSpec::default()
        };
        let filter =
            EntryFilter::new(&spec, (&Routes::default(), &Rules::default()), false).unwrap();
        let purges = &mut actor.tag_purges;
        let fetch = crate::cache::fetches::reader::FetchId;
        assert!(purges.remember(&filter, fetch(0), 0));
        assert_eq!(purges.len(), 0, "there was nothing under way");
        assert!(purges.remember(&filter, fetch(3), 2));
        assert!(purges.remember(&filter, fetch(5), 3));
        for (ended, left) in [(7, 2), (1, 2), (2, 1), (6, 1), (4, 0)] {
            purges.ended(fetch(ended));
            assert_eq!(purges.len(), left, "{ended}");
        }
    });
}
