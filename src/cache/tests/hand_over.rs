//! What the cache tells a process that has taken over.

use futures_util::future::poll_immediate;
use std::pin::pin;

use super::*;

fn started() -> Cache {
    let cache = Cache::new(MIB, MIB);
    cache.start();
    cache
}

#[test]
fn an_invalidation_after_a_hand_over_waits_until_the_new_process_has_applied_it() {
    run(async {
        let cache = started();
        let mut ends = cache.hand_over().await;
        let removal = cache
            .send(Invalidate::new(vec![Resource::new("/a")], None))
            .await
            .unwrap();
        let end = ends.try_recv().unwrap();
        let mut confirmed = pin!(removal.confirmed());
        assert!(poll_immediate(confirmed.as_mut()).await.is_none());
        end.applied.send(()).unwrap();
        confirmed.await.unwrap();
    });
}

#[test]
fn an_end_of_the_process_before_is_told_to_the_one_after() {
    run(async {
        let cache = started();
        let mut ends = cache.hand_over().await;
        let mut applied = pin!(cache.apply_end(Bytes::from_static(b"an end"), NOW));
        while ends.is_empty() {
            assert!(poll_immediate(applied.as_mut()).await.is_none());
            tokio::task::yield_now().await;
        }
        let end = ends.try_recv().unwrap();
        assert_eq!(end.bytes, "an end");
        end.applied.send(()).unwrap();
        applied.await.unwrap();
    });
}

#[test]
fn ends_are_not_known_while_there_are_unsafe_requests() {
    run(async {
        let cache = started();
        let request = cache.begin_unsafe_request();
        assert!(!cache.knows_all_ends().await);
        drop(request);
        assert!(cache.knows_all_ends().await);
    });
}
