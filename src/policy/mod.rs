//! What HTTP allows a cache to do: RFC 9111, one file a section.
//!
//! Pure functions over values: no IO, no clock, no logging, no async; nothing here fails or panics.
//! What came from the network is parsed totally: what cannot be understood has a meaning too.
//!
//! | file | RFC | what it answers |
//! |---|---|---|
//! | [`mode`] | | every difference between the three policies |
//! | `decide` | 9111, 4 | what becomes of a request: [`decide`] |
//! | `storing` | 9111, 3 | may an answer be kept: [`admit`] |
//! | `freshness`, `age` | 9111, 4.2 | how long, and how old |
//! | `selecting` | 9111, 4.1 | which variant: Vary |
//! | `validating` | 9111, 4.3 | [`validators`], [`revalidated`] |
//! | `stale` | 9111, 4.2.4; 5861 | [`stale_answer`] |
//! | `invalidation` | 9111, 4.4 | [`invalidates`], [`also_invalidated`] |
//! | `cache_control` | 9111, 5.2 | directives of both sides |
//! | `targeted` | 9213 | `CDN-Cache-Control` |
//! | `answer`, `range` | 9110, 13 and 14 | the client's conditions and ranges: [`answer`] |
//! | `identity` | | partitions by credentials, cookies that do not count |
//! | `time`, `date` | 9110, 5.6.7 | [`Time`], HTTP dates |
//! | `list` | 9110, 5.6.1 | comma-separated lists |
//! | `request`, `stored`, `reason` | | the values all of them speak about |

use std::time::Duration;

mod age;
mod answer;
mod cache_control;
mod date;
mod decide;
mod freshness;
mod identity;
mod invalidation;
mod list;
pub mod mode;
mod range;
mod reason;
mod request;
mod selecting;
mod stale;
mod stored;
mod storing;
mod targeted;
mod time;
mod validating;

#[cfg(test)]
mod fixture;

pub use answer::{Answer, answer, not_modified_fields};
pub use date::{http_date, imf_fixdate};
pub use decide::{Decision, Forward, Share, Use, decide};
pub use identity::{ForwardedCookie, Identity, IdentitySecret, forwarded_cookie};
pub use invalidation::{also_invalidated, invalidates};
pub use mode::Mode;
pub use reason::Reason;
pub use request::{Request, RequestContent};
pub use stale::{Failure, stale_answer};
pub use stored::{Audience, Stored};
pub use storing::{Framing, Reply, admit};
pub use time::Time;
pub use validating::{
    CLIENT_CONDITIONS, merged_head, revalidated, revalidation_matches, validators,
};

/// What decides about storing and reuse.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How far the origin's word counts.
    pub mode: Mode,
    /// Bounds the lifetime of what the origin says nothing about (all in `Always`); none: until cleared.
    pub ttl: Option<Duration>,
    /// How long past its lifetime a response may answer while the origin cannot be reached.
    pub max_stale: Duration,
    /// Names (patterns) of the fields that carry credentials beside Authorization and Cookie.
    pub identity_headers: Patterns,
    /// Names (patterns) of the cookies that say nothing about who somebody is.
    pub ignored_cookies: Patterns,
}

/// Patterns of names: `*` stands for any run of characters; letters compare without case.
#[derive(Clone, Debug)]
pub struct Patterns(Vec<wildmatch::WildMatch>);

impl Patterns {
    /// Compiles the patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self(
            patterns
                .into_iter()
                .map(wildmatch::WildMatch::new_case_insensitive)
                .collect(),
        )
    }

    /// True when one of the patterns matches.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }
}
