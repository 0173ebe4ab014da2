//! Freshness lifetimes (RFC 9111, 4.2.1) and their sources.

/// How long a response is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Lifetime {
    /// A lifetime from the origin, which is compared with the age of the response.
    Age {
        /// `freshness_lifetime` in milliseconds.
        millis: u64,
    },
    /// A lifetime from the configuration, for responses without one. It is compared with the time since the receipt, so
    /// that a wrong clock of the origin does not shorten it.
    SinceReceipt {
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

    /// A lifetime from the configuration, with an upper limit.
    pub(in crate::policy) fn at_most_seconds(self, seconds: u64) -> Self {
        let bound = seconds * 1000;
        match self {
            Self::SinceReceipt { millis } | Self::Age { millis } => Self::SinceReceipt {
                millis: millis.min(bound),
            },
            Self::UntilCleared => Self::SinceReceipt { millis: bound },
        }
    }
}

/// A [`Lifetime`] as a stored head has it. It takes 12 bytes instead of 16.
#[derive(Clone, Copy, Debug)]
#[repr(Rust, packed(4))]
pub(in crate::policy) struct StoredLifetime {
    millis: u64,
    kind: LifetimeKind,
}

#[derive(Clone, Copy, Debug)]
enum LifetimeKind {
    Age,
    SinceReceipt,
    UntilCleared,
}

impl From<Lifetime> for StoredLifetime {
    fn from(lifetime: Lifetime) -> Self {
        let (kind, millis) = match lifetime {
            Lifetime::Age { millis } => (LifetimeKind::Age, millis),
            Lifetime::SinceReceipt { millis } => (LifetimeKind::SinceReceipt, millis),
            Lifetime::UntilCleared => (LifetimeKind::UntilCleared, 0),
        };
        Self { millis, kind }
    }
}

impl StoredLifetime {
    pub(in crate::policy) fn get(self) -> Lifetime {
        let millis = self.millis;
        match self.kind {
            LifetimeKind::Age => Lifetime::Age { millis },
            LifetimeKind::SinceReceipt => Lifetime::SinceReceipt { millis },
            LifetimeKind::UntilCleared => Lifetime::UntilCleared,
        }
    }
}

/// How certain a lifetime is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Certainty {
    /// The origin has said it, or the policy makes no difference.
    Stated,
    /// The policy has chosen it, because the origin has said nothing.
    Guessed,
    /// It was a guess. A successful unsafe request to a related path has ended it.
    Doubted,
}

/// Where a lifetime comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    /// `s-maxage`.
    SMaxage,
    /// `max-age`.
    MaxAge,
    /// `Expires` minus `Date`.
    Expires,
    /// A tenth of the time since `Last-Modified` (RFC 9111, 4.2.2). Zero without `Last-Modified`.
    Heuristic,
    /// The origin gives no lifetime, and `--ttl` limits it.
    Ttl,
    /// The origin gives no lifetime, and responses of this status are stored for a minute.
    Minute,
    /// The origin gives no lifetime.
    UntilCleared,
    /// The lifetime is not the one that the response would get now: it was purged softly, or stored under another policy.
    Set,
}
