//! Patterns of the names of headers and cookies.

use std::{collections::HashMap, fmt};

/// Patterns of names in which `*` matches any characters. Case does not count.
#[derive(Clone)]
pub struct Patterns {
    patterns: Vec<wildmatch::WildMatch>,
    /// The results for the names that nearly every request has, computed once.
    common: HashMap<&'static str, bool>,
}

/// Fields that browsers, other clients and this proxy send.
const COMMON_NAMES: [&str; 28] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "authorization",
    "cache-control",
    "connection",
    "content-length",
    "content-type",
    "cookie",
    "dnt",
    "host",
    "if-modified-since",
    "if-none-match",
    "origin",
    "pragma",
    "range",
    "referer",
    "sec-ch-ua",
    "sec-ch-ua-mobile",
    "sec-ch-ua-platform",
    "sec-fetch-dest",
    "sec-fetch-mode",
    "sec-fetch-site",
    "upgrade-insecure-requests",
    "user-agent",
    "via",
    "x-forwarded-for",
    "x-forwarded-proto",
];

impl Patterns {
    /// Compiles the patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut patterns = Self {
            patterns: patterns
                .into_iter()
                .map(wildmatch::WildMatch::new_case_insensitive)
                .collect(),
            common: HashMap::new(),
        };
        let common = COMMON_NAMES.map(|name| (name, patterns.matches(name)));
        patterns.common = common.into();
        patterns
    }

    /// The patterns as written.
    pub fn written(&self) -> Vec<String> {
        let patterns = self.patterns.iter();
        patterns.map(wildmatch::WildMatch::pattern).collect()
    }

    /// True if one of the patterns matches the name, or the name with hyphens for underscores.
    pub fn matches(&self, name: &str) -> bool {
        if let Some(matches) = self.common.get(name) {
            return *matches;
        }
        let matches = |name: &str| self.patterns.iter().any(|pattern| pattern.matches(name));
        matches(name) || (name.contains('_') && matches(&name.replace('_', "-")))
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(formatter)
    }
}
