//! The keys of stored responses.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use quick_cache::Equivalent;

use crate::policy::{BodyKey, Identity};

/// The target of a request, without its identity: path and query byte for byte, the Host if it is forwarded, and the scope
/// of the route if it has one.
///
/// It is one text: the target, `\n` and the Host, `\r` and the scope. None of the parts holds one of these two characters.
/// A scope begins with an origin, and may go on after a tab.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Resource(Arc<str>);

impl Resource {
    /// The resource at `target`, for the origin's own Host.
    pub fn new(target: &str) -> Self {
        Self(target.into())
    }

    /// The resource at `target` for a Host that the client chose, if it did, and in the scope of a route, if it has one.
    pub fn of(target: &str, host: Option<&[u8]>, scope: Option<&str>) -> Self {
        match (host, scope) {
            (None, None) => Self::new(target),
            _ => {
                let mut text = String::new();
                write_resource(&mut text, target, host, scope);
                Self(text.into())
            }
        }
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        self.0
            .split_once(['\n', '\r'])
            .map_or(&self.0, |(target, _)| target)
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        let target = self.target();
        target.split_once('?').map_or(target, |(path, _)| path)
    }

    /// The Host that the client chose; `None` if it is not part of the key.
    pub fn host(&self) -> Option<&str> {
        let (_, rest) = self.0.split_once('\n')?;
        Some(rest.split_once('\r').map_or(rest, |(host, _)| host))
    }

    /// The scope of its route; `None` if it has none.
    pub fn scope(&self) -> Option<&str> {
        self.0.split_once('\r').map(|(_, scope)| scope)
    }

    /// The origin of its route, as in the configuration; `None` if it is the first origin of a proxy.
    pub fn origin(&self) -> Option<&str> {
        let scope = self.scope()?;
        Some(scope.split_once('\t').map_or(scope, |(origin, _)| origin))
    }
}

/// Appends the text of a resource to `text`.
pub fn write_resource(text: &mut String, target: &str, host: Option<&[u8]>, scope: Option<&str>) {
    text.push_str(target);
    if let Some(host) = host {
        text.push('\n');
        text.extend(host.escape_ascii().map(char::from));
    }
    if let Some(scope) = scope {
        text.push('\r');
        text.push_str(scope);
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
    pub(in crate::cache) fn heap_bytes(&self) -> u64 {
        // A partition is also in the list of its resource's partitions, and the list may be half full.
        let partition = if self.partition().is_plain() {
            0
        } else {
            size_of::<PartitionedKey>()
                + 2 * size_of::<Partition>()
                + ALLOCATION_BYTES
                + RESOURCE_BYTES
        };
        (self.resource.0.len() + ALLOCATION_BYTES + LISTED_BYTES + partition) as u64
    }
}

/// The counters and the share of the allocator's own memory for each allocation of a key, in bytes.
const ALLOCATION_BYTES: usize = 2 * size_of::<usize>();

/// The place of a key in the list of all keys, in bytes.
const LISTED_BYTES: usize = 2 * size_of::<StoredKey>();
/// The memory of a resource that has partitions, in bytes.
const RESOURCE_BYTES: usize = 128;

/// A key as the store holds it. Most keys are a resource alone, and take no memory for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum StoredKey {
    Plain(Resource),
    Partitioned(Arc<PartitionedKey>),
}

/// A key with an identity or a body.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::cache) struct PartitionedKey {
    key: Key,
    epoch: u64,
}

/// A key, borrowed for a lookup in the store.
///
/// The keys of a resource that have an identity or a body also have the epoch of the resource. An invalidation begins a new
/// epoch, so no lookup finds the keys of earlier ones, however many there are.
#[derive(Clone, Copy, Debug)]
pub(in crate::cache) struct StoredKeyRef<'a> {
    pub(in crate::cache) key: &'a Key,
    /// 0 for a key without identity and body.
    pub(in crate::cache) epoch: u64,
}

impl From<StoredKeyRef<'_>> for StoredKey {
    fn from(StoredKeyRef { key, epoch }: StoredKeyRef<'_>) -> Self {
        match key.partition().is_plain() {
            true => Self::Plain(key.resource.clone()),
            false => Self::Partitioned(Arc::new(PartitionedKey {
                key: key.clone(),
                epoch,
            })),
        }
    }
}

impl StoredKey {
    pub(in crate::cache) fn key(&self) -> Key {
        match self {
            Self::Plain(resource) => Partition::default().of(resource.clone()),
            Self::Partitioned(stored) => stored.key.clone(),
        }
    }

    pub(in crate::cache) fn partition(&self) -> Partition {
        match self {
            Self::Plain(_) => Partition::default(),
            Self::Partitioned(stored) => stored.key.partition(),
        }
    }

    pub(in crate::cache) fn resource(&self) -> &Resource {
        match self {
            Self::Plain(resource) => resource,
            Self::Partitioned(stored) => &stored.key.resource,
        }
    }

    /// The epoch of its resource in which it was stored; `None` if it has neither an identity nor a body.
    pub(in crate::cache) fn epoch(&self) -> Option<u64> {
        match self {
            Self::Plain(_) => None,
            Self::Partitioned(stored) => Some(stored.epoch),
        }
    }
}

impl Hash for StoredKey {
    /// The same hash as that of the borrowed key.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Plain(resource) => {
                PlainKey(&resource.0).hash(state);
                0_u64.hash(state);
            }
            Self::Partitioned(stored) => {
                stored.key.hash(state);
                stored.epoch.hash(state);
            }
        }
    }
}

impl Hash for StoredKeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        self.epoch.hash(state);
    }
}

impl Equivalent<StoredKey> for StoredKeyRef<'_> {
    fn equivalent(&self, stored: &StoredKey) -> bool {
        match stored {
            StoredKey::Plain(resource) => {
                self.key.resource == *resource && self.key.partition().is_plain()
            }
            StoredKey::Partitioned(stored) => self.epoch == stored.epoch && *self.key == stored.key,
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
            let borrowed = StoredKeyRef {
                key: &key,
                epoch: 0,
            };
            let stored = StoredKey::from(borrowed);
            assert_eq!(hasher.hash_one(&stored), hasher.hash_one(borrowed));
            assert!(borrowed.equivalent(&stored));
        }
        let hosted = Key {
            resource: Resource::of("/a", Some(b"h"), None),
            identity: None,
            content: None,
        };
        assert!(!PlainKey("/a").equivalent(&hosted));
        assert_eq!(size_of::<StoredKey>(), 2 * size_of::<usize>());
    }
}
