//! The names of stored responses in the tiers beneath memory.

use ring::digest::{SHA256, digest};

use crate::{
    cache::store::key::{Key, Partition, Resource},
    policy::{BodyKey, Identity},
};

/// What the parts of the name of a partition begin with: an identity, the digest of a body, and whether its responses were
/// only recorded.
const IDENTITY_MARK: u8 = 1;
const CONTENT_MARK: u8 = 2;
const RECORDED_MARK: u8 = 3;

/// What precedes the names of all responses that were stored under the same settings about origins, policies and
/// identities. Under others they are not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Namespace(pub [u8; 16]);

impl Namespace {
    /// The namespace of responses that are stored under the settings in `text`.
    pub fn of(text: &str) -> Self {
        let digest = digest(&SHA256, text.as_bytes());
        let half = digest.as_ref().first_chunk();
        Self(half.copied().unwrap_or_default())
    }

    /// The name of the resource.
    pub(in crate::cache) fn name(&self, resource: &Resource) -> Box<[u8]> {
        [&self.0[..], resource.text().as_bytes()].concat().into()
    }

    /// The resource with this name; `None` if it is not in this namespace.
    pub(in crate::cache) fn resource(&self, name: &[u8]) -> Option<Resource> {
        let text = name.strip_prefix(&self.0)?;
        Some(Resource::from_text(std::str::from_utf8(text).ok()?.into()))
    }

    /// The name of what is stored for `key`.
    pub(in crate::cache) fn of_key(&self, key: &Key) -> KeyName {
        KeyName {
            resource: self.name(&key.resource),
            partition: partition_name(key.partition()),
        }
    }

    /// The key whose resource and partition have these names; `None` if there is none in this namespace.
    pub(in crate::cache) fn key(&self, resource: &[u8], partition: &[u8]) -> Option<Key> {
        let resource = self.resource(resource)?;
        Some(partition_named(partition)?.of(resource))
    }
}

/// The name of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::cache) struct KeyName {
    /// That of the resource.
    pub(in crate::cache) resource: Box<[u8]>,
    /// That of the partition. Empty for the shared one without a body.
    pub(in crate::cache) partition: Box<[u8]>,
}

/// The name of a partition. Empty for the shared one without a body.
fn partition_name(partition: Partition) -> Box<[u8]> {
    let recorded = partition.is_recorded.then(|| (RECORDED_MARK, Vec::new()));
    let identity = partition.identity;
    let identity = identity.map(|it| (IDENTITY_MARK, it.to_bytes().to_vec()));
    let content = partition.content;
    let content = content.map(|it| (CONTENT_MARK, it.to_bytes().to_vec()));
    let parts = recorded.into_iter().chain(identity).chain(content);
    parts
        .flat_map(|(mark, bytes)| std::iter::once(mark).chain(bytes))
        .collect()
}

/// The partition with this name; `None` if there is none.
fn partition_named(name: &[u8]) -> Option<Partition> {
    let (is_recorded, rest) = match name.strip_prefix(&[RECORDED_MARK]) {
        None => (false, name),
        Some(rest) => (true, rest),
    };
    let (identity, rest) = match rest.strip_prefix(&[IDENTITY_MARK]) {
        None => (None, rest),
        Some(rest) => {
            let (identity, rest) = rest.split_first_chunk::<16>()?;
            (Some(Identity::from_bytes(*identity)), rest)
        }
    };
    let content = match rest.strip_prefix(&[CONTENT_MARK]) {
        None if rest.is_empty() => None,
        None => return None,
        Some(rest) => Some(BodyKey::from_bytes(rest)?),
    };
    Some(Partition {
        identity,
        content,
        is_recorded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_partition_has_a_name_of_its_own() {
        let identities = [None, Some(Identity::from_bytes([7; 16]))];
        let contents = [None, BodyKey::from_bytes(&[0; 33])];
        let mut names = std::collections::BTreeSet::new();
        for (identity, content, is_recorded) in identities
            .iter()
            .flat_map(|identity| contents.iter().map(move |content| (identity, content)))
            .flat_map(|(identity, content)| [true, false].map(|it| (*identity, *content, it)))
        {
            let one = Partition {
                identity,
                content,
                is_recorded,
            };
            let name = partition_name(one);
            assert_eq!(partition_named(&name), Some(one));
            assert_eq!(partition_named(&[&name[..], b"x"].concat()), None);
            names.insert(name);
        }
        assert_eq!(names.len(), 8);
        assert!(names.contains(&[][..]));
    }
}
