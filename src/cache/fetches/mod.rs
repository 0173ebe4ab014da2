//! Fetches under way: one is shared by many requests.

pub(super) mod active;
mod freshen;
pub(super) mod known_miss;
pub(super) mod messages;
mod pass_on;
mod progress;
pub(super) mod reader;
pub(super) mod recipients;
pub(super) mod ticket;
pub(super) mod window;
pub(super) mod writer;
