//! The keys of stored responses.

use std::{
    hash::{BuildHasher as _, Hash, Hasher, RandomState},
    sync::{Arc, LazyLock},
};

use crate::policy::{BodyKey, Identity};

/// Makes the hashes of resources and keys. They are keyed, because clients choose resources.
static HASHER: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The target of a request, without its identity: path and query byte for byte, the Host if it is forwarded, and the scope
/// of the route if it has one.
///
/// It is one text: the target, `\n` and the Host, `\r` and the scope. None of the parts holds one of these two characters.
/// A scope begins with an origin, and may go on after a tab. Its hash is made once, for all tables.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Resource {
    text: Arc<str>,
    hash: u64,
}

impl Hash for Resource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl Resource {
    /// The resource at `target`, for the origin's own Host.
    pub fn new(target: &str) -> Self {
        Self::from_text(target.into())
    }

    /// The resource with this text.
    pub(in crate::cache) fn from_text(text: Arc<str>) -> Self {
        let hash = ResourceRef::of(&text).keyed_hash();
        Self { text, hash }
    }

    /// The resource at `target` for a Host that the client chose, if it did, and in the scope of a route, if it has one.
    pub fn of(target: &str, host: Option<&[u8]>, scope: Option<&str>) -> Self {
        match (host, scope) {
            (None, None) => Self::new(target),
            _ => {
                let host = host.map(|host| format!("\n{}", host.escape_ascii()));
                let scope = scope.map(|scope| format!("\r{scope}"));
                let parts = [
                    target,
                    &host.unwrap_or_default(),
                    &scope.unwrap_or_default(),
                ];
                Self::from_text(parts.concat().into())
            }
        }
    }

    /// True if it is what [`Resource::of`] makes of these.
    pub fn is_of(&self, target: &str, host: Option<&[u8]>, scope: Option<&str>) -> bool {
        if host.is_none() && scope.is_none() {
            return &*self.text == target;
        }
        let own = self.parts();
        let is_host = match (own.host, host) {
            (None, None) => true,
            (Some(own), Some(host)) => own.bytes().eq(host.escape_ascii()),
            (None, Some(_)) | (Some(_), None) => false,
        };
        is_host && own.target == target && own.scope == scope
    }

    /// Its text.
    pub(in crate::cache) fn text(&self) -> &str {
        &self.text
    }

    /// Its text, to share.
    pub(super) fn shared_text(&self) -> &Arc<str> {
        &self.text
    }

    /// Its parts.
    fn parts(&self) -> ResourceRef<'_> {
        ResourceRef::of(&self.text)
    }

    /// A keyed hash of it.
    pub(in crate::cache) fn keyed_hash(&self) -> u64 {
        self.hash
    }

    /// Path and query.
    pub fn target(&self) -> &str {
        self.parts().target
    }

    /// The path, without the query.
    pub fn path(&self) -> &str {
        self.parts().path()
    }

    /// The path and the Host, as [`Resource::path`] and [`Resource::host`].
    pub(in crate::cache) fn path_and_host(&self) -> (&str, Option<&str>) {
        let parts = self.parts();
        (parts.path(), parts.host)
    }

    /// The Host that the client chose; `None` if it is not part of the key.
    pub fn host(&self) -> Option<&str> {
        self.parts().host
    }

    /// The scope of its route; `None` if it has none.
    pub fn scope(&self) -> Option<&str> {
        self.parts().scope
    }

    /// The origin of its route, as in the configuration; `None` if it is the first origin of a proxy.
    pub fn origin(&self) -> Option<&str> {
        self.parts().origin()
    }
}

/// What comes before the first `mark` in `text`, and what follows it; `None` if there is none.
fn split_at_mark(text: &str, mark: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(mark, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// What follows `part` and the mark before it at the beginning of `text`. `None` if `text` does not begin with them.
fn after<'t>(text: &'t str, mark: char, part: Option<&str>) -> Option<&'t str> {
    match part {
        Some(part) => text.strip_prefix(mark)?.strip_prefix(part),
        None => Some(text),
    }
}

/// The parts of a [`Resource`], borrowed for a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ResourceRef<'a> {
    /// Path and query.
    pub target: &'a str,
    /// The Host that the client chose; `None` if it is not part of the key. It has only characters that a resource does
    /// not escape: those that [`u8::escape_ascii`] leaves as they are.
    pub host: Option<&'a str>,
    /// The scope of its route; `None` if it has none.
    pub scope: Option<&'a str>,
}

