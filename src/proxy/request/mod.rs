//! The client's request: as it is forwarded, and its body.

pub(crate) mod forwarded;
pub(crate) mod max_forwards;
pub(crate) mod upload;
