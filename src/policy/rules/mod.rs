//! Routes and rules of the configuration, and the patterns they are written with.

pub(super) mod globs;
pub(super) mod patterns;
pub(super) mod query;
pub(super) mod route;
pub(super) mod rule;
