//! A worker's copies of lookups, and how it learns that they are out of date.

pub(super) mod copies;
pub(super) mod generations;
