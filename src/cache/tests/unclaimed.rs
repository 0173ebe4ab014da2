//! Responses that are sent from disk as they are read, because memory is full.

use futures_util::StreamExt as _;

use super::*;
use crate::cache::{UnclaimedLoad, store::budget::Charge};

const BODY: &[u8] = &[7; 40 * 1024];

/// A cache whose memory is full. `/a` is stored on disk.
struct FullCache {
    cache: Cache,
    actor: Addr<CacheActor>,
    memory: Option<Charge>,
    directory: tempfile::TempDir,
}

impl FullCache {
    async fn new(head: StoredHead) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let before = with_store(directory.path());
        let end = store(before.address().unwrap(), "/a", head, BODY).await;
        assert_eq!(end, Some(FetchEnd::Stored));
        before.disk().unwrap().close().await;
        let cache = with_store(directory.path());
        let disk = cache.disk().unwrap();
        // A disk that has answered late is left alone for a while.
        while disk.stats().is_loading || !disk.may_have(&key("/a")) {
            tokio::task::yield_now().await;
        }
        let actor = cache.address().unwrap().clone();
        Self {
            memory: Some(cache.budget.charge(15 * MIB)),
            actor,
            cache,
            directory,
        }
    }

    fn begin(&self) -> Option<UnclaimedLoad> {
        self.cache.begin_unclaimed(&key("/a"))
    }

    async fn load(&self, load: UnclaimedLoad) -> Option<Arc<Entry>> {
        let first = |_: &[&StoredHead]| Some(0);
        let key = key("/a");
        self.cache.load_unclaimed(load, &key, NOW, first).await
    }

    /// Whether a response that was begun to be read before `change` is sent after it.
    async fn is_sent_after<F: Future>(change: impl FnOnce(Cache) -> F) -> bool {
        let full = Self::new(fresh_head()).await;
        let load = full.begin().unwrap();
        change(full.cache.clone()).await;
        full.load(load).await.is_some()
    }
}

fn fresh_head() -> StoredHead {
    let head = head_of("*/*", &[("cache-control", "max-age=600")], NOW);
    assert!(!head.is_guess());
    head
}

#[test]
fn a_response_on_disk_is_sent_without_memory_until_it_is_asked_for_again() {
    run(async {
        let full = FullCache::new(fresh_head()).await;
        let before = stats(&full.actor).await;
        let entry = full.load(full.begin().unwrap()).await.unwrap();
        assert_eq!(bytes_of(entry.body()), BODY);
        drop(entry);
        assert_eq!(stats(&full.actor).await, before, "nothing has changed");
        assert!(full.begin().is_none(), "it is to be put into memory");
    });
}

#[test]
fn a_response_on_disk_is_put_into_memory_at_once_while_there_is_room() {
    run(async {
        let mut full = FullCache::new(fresh_head()).await;
        full.memory = None;
        assert!(full.begin().is_none());
    });
}

#[test]
fn what_is_read_from_disk_is_not_sent_if_anything_ended_or_changed_meanwhile() {
    run(async {
        let is_sent = FullCache::is_sent_after(|_| async {});
        assert!(is_sent.await);
        let is_sent = FullCache::is_sent_after(|cache| async move {
            let other = Invalidate::new(vec![Resource::new("/other")], None);
            let removal = cache.send(other).await.unwrap();
            removal.confirmed().await.unwrap();
        });
        assert!(!is_sent.await, "something was invalidated");
        let is_sent = FullCache::is_sent_after(|cache| async move {
            let actor = cache.address().unwrap().clone();
            store(&actor, "/a", fresh_head(), b"new").await;
        });
        assert!(!is_sent.await, "a newer one was stored");
        let is_sent = FullCache::is_sent_after(|cache| async move {
            cache.doubt(&Resource::new("/a"));
        });
        assert!(!is_sent.await, "the actor may not know an end yet");
    });
}

#[test]
fn what_the_actor_may_not_know_to_have_ended_is_not_read_without_it() {
    run(async {
        let full = FullCache::new(fresh_head()).await;
        full.cache.doubt(&Resource::new("/a"));
        assert!(full.begin().is_none());
    });
}

#[test]
fn what_is_not_on_disk_or_is_in_memory_is_not_read() {
    run(async {
        let full = FullCache::new(fresh_head()).await;
        store(&full.actor, "/a", fresh_head(), b"new").await;
        assert!(full.begin().is_none());
        assert!(full.cache.begin_unclaimed(&key("/b")).is_none());
    });
}

#[test]
fn a_guess_on_disk_is_not_sent_without_the_actor() {
    run(async {
        let full = FullCache::new(plain_head()).await;
        assert!(full.load(full.begin().unwrap()).await.is_none());
    });
}

#[test]
fn a_body_in_a_file_is_sent_to_its_end_if_the_file_is_removed_meanwhile() {
    run(async {
        let full = FullCache::new(fresh_head()).await;
        let body = vec![8; 512 * 1024];
        // No room is left for it in memory.
        let rest = full.cache.budget.charge(MIB);
        store(&full.actor, "/a", fresh_head(), &body).await;
        drop(rest);
        // It is sent as soon as it is written.
        let entry = loop {
            if let Some(load) = full.begin()
                && let Some(entry) = full.load(load).await
            {
                break entry;
            }
            tokio::task::yield_now().await;
        };
        let invalidate = Invalidate::new(vec![Resource::new("/a")], None);
        let removal = full.cache.send(invalidate).await.unwrap();
        removal.confirmed().await.unwrap();
        std::fs::remove_dir_all(full.directory.path().join("large")).unwrap();
        let mut part = entry.body().file_part(0..=u64::MAX).unwrap();
        let mut read = Vec::new();
        while let Some(bytes) = part.next().await {
            read.extend_from_slice(&bytes.unwrap());
        }
        assert_eq!(read, body);
    });
}
