//! The clock.

use std::time::SystemTime;

use crate::policy::Time;

/// The current time. It is read once for the steps that need it, and passed on as a value.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub fn now() -> Time {
    Time::from(SystemTime::now())
}
