//! Conditional requests and range requests, evaluated on stored responses (RFC 9110, 13 and 14; RFC 9111, 3.3, 3.4 and 4.3.2).

pub(super) mod byte_range;
pub(super) mod conditions;
pub(super) mod partial;
pub(super) mod representation;
