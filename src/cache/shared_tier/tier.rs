//! What is written to the shared tier, read from it, and told the other instances.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use crate::{
    cache::{
        namespace::Namespace,
        shared_tier::{
            end::SharedEnd,
            record::{InSharedTier, read_head, write_head},
        },
        store::{entry::Entry, key::Key},
    },
    policy::{Provenance, StoredHead, Time},
    redis::{
        Acknowledgements, FetchLease, FetchTurn, NewRecord, Publishing, Redis, RedisStats,
        RedisUnavailable, SharedAddress, Stamp, boot_time_ms,
    },
};

/// How long a response is kept that has no end of its own: it is used until it is cleared.
const MOST_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A response that is used until it is cleared is kept for longer when it is loaded after this time, in milliseconds.
const RENEWED_AFTER_MILLIS: u64 = 24 * 60 * 60 * 1000;

/// The tier that several proxies share, and how the keys of this one are named there.
#[derive(Debug)]
pub struct SharedTier {
    pub(super) redis: Redis,
    /// Changed by a reload alone.
    namespace: ArcSwap<Namespace>,
    settings: SharingSettings,
    /// The token of the last end that the other instances were told. 0 before the first.
    last_token: AtomicU64,
}

/// What is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SharingSettings {
    /// The largest body, in bytes.
    pub max_object_bytes: u64,
    /// How long after its lifetime a response may be served.
    pub max_stale: Duration,
    /// Whether responses for one identity are shared: only if all instances hash identities under the same secret.
    pub shares_identities: bool,
}

impl SharedTier {
    /// The tier behind `redis`, for responses that are named in `namespace`.
    pub fn new(redis: Redis, namespace: Namespace, settings: SharingSettings) -> Self {
        Self {
            redis,
            namespace: ArcSwap::from_pointee(namespace),
            settings,
            last_token: AtomicU64::new(0),
        }
    }

    /// The event that stands for any end, in bytes.
    pub fn end_of_all() -> bytes::Bytes {
        SharedEnd::All.write().into()
    }

    /// True if it can be asked now.
    pub fn is_usable(&self) -> bool {
        self.redis.is_usable()
    }

    /// The largest body that is shared, in bytes.
    pub fn max_object_bytes(&self) -> u64 {
        self.settings.max_object_bytes
    }

    /// True if memory and disk may be used: this instance knows what was ended at others, or works alone.
    pub(in crate::cache) fn is_current(&self) -> bool {
        boot_time_ms() < self.valid_until()
    }

    /// True if this instance knows what the others have ended, so that it can judge what the tier has.
    pub(super) fn has_lease(&self) -> bool {
        self.redis.has_lease()
    }

    /// Until when memory and disk may be used, in milliseconds of the time since the system was started.
    pub(super) fn valid_until(&self) -> u64 {
        self.redis.valid_until()
    }

