//! Requests to the origin, and what becomes of its responses.

pub(crate) mod combine_ranges;
pub(crate) mod fetched_response;
pub(crate) mod interim;
pub(crate) mod lead;
pub(crate) mod pass_through;
pub(crate) mod revalidate;
