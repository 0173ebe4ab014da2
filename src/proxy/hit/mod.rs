//! Hits: responses made from stored ones.

pub(super) mod fast_path;
pub(super) mod from_stored;
mod hit_headers;
pub(super) mod multipart;
pub(super) mod prepared;
pub(super) mod serve;
pub(super) mod stale_at_once;
