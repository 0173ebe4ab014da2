//! Patterns of the names of headers and cookies.

use std::{fmt, sync::Arc};

/// Patterns of names in which `*` matches any characters. Case does not count. A pattern after `!` is an exception.
/// Clones share them.
#[derive(Clone)]
pub struct Patterns(Arc<NamePatterns>);

struct NamePatterns {
    /// As written.
    written: Vec<String>,
    patterns: Vec<wildmatch::WildMatch>,
    exceptions: Vec<wildmatch::WildMatch>,
}

impl Patterns {
    /// Compiles the patterns.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let written: Vec<String> = patterns.into_iter().map(str::to_owned).collect();
        let (exceptions, patterns) = written
            .iter()
            .partition::<Vec<_>, _>(|it| it.starts_with('!'));
        let compiled = |names: Vec<&String>| {
            let names = names.into_iter().map(|name| name.trim_start_matches('!'));
            names
                .map(wildmatch::WildMatch::new_case_insensitive)
                .collect()
        };
        Self(Arc::new(NamePatterns {
            patterns: compiled(patterns),
            exceptions: compiled(exceptions),
            written,
        }))
    }

    /// The patterns as written.
    pub fn written(&self) -> &[String] {
        &self.0.written
    }

    /// True if one of the patterns matches the name, or the name with hyphens for underscores, and no exception does.
    /// The order of the patterns does not matter.
    pub fn matches(&self, name: &str) -> bool {
        is_matched(&self.0.patterns, name) && !is_matched(&self.0.exceptions, name)
    }
}

fn is_matched(patterns: &[wildmatch::WildMatch], name: &str) -> bool {
    let matches = |name: &str| patterns.iter().any(|pattern| pattern.matches(name));
    matches(name) || (name.contains('_') && matches(&name.replace('_', "-")))
}

impl fmt::Debug for Patterns {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.written.fmt(formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_wins_wherever_it_stands() {
        for patterns in [["*-key", "!idempotency-key"], ["!idempotency-key", "*-key"]] {
            let patterns = Patterns::new(patterns);
            for (name, expected) in [
                ("x-key", true),
                ("X_KEY", true),
                ("Idempotency-Key", false),
                ("idempotency_key", false),
                ("x-idempotency-key", true),
                ("!idempotency-key", true),
                ("other", false),
            ] {
                assert_eq!(patterns.matches(name), expected, "{name}");
            }
        }
        assert!(!Patterns::new(["!a"]).matches("b"));
        assert!(!Patterns::new(["*", "!sid*"]).matches("sid_1"));
        assert_eq!(Patterns::new(["*", "!a"]).written(), ["*", "!a"]);
    }
}
