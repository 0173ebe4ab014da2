//! An event that other instances do not hear of yet.

/// Redis is away. The event waits, and is published before anything else is read from Redis or written there. If the
/// process ends before, it is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis is not reachable: other instances do not know of it yet")]
pub struct NotPublished;
