//! How a stored response came into the cache.

use crate::policy::Reason;

/// How a stored response came into the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Provenance {
    /// It was fetched, and the policy allows storing it.
    #[default]
    Fetched,
    /// It was fetched, and the policy does not allow storing it: it is only used while no origin is contacted.
    Recorded,
    /// It was imported from a file, and is used until it is cleared.
    Imported,
}

impl Provenance {
    /// The reason with the same meaning. `None` for what was fetched.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Fetched => None,
            Self::Recorded => Some(Reason::Recorded),
            Self::Imported => Some(Reason::Imported),
        }
    }

    /// A word for it. `None` for what was fetched.
    pub fn name(self) -> Option<&'static str> {
        self.reason().map(Reason::as_str)
    }
}
