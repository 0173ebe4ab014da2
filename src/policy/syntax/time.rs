//! Points in time.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01T00:00:00Z. All arithmetic saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

impl Time {
    /// The time `millis` milliseconds after the epoch.
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the epoch.
    pub const fn unix_millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch, as in HTTP dates.
    pub const fn unix_seconds(self) -> u64 {
        self.0 / 1000
    }

    /// This time plus a duration.
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// This time minus a duration, at least the epoch.
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// Milliseconds since `earlier`. 0 if that is later (clocks are set back).
    pub const fn millis_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Milliseconds between the two, whichever is later.
    pub const fn millis_apart(self, other: Self) -> u64 {
        self.0.abs_diff(other.0)
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).map_or(0, millis))
    }
}

/// A duration in milliseconds.
pub(in crate::policy) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        let epoch = Time::from_unix_millis(0);
        let end = Time::from_unix_millis(u64::MAX);
        assert_eq!(epoch.saturating_sub(Duration::from_secs(1)), epoch);
        assert_eq!(end.saturating_add(Duration::MAX), end);
        assert_eq!(epoch.millis_since(end), 0);
        assert_eq!(Time::from(UNIX_EPOCH - Duration::from_secs(1)), epoch);
        assert_eq!(
            Time::from(UNIX_EPOCH + Duration::from_millis(1500)).unix_millis(),
            1500
        );
    }
}
