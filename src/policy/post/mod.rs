//! A POST that only reads, like a GET: the cache key of its body.

pub(super) mod body_key;
pub(super) mod errors;
pub(super) mod graphql;
pub(super) mod json;
