//! What is known of the ends that the instances have exchanged: whether a response that Redis has is ended by one of them.

use std::{
    collections::{HashMap, VecDeque},
    hash::RandomState,
};

use foldhash::fast;

use crate::{
    cache::{
        fetches::reader::FetchId,
        manage::filter::EntryFilter,
        shared_tier::end::SharedEnd,
        store::{
            key::Resource,
            related::{UnsafeRequest, UnsafeRequests, concerned_groups, groups_of},
        },
    },
    policy::{StoredHead, Time},
    redis::Stamp,
};

/// The most resources whose last end is remembered, and the most filters.
const MAX_RESOURCES: usize = 65_536;
const MAX_FILTERS: usize = 256;
/// The most ends of this instance that have not come back. Beyond that they concern everything.
const MAX_PENDING: usize = 1024;

/// What the ends mean for one response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Verdict {
    /// Nothing.
    Usable,
    /// It has become stale.
    Expired,
    /// It must not be used.
    Ended,
}

/// The ends that are known. Each has a position in the stream of events.
#[derive(Debug, Default)]
pub(in crate::cache) struct KnownEnds {
    /// All ends after this one are known, and it ends everything before it. `None`: nothing is known, and everything is ended.
    from: Option<Stamp>,
    by_resource: HashMap<Resource, u64, fast::RandomState>,
    filters: VecDeque<(u64, FilterEnd)>,
    /// Unsafe requests. The number of each is that of its position.
    unsafe_requests: UnsafeRequests,
    hasher: RandomState,
    /// The ends of this instance that have not come back, by their tokens.
    pending: VecDeque<(u64, SharedEnd)>,
    /// The token of the last end of this instance that concerns everything because there were too many. 0 if there is none.
    all_pending: u64,
}

/// What a filter does to the responses that it names.
#[derive(Debug)]
struct FilterEnd {
    filter: EntryFilter,
    verdict: Verdict,
}

impl KnownEnds {
    /// What is known when an actor starts after another one has failed. The ends until `present` end everything, and so do
    /// those of this instance with tokens up to `last_token`, until they have come back.
    pub(super) fn after_failure(present: Option<Stamp>, last_token: u64) -> Self {
        Self {
            from: present,
            all_pending: last_token,
            ..Self::default()
        }
    }

    /// The stream is read again from its beginning. Its ends after `from` will be noted. Ends of this instance with tokens up to
    /// `own_until` do not come back any more.
    pub(super) fn begin(&mut self, from: Stamp, own_until: u64) {
        self.come_back(own_until);
        *self = Self {
            from: Some(from),
            pending: std::mem::take(&mut self.pending),
            all_pending: self.all_pending,
            ..Self::default()
        };
    }

    /// Notes an end. `own` is the token of an end of this instance; `None` if it is another one's.
    pub(super) fn note(&mut self, stamp: Stamp, end: &SharedEnd, own: Option<u64>) {
        if let Some(token) = own {
            self.come_back(token);
        }
        match end {
            SharedEnd::All => self.end_all(stamp),
            SharedEnd::Resources { resources, related } => {
                for resource in resources {
                    self.by_resource.insert(resource.clone(), stamp.position);
                }
                if let Some(related) = related {
                    self.note_unsafe(related, stamp);
                }
            }
            SharedEnd::Purged(filter) => self.note_filter(stamp, filter, Verdict::Ended),
            SharedEnd::Expired(filter) => self.note_filter(stamp, filter, Verdict::Expired),
        }
        if self.by_resource.len() > MAX_RESOURCES || self.filters.len() > MAX_FILTERS {
            self.end_all(stamp);
        }
    }

    /// Notes an end of this instance that it tells the others, until it comes back.
    pub(super) fn told(&mut self, token: u64, end: SharedEnd) {
        if self.pending.len() >= MAX_PENDING {
            self.pending.clear();
            self.all_pending = token;
        }
        self.pending.push_back((token, end));
    }

    /// What the ends mean for a response of `resource` that was fetched when everything until `stamp` was known.
    pub(super) fn verdict(&self, stamp: Stamp, resource: &Resource, head: &StoredHead) -> Verdict {
        let is_known = self
            .from
            .is_some_and(|from| from.epoch == stamp.epoch && from.position <= stamp.position);
        let is_after = |position: &u64| *position > stamp.position;
        if !is_known
            || self.all_pending > 0
            || self.by_resource.get(resource).is_some_and(is_after)
            || self.is_doubted(stamp, resource, head)
        {
            return Verdict::Ended;
        }
        let pending = self.pending.iter().map(|(_, end)| end);
        let pending = pending.map(|end| self.verdict_of(end, resource, head));
        let filters = self
            .filters
            .iter()
            .filter(|(position, _)| is_after(position));
        let filters = filters.map(|(_, end)| end.verdict(resource, head));
        pending.chain(filters).fold(Verdict::Usable, Verdict::and)
    }

