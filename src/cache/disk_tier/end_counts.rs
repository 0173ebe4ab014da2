//! How many ends the disk has confirmed, for workers that read it without a claim.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many ends the disk was told of, and how many of them it has confirmed. The actor counts them.
#[derive(Debug, Default)]
pub(in crate::cache) struct EndCounts {
    begun: AtomicU64,
    confirmed: AtomicU64,
}

/// The number of ends at a time at which the disk had confirmed all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cache) struct ConfirmedEnds(u64);

impl EndCounts {
    /// Counts an end that the disk is told of.
    pub(super) fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts an end that the disk has confirmed.
    pub(super) fn confirm(&self) {
        self.confirmed.fetch_add(1, Ordering::SeqCst);
    }

    /// `None` if there is an end that the disk has not confirmed. Between two equal results none has begun.
    pub(in crate::cache) fn all_confirmed(&self) -> Option<ConfirmedEnds> {
        // In this order: both were equal when the second one was read.
        let confirmed = self.confirmed.load(Ordering::SeqCst);
        let begun = self.begun.load(Ordering::SeqCst);
        (begun == confirmed).then_some(ConfirmedEnds(begun))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_confirmed_when_the_disk_has_confirmed_each_of_them() {
        let counts = EndCounts::default();
        let before = counts.all_confirmed();
        assert!(before.is_some());
        counts.begin();
        counts.begin();
        counts.confirm();
        assert_eq!(counts.all_confirmed(), None);
        counts.confirm();
        assert!(
            counts
                .all_confirmed()
                .is_some_and(|now| Some(now) != before)
        );
    }
}
