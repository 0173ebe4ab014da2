//! Keys as the store holds them.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::cache::store::key::{Key, KeyRef, Partition, Resource, heap_bytes};

/// A time between two invalidations of a resource. The keys of the resource that have an identity or a body share it, so an
/// invalidation ends it for all of them, however many there are.
#[derive(Debug, Default)]
pub(in crate::cache) struct Epoch(AtomicBool);

impl Epoch {
    pub(in crate::cache) fn end(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn has_ended(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A key as the store holds it. Most keys are a resource alone, and take no memory for more.
#[derive(Clone, Debug)]
pub(in crate::cache) enum StoredKey {
    Plain(Arc<str>),
    Partitioned(Arc<PartitionedKey>),
}

/// A key with an identity or a body, and the epoch of its resource.
#[derive(Debug)]
pub(in crate::cache) struct PartitionedKey {
    key: Key,
    epoch: Arc<Epoch>,
}

impl StoredKey {
    /// `key` in an epoch of its resource; `None` for a key without identity and body.
    pub(in crate::cache) fn new(key: &Key, epoch: Option<Arc<Epoch>>) -> Self {
        match epoch {
            None => Self::Plain(Arc::clone(key.resource.shared_text())),
            Some(epoch) => Self::Partitioned(Arc::new(PartitionedKey {
                key: key.clone(),
                epoch,
            })),
        }
    }

    /// True if it is `key`, and not outdated.
    pub(in crate::cache) fn is(&self, key: KeyRef<'_>) -> bool {
        let is_same = match self {
            Self::Plain(text) => key.is(text, Partition::default()),
            Self::Partitioned(stored) => key.is(stored.key.resource.text(), stored.key.partition()),
        };
        is_same && !self.is_outdated()
    }

    /// The memory of the key beyond the overhead of an entry, in bytes.
    pub(in crate::cache) fn heap_bytes(&self) -> u64 {
        match self {
            Self::Plain(text) => heap_bytes(text, true),
            Self::Partitioned(stored) => stored.key.heap_bytes(),
        }
    }

    /// True if an invalidation has left the key behind.
    pub(in crate::cache) fn is_outdated(&self) -> bool {
        self.epoch().is_some_and(|epoch| epoch.has_ended())
    }

    pub(in crate::cache) fn key(&self) -> Key {
        match self {
            Self::Plain(text) => Partition::default().of(Resource::from_text(Arc::clone(text))),
            Self::Partitioned(stored) => stored.key.clone(),
        }
    }

    /// The resource and the epoch in which it was stored; `None` if it has neither an identity nor a body.
    pub(in crate::cache) fn partitioned(&self) -> Option<(&Resource, &Arc<Epoch>)> {
        match self {
            Self::Plain(_) => None,
            Self::Partitioned(stored) => Some((&stored.key.resource, &stored.epoch)),
        }
    }

    /// The epoch in which it was stored; `None` if it has neither an identity nor a body.
    pub(in crate::cache) fn epoch(&self) -> Option<&Arc<Epoch>> {
        self.partitioned().map(|(_, epoch)| epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_key_is_the_borrowed_one_until_its_epoch_ends() {
        for target in ["/", "/a?b", ""] {
            let key = Key {
                resource: Resource::new(target),
                identity: None,
                content: None,
                is_recorded: false,
            };
            let plain = KeyRef::new(target, None);
            assert_eq!(plain, KeyRef::from(&key));
            assert!(StoredKey::new(&key, None).is(plain));
            let epoch = Arc::new(Epoch::default());
            let stored = StoredKey::new(&key, Some(Arc::clone(&epoch)));
            assert!(stored.is(plain));
            epoch.end();
            assert!(!stored.is(plain));
        }
        let hosted = Key {
            resource: Resource::of("/a", Some(b"h"), None),
            identity: None,
            content: None,
            is_recorded: false,
        };
        let plain = KeyRef::new("/a", None);
        assert!(!StoredKey::new(&hosted, None).is(plain));
        assert_eq!(size_of::<StoredKey>(), 2 * size_of::<usize>());
        assert_eq!(
            size_of::<PartitionedKey>(),
            size_of::<Key>() + size_of::<usize>()
        );
    }
}