    fn end_all(&mut self, stamp: Stamp) {
        self.from = Some(stamp);
        self.by_resource.clear();
        self.filters.clear();
        self.unsafe_requests = UnsafeRequests::default();
    }

    fn note_filter(&mut self, stamp: Stamp, filter: &EntryFilter, verdict: Verdict) {
        let filter = filter.clone();
        self.filters
            .push_back((stamp.position, FilterEnd { filter, verdict }));
    }

    fn note_unsafe(&mut self, related: &Resource, stamp: Stamp) {
        let groups = concerned_groups(&self.hasher, related);
        let request = UnsafeRequest {
            before: FetchId(stamp.position),
            at: Time::from_unix_millis(0),
        };
        self.unsafe_requests.note(&groups, request);
    }

    /// True if it is a guess that a later unsafe request concerns.
    fn is_doubted(&self, stamp: Stamp, resource: &Resource, head: &StoredHead) -> bool {
        if !head.is_guess() || self.unsafe_requests.is_empty() {
            return false;
        }
        let last = self
            .unsafe_requests
            .last(&groups_of(&self.hasher, resource));
        last.is_some_and(|request| request.before.0 > stamp.position)
    }

    /// What an end means for a response that was fetched before it.
    fn verdict_of(&self, end: &SharedEnd, resource: &Resource, head: &StoredHead) -> Verdict {
        match end {
            SharedEnd::All => Verdict::Ended,
            SharedEnd::Resources { resources, related } => {
                // It is about a guess too rarely to compare paths here.
                let is_doubted = related.is_some() && head.is_guess();
                match is_doubted || resources.contains(resource) {
                    true => Verdict::Ended,
                    false => Verdict::Usable,
                }
            }
            SharedEnd::Purged(filter) => verdict(filter, Verdict::Ended, resource, head),
            SharedEnd::Expired(filter) => verdict(filter, Verdict::Expired, resource, head),
        }
    }

    /// Ends of this instance with tokens up to `token` have come back.
    fn come_back(&mut self, token: u64) {
        while self
            .pending
            .front()
            .is_some_and(|(first, _)| *first <= token)
        {
            self.pending.pop_front();
        }
        if self.all_pending <= token {
            self.all_pending = 0;
        }
    }
}

impl FilterEnd {
    fn verdict(&self, resource: &Resource, head: &StoredHead) -> Verdict {
        verdict(&self.filter, self.verdict, resource, head)
    }
}

/// `named` if the filter names the response.
fn verdict(
    filter: &EntryFilter,
    named: Verdict,
    resource: &Resource,
    head: &StoredHead,
) -> Verdict {
    match filter.matches_path(resource) || filter.matches_tags(head) {
        true => named,
        false => Verdict::Usable,
    }
}

