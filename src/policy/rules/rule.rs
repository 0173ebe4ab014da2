//! Rules: other settings for some paths.

use std::{borrow::Cow, sync::Arc};

use crate::policy::{
    Globs, PersistedQueries, Policy,
    rules::{
        globs::{PathStarts, literal_prefix},
        query::{QueryOrder, rewritten},
    },
};

/// Settings for requests whose path matches.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The paths, without queries.
    pub path: Globs,
    /// The policy for them.
    pub policy: Policy,
    /// Whether responses may be stored. If not, requests pass the cache by.
    pub stores: bool,
    /// Parameters of the query that are ignored: they are neither in the key nor forwarded.
    pub ignored_parameters: Globs,
    /// How the other parameters are ordered.
    pub order: QueryOrder,
    /// The largest body, in bytes, with which a POST is cached like a GET. `None`: POSTs are not cached.
    pub store_post_bytes: Option<u64>,
    /// What persisted queries in such a POST do.
    pub persisted_queries: PersistedQueries,
    /// False if unsafe requests to these paths change nothing, so that they invalidate nothing.
    pub invalidates: bool,
    /// The keys that it sets itself. The other settings are those that hold without it.
    pub set_keys: Vec<&'static str>,
}

impl Rule {
    /// `target` as it is forwarded under this rule and as it is in the key.
    pub fn rewritten<'t>(&self, target: &'t str) -> Cow<'t, str> {
        rewritten(target, &self.ignored_parameters, self.order)
    }
}

/// All rules, in the order of the configuration. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Arc<[Rule]>,
    starts: PathStarts,
}

/// The index of a rule in [`Rules`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleIndex(usize);

impl Rules {
    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Rules of which the first that matches applies.
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            starts: PathStarts::new(rules.iter().map(|rule| &rule.path)),
            rules: rules.into(),
        }
    }

    /// All of them, in the order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter()
    }

    /// The rule for a target: the first one with a pattern that matches its path. `None` if no rule matches.
    pub fn index_for(&self, target: &str) -> Option<RuleIndex> {
        if self.rules.is_empty() {
            return None;
        }
        let path = path_of(target);
        let mut candidates = self.starts.candidates(path);
        let position = candidates.find(|position| self.rules[*position].path.matches(path));
        position.map(RuleIndex)
    }

    /// The rule with an index from [`Rules::index_for`].
    pub fn get(&self, index: RuleIndex) -> Option<&Rule> {
        self.rules.get(index.0)
    }

    /// `target` as it is forwarded and as it is in the key.
    pub fn rewritten<'t>(&self, target: &'t str) -> Cow<'t, str> {
        match self.index_for(target).and_then(|index| self.get(index)) {
            Some(rule) => rule.rewritten(target),
            None => Cow::Borrowed(target),
        }
    }
}

/// The path of a target, without its query.
pub(in crate::policy) fn path_of(target: &str) -> &str {
    let end = memchr::memchr(b'?', target.as_bytes()).unwrap_or(target.len());
    &target[..end]
}

