//! Which responses may be stored, what is stored of them, for which requests, and what invalidates them (RFC 9111, 3, 4.1 and 4.4).

pub(super) mod admit;
pub(super) mod audience;
pub(super) mod invalidation;
pub(super) mod live_stream;
pub(super) mod provenance;
pub(super) mod record;
pub(super) mod selector;
pub(super) mod stored_head;
pub(super) mod tags;
pub(super) mod vary;
pub(super) mod written;
