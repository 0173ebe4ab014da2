//! The lease of this instance: until when its own tiers may serve.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What [`LeaseClock`] shows if no lease is needed.
pub(super) const ALONE: u64 = u64::MAX;
/// How many heartbeats wait until their events were applied.
const MAX_WAITING: usize = 64;

/// Decides until when the own tiers may serve. Times are milliseconds of CLOCK_BOOTTIME.
#[derive(Debug)]
pub(super) struct LeaseClock {
    /// The length in milliseconds. `None` if there is no lease.
    lease_ms: Option<u64>,
    /// Answered heartbeats: the last event that they knew, and when they were sent.
    waiting: VecDeque<(u64, u64)>,
    valid_until: Arc<AtomicU64>,
    /// When the own tiers have to be emptied if the first lease was not given by then. `None` after it was given.
    first_end: Option<u64>,
    /// Whether its end was told, and is not confirmed yet.
    is_ending: bool,
}

impl LeaseClock {
    /// Own tiers that are empty need no lease until Redis was reached. If they have content of an earlier run, they may
    /// not serve it until Redis was reached, or they were emptied.
    pub(super) fn new(lease_ms: Option<u64>, has_content: bool, now: u64) -> Self {
        let first_end = lease_ms.filter(|_| has_content).map(|lease| now + lease);
        let first = match first_end {
            Some(_) => 0,
            None => ALONE,
        };
        Self {
            lease_ms,
            waiting: VecDeque::new(),
            valid_until: Arc::new(AtomicU64::new(first)),
            first_end,
            is_ending: false,
        }
    }

    /// Shows until when the own tiers may serve.
    pub(super) fn shown(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.valid_until)
    }

    fn valid_until(&self) -> u64 {
        self.valid_until.load(Ordering::SeqCst)
    }

    fn show(&self, until: u64) {
        self.valid_until.store(until, Ordering::SeqCst);
    }

    /// A heartbeat that was sent at a time is answered. It knew the events up to `last`.
    pub(super) fn heard(&mut self, sent_at: u64, last: u64) {
        if self.waiting.len() == MAX_WAITING {
            // The older ones say more.
            self.waiting.pop_back();
        }
        self.waiting.push_back((last, sent_at));
    }

    /// Positions begin anew.
    pub(super) fn begin(&mut self) {
        self.waiting.clear();
    }

    /// The events up to a position were applied.
    pub(super) fn applied(&mut self, position: u64) {
        let Some(lease_ms) = self.lease_ms else {
            return;
        };
        while let Some((last, sent_at)) = self.waiting.front()
            && *last <= position
        {
            let until = sent_at + lease_ms;
            self.waiting.pop_front();
            let is_longer = self.valid_until() == ALONE || until > self.valid_until();
            if is_longer && !self.is_ending {
                self.first_end = None;
                self.show(until);
            }
        }
    }

    /// True once when the lease has ended: the own tiers have to be emptied.
    pub(super) fn ends(&mut self, now: u64) -> bool {
        let has_ended = self.end().is_some_and(|end| now >= end);
        self.is_ending |= has_ended;
        has_ended
    }

    /// When the lease ends. `None` if that was told, or if there is none at present.
    pub(super) fn end(&self) -> Option<u64> {
        let until = self.first_end.unwrap_or(self.valid_until());
        (until != ALONE && !self.is_ending).then_some(until)
    }

    /// The own tiers were emptied after the end.
    pub(super) fn emptied(&mut self) {
        self.is_ending = false;
        self.first_end = None;
        self.show(ALONE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_counted_from_the_sending_of_the_heartbeat() {
        let mut clock = LeaseClock::new(Some(100), false, 900);
        assert_eq!(clock.valid_until(), ALONE);
        clock.heard(1_000, 5);
        clock.applied(4);
        assert_eq!(clock.valid_until(), ALONE);
        clock.applied(5);
        assert_eq!(clock.valid_until(), 1_100);
        assert!(!clock.ends(1_099));
    }

    #[test]
    fn a_heartbeat_whose_events_are_not_applied_does_not_lengthen_it() {
        let mut clock = LeaseClock::new(Some(100), false, 900);
        clock.heard(1_000, 5);
        clock.applied(5);
        for time in 0..200 {
            clock.heard(1_010 + time, 6);
        }
        clock.applied(5);
        assert_eq!(clock.valid_until(), 1_100);
        clock.applied(6);
        assert!(clock.valid_until() >= 1_110);
    }

    #[test]
    fn after_its_end_the_tiers_are_emptied_before_anything_is_served() {
        let mut clock = LeaseClock::new(Some(100), false, 900);
        clock.heard(1_000, 1);
        clock.applied(1);
        assert!(clock.ends(1_100) && !clock.ends(1_200));
        clock.heard(1_150, 1);
        clock.applied(1);
        assert_eq!(clock.valid_until(), 1_100);
        clock.emptied();
        assert_eq!(clock.valid_until(), ALONE);
        clock.heard(1_300, 1);
        clock.applied(1);
        assert_eq!(clock.valid_until(), 1_400);
    }

    #[test]
    fn a_process_that_was_stopped_goes_on_if_it_has_missed_nothing() {
        let mut clock = LeaseClock::new(Some(100), false, 900);
        clock.heard(1_000, 1);
        clock.applied(1);
        clock.heard(3_600_000, 1);
        clock.applied(1);
        assert!(!clock.ends(3_600_000));
        assert_eq!(clock.valid_until(), 3_600_100);
    }

    #[test]
    fn content_of_an_earlier_run_waits_for_redis() {
        let mut clock = LeaseClock::new(Some(100), true, 900);
        assert_eq!(clock.valid_until(), 0);
        assert!(!clock.ends(999));
        clock.heard(1_000, 1);
        clock.applied(1);
        assert_eq!(clock.valid_until(), 1_100);
        assert_eq!(LeaseClock::new(None, true, 900).valid_until(), ALONE);
    }

    #[test]
    fn content_of_an_earlier_run_is_dropped_after_a_lease_without_redis() {
        let mut clock = LeaseClock::new(Some(100), true, 900);
        assert_eq!(clock.end(), Some(1_000));
        assert!(clock.ends(1_000) && !clock.ends(1_001));
        clock.emptied();
        assert_eq!(clock.valid_until(), ALONE);
    }

    #[test]
    fn without_a_lease_nothing_ends() {
        let mut clock = LeaseClock::new(None, false, 900);
        clock.heard(1_000, 1);
        clock.applied(1);
        assert!(!clock.ends(u64::MAX - 1));
        assert_eq!(clock.end(), None);
    }
}
