//! Counting and looking at what is stored, and purging it, a step at a time.

pub(super) mod counting;
pub(super) mod filter;
pub(super) mod listing;
mod nearest;
pub(super) mod purging;
pub(super) mod tag_purges;
pub(super) mod walk;
