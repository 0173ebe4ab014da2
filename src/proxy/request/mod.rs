//! The client's request: as it is forwarded, and its body.

pub(super) mod forwarded;
pub(super) mod framing;
pub(super) mod header_table;
pub(super) mod max_forwards;
pub(super) mod upload;
