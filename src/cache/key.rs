//! What a stored response is filed under.

use std::sync::Arc;

use crate::policy::Identity;

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

    pub(super) fn heap_bytes(&self) -> usize {
        self.0.len() + 2 * size_of::<usize>()
    }
}

/// A resource within a partition of the cache: that of one identity, or the one for everybody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// What is asked for.
    pub resource: Resource,
    /// Whose partition; none: everybody's.
    pub identity: Option<Identity>,
}

impl Key {
    pub(super) fn everybodys(&self) -> Self {
        Self {
            resource: self.resource.clone(),
            identity: None,
        }
    }
}
