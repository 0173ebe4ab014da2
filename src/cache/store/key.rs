//! What a stored response is filed under.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use quick_cache::Equivalent;

use crate::policy::{BodyKey, Identity};

/// What a request asks for, whoever asks: path and query byte for byte, and the Host where it is forwarded.
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

    /// The Host that the client chose, where it counts.
    pub fn host(&self) -> Option<&str> {
        self.0.split_once('\n').map(|(_, host)| host)
    }
}

/// A resource within a partition of the cache: that of one identity, or the one for everybody. Bodies that are asked
/// with are told apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// What is asked for.
    pub resource: Resource,
    /// Whose partition; none: everybody's.
    pub identity: Option<Identity>,
    /// The body of the POST that asks; none: there is none.
    pub content: Option<BodyKey>,
}

/// What tells the keys of one resource apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Partition {
    identity: Option<Identity>,
    content: Option<BodyKey>,
}

impl Partition {
    /// What a resource is filed under for everybody who asks without a body.
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

    /// What the key costs beyond the usual overhead of an entry.
    pub(in crate::cache) fn heap_bytes(&self) -> usize {
        // A part is held once more, in the list of a resource's parts, which is at most half full.
        let part = if self.partition().is_plain() {
            0
        } else {
            size_of::<Key>() + 2 * size_of::<Partition>()
        };
        self.resource.0.len() + 2 * size_of::<usize>() + part
    }
}

/// A key where many are kept. Most have nothing but a resource, and take no room for more.
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
    /// As the key itself is hashed.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Plain(resource) => PlainKey(&resource.0).hash(state),
            Self::Partitioned(key) => key.hash(state),
        }
    }
}

impl Equivalent<StoredKey> for Key {
    fn equivalent(&self, kept: &StoredKey) -> bool {
        match kept {
            StoredKey::Plain(resource) => self.resource == *resource && self.partition().is_plain(),
            StoredKey::Partitioned(key) => *self == **key,
        }
    }
}

/// The key of a target for everybody, where it need not be kept.
#[derive(Clone, Copy, Debug)]
pub struct PlainKey<'a>(pub &'a str);

impl Hash for PlainKey<'_> {
    /// As the key itself is hashed.
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
    fn a_plain_target_is_found_where_its_key_is() {
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
