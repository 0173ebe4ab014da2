//! Responses made of what is stored.

pub(crate) mod fast_path;
pub(crate) mod from_stored;
pub(crate) mod multipart;
pub(crate) mod prepared;
