//! What a response is looked up and ended by, and the hashes of it.

use std::fmt;

use ring::hmac;

/// Where a response is stored. The bytes have a meaning for the caller alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// What an invalidation ends as a whole.
    pub resource: Box<[u8]>,
    /// Who shares the response. Empty: the shared partition.
    pub partition: Box<[u8]>,
}

/// The hashes of an [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct AddressHash {
    pub(super) resource: u64,
    pub(super) partition: u32,
}

/// The hashes by which the index finds a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyHash {
    pub(super) address: AddressHash,
    pub(super) variant: u32,
}

impl KeyHash {
    /// As two words: the resource, then the partition and the variant.
    pub(super) fn words(self) -> [u64; 2] {
        let rest = u64::from(self.address.partition) << 32 | u64::from(self.variant);
        [self.address.resource, rest]
    }

    /// The inverse of [`KeyHash::words`].
    pub(super) fn from_words([resource, rest]: [u64; 2]) -> Self {
        let [partition, variant] = halves(rest);
        Self {
            address: AddressHash {
                resource,
                partition,
            },
            variant,
        }
    }
}

/// The upper and the lower half of a word.
#[allow(clippy::cast_possible_truncation, reason = "the lower half is meant")]
fn halves(word: u64) -> [u32; 2] {
    [(word >> 32) as u32, word as u32]
}

/// Makes hashes with the secret of the directory, so that no client can choose addresses whose hashes are equal.
pub(super) struct AddressHasher {
    key: hmac::Key,
    shared_partition: u32,
}

impl AddressHasher {
    pub(super) fn new(secret: &[u8; 32]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let shared_partition = hash(&key, b'p', &[]).1;
        Self {
            key,
            shared_partition,
        }
    }

    /// The seed of the checksums in a segment. A body cannot contain a record that passes for one of the segment.
    pub(super) fn segment_seed(&self, segment: u32) -> u64 {
        hash(&self.key, b's', &segment.to_le_bytes()).0
    }

    pub(super) fn resource(&self, resource: &[u8]) -> u64 {
        hash(&self.key, b'r', resource).0
    }

    pub(super) fn address(&self, address: &Address) -> AddressHash {
        let partition = match address.partition.is_empty() {
            true => self.shared_partition,
            false => hash(&self.key, b'p', &address.partition).1,
        };
        AddressHash {
            resource: self.resource(&address.resource),
            partition,
        }
    }

    pub(super) fn key(&self, address: &Address, variant: &[u8]) -> KeyHash {
        KeyHash {
            address: self.address(address),
            variant: hash(&self.key, b'v', variant).1,
        }
    }
}

impl fmt::Debug for AddressHasher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("AddressHasher")
    }
}

/// The first 64 and the next 32 bits of the HMAC of `kind` and `bytes`.
fn hash(key: &hmac::Key, kind: u8, bytes: &[u8]) -> (u64, u32) {
    let mut context = hmac::Context::with_key(key);
    context.update(&[kind]);
    context.update(bytes);
    let tag = context.sign();
    let word = |at: usize| {
        let bytes = tag.as_ref().get(at..at + 4);
        let bytes = bytes.and_then(|bytes| bytes.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default())
    };
    (u64::from(word(0)) << 32 | u64::from(word(4)), word(8))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(resource: &str, partition: &str) -> Address {
        Address {
            resource: resource.as_bytes().into(),
            partition: partition.as_bytes().into(),
        }
    }

    #[test]
    fn each_part_of_a_key_has_a_hash_of_its_own() {
        let hasher = AddressHasher::new(&[7; 32]);
        let key = hasher.key(&address("/a", ""), b"gzip");
        assert_eq!(KeyHash::from_words(key.words()), key);
        assert_eq!(hasher.key(&address("/a", ""), b"gzip"), key);
        let of_bob = hasher.key(&address("/a", "bob"), b"gzip");
        assert_eq!(of_bob.address.resource, key.address.resource);
        assert_ne!(of_bob.address.partition, key.address.partition);
        assert_eq!(of_bob.variant, key.variant);
        let plain = hasher.key(&address("/a", ""), b"");
        assert_eq!(plain.address, key.address);
        assert_ne!(plain.variant, key.variant);
        assert_ne!(hasher.resource(b"/b"), key.address.resource);
    }

    #[test]
    fn hashes_depend_on_the_secret() {
        let one = AddressHasher::new(&[1; 32]).resource(b"/a");
        assert_ne!(one, AddressHasher::new(&[2; 32]).resource(b"/a"));
    }
}
