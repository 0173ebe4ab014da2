//! What is remembered of responses that were not stored.

use std::{hash::BuildHasher as _, time::Duration};

use foldhash::quality::RandomState;

use crate::{
    cache::{
        fetches::{active::Fetch, messages::FetchResult},
        recent::RecentHashes,
        store::key::Key,
    },
    policy::{Reason, Time},
};

/// For how many keys it is remembered that a response was not stored.
const MAX_REMEMBERED: usize = 4096;
/// How long requests for a key do not wait for each other after a response that only one client may get.
const HIT_FOR_MISS_FOR: Duration = Duration::from_secs(120);
/// How long there are no validations in the background after a fetch that stored nothing.
const NO_BACKGROUND_FOR: Duration = Duration::from_secs(10);

/// Remembers that the last response for a key was not stored.
#[derive(Clone, Copy)]
pub(super) struct HitForMiss {
    /// Until then, requests for the key do not wait for each other.
    pub(super) hit_for_miss_until: Time,
    /// Until then, the key is not validated in the background.
    pub(super) no_background_until: Time,
    /// Why the response was not stored, and when it was requested; `None` if the fetch failed.
    pub(super) refused: Option<(Reason, Time)>,
}

impl HitForMiss {
    /// True if requests for the key do not wait for each other now.
    pub(super) fn is_hit_for_miss(&self, now: Time) -> bool {
        is_ahead(self.hit_for_miss_until, now)
    }

    /// True if the key is not validated in the background now.
    pub(super) fn is_no_background(&self, now: Time) -> bool {
        is_ahead(self.no_background_until, now)
    }
}

/// True if `until` is not over at `now`. It is never further ahead than what is remembered longest, unless the clock was
/// set back.
fn is_ahead(until: Time, now: Time) -> bool {
    now < until && until <= now.saturating_add(HIT_FOR_MISS_FOR)
}

/// The keys, and variants of keys, whose last response was not stored.
pub(super) struct HitsForMiss {
    /// By a keyed hash of the key, because clients determine how long a key is. Two keys with one hash would share what is
    /// remembered, which is an estimate.
    remembered: RecentHashes<HitForMiss>,
    hasher: RandomState,
}

impl HitsForMiss {
    /// None.
    pub(super) fn new() -> Self {
        Self {
            remembered: RecentHashes::new(MAX_REMEMBERED),
            hasher: RandomState::default(),
        }
    }

    /// What is remembered of the last response for a variant of `key`; `None` if it was stored. Without a variant it is that
    /// of a response whose Vary was not known.
    pub(super) fn get(&self, key: &Key, variant: Option<u64>) -> Option<HitForMiss> {
        self.remembered.get(self.hash(key, variant)).copied()
    }

    /// Remembers that `fetch` for `key` has stored nothing: how it has ended, and why the response was refused; `None` if
    /// there was none.
    pub(super) fn ended(
        &mut self,
        key: &Key,
        fetch: &Fetch,
        (result, refused): (FetchResult, Option<Reason>),
    ) {
        let refused = refused.map(|reason| (reason, fetch.since));
        let (hit_for_miss_for, no_background_for) = match result {
            FetchResult::Stored => return,
            FetchResult::Unused if refused.is_none() => return,
            FetchResult::Unused => return self.refused(key, refused),
            FetchResult::Failed => (Duration::ZERO, NO_BACKGROUND_FOR),
            FetchResult::NotShareable => (HIT_FOR_MISS_FOR, NO_BACKGROUND_FOR),
        };
        let hit_for_miss = HitForMiss {
            hit_for_miss_until: fetch.since.saturating_add(hit_for_miss_for),
            no_background_until: fetch.since.saturating_add(no_background_for),
            refused,
        };
        if fetch.variant.is_some() {
            // Other variants may be storable.
            self.refused(key, refused);
        }
        let hash = self.hash(key, fetch.variant);
        self.remembered.insert(hash, hit_for_miss);
    }

    /// Changes only the reason, which `why` shows for a key.
    fn refused(&mut self, key: &Key, refused: Option<(Reason, Time)>) {
        let hash = self.hash(key, None);
        let over = Time::from_unix_millis(0);
        let without_effect = HitForMiss {
            hit_for_miss_until: over,
            no_background_until: over,
            refused,
        };
        let last = self.remembered.get(hash);
        let last = last.map_or(without_effect, |last| HitForMiss { refused, ..*last });
        self.remembered.insert(hash, last);
    }

    /// A response for a variant of `key` is stored.
    pub(super) fn stored(&mut self, key: &Key, variant: Option<u64>) {
        self.remembered.remove(self.hash(key, None));
        if variant.is_some() {
            self.remembered.remove(self.hash(key, variant));
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.remembered.clear();
    }

    fn hash(&self, key: &Key, variant: Option<u64>) -> u64 {
        self.hasher.hash_one((key.keyed_hash(), variant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_remembered_longer_after_the_clock_was_set_back() {
        let begun = Time::from_unix_millis(1_800_000_000_000);
        let remembered = HitForMiss {
            hit_for_miss_until: begun.saturating_add(HIT_FOR_MISS_FOR),
            no_background_until: begun.saturating_add(NO_BACKGROUND_FOR),
            refused: None,
        };
        let day = Duration::from_secs(86_400);
        for (now, hit_for_miss, no_background) in [
            (begun, true, true),
            (begun.saturating_add(NO_BACKGROUND_FOR), true, false),
            (begun.saturating_add(HIT_FOR_MISS_FOR), false, false),
            (begun.saturating_sub(day), false, false),
        ] {
            assert_eq!(remembered.is_hit_for_miss(now), hit_for_miss);
            assert_eq!(remembered.is_no_background(now), no_background);
        }
    }
}
