//! Rules of the configuration for some paths, and the patterns they are written with.

pub(super) mod globs;
pub(super) mod patterns;
pub(super) mod query;
pub(super) mod rule;
