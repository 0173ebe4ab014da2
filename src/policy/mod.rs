//! RFC 9111, one file a section.
use std::time::Duration;

/// How far the origin's word counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mode {
    /// Obey the origin where it speaks; keep what it says nothing about.
    #[default]
    Standard,
    /// RFC 9111 to the letter, as a shared cache.
    Strict,
    /// Ignore the origin's word: never forward the same GET twice.
    Always,
}

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
        Self(patterns.into_iter().map(wildmatch::WildMatch::new_case_insensitive).collect())
    }

    /// True when one of the patterns matches.
    pub fn matches(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }
}