impl<'a> ResourceRef<'a> {
    /// The parts of the text of a resource.
    fn of(text: &'a str) -> Self {
        let Some(end) = memchr::memchr2(b'\n', b'\r', text.as_bytes()) else {
            return text.into();
        };
        let (target, rest) = text.split_at(end);
        let (host, scope) = match split_at_mark(rest, b'\r') {
            Some((host, scope)) => (host, Some(scope)),
            None => (rest, None),
        };
        Self {
            target,
            host: host.strip_prefix('\n'),
            scope,
        }
    }

    /// The path, without the query.
    fn path(&self) -> &'a str {
        split_at_mark(self.target, b'?').map_or(self.target, |(path, _)| path)
    }

    /// The origin of its route; `None` if it is the first origin of a proxy.
    fn origin(&self) -> Option<&'a str> {
        let scope = self.scope?;
        Some(split_at_mark(scope, b'\t').map_or(scope, |(origin, _)| origin))
    }

    /// True if `text` is that of a resource with these parts.
    fn is(&self, text: &str) -> bool {
        let begun = text.strip_prefix(self.target);
        let with_host = begun.and_then(|rest| after(rest, '\n', self.host));
        let rest = with_host.and_then(|rest| after(rest, '\r', self.scope));
        rest.is_some_and(str::is_empty)
    }

    fn keyed_hash(&self) -> u64 {
        let mut hasher = HASHER.build_hasher();
        hasher.write(self.target.as_bytes());
        for (mark, part) in [(b'\n', self.host), (b'\r', self.scope)] {
            if let Some(part) = part {
                hasher.write_u8(mark);
                hasher.write(part.as_bytes());
            }
        }
        hasher.finish()
    }
}

impl<'a> From<&'a str> for ResourceRef<'a> {
    /// The parts of [`Resource::new`].
    fn from(target: &'a str) -> Self {
        Self {
            target,
            host: None,
            scope: None,
        }
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
    /// True for what the policy does not store, and what is kept for the time without an origin. Such keys are beside the
    /// others: no lookup for a request that may go to the origin finds them, and their changes are no changes for it.
    pub is_recorded: bool,
}

/// The part of a key that differs between the keys of one resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(in crate::cache) struct Partition {
    pub(in crate::cache) identity: Option<Identity>,
    pub(in crate::cache) content: Option<BodyKey>,
    pub(in crate::cache) is_recorded: bool,
}

impl Partition {
    /// True for the shared partition without a body.
    pub(in crate::cache) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The hash of a key in this partition whose resource has this hash.
    fn keyed_hash(&self, resource_hash: u64) -> u64 {
        let of_identity = self.identity.map_or(0, |identity| identity.hash_bits());
        let of_content = self.content.map_or(0, |content| HASHER.hash_one(content));
        let of_recorded = match self.is_recorded {
            true => HASHER.hash_one(true),
            false => 0,
        };
        resource_hash ^ of_identity ^ of_content ^ of_recorded
    }

    pub(in crate::cache) fn of(self, resource: Resource) -> Key {
        Key {
            resource,
            identity: self.identity,
            content: self.content,
            is_recorded: self.is_recorded,
        }
    }
}

impl Key {
    pub(in crate::cache) fn shared(&self) -> Self {
        Self {
            resource: self.resource.clone(),
            identity: None,
            content: self.content,
            is_recorded: self.is_recorded,
        }
    }

    /// The key of GET and HEAD requests for a resource.
    pub fn new(resource: Resource, identity: Option<Identity>) -> Self {
        Self {
            resource,
            identity,
            content: None,
            is_recorded: false,
        }
    }

    /// The key beside this one, of what the policy does not store. `identity` is that of the request, also where the policy
    /// has no partitions.
    #[must_use]
    pub fn recorded(&self, identity: Option<Identity>) -> Self {
        Self {
            identity,
            is_recorded: true,
            ..self.clone()
        }
    }

    pub(in crate::cache) fn partition(&self) -> Partition {
        Partition {
            identity: self.identity,
            content: self.content,
            is_recorded: self.is_recorded,
        }
    }

    /// A keyed hash of it.
    pub(in crate::cache) fn keyed_hash(&self) -> u64 {
        self.partition().keyed_hash(self.resource.hash)
    }

    /// The memory of the key beyond the overhead of an entry, in bytes.
    pub(in crate::cache) fn heap_bytes(&self) -> u64 {
        heap_bytes(&self.resource.text, self.partition().is_plain())
    }
}

