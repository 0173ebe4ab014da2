//! How HTTP writes times, dates, lists, fields, headers of responses and targets (RFC 9110, 5 and 7).

pub(super) mod date;
pub(super) mod fields;
pub(super) mod host;
pub(super) mod list;
pub(super) mod response_headers;
pub(super) mod retry_after;
pub(super) mod target;
pub(super) mod time;
