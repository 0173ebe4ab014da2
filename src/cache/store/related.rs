//! Related paths: whose stored responses a successful unsafe request makes doubtful.
//!
//! A request to `/items/5` concerns its own path and all paths below it, and each path above it (`/items` and `/`), in each
//! case with any query and with or without a slash at the end. Nothing walks the store: the request leaves a mark for each
//! of these groups of paths, and a lookup compares the marks of the groups that its own path belongs to.

use std::{
    collections::HashMap,
    hash::{BuildHasher, Hash as _, Hasher},
    ops::Deref,
};

use foldhash::fast::RandomState;

use crate::{
    cache::{fetches::reader::FetchId, store::key::Resource},
    policy::Time,
};

/// How many levels of a path are told apart. A request to a deeper path concerns all paths below its first levels.
const MAX_LEVELS: usize = 16;
/// The most groups of a path: the root, one for each level, and one for the path alone.
const MAX_PATH_GROUPS: usize = MAX_LEVELS + 2;
/// The most groups whose last change is remembered.
const MAX_GROUPS: usize = 8192;

/// A keyed hash of a group of paths: one path, or one path and all paths below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::cache) struct PathGroup(u64);

impl PathGroup {
    /// The hash.
    pub(in crate::cache) fn hash(self) -> u64 {
        self.0
    }
}

#[derive(Clone, Copy, Hash)]
enum PathExtent {
    Alone,
    WithAllBelow,
}

/// Groups that a path concerns or belongs to.
#[derive(Debug)]
pub(in crate::cache) struct PathGroups {
    groups: [PathGroup; MAX_PATH_GROUPS],
    len: usize,
}

impl Deref for PathGroups {
    type Target = [PathGroup];

    fn deref(&self) -> &[PathGroup] {
        self.groups.get(..self.len).unwrap_or_default()
    }
}

impl PathGroups {
    fn none() -> Self {
        Self {
            groups: [PathGroup(0); MAX_PATH_GROUPS],
            len: 0,
        }
    }

    fn add(&mut self, level: &(impl Hasher + Clone), extent: PathExtent) {
        let mut state = level.clone();
        extent.hash(&mut state);
        if let Some(group) = self.groups.get_mut(self.len) {
            *group = PathGroup(state.finish());
            self.len += 1;
        }
    }
}

/// Where a level of a path is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PathLevel {
    Above,
    /// The path itself.
    Own,
    /// The last one that is told apart, of a path that has more.
    Last,
}

/// Shows `see` the hash of each level of a path, from the root on. Nothing if the target is not a path.
fn each_level<H: Hasher + Clone>(
    hasher: &impl BuildHasher<Hasher = H>,
    resource: &Resource,
    mut see: impl FnMut(&H, PathLevel),
) {
    let text = resource.text();
    let (path, host, origin) = match memchr::memchr3(b'?', b'\n', b'\r', text.as_bytes()) {
        // The text is a path alone.
        None => (text, None, None),
        Some(_) => (resource.path(), resource.host(), resource.origin()),
    };
    let [b'/', path @ ..] = path.as_bytes() else {
        return;
    };
    let mut state = hasher.build_hasher();
    (host, origin).hash(&mut state);
    let slashes = path.iter().rev().take_while(|byte| **byte == b'/').count();
    let mut left = path.get(..path.len() - slashes).unwrap_or_default();
    for _ in 0..MAX_LEVELS {
        if left.is_empty() {
            break;
        }
        see(&state, PathLevel::Above);
        let end = left.iter().position(|byte| *byte == b'/');
        state.write(left.get(..end.unwrap_or(left.len())).unwrap_or_default());
        state.write_u8(b'/');
        left = end.and_then(|end| left.get(end + 1..)).unwrap_or_default();
    }
    match left.is_empty() {
        true => see(&state, PathLevel::Own),
        false => see(&state, PathLevel::Last),
    }
}

