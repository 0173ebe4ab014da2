//! The keys that come first in an order, among many: no more is held than a list needs.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use crate::{
    cache::{
        manage::key_variants::{KeyVariants, ListedKey},
        store::key::Resource,
    },
    policy::Time,
};

/// The least number of keys that are held beyond those that are wanted, before the others are dropped.
const SPARE_ROWS: usize = 512;
/// The memory of the keys that are held.
const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The order of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListOrder {
    /// By path.
    #[default]
    Path,
    /// The largest first.
    Size,
    /// The youngest first.
    Age,
    /// The most used first.
    Hits,
    /// Those that become stale first.
    Fresh,
}

/// Keeps the keys that come first in an order.
pub(super) struct Ranking {
    order: ListOrder,
    wanted: usize,
    now: Time,
    rows: Vec<RankedKey>,
    bytes: usize,
    max_bytes: usize,
    /// Keys from this one on come too late. `None` as long as all may come.
    end: Option<(u64, Resource)>,
    is_cut: bool,
}

/// The keys that come first, in their order.
pub(super) struct RankedKeys {
    pub(super) keys: Vec<ListedKey>,
    /// True if they are fewer than were wanted, because they take too much memory.
    pub(super) is_cut: bool,
}

struct RankedKey {
    rank: u64,
    resource: Resource,
    listed: ListedKey,
}

impl RankedKey {
    /// Its memory, in bytes.
    fn bytes(&self) -> usize {
        let origin = self.listed.origin.as_ref().map_or(0, String::len);
        // The text of a resource has all parts.
        size_of::<Self>() + 2 * self.resource.text().len() + self.listed.path.len() + origin
    }

    fn compare(&self, other: &Self) -> Ordering {
        compare((self.rank, &self.resource), (other.rank, &other.resource))
    }
}

fn compare(one: (u64, &Resource), other: (u64, &Resource)) -> Ordering {
    one.0.cmp(&other.0).then_with(|| one.1.cmp(other.1))
}

impl Ranking {
    /// The first `wanted` keys in an order.
    pub(super) fn new(order: ListOrder, wanted: usize, now: Time) -> Self {
        Self {
            order,
            wanted,
            now,
            rows: Vec::new(),
            bytes: 0,
            max_bytes: MAX_BYTES,
            end: None,
            is_cut: false,
        }
    }

    /// Adds a key.
    pub(super) fn add(&mut self, row: &KeyVariants) {
        let Some(rank) = self.rank(row) else {
            return;
        };
        let now = self.now;
        self.add_ranked(rank, &row.key.resource, || row.listed(now));
    }

    fn add_ranked(
        &mut self,
        rank: u64,
        resource: &Resource,
        listed: impl FnOnce() -> Option<ListedKey>,
    ) {
        let comes_too_late = self.end.as_ref().is_some_and(|(end_rank, end)| {
            compare((rank, resource), (*end_rank, end)) != Ordering::Less
        });
        if comes_too_late || self.wanted == 0 {
            return;
        }
        let Some(listed) = listed() else {
            return;
        };
        let row = RankedKey {
            rank,
            resource: resource.clone(),
            listed,
        };
        self.bytes += row.bytes();
        self.rows.push(row);
        // Pruning only when many more are there keeps its cost per key small.
        let spare = (self.wanted / 4).max(SPARE_ROWS);
        if self.rows.len() >= self.wanted + spare || self.bytes > self.max_bytes {
            self.prune();
        }
    }

    /// `None` if nothing is stored for the key.
    fn rank(&self, row: &KeyVariants) -> Option<u64> {
        let head = row.variants.first()?.head();
        Some(match self.order {
            ListOrder::Path => 0,
            ListOrder::Size => u64::MAX - row.body_bytes(),
            ListOrder::Age => head.age_seconds(self.now),
            ListOrder::Hits => u64::MAX - row.hits,
            ListOrder::Fresh => match head.ttl_seconds(self.now) {
                // Stale ones come before fresh ones.
                Some(seconds) => seconds.cast_unsigned() ^ (1 << 63),
                None => u64::MAX,
            },
        })
    }

    /// Drops the keys that are not wanted, and further ones if the others take too much memory.
    fn prune(&mut self) {
        if self.rows.len() > self.wanted {
            self.rows
                .select_nth_unstable_by(self.wanted - 1, RankedKey::compare);
            self.rows.truncate(self.wanted);
        }
        self.bytes = self.rows.iter().map(RankedKey::bytes).sum();
        if self.bytes > self.max_bytes / 4 * 3 {
            self.is_cut = true;
            self.rows.sort_unstable_by(RankedKey::compare);
            while self.bytes > self.max_bytes / 2
                && self.rows.len() > 1
                && let Some(last) = self.rows.pop()
            {
                self.bytes -= last.bytes();
            }
            self.wanted = self.rows.len();
        }
        if self.rows.len() == self.wanted {
            let last = self.rows.iter().max_by(|one, other| one.compare(other));
            self.end = last.map(|last| (last.rank, last.resource.clone()));
        }
    }

    /// The keys in their order.
    pub(super) fn into_ranked(mut self) -> RankedKeys {
        self.rows.sort_unstable_by(RankedKey::compare);
        self.rows.truncate(self.wanted);
        RankedKeys {
            keys: self.rows.into_iter().map(|row| row.listed).collect(),
            is_cut: self.is_cut,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(path: &str) -> ListedKey {
        ListedKey {
            path: path.to_owned(),
            host: None,
            origin: None,
            method: "GET".to_owned(),
            status: 200,
            body_bytes: 0,
            memory_bytes: 0,
            age_seconds: 0,
            fresh_seconds: None,
            is_stale: false,
            hits: 0,
            variants: 1,
            is_own: false,
            provenance: None,
            is_on_disk: false,
        }
    }

    /// Ranks 5,000 keys in an order that looks random.
    fn ranked(wanted: usize, max_bytes: usize) -> RankedKeys {
        let mut ranking = Ranking {
            max_bytes,
            ..Ranking::new(ListOrder::Path, wanted, Time::from_unix_millis(0))
        };
        for step in 0..5000_u64 {
            let number = step * 1237 % 5000;
            let path = format!("/{number:04}");
            ranking.add_ranked(number / 100, &Resource::new(&path), || Some(listed(&path)));
            assert!(ranking.bytes <= max_bytes, "{}", ranking.bytes);
            assert!(ranking.rows.len() <= wanted + (wanted / 4).max(SPARE_ROWS));
        }
        ranking.into_ranked()
    }

    fn first(count: usize) -> Vec<String> {
        (0..count).map(|number| format!("/{number:04}")).collect()
    }

    #[test]
    fn the_first_keys_are_found_whatever_the_order_in_which_they_come() {
        for wanted in [0, 1, 50, 3000, 5000, 9000] {
            let ranked = ranked(wanted, MAX_BYTES);
            let paths: Vec<_> = ranked.keys.into_iter().map(|key| key.path).collect();
            assert_eq!(paths, first(wanted.min(5000)), "{wanted}");
            assert!(!ranked.is_cut);
        }
    }

    #[test]
    fn keys_that_take_too_much_memory_are_fewer_and_still_the_first_ones() {
        let ranked = ranked(3000, 256 * 1024);
        let paths: Vec<_> = ranked.keys.into_iter().map(|key| key.path).collect();
        assert!(ranked.is_cut && paths.len() > 100, "{}", paths.len());
        assert_eq!(paths, first(paths.len()));
    }
}
