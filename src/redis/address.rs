//! What a record is looked up by, and the names of the keys in Redis.

use std::fmt;

use ring::digest::{Context, SHA256};

/// Where a record is stored. The bytes have a meaning for the caller alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SharedAddress {
    /// What the response is a representation of.
    pub resource: Box<[u8]>,
    /// Who shares the response. Empty: everybody.
    pub partition: Box<[u8]>,
}

/// The hash of a [`SharedAddress`], which stands in the names of its keys.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct RecordName([u8; 16]);

impl RecordName {
    /// The hash of an address.
    pub(super) fn of(address: &SharedAddress) -> Self {
        Self(hash(&[&address.resource, &address.partition]))
    }

    /// The inverse of its text. `None` if it is no such text.
    pub(super) fn from_text(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let is_text = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        let number = u128::from_str_radix(text, 16).ok()?;
        is_text.then(|| Self(number.to_be_bytes()))
    }

    /// A number that is equal for equal names.
    pub(super) fn number(self) -> u128 {
        u128::from_be_bytes(self.0)
    }
}

impl fmt::Display for RecordName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", self.number())
    }
}

impl fmt::Debug for RecordName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RecordName({self})")
    }
}

/// The first 128 bits of the SHA-256 of some parts, each with its length.
pub(super) fn hash(parts: &[&[u8]]) -> [u8; 16] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let digest = context.finish();
    let first = digest.as_ref().first_chunk::<16>();
    first.copied().unwrap_or_default()
}

/// The names of the keys in one namespace. All keys of a record are in one slot of a cluster, and so are those of the
/// stream of events.
#[derive(Clone, Debug)]
pub(super) struct KeyNames {
    namespace: Box<str>,
}

/// The longest name of a namespace, in bytes.
pub(super) const MAX_NAMESPACE_BYTES: usize = 64;

impl KeyNames {
    /// `None` if the name is empty, too long, or has other letters than `A-Z`, `a-z`, `0-9`, `.`, `_` and `-`.
    pub(super) fn new(namespace: &str) -> Option<Self> {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let is_name = (1..=MAX_NAMESPACE_BYTES).contains(&namespace.len())
            && namespace.bytes().all(is_letter);
        is_name.then(|| Self {
            namespace: namespace.into(),
        })
    }

    /// The random text that names these data.
    pub(super) fn epoch(&self) -> String {
        format!("{{{}}}:epoch", self.namespace)
    }

    /// The stream of events.
    pub(super) fn events(&self) -> String {
        format!("{{{}}}:events", self.namespace)
    }

    /// The instances, and when their registrations end.
    pub(super) fn instances(&self) -> String {
        format!("{{{}}}:instances", self.namespace)
    }

    /// What each instance has acknowledged.
    pub(super) fn acknowledged(&self) -> String {
        format!("{{{}}}:acks", self.namespace)
    }

    /// A key that only a test of the permissions writes.
    pub(super) fn check(&self) -> String {
        format!("{{{}}}:check", self.namespace)
    }

    /// The channel on which the end of a fetch is published.
    pub(super) fn released(&self) -> String {
        format!("{}:released", self.namespace)
    }

    /// The heads of a record, a field for each variant.
    pub(super) fn heads(&self, name: RecordName) -> String {
        format!("{{{}:{name}}}:m", self.namespace)
    }

    /// A part of a body.
    pub(super) fn chunk(&self, name: RecordName, nonce: u128, index: u32) -> String {
        format!("{{{}:{name}}}:b:{nonce:032x}:{index}", self.namespace)
    }

    /// The lease of a fetch.
    pub(super) fn lease(&self, name: RecordName) -> String {
        format!("{{{}:{name}}}:l", self.namespace)
    }

    /// Whether somebody waits for the fetch.
    pub(super) fn waited(&self, name: RecordName) -> String {
        format!("{{{}:{name}}}:w", self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(resource: &str, partition: &str) -> SharedAddress {
        SharedAddress {
            resource: resource.as_bytes().into(),
            partition: partition.as_bytes().into(),
        }
    }

    #[test]
    fn names_differ_by_resource_and_partition() {
        let name = RecordName::of(&address("/a", ""));
        assert_eq!(name, RecordName::of(&address("/a", "")));
        assert_ne!(name, RecordName::of(&address("/a", "bob")));
        assert_ne!(
            RecordName::of(&address("/a", "b")),
            RecordName::of(&address("/ab", ""))
        );
    }

    #[test]
    fn the_text_of_a_name_is_read_again() {
        let name = RecordName::of(&address("/a", ""));
        let text = name.to_string();
        assert_eq!(RecordName::from_text(text.as_bytes()), Some(name));
        for text in ["", "abc", &format!("+{}", &text[1..]), &format!("{text}0")] {
            assert_eq!(RecordName::from_text(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_namespace_has_no_letters_that_would_change_the_slot() {
        assert!(KeyNames::new("cp-1.a_B").is_some());
        for name in ["", "a b", "a{b", "a}b", "ä", "a\n", &"a".repeat(65)] {
            assert!(KeyNames::new(name).is_none(), "{name}");
        }
    }
}
