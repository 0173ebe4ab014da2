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
pub(in crate::cache) struct Part {
    identity: Option<Identity>,
    content: Option<BodyKey>,
}

impl Part {
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
    pub(in crate::cache) fn everybodys(&self) -> Self {
        Self {
            resource: self.resource.clone(),
            identity: None,
            content: self.content,
        }
    }

    pub(in crate::cache) fn part(&self) -> Part {
        Part {
            identity: self.identity,
            content: self.content,
        }
    }

    /// What the key costs beyond the usual overhead of an entry.
    pub(in crate::cache) fn heap_bytes(&self) -> usize {
        // A part is held once more, in the list of a resource's parts, which is at most half full.
        let part = if self.part().is_plain() {
            0
        } else {
            size_of::<Key>() + 2 * size_of::<Part>()
        };
        self.resource.0.len() + 2 * size_of::<usize>() + part
    }
}

/// A key where many are kept. Most have nothing but a resource, and take no room for more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) enum Kept {
    Plain(Resource),
    Parted(Box<Key>),
}

impl From<&Key> for Kept {
    fn from(key: &Key) -> Self {
        match key.part().is_plain() {
            true => Self::Plain(key.resource.clone()),
            false => Self::Parted(Box::new(key.clone())),
        }
    }
}

impl Kept {
    pub(in crate::cache) fn key(&self) -> Key {
        match self {
            Self::Plain(resource) => Part::default().of(resource.clone()),
            Self::Parted(key) => Key::clone(key),
        }
    }
}

impl Hash for Kept {
    /// As the key itself is hashed.
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Self::Plain(resource) => Plain(&resource.0).hash(state),
            Self::Parted(key) => key.hash(state),
        }
    }
}

impl Equivalent<Kept> for Key {
    fn equivalent(&self, kept: &Kept) -> bool {
        match kept {
            Kept::Plain(resource) => self.resource == *resource && self.part().is_plain(),
            Kept::Parted(key) => *self == **key,
        }
    }
}

/// The key of a target for everybody, where it need not be kept.
#[derive(Clone, Copy, Debug)]
pub struct Plain<'a>(pub &'a str);

impl Hash for Plain<'_> {
    /// As the key itself is hashed.
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
        None::<Identity>.hash(state);
        None::<BodyKey>.hash(state);
    }
}

impl Equivalent<Key> for Plain<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        *key.resource.0 == *self.0 && key.part().is_plain()
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
            assert!(Plain(target).equivalent(&key));
            assert_eq!(hasher.hash_one(Plain(target)), hasher.hash_one(&key));
            assert_eq!(hasher.hash_one(Kept::from(&key)), hasher.hash_one(&key));
            assert!(key.equivalent(&Kept::from(&key)));
        }
        let hosted = Key {
            resource: Resource::with_host("/a", b"h"),
            identity: None,
            content: None,
        };
        assert!(!Plain("/a").equivalent(&hosted));
        assert_eq!(size_of::<Kept>(), 2 * size_of::<usize>());
    }
}
