//! Changes of many keys hold up no other message: their memory is freed later, or in another thread.

use std::ops::Range;

use super::*;
use crate::{
    cache::{Cache, EntryFilter, FilterSpec, PurgeAction},
    policy::{BodyKey, PersistedQueries, Routes, Rules},
};

/// More keys than one step frees.
const MANY: usize = 2000;

/// A key of `/a` with a body.
fn posted(number: usize) -> Key {
    let mut json = HeaderMap::new();
    json.insert(
        HeaderName::from_static("content-type"),
        HeaderValue::from_static("application/json"),
    );
    Key {
        content: BodyKey::of(
            &json,
            format!("[{number}]").as_bytes(),
            PersistedQueries::Change,
        )
        .ok(),
        ..key("/a")
    }
}

async fn fill(cache: &Addr<CacheActor>, keys: Range<usize>) {
    for number in keys {
        let key = posted(number);
        let seen = cache.send(Get(key.clone())).await.unwrap();
        let claim = Claim {
            key,
            basis: ClaimBasis::Found(seen),
            revalidates: None,
            coalescing: Coalescing::Never,
            variant: None,
            wait: Duration::ZERO,
            now: NOW,
        };
        let Claimed::Lead(ticket) = cache.send(claim).await.unwrap() else {
            panic!("{number} is not claimed");
        };
        let body = chunks(vec![Bytes::from_static(b"x")]);
        let writer = BodyWriter::new(ticket, plain_head(), Some(1));
        writer.run(body, |_, _| {}).await;
    }
}

async fn stored(cache: &Addr<CacheActor>, number: usize) -> usize {
    let found = cache.send(Get(posted(number))).await.unwrap();
    found.variants().count()
}

#[test]
fn an_invalidation_of_many_partitions_holds_at_once_and_frees_them_later() {
    run(async {
        let cache = cache(64 * MIB);
        fill(&cache, 0..1).await;
        let one = stats(&cache).await;
        fill(&cache, 1..MANY).await;
        let full = stats(&cache).await;
        assert_eq!(full.entries, MANY as u64);
        let invalidate = Invalidate::new(vec![Resource::new("/a")], None);
        let cleared = cache.send(invalidate).await.unwrap();
        assert_eq!(
            (cleared.cleared.entries, cleared.cleared.bytes),
            (full.entries, full.stored_bytes)
        );
        let after = stats(&cache).await;
        assert_eq!((after.entries, after.stored_bytes), (0, 0));
        assert!(
            after.used_bytes > full.used_bytes / 2,
            "most is not freed yet: {after:?}"
        );
        for number in [0, MANY / 2, MANY - 1] {
            assert_eq!(stored(&cache, number).await, 0, "{number}");
        }
        // A later response is stored, and stays when the earlier ones are freed.
        fill(&cache, MANY - 1..MANY).await;
        // The last bytes count as used again for a moment, while the thread that frees them is at work.
        until(|| stats(&cache), |stats| *stats == one).await;
        assert_eq!(stored(&cache, MANY - 1).await, 1);
    });
}

#[test]
fn a_clear_in_the_middle_of_freeing_what_was_invalidated_counts_all_memory_once() {
    run(async {
        let cache = cache(64 * MIB);
        fill(&cache, 0..1).await;
        let one = stats(&cache).await;
        fill(&cache, 1..MANY).await;
        let invalidate = Invalidate::new(vec![Resource::new("/a")], None);
        cache.send(invalidate).await.unwrap();
        cache.send(Clear).await.unwrap();
        fill(&cache, 0..1).await;
        // Memory that was freed twice, or promised twice, would hide the use of this response.
        until(|| stats(&cache), |stats| *stats == one).await;
    });
}

#[test]
fn a_purge_of_one_path_with_many_partitions_is_complete() {
    run(async {
        let handle = Cache::new(64 * MIB, MIB);
        handle.start();
        let cache = handle.address().unwrap().clone();
        fill(&cache, 0..MANY).await;
        let spec = FilterSpec {
            paths: vec!["/b".to_owned(), "/a".to_owned(), "/c".to_owned()],
            ..FilterSpec::default()
        };
        let filter =
            || EntryFilter::new(&spec, (&Routes::default(), &Rules::default()), false).unwrap();
        for (how, left) in [
            (PurgeAction::DryRun, MANY),
            (PurgeAction::Expire, MANY),
            (PurgeAction::Remove, 0),
        ] {
            let (purged, _) = handle.purge(filter(), how, NOW).await.unwrap();
            assert_eq!(purged.responses, MANY as u64, "{how:?}");
            assert_eq!(stats(&cache).await.entries, left as u64, "{how:?}");
        }
        until(|| stats(&cache), |stats| stats.used_bytes == 0).await;
    });
}

#[test]
fn what_a_clear_removes_does_not_count_while_another_thread_frees_it() {
    run(async {
        let cache = cache(64 * MIB);
        fill(&cache, 0..MANY).await;
        cache.send(Clear).await.unwrap();
        assert_eq!(stats(&cache).await.entries, 0);
        // There is room for as much as before.
        fill(&cache, 0..MANY).await;
        assert_eq!(stats(&cache).await.entries, MANY as u64);
    });
}
