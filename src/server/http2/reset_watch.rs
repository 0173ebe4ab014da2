//! Notices clients that begin requests only to reset them (rapid reset).
//!
//! A request that is reset makes room for the next at once, so the limit of requests at a time does not bound how much work
//! such a client makes. Browsers reset requests when a page is left, a limited number at a time.

use std::time::Duration;

use actix_rt::time::Instant;

/// How many requests a client may reset at once.
const MAX_RESETS: u32 = 400;
/// How many more it may reset in each second.
const RESETS_PER_SECOND: u32 = 20;

/// The requests that one client has reset before their responses had ended.
pub(super) struct ResetWatch {
    left: u32,
    /// When `left` was last increased.
    since: Instant,
    are_too_many: bool,
}

impl ResetWatch {
    /// None yet, on a connection that begins at `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            left: MAX_RESETS,
            since: now,
            are_too_many: false,
        }
    }

    /// True if the client has reset too many.
    pub(super) fn are_too_many(&self) -> bool {
        self.are_too_many
    }

    /// The client has reset one more.
    pub(super) fn left(&mut self, now: Instant) {
        let seconds = now.duration_since(self.since).as_secs();
        self.since += Duration::from_secs(seconds);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        let more = seconds.saturating_mul(RESETS_PER_SECOND);
        self.left = self.left.saturating_add(more).min(MAX_RESETS);
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => self.are_too_many = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets_are_limited_and_time_allows_more() {
        let start = Instant::now();
        let mut watch = ResetWatch::new(start);
        (0..MAX_RESETS).for_each(|_| watch.left(start));
        assert!(!watch.are_too_many());
        let later = start + Duration::from_millis(2500);
        (0..2 * RESETS_PER_SECOND).for_each(|_| watch.left(later));
        assert!(!watch.are_too_many());
        watch.left(later);
        assert!(watch.are_too_many());
    }
}
