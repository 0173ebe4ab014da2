//! Patterns of paths and of query parameters.

/// Patterns in which `*` matches any characters and `?` matches one character. Case counts.
#[derive(Clone, Debug, Default)]
pub struct Globs(Vec<wildmatch::WildMatch>);

impl Globs {
    /// Compiles the patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self(
            patterns
                .into_iter()
                .map(wildmatch::WildMatch::new)
                .collect(),
        )
    }

    /// The patterns as written, except that several stars in a row are one.
    pub fn patterns(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(wildmatch::WildMatch::pattern)
    }

    /// True if one of the patterns matches all of `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(text))
    }
}
