//! How long a response is fresh, how old it is, and when it may be served stale (RFC 9111, 4.2; RFC 5861).

pub(super) mod age;
pub(super) mod calculation;
pub(super) mod lifetime;
pub(super) mod stale;
