//! How HTTP writes times, dates, lists and fields (RFC 9110, 5).

pub(super) mod date;
pub(super) mod fields;
pub(super) mod list;
pub(super) mod time;
