//! Patterns of the names of headers and cookies.

use std::fmt;

/// Patterns of names in which `*` matches any characters. Case does not count.
#[derive(Clone)]
pub struct Patterns {
    patterns: Vec<wildmatch::WildMatch>,
}

impl Patterns {
    /// Compiles the patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            patterns: patterns
                .into_iter()
                .map(wildmatch::WildMatch::new_case_insensitive)
                .collect(),
        }
    }

    /// The patterns as written.
    pub fn written(&self) -> Vec<String> {
        let patterns = self.patterns.iter();
        patterns.map(wildmatch::WildMatch::pattern).collect()
    }

    /// True if one of the patterns matches the name, or the name with hyphens for underscores.
    pub fn matches(&self, name: &str) -> bool {
        let matches = |name: &str| self.patterns.iter().any(|pattern| pattern.matches(name));
        matches(name) || (name.contains('_') && matches(&name.replace('_', "-")))
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patterns.fmt(formatter)
    }
}
