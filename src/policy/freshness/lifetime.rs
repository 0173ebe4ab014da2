//! A freshness lifetime (RFC 9111, 4.2.1), and where it comes from.

/// How long an answer is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Lifetime {
    /// The origin's own measure: compared with the age of the answer.
    Age {
        /// `freshness_lifetime` in milliseconds.
        millis: u64,
    },
    /// Our measure, where the origin says nothing: compared with the time we have held it, so that an
    /// origin whose clock is wrong does not shorten it.
    Held {
        /// In milliseconds.
        millis: u64,
    },
    /// It never becomes stale.
    UntilCleared,
}

impl Lifetime {
    pub(in crate::policy) fn of_seconds(seconds: u32) -> Self {
        Self::Age {
            millis: u64::from(seconds) * 1000,
        }
    }

    /// Our own measure, bounded.
    pub(in crate::policy) fn at_most_seconds(self, seconds: u64) -> Self {
        let bound = seconds * 1000;
        match self {
            Self::Held { millis } | Self::Age { millis } => Self::Held {
                millis: millis.min(bound),
            },
            Self::UntilCleared => Self::Held { millis: bound },
        }
    }
}

/// What a lifetime goes back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    /// `s-maxage`.
    SMaxage,
    /// `max-age`.
    MaxAge,
    /// `Expires`, less `Date`.
    Expires,
    /// A tenth of the time since `Last-Modified` (RFC 9111, 4.2.2); nothing where that is not said.
    Heuristic,
    /// Nothing is said, and `--ttl` bounds it.
    Ttl,
    /// Nothing is said, and it is a status that is kept for a minute.
    Minute,
    /// Nothing is said.
    UntilCleared,
    /// It is not what the answer would get now: it was purged softly, or stored under another policy.
    Set,
}