/// The groups that an unsafe request to `resource` concerns. Empty if the target is not a path.
pub(in crate::cache) fn concerned_groups<H: Hasher + Clone>(
    hasher: &impl BuildHasher<Hasher = H>,
    resource: &Resource,
) -> PathGroups {
    let mut groups = PathGroups::none();
    each_level(hasher, resource, |hash, level| match level {
        PathLevel::Above => groups.add(hash, PathExtent::Alone),
        PathLevel::Own | PathLevel::Last => groups.add(hash, PathExtent::WithAllBelow),
    });
    groups
}

/// The groups that `resource` belongs to. Empty if the target is not a path.
pub(in crate::cache) fn groups_of<H: Hasher + Clone>(
    hasher: &impl BuildHasher<Hasher = H>,
    resource: &Resource,
) -> PathGroups {
    let mut groups = PathGroups::none();
    each_level(hasher, resource, |hash, level| {
        groups.add(hash, PathExtent::WithAllBelow);
        if level == PathLevel::Own {
            groups.add(hash, PathExtent::Alone);
        }
    });
    groups
}

/// A successful unsafe request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct UnsafeRequest {
    /// Fetches before this one began before the request had its response.
    pub(in crate::cache) before: FetchId,
    /// When it had its response.
    pub(in crate::cache) at: Time,
}

/// The last unsafe request that concerned each group of paths.
#[derive(Debug, Default)]
pub(in crate::cache) struct UnsafeRequests {
    by_group: HashMap<PathGroup, UnsafeRequest, RandomState>,
    /// The newest of those that were forgotten. It may concern any path. `None` if none was forgotten.
    forgotten: Option<UnsafeRequest>,
}

impl UnsafeRequests {
    /// Notes a request that concerns these groups. Returns true if older ones were forgotten: they concern all paths from
    /// now on.
    pub(in crate::cache) fn note(&mut self, groups: &[PathGroup], request: UnsafeRequest) -> bool {
        for group in groups {
            self.by_group.insert(*group, request);
        }
        let is_full = self.by_group.len() > MAX_GROUPS;
        if is_full {
            self.forget_older_half();
        }
        is_full
    }

    /// Notes a request whose groups are not known. It may concern any path.
    pub(in crate::cache) fn note_lost(&mut self, request: UnsafeRequest) {
        self.forgotten = Some(request);
    }

    fn forget_older_half(&mut self) {
        let mut ids: Vec<FetchId> = self
            .by_group
            .values()
            .map(|request| request.before)
            .collect();
        let middle = ids.len() / 2;
        let (_, newest_forgotten, _) = ids.select_nth_unstable(middle);
        let newest_forgotten = *newest_forgotten;
        let forgotten = &mut self.forgotten;
        self.by_group.retain(|_, request| {
            let is_kept = request.before > newest_forgotten;
            if !is_kept && forgotten.is_none_or(|newest| newest.before <= request.before) {
                *forgotten = Some(*request);
            }
            is_kept
        });
    }

    /// The last request that concerned one of these groups. `None` if there was none.
    pub(in crate::cache) fn last(&self, groups: &[PathGroup]) -> Option<UnsafeRequest> {
        let concerning = groups.iter().filter_map(|group| self.by_group.get(group));
        concerning
            .chain(&self.forgotten)
            .max_by_key(|request| request.before)
            .copied()
    }

    /// True if there was none.
    pub(in crate::cache) fn is_empty(&self) -> bool {
        self.by_group.is_empty() && self.forgotten.is_none()
    }
}

#[cfg(test)]
mod tests {
    use foldhash::quality::RandomState;
    use proptest::prelude::*;

    use super::*;

    fn request(number: u64) -> UnsafeRequest {
        UnsafeRequest {
            before: FetchId(number),
            at: Time::from_unix_millis(number),
        }
    }

    /// Whether an unsafe request to `changed` concerns the responses of `stored`.
    fn concerns(changed: &Resource, stored: &Resource) -> bool {
        let hasher = RandomState::default();
        let mut requests = UnsafeRequests::default();
        requests.note(&concerned_groups(&hasher, changed), request(1));
        requests.last(&groups_of(&hasher, stored)).is_some()
    }

