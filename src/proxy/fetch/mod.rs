//! Fetches: requests to the origin, and what becomes of the responses.

pub(super) mod claim;
pub(super) mod combine_ranges;
pub(super) mod fetched_response;
pub(super) mod follower;
pub(super) mod interim;
pub(super) mod invalidate;
pub(super) mod leader;
pub(super) mod pass_through;
pub(super) mod plan;
pub(super) mod revalidate;
