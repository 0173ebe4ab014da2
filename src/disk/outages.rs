//! Which outages of the disk are logged: a disk that can write some files and not others would fill the log.

use std::time::{Duration, Instant};

/// The least time between two outages that are logged.
const INTERVAL: Duration = Duration::from_secs(60);

/// Decides whether the beginning and the end of an outage are logged.
#[derive(Debug, Default)]
pub(super) struct OutageLog {
    /// When the last one began that was logged. `None` if there was none.
    logged: Option<Instant>,
    /// Whether the present one was logged.
    is_logged: bool,
}

impl OutageLog {
    /// An outage begins. Returns true if it is logged.
    pub(super) fn begins(&mut self, now: Instant) -> bool {
        let is_due = self
            .logged
            .is_none_or(|logged| now.saturating_duration_since(logged) >= INTERVAL);
        if is_due {
            self.logged = Some(now);
        }
        self.is_logged = is_due;
        is_due
    }

    /// The outage ends. Returns true if that is logged.
    pub(super) fn ends(&mut self) -> bool {
        std::mem::take(&mut self.is_logged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outages_within_a_minute_are_logged_once() {
        let begin = Instant::now();
        let mut outages = OutageLog::default();
        assert!(outages.begins(begin) && outages.ends());
        assert!(!outages.begins(begin + INTERVAL / 2) && !outages.ends());
        assert!(outages.begins(begin + INTERVAL) && outages.ends());
    }
}