    #[test]
    fn own_path_all_below_and_each_above_are_concerned_with_any_query() {
        let stored = [
            "/",
            "/?a",
            "/items",
            "/items/",
            "/items?limit=10",
            "/items/5",
            "/items/5/parts?x",
            "/items/7",
            "/items5",
            "/users",
            "/users/items",
        ];
        for (changed, expected) in [
            ("/items", &[0, 1, 2, 3, 4, 5, 6, 7][..]),
            ("/items/?x", &[0, 1, 2, 3, 4, 5, 6, 7]),
            ("/items/5", &[0, 1, 2, 3, 4, 5, 6]),
            ("/items/5/parts", &[0, 1, 2, 3, 4, 5, 6]),
            ("/items/new", &[0, 1, 2, 3, 4]),
            ("/users", &[0, 1, 9, 10]),
            ("/", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
            ("*", &[]),
        ] {
            let found: Vec<usize> = (0..stored.len())
                .filter(|index| concerns(&Resource::new(changed), &Resource::new(stored[*index])))
                .collect();
            assert_eq!(found, expected, "{changed}");
        }
    }

    #[test]
    fn an_empty_segment_is_a_level() {
        let concerns =
            |changed: &str, stored: &str| concerns(&Resource::new(changed), &Resource::new(stored));
        assert!(concerns("/a//b", "/a//b/c"));
        assert!(concerns("/a//b//", "/a//b"));
        assert!(concerns("/a//b", "/a"));
        assert!(!concerns("/a//b", "/a/b"));
        assert!(!concerns("//a", "/a"));
    }

    #[test]
    fn another_host_is_not_concerned() {
        let on = |host: &str| Resource::of("/items", Some(host.as_bytes()), None);
        assert!(concerns(&on("a"), &on("a")));
        assert!(!concerns(&on("a"), &on("b")));
        assert!(!concerns(&on("a"), &Resource::new("/items")));
    }

    #[test]
    fn another_origin_is_not_concerned() {
        let on = |scope: Option<&str>| Resource::of("/items", None, scope);
        assert!(concerns(
            &on(Some("http://a\t/items*")),
            &on(Some("http://a"))
        ));
        assert!(!concerns(&on(Some("http://a")), &on(Some("http://b"))));
        assert!(!concerns(&on(Some("http://a")), &on(None)));
        assert!(!concerns(&on(None), &on(Some("http://a"))));
    }

    #[test]
    fn what_is_forgotten_concerns_all_paths() {
        let hasher = RandomState::default();
        let mut requests = UnsafeRequests::default();
        let other = groups_of(&hasher, &Resource::new("/other/path"));
        assert!(requests.is_empty());
        let mut number = 0;
        while !requests.note(
            &concerned_groups(&hasher, &Resource::new(&format!("/items/{number}"))),
            request(number),
        ) {
            assert_eq!(requests.last(&other), None);
            number += 1;
        }
        assert!(requests.by_group.len() <= MAX_GROUPS);
        let forgotten = requests.last(&other).unwrap();
        assert!(forgotten.before < FetchId(number) && forgotten.before > FetchId(number / 4));
        let newest = groups_of(&hasher, &Resource::new(&format!("/items/{number}")));
        assert_eq!(requests.last(&newest), Some(request(number)));
    }

    fn path() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(0_u8..3, 0..20)
    }

    proptest! {
        #[test]
        fn a_deep_path_concerns_at_least_what_a_shallow_one_would(changed in path(), stored in path()) {
            let target = |path: &[u8]| {
                let segments: Vec<String> = path.iter().map(ToString::to_string).collect();
                Resource::new(&format!("/{}", segments.join("/")))
            };
            let is_concerned = stored.starts_with(&changed) || changed.starts_with(&stored);
            let found = concerns(&target(&changed), &target(&stored));
            if changed.len() <= MAX_LEVELS {
                prop_assert_eq!(found, is_concerned);
            } else {
                prop_assert!(found || !is_concerned);
            }
        }
    }
}
