//! Counting and looking at what is stored, and purging it, a step at a time.

pub(super) mod counting;
pub(super) mod filter;
pub(super) mod inspecting;
pub(super) mod key_variants;
pub(super) mod listing;
mod nearest;
pub(super) mod on_disk;
pub(super) mod purged_bytes;
mod purged_paths;
pub(super) mod purging;
pub(super) mod ranking;
pub(super) mod tag_purges;
pub(super) mod walk;
