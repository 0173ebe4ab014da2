//! The client's request: as it is forwarded, its target, its body.

pub(super) mod forwarded;
pub(super) mod forwarded_head;
pub(super) mod framing;
pub(super) mod ignored_cookies;
pub(super) mod max_forwards;
pub(super) mod name_table;
pub(super) mod plain;
pub(super) mod preflight;
pub(super) mod recent_heads;
pub(super) mod request_id;
pub(super) mod rewriting;
pub(super) mod target;
pub(super) mod told_client;
pub(super) mod upload;
