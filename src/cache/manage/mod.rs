//! Looking at what is stored, and purging it, a chunk at a time.

pub(super) mod filter;
pub(super) mod listing;
pub(super) mod purging;
pub(super) mod tag_purges;