impl Verdict {
    /// What both mean together.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Ended, _) | (_, Self::Ended) => Self::Ended,
            (Self::Expired, _) | (_, Self::Expired) => Self::Expired,
            (Self::Usable, Self::Usable) => Self::Usable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cache::manage::filter::FilterSpec,
        policy::{Mode, Routes, Rules, fixture},
    };

    const FIRST: u128 = 1;

    fn stamp(position: u64) -> Stamp {
        stamp_of(FIRST, position)
    }

    fn stamp_of(epoch: u128, position: u64) -> Stamp {
        let mut bytes = [0; 24];
        bytes[..16].copy_from_slice(&epoch.to_be_bytes());
        bytes[16..].copy_from_slice(&position.to_be_bytes());
        Stamp::from_bytes(&bytes)
    }

    fn explicit() -> StoredHead {
        fixture::stored(
            Mode::Standard,
            &[("cache-control", "max-age=60"), ("surrogate-key", "a b")],
        )
    }

    fn guess() -> StoredHead {
        fixture::stored(Mode::Standard, &[])
    }

    fn filter(paths: &[&str], tags: &[&str]) -> EntryFilter {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let spec = FilterSpec {
            paths: texts(paths),
            tags: texts(tags),
            ..FilterSpec::default()
        };
        EntryFilter::new(&spec, (&Routes::default(), &Rules::default()), false).unwrap()
    }

    fn known_from(position: u64) -> KnownEnds {
        let mut known = KnownEnds::default();
        known.begin(stamp(position), 0);
        known
    }

    fn resources(names: &[&str], related: Option<&str>) -> SharedEnd {
        SharedEnd::Resources {
            resources: names.iter().map(|name| Resource::new(name)).collect(),
            related: related.map(Resource::new),
        }
    }

    #[track_caller]
    fn assert_verdicts(known: &KnownEnds, name: &str, head: &StoredHead, rows: &[(u64, Verdict)]) {
        for (position, expected) in rows {
            let found = known.verdict(stamp(*position), &Resource::new(name), head);
            assert_eq!(found, *expected, "{name} at {position}");
        }
    }

    use Verdict::{Ended, Expired, Usable};

    #[test]
    fn nothing_is_usable_before_the_beginning_is_known() {
        let known = KnownEnds::default();
        assert_verdicts(&known, "/a", &explicit(), &[(0, Ended), (9, Ended)]);
        let known = known_from(5);
        assert_verdicts(
            &known,
            "/a",
            &explicit(),
            &[(4, Ended), (5, Usable), (9, Usable)],
        );
        let other = known.verdict(stamp_of(2, 9), &Resource::new("/a"), &explicit());
        assert_eq!(other, Ended);
    }

    #[test]
    fn an_end_concerns_what_was_fetched_before_it() {
        let mut known = known_from(0);
        known.note(stamp(3), &resources(&["/a"], None), None);
        known.note(stamp(5), &SharedEnd::Purged(filter(&["/b*"], &["b"])), None);
        known.note(stamp(6), &SharedEnd::Expired(filter(&["/c"], &[])), None);
        let plain = guess();
        assert_verdicts(&known, "/a", &plain, &[(2, Ended), (3, Usable)]);
        assert_verdicts(&known, "/bc", &plain, &[(4, Ended), (5, Usable)]);
        assert_verdicts(&known, "/tagged", &explicit(), &[(4, Ended), (5, Usable)]);
        assert_verdicts(&known, "/c", &plain, &[(5, Expired), (6, Usable)]);
        assert_verdicts(&known, "/d", &plain, &[(0, Usable)]);
        known.note(stamp(8), &SharedEnd::All, None);
        assert_verdicts(&known, "/d", &plain, &[(7, Ended), (8, Usable)]);
    }

    #[test]
    fn an_unsafe_request_ends_guesses_about_related_paths() {
        let mut known = known_from(0);
        known.note(stamp(3), &resources(&["/items"], Some("/items")), None);
        assert_verdicts(
            &known,
            "/items?limit=10",
            &guess(),
            &[(2, Ended), (3, Usable)],
        );
        assert_verdicts(&known, "/items?limit=10", &explicit(), &[(2, Usable)]);
        assert_verdicts(&known, "/other", &guess(), &[(2, Usable)]);
    }

    #[test]
    fn an_own_end_concerns_everything_that_it_names_until_it_has_come_back() {
        let mut known = known_from(0);
        known.told(1, resources(&["/a"], Some("/a")));
        known.told(2, SharedEnd::Purged(filter(&["/b"], &[])));
        let far = 1_000;
        assert_verdicts(&known, "/a", &explicit(), &[(far, Ended)]);
        assert_verdicts(&known, "/c", &guess(), &[(far, Ended)]);
        assert_verdicts(&known, "/c", &explicit(), &[(far, Usable)]);
        assert_verdicts(&known, "/b", &explicit(), &[(far, Ended)]);
        known.note(stamp(4), &resources(&["/a"], Some("/a")), Some(1));
        assert_verdicts(&known, "/a", &explicit(), &[(3, Ended), (4, Usable)]);
        assert_verdicts(&known, "/b", &explicit(), &[(far, Ended)]);
        known.begin(stamp(9), 2);
        assert_verdicts(&known, "/b", &explicit(), &[(8, Ended), (9, Usable)]);
    }

    #[test]
    fn too_many_own_ends_concern_everything_until_the_last_of_them_has_come_back() {
        let mut known = known_from(0);
        let count = MAX_PENDING as u64 + 5;
        for token in 1..=count {
            known.told(token, resources(&[&format!("/{token}")], None));
        }
        assert!(known.pending.len() <= MAX_PENDING);
        assert_verdicts(&known, "/a", &explicit(), &[(9, Ended)]);
        known.note(stamp(1), &SharedEnd::All, Some(count));
        assert_verdicts(&known, "/a", &explicit(), &[(9, Usable)]);
        assert!(known.pending.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = known_from(0);
        for position in 1..=MAX_RESOURCES as u64 + 2 {
            let name = format!("/{position}");
            known.note(stamp(position), &resources(&[&name], None), None);
            assert!(known.by_resource.len() <= MAX_RESOURCES);
        }
        // What was forgotten ends everything that is older.
        assert_verdicts(&known, "/other", &explicit(), &[(1, Ended)]);
        let mut known = known_from(0);
        for position in 1..=MAX_FILTERS as u64 + 2 {
            known.note(
                stamp(position),
                &SharedEnd::Purged(filter(&["/x"], &[])),
                None,
            );
            assert!(known.filters.len() <= MAX_FILTERS);
        }
        assert_verdicts(&known, "/other", &explicit(), &[(1, Ended)]);
    }

    #[test]
    fn after_a_failure_everything_is_ended_until_all_own_ends_have_come_back() {
        let mut known = KnownEnds::after_failure(Some(stamp(7)), 3);
        assert_verdicts(&known, "/a", &explicit(), &[(6, Ended), (7, Ended)]);
        known.note(stamp(8), &resources(&["/b"], None), Some(3));
        assert_verdicts(&known, "/a", &explicit(), &[(6, Ended), (7, Usable)]);
    }
}
