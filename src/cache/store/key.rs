//! The keys of stored responses.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use quick_cache::Equivalent;

use crate::policy::{BodyKey, Identity};

/// The target of a request, without its identity: path and query byte for byte, and the Host if it is forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(Arc<str>);

impl Resource {
    /// The resource at `target`, for the origin's own Host.
    pub fn new(target: &str) -> Self {
        Self(target.into())
    }

    /// The resource at `target` for a Host that the client chose.
    pub fn with_host(target: &str, host: &[u8]) -> Self {
        // A target holds no line feed, so no host can pass for a part of one.
        Self(format!("{target}\n{}", host.escape_ascii()).into())
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        self.0
            .split_once('\n')
            .map_or(&self.0, |(target, _)| target)
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        let target = self.target();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// The Host that the client chose; `None` if it is not part of the key.
    pub fn host(&self) -> Option<&str> {
        self.0.split_once('\n').map(|(_, host)| host)
    }
}

/// A resource in a partition of the cache: the one of an identity, or the shared one. A POST that is answered like a GET
/// also has its body in the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The target.
    pub resource: Resource,
    /// The identity that owns the partition; `None` for the shared one.
    pub identity: Option<Identity>,
    /// The body of the POST; `None` for GET and HEAD.
    pub content: Option<BodyKey>,
}

/// The part of a key that differs between the keys of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Partition {
    identity: Option<Identity>,
    content: Option<BodyKey>,
}

impl Partition {
    /// True for the shared partition without a body.
    pub(in crate::cache) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    pub(in crate::cache) fn of(self, resource: Resource) -> Key {
        Key {
            resource,
            identity: self.identity,
            content: self.content,
        }
    }
}

impl Key {
    pub(in crate::cache) fn shared(&self) -> Self {
        Self {
            resource: self.resource.clone(),
            identity: None,
            content: self.content,
        }
    }

    pub(in crate::cache) fn partition(&self) -> Partition {
        Partition {
            identity: self.identity,
            content: self.content,
        }
    }

    /// The memory of the key beyond the overhead of an entry, in bytes.
    pub(in crate::cache) fn heap_bytes(&self) -> usize {
        // A partition is also in the set of its resource's partitions, which is at least half full.
        let partition = if self.partition().is_plain() {
            0
        } else {
            size_of::<Key>() + 2 * size_of::<Partition>()
        };
        self.resource.0.len() + 2 * size_of::<usize>() + partition
    }
}

/// A key as the store holds it. Most keys are a resource alone, and take no memory for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum StoredKey {
    Plain(Resource),
    Partitioned(Box<Key>),
}

impl From<&Key> for StoredKey {
    fn from(key: &Key) -> Self {
        match key.partition().is_plain() {
            true => Self::Plain(key.resource.clone()),
            false => Self::Partitioned(Box::new(key.clone())),
        }
    }
}

impl StoredKey {
    pub(in crate::cache) fn key(&self) -> Key {
        match self {
            Self::Plain(resource) => Partition::default().of(resource.clone()),
            Self::Partitioned(key) => Key::clone(key),
        }
    }
}

impl Hash for StoredKey {
    /// The same hash as that of the key.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Plain(resource) => PlainKey(&resource.0).hash(state),
            Self::Partitioned(key) => key.hash(state),
        }
    }
}

impl Equivalent<StoredKey> for Key {
    fn equivalent(&self, stored: &StoredKey) -> bool {
        match stored {
            StoredKey::Plain(resource) => self.resource == *resource && self.partition().is_plain(),
            StoredKey::Partitioned(key) => *self == **key,
        }
    }
}

/// The key of a target in the shared partition, borrowed for a lookup.
#[derive(Clone, Copy, Debug)]
pub struct PlainKey<'a>(pub &'a str);

impl Hash for PlainKey<'_> {
    /// The same hash as that of the key.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        None::<Identity>.hash(state);
        None::<BodyKey>.hash(state);
    }
}

impl Equivalent<Key> for PlainKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *key.resource.0 == *self.0 && key.partition().is_plain()
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher as _, RandomState};

    use super::*;

    #[test]
    fn a_borrowed_key_finds_the_entry_of_its_owned_key() {
        let hasher = RandomState::new();
        for target in ["/", "/a?b", ""] {
            let key = Key {
                resource: Resource::new(target),
                identity: None,
                content: None,
            };
            assert!(PlainKey(target).equivalent(&key));
            assert_eq!(hasher.hash_one(PlainKey(target)), hasher.hash_one(&key));
            assert_eq!(
                hasher.hash_one(StoredKey::from(&key)),
                hasher.hash_one(&key)
            );
            assert!(key.equivalent(&StoredKey::from(&key)));
        }
        let hosted = Key {
            resource: Resource::with_host("/a", b"h"),
            identity: None,
            content: None,
        };
        assert!(!PlainKey("/a").equivalent(&hosted));
        assert_eq!(size_of::<StoredKey>(), 2 * size_of::<usize>());
    }
}