    /// What was applied here, for a fetch that begins now. `None` if its response must not be shared.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        self.redis.stamp()
    }

    /// What the tier has for `key`: for its identity, and for everybody. `None` if it does not answer in time.
    pub(super) async fn find(&self, key: &Key) -> Option<Vec<InSharedTier>> {
        let keys = self.keys(key);
        let namespace = **self.namespace.load();
        let addresses = keys.iter().map(|key| namespace.of_key(key).into());
        // A tier that fails says so itself.
        let found = self.redis.get(addresses.collect()).await.ok()?;
        let ahead = self.redis.clock_difference_ms();
        let found = found.into_iter().filter_map(|record| {
            let (head, fetch_millis) = read_head(&record.head, ahead)?;
            Some(InSharedTier {
                key: keys.get(record.address_index)?.clone(),
                head,
                fetch_millis,
                record,
            })
        });
        Some(found.collect())
    }

    /// The keys under which responses for `key` are shared.
    fn keys(&self, key: &Key) -> Vec<Key> {
        match key.identity {
            Some(_) if self.settings.shares_identities => vec![key.clone(), key.shared()],
            Some(_) => vec![key.shared()],
            None => vec![key.clone()],
        }
    }

    /// Writes a response that is stored for `key`, and was fetched when `stamp` was applied here. `lease` is released then.
    pub(super) fn put(
        &self,
        key: &Key,
        entry: &Entry,
        (stamp, now): (Stamp, Time),
        lease: Option<FetchLease>,
    ) {
        let head = entry.head();
        let body = entry.body();
        let is_shared = (key.identity.is_none() || self.settings.shares_identities)
            && !key.is_recorded
            && head.provenance() == Provenance::Fetched
            && head.content_range().is_none()
            && body.in_file().is_none()
            && body.len_bytes() <= self.settings.max_object_bytes;
        if !is_shared {
            return;
        }
        let max_stale = u64::try_from(self.settings.max_stale.as_millis()).unwrap_or(u64::MAX);
        let kept = head.useful_millis(now, max_stale);
        self.redis.put(NewRecord {
            address: self.address(key),
            variant: head.variant_bytes(),
            head: write_head(entry, self.redis.clock_difference_ms()),
            body: body.pieces().collect(),
            stamp,
            ttl: kept.map_or(MOST_KEPT, Duration::from_millis),
            lease,
        });
    }

    /// Keeps a response for longer that was found and is used until it is cleared.
    pub(super) fn renew(&self, found: &InSharedTier, now: Time) {
        if is_to_be_renewed(&found.head, now) {
            self.redis.renew(&found.record, MOST_KEPT);
        }
    }

    fn address(&self, key: &Key) -> SharedAddress {
        self.namespace.load().of_key(key).into()
    }

    /// Asks for the right to fetch `key` for all instances.
    ///
    /// # Errors
    /// The tier does not answer in time.
    pub(super) async fn begin_fetch(&self, key: &Key) -> Result<FetchTurn, RedisUnavailable> {
        self.redis.begin_fetch(&self.address(key)).await
    }

    /// Tells the other instances what has ended here.
    pub(super) fn publish(&self, end: &SharedEnd) -> Publishing {
        let publishing = self.redis.publish(end.write().into());
        self.last_token
            .fetch_max(publishing.token, Ordering::Relaxed);
        publishing
    }

    /// The token of the last end that the other instances were told. 0 before the first.
    pub(super) fn last_token(&self) -> u64 {
        self.last_token.load(Ordering::Relaxed)
    }

    /// Waits, at most so long, until all instances have applied what ended at `stamp`.
    pub(super) async fn acknowledged(&self, stamp: Stamp, wait: Duration) -> Acknowledgements {
        self.redis.acknowledged(stamp, wait).await
    }

    /// From now on responses are stored and found in this namespace.
    pub fn set_namespace(&self, namespace: Namespace) {
        self.namespace.store(Arc::new(namespace));
    }

    /// The counters of the tier.
    pub fn stats(&self) -> RedisStats {
        self.redis.stats()
    }

    /// Writes what waits, and says that this instance ends.
    pub async fn close(&self) {
        self.redis.close().await;
    }
}

/// Whether a response that is loaded now is to be kept for longer: it has no end of its own, and was not just stored.
fn is_to_be_renewed(head: &StoredHead, now: Time) -> bool {
    head.useful_millis(now, 0).is_none()
        && now.millis_since(head.received()) >= RENEWED_AFTER_MILLIS
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::head_of;

    #[test]
    fn what_is_used_until_it_is_cleared_is_kept_for_longer_a_day_after_it_was_stored() {
        const DAY: u64 = 24 * 60 * 60 * 1000;
        let stored = Time::from_unix_millis(1_700_000_000_000);
        let after = |millis: u64| Time::from_unix_millis(stored.unix_millis() + millis);
        let until_cleared = head_of("a", &[], stored);
        let with_end = head_of("a", &[("cache-control", "max-age=1000000")], stored);
        for (head, age, is_renewed) in [
            (&until_cleared, DAY, true),
            (&until_cleared, 29 * DAY, true),
            (&until_cleared, DAY - 1, false),
            (&with_end, DAY, false),
        ] {
            assert_eq!(is_to_be_renewed(head, after(age)), is_renewed, "{age}");
        }
    }
}
