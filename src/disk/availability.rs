//! Whether the disk is in use.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;

/// Whether the disk is in use. Read by all threads without a lock.
#[derive(Debug, Default)]
pub(super) struct DiskAvailability {
    is_closed: AtomicBool,
    /// Why nothing is stored at present.
    paused: ArcSwapOption<String>,
    /// Why something that has ended could not be written down. As long as it is so, nothing is served.
    unwritten: ArcSwapOption<String>,
    /// How many ends are still being written whose callers do not wait any longer.
    overdue: AtomicU64,
}

/// Whether an end was written in time. Shared by the writer and the caller that waits.
#[derive(Debug, Default)]
pub(super) struct EndState(AtomicU8);

const WAITING: u8 = 0;
const WRITTEN: u8 = 1;
const OVERDUE: u8 = 2;

impl DiskAvailability {
    /// Whether stored responses may be looked up.
    pub(super) fn may_read(&self) -> bool {
        !self.is_closed() && self.may_open()
    }

    /// Whether what was looked up may be served. That goes on after the disk was closed.
    pub(super) fn may_open(&self) -> bool {
        self.overdue.load(Ordering::SeqCst) == 0 && self.unwritten.load().is_none()
    }

    /// Whether responses may be stored.
    pub(super) fn may_store(&self) -> bool {
        self.may_read() && self.paused.load().is_none()
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }

    /// Stores nothing until [`DiskAvailability::resume`]. Whether it stored until now.
    pub(super) fn pause(&self, reason: String) -> bool {
        self.paused.swap(Some(Arc::new(reason))).is_none()
    }

    /// Stores again. Whether it did not until now.
    pub(super) fn resume(&self) -> bool {
        self.paused.load().is_some() && self.paused.swap(None).is_some()
    }

    /// Serves nothing until [`DiskAvailability::all_written`]. Whether it served until now.
    pub(super) fn is_unwritten(&self, reason: String) -> bool {
        self.unwritten.swap(Some(Arc::new(reason))).is_none()
    }

    /// All that has ended is written down. Whether it was not until now.
    pub(super) fn all_written(&self) -> bool {
        self.unwritten.load().is_some() && self.unwritten.swap(None).is_some()
    }

    /// Why the disk is not in use. `None` if it is.
    pub(super) fn reason(&self) -> Option<String> {
        if self.is_closed() {
            return Some("it is closed".to_owned());
        }
        let reason = self.unwritten.load_full().or(self.paused.load_full());
        let overdue = || {
            let is_overdue = self.overdue.load(Ordering::SeqCst) > 0;
            is_overdue.then(|| "writing takes too long".to_owned())
        };
        reason
            .map(|reason| reason.as_ref().clone())
            .or_else(overdue)
    }

    /// The caller does not wait any longer for an end. Nothing is served until it is written. False if it is written.
    pub(super) fn give_up(&self, end: &EndState) -> bool {
        // Counted first: when the writer sees the mark, the count has it.
        self.overdue.fetch_add(1, Ordering::SeqCst);
        let is_overdue = end.change_to(OVERDUE);
        if !is_overdue {
            self.overdue.fetch_sub(1, Ordering::SeqCst);
        }
        is_overdue
    }

    /// An end is written, and is in force.
    pub(super) fn written(&self, end: &EndState) {
        if !end.change_to(WRITTEN) {
            self.overdue.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

impl EndState {
    fn change_to(&self, state: u8) -> bool {
        self.0
            .compare_exchange(WAITING, state, Ordering::SeqCst, Ordering::SeqCst)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_served_until_an_overdue_end_is_written() {
        let availability = DiskAvailability::default();
        let end = EndState::default();
        assert!(availability.may_read());
        assert!(availability.give_up(&end));
        assert!(!availability.may_read());
        assert!(availability.reason().is_some());
        availability.written(&end);
        assert!(availability.may_store());
        assert_eq!(availability.reason(), None);
    }

    #[test]
    fn an_end_that_was_written_is_not_overdue() {
        let availability = DiskAvailability::default();
        let end = EndState::default();
        availability.written(&end);
        assert!(!availability.give_up(&end));
        assert!(availability.may_read());
    }

    #[test]
    fn a_pause_stops_storing_and_not_reading() {
        let availability = DiskAvailability::default();
        assert!(availability.pause("full".to_owned()));
        assert!(!availability.pause("full still".to_owned()));
        assert!(availability.may_read() && !availability.may_store());
        assert_eq!(availability.reason().as_deref(), Some("full still"));
        assert!(availability.resume() && !availability.resume());
        assert!(availability.is_unwritten("EIO".to_owned()));
        assert!(!availability.may_read());
        assert!(availability.all_written() && !availability.all_written());
        availability.close();
        assert!(!availability.may_read());
    }
}
