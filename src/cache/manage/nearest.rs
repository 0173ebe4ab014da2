//! The stored key that is nearest to one for which nothing is stored.

use std::collections::HashSet;

use crate::cache::{
    EntryFilter,
    handle::Cache,
    manage::{key_variants::KeyVariants, listing::ChunkedLookup, on_disk::WalkExtent},
    store::key::Key,
    unavailable::CacheUnavailable,
};

/// How many steps the search in memory takes: a quarter of a million keys, if they are short.
const NEAREST_STEPS: usize = 8192;
/// How many of the responses that were written to the disk last are compared.
const NEAREST_ON_DISK: usize = 10_000;

impl Cache {
    /// What is stored for the key that is nearest to `wanted`: of the same resource, else of the same path with as many equal
    /// parameters as possible, else with the longest common beginning of the target, then the longest without regard to case.
    /// `None` if nothing is
    /// stored. What was only recorded counts if `wanted` is a key of that. Only a limited number of keys is compared.
    ///
    /// # Errors
    /// The cache does not answer.
    pub async fn nearest(&self, wanted: &Key) -> Result<Option<KeyVariants>, CacheUnavailable> {
        let wanted = WantedKey::new(wanted);
        let of_resource = EntryFilter::of_resource(&wanted.key.resource);
        match self.best_of(&of_resource, &wanted).await? {
            Some(nearest) => Ok(Some(nearest)),
            None => self.best_of(&EntryFilter::all(), &wanted).await,
        }
    }

    async fn best_of(
        &self,
        filter: &EntryFilter,
        wanted: &WantedKey<'_>,
    ) -> Result<Option<KeyVariants>, CacheUnavailable> {
        let mut look = ChunkedLookup::of(filter, WalkExtent::Newest(NEAREST_ON_DISK));
        let mut best: Option<(Likeness, KeyVariants)> = None;
        for _ in 0..NEAREST_STEPS {
            let Some(rows) = look.next(self).await? else {
                break;
            };
            let may_be = |row: &KeyVariants| wanted.key.is_recorded || !row.key.is_recorded;
            for row in rows.into_iter().filter(may_be) {
                let likeness = wanted.likeness(&row.key);
                if best.as_ref().is_none_or(|(most, _)| likeness >= *most) {
                    best = Some((likeness, row));
                }
            }
        }
        Ok(best.map(|(_, row)| row))
    }
}

/// How much a stored key is like the wanted one. What is compared first comes first.
#[derive(Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Likeness {
    has_same_path: bool,
    same_parameters: usize,
    common_bytes: usize,
    alike_bytes: usize,
    /// Host and route.
    has_same_place: bool,
    has_same_method: bool,
    has_same_body: bool,
    has_same_identity: bool,
}

/// A key for which nothing is stored.
struct WantedKey<'a> {
    key: &'a Key,
    path: &'a str,
    parameters: HashSet<&'a str>,
}

impl<'a> WantedKey<'a> {
    fn new(key: &'a Key) -> Self {
        let (path, query) = split(key.resource.target());
        Self {
            key,
            path,
            parameters: query.split('&').collect(),
        }
    }

    fn likeness(&self, stored: &Key) -> Likeness {
        let (path, query) = split(stored.resource.target());
        let has_same_path = path == self.path;
        let pairs = || {
            let stored = stored.resource.target().bytes();
            stored.zip(self.key.resource.target().bytes())
        };
        let same = pairs().take_while(|(one, other)| one == other);
        let alike = pairs().take_while(|(one, other)| one.eq_ignore_ascii_case(other));
        let (one, other) = (&stored.resource, &self.key.resource);
        Likeness {
            has_same_path,
            same_parameters: match has_same_path {
                true => query
                    .split('&')
                    .filter(|it| self.parameters.contains(it))
                    .count(),
                false => 0,
            },
            common_bytes: same.count(),
            alike_bytes: alike.count(),
            has_same_place: one.host() == other.host() && one.scope() == other.scope(),
            has_same_method: stored.content.is_some() == self.key.content.is_some(),
            has_same_body: stored.content == self.key.content,
            has_same_identity: stored.identity == self.key.identity,
        }
    }
}

/// Path and query; without a query it is empty.
fn split(target: &str) -> (&str, &str) {
    target.split_once('?').unwrap_or((target, ""))
}
