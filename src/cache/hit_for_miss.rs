//! What is remembered of a response that was not stored.

use crate::policy::{Reason, Time};

/// Remembers that the last response for a key was not stored.
#[derive(Clone, Copy)]
pub(super) struct HitForMiss {
    /// Until then, requests for the key do not wait for each other.
    pub(super) hit_for_miss_until: Time,
    /// Until then, the key is not validated in the background.
    pub(super) no_background_until: Time,
    /// Why the response was not stored, and when it was requested; `None` if the fetch failed.
    pub(super) refused: Option<(Reason, Time)>,
}

impl HitForMiss {
    /// The reason without any effect on requests.
    pub(super) fn with_reason_only(self) -> Self {
        let over = Time::from_unix_millis(0);
        Self {
            hit_for_miss_until: over,
            no_background_until: over,
            ..self
        }
    }
}