/// The memory of a key beyond the overhead of an entry, in bytes. A plain one has neither an identity nor a body.
pub(super) fn heap_bytes(text: &str, is_plain: bool) -> u64 {
    // A partition is stored with its epoch. It is also in the list of its resource's partitions, and the list may be half full.
    let partition = match is_plain {
        true => 0,
        false => size_of::<Key>() + 5 * size_of::<usize>() + ALLOCATION_BYTES + RESOURCE_BYTES,
    };
    (text.len() + ALLOCATION_BYTES + LISTED_BYTES + partition) as u64
}

/// The counters and the share of the allocator's own memory for each allocation of a key, in bytes.
const ALLOCATION_BYTES: usize = 2 * size_of::<usize>();

/// The place of a key in the index and in the eviction order, and what lists its responses, in bytes.
const LISTED_BYTES: usize = 20 * size_of::<usize>();
/// The memory of a resource that has partitions, in bytes.
const RESOURCE_BYTES: usize = 128;

/// A resource, as whoever looks it up has it. The text is not divided before it is compared.
#[derive(Clone, Copy, Debug)]
enum ResourceText<'a> {
    Text(&'a str),
    Parts(ResourceRef<'a>),
}

impl ResourceText<'_> {
    /// True if `text` is that of the resource.
    fn is(&self, text: &str) -> bool {
        match self {
            Self::Text(own) => *own == text,
            Self::Parts(parts) => parts.is(text),
        }
    }
}

impl PartialEq for ResourceText<'_> {
    fn eq(&self, other: &Self) -> bool {
        let parts = |it: &Self| match *it {
            ResourceText::Text(text) => ResourceRef::of(text),
            ResourceText::Parts(parts) => parts,
        };
        parts(self) == parts(other)
    }
}

impl Eq for ResourceText<'_> {}

/// A key, borrowed for a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef<'a> {
    resource: ResourceText<'a>,
    resource_hash: u64,
    partition: Partition,
}

impl<'a> KeyRef<'a> {
    /// The key of a resource without a body, for an identity; `None` is the shared partition.
    pub fn new(resource: impl Into<ResourceRef<'a>>, identity: Option<Identity>) -> Self {
        let resource = resource.into();
        Self {
            resource_hash: resource.keyed_hash(),
            resource: ResourceText::Parts(resource),
            partition: Partition {
                identity,
                content: None,
                is_recorded: false,
            },
        }
    }

    /// A keyed hash of it.
    pub(in crate::cache) fn keyed_hash(&self) -> u64 {
        self.partition.keyed_hash(self.resource_hash)
    }

    /// True if it is the key in `partition` of the resource with this text.
    pub(super) fn is(self, text: &str, partition: Partition) -> bool {
        self.partition == partition && self.resource.is(text)
    }

    /// True if the key has an identity: then shared responses may be stored for it too.
    pub(in crate::cache) fn has_identity(self) -> bool {
        self.partition.identity.is_some()
    }

    /// The key without its identity.
    pub(in crate::cache) fn shared(self) -> Self {
        let partition = Partition {
            identity: None,
            ..self.partition
        };
        Self { partition, ..self }
    }
}

impl<'a> From<&'a Key> for KeyRef<'a> {
    fn from(key: &'a Key) -> Self {
        Self {
            partition: key.partition(),
            ..Self::from(&key.resource)
        }
    }
}

impl<'a> From<&'a Resource> for KeyRef<'a> {
    /// The key of a resource in the shared partition, without a body.
    fn from(resource: &'a Resource) -> Self {
        Self {
            resource: ResourceText::Text(&resource.text),
            resource_hash: resource.hash,
            partition: Partition::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_is_of_the_parts_that_it_is_made_of() {
        let hosts = [None, Some(&b"h"[..]), Some(b"h i"), Some(b"\xfc\n")];
        let parts = ["/", "/a?b"].into_iter().flat_map(|target| {
            let scopes = [None, Some("http://a"), Some("http://a\t/b*")];
            let of = move |scope| hosts.map(|host| (target, host, scope));
            scopes.into_iter().flat_map(of)
        });
        let parts: Vec<_> = parts.collect();
        for one in &parts {
            let resource = Resource::of(one.0, one.1, one.2);
            for other in &parts {
                let is_of = resource.is_of(other.0, other.1, other.2);
                assert_eq!(is_of, one == other, "{one:?} {other:?}");
            }
        }
    }
}