/// True if every path that `pattern` matches is also matched by `earlier`. Both begin with `/` or `*`.
///
/// Three cases are found: the two are equal, `pattern` has no wildcard, or `earlier` is text with one `*` at its end.
/// For other pairs this is false, also where `earlier` matches all of those paths.
pub fn covers(earlier: &str, pattern: &str) -> bool {
    let prefix = literal_prefix(earlier);
    if earlier == pattern {
        true
    } else if literal_prefix(pattern) == pattern {
        Globs::new([earlier]).matches(pattern)
    } else if earlier.strip_prefix(prefix) == Some("*") {
        // Every path begins with `/`.
        prefix == "/" || literal_prefix(pattern).starts_with(prefix)
    } else {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{Mode, fixture::policy};
    use proptest::prelude::*;

    fn rule(path: &str) -> Rule {
        Rule {
            path: Globs::new([path]),
            policy: policy(Mode::Standard),
            stores: true,
            ignored_parameters: Globs::new(["utm_*"]),
            order: QueryOrder::ByName,
            store_post_bytes: None,
            persisted_queries: PersistedQueries::Change,
            invalidates: true,
            set_keys: Vec::new(),
        }
    }

    #[test]
    fn a_path_is_matched_as_written_and_without_query() {
        for (pattern, target, expected) in [
            ("/api/*", "/api/", true),
            ("/api/*", "/api/a/b?c", true),
            ("/api/*", "/api", false),
            ("/api/*", "/API/a", false),
            ("/api/*", "/%61pi/a", false),
            ("*.js", "/a/b.js?v=1", true),
            ("*.js", "/a?b.js", false),
            ("/v?/a", "/v1/a", true),
            ("/v?/a", "/v12/a", false),
            ("/v?/a", "/v//a", true),
            ("/a", "/a?", true),
            ("/a/../b", "/b", false),
            ("*", "/", true),
        ] {
            let rules = Rules::new(vec![rule(pattern)]);
            assert_eq!(
                rules.index_for(target).is_some(),
                expected,
                "{pattern} {target}"
            );
        }
    }

    #[test]
    fn the_first_matching_rule_applies() {
        let rules = Rules::new(vec![rule("/a/b*"), rule("/a/*"), rule("/c")]);
        assert_eq!(rules.index_for("/a/bc"), Some(RuleIndex(0)));
        assert_eq!(rules.index_for("/a/c"), Some(RuleIndex(1)));
        assert_eq!(rules.index_for("/c?d"), Some(RuleIndex(2)));
        assert_eq!(rules.index_for("/d"), None);
        assert_eq!(rules.rewritten("/c?b&a&utm_x"), "/c?a&b");
        assert_eq!(rules.rewritten("/d?b&a&utm_x"), "/d?b&a&utm_x");
    }

    #[test]
    fn which_pattern_covers_which() {
        for (earlier, pattern, expected) in [
            ("/a", "/a", true),
            ("/a", "/b", false),
            ("/a*", "/a", true),
            ("/a*", "/ab*", true),
            ("/a*", "/a?", true),
            ("/a", "/a*", false),
            ("/api/*", "/api/users/*", true),
            ("/api/*", "/api/*/avatar", true),
            ("/api/*", "/api?*", false),
            ("/api/users/*", "/api/*", false),
            ("/api/users/*", "/api/*users/*", false),
            ("*", "/anything?*", true),
            ("*", "*.js", true),
            ("/*", "*", true),
            ("/*", "*.js", true),
            ("/*", "/a/*", true),
            ("/*.js", "/a.js", true),
            ("/*.js", "/a.css", false),
            ("/*.js", "*.js", false),
            ("/*/b", "*/b", false),
            ("/?", "/a", true),
            ("/?", "/?", true),
            ("/?", "/*", false),
            ("/a?", "/a", false),
            ("/*?", "/*", false),
            ("/a*b*c", "/abxbc", true),
            ("/a*b*c", "/a*c", false),
            // Covered, but not found.
            ("/*.js", "/*.min.js", false),
            ("/?*", "/*?", false),
            ("/a*b*c", "/a*bxb*c", false),
        ] {
            assert_eq!(covers(earlier, pattern), expected, "{earlier} {pattern}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn a_covered_pattern_matches_nothing_that_the_earlier_does_not(
            earlier in "(/|\\*)[ab/?*]{0,5}",
            pattern in "(/|\\*)[ab/?*]{0,5}",
            path in "/[ab/]{0,5}",
        ) {
            let matches = |pattern: &str| Globs::new([pattern]).matches(&path);
            prop_assert!(!covers(&earlier, &pattern) || !matches(&pattern) || matches(&earlier));
        }

        #[test]
        fn every_pattern_covers_itself_and_is_covered_by_all(pattern in "(/|\\*)[ab/?*]{0,9}") {
            prop_assert!(covers(&pattern, &pattern));
            prop_assert!(covers("*", &pattern));
        }
    }
}
