//! Patterns of paths, of hosts and of query parameters.

use std::sync::Arc;

use wildmatch::WildMatch;

/// Patterns in which `*` matches any characters and `?` matches one character. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Globs(Arc<[WildPattern]>);

/// One pattern. Its text before the first wildcard and after the last one is compared first: for most paths and most
/// patterns that decides.
#[derive(Debug)]
struct WildPattern {
    /// As written, except that several stars in a row are one.
    written: Box<str>,
    prefix: Box<str>,
    suffix: Box<str>,
    between: Between,
    case: Case,
}

/// What a pattern has between its first and its last wildcard.
#[derive(Debug)]
enum Between {
    /// It has no wildcard: the prefix is all of it.
    Nothing,
    /// It has one `*` alone.
    Anything,
    /// It has more. All of it is matched.
    Pattern(WildMatch),
}

/// Whether the case of letters counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Counts,
    /// Of ASCII letters only.
    Ignored,
}

impl Globs {
    /// Compiles the patterns. Case counts.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let patterns = patterns.into_iter();
        Self(
            patterns
                .map(|it| WildPattern::new(it, Case::Counts))
                .collect(),
        )
    }

    /// Compiles the pattern of a host, for which case does not count (RFC 9110, 4.2.3).
    pub fn of_host(pattern: &str) -> Self {
        Self([WildPattern::new(pattern, Case::Ignored)].into())
    }

    /// The patterns as written, except that several stars in a row are one.
    pub fn patterns(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|pattern| &*pattern.written)
    }

    /// True if one of the patterns matches all of `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(text))
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl WildPattern {
    fn new(pattern: &str, case: Case) -> Self {
        let whole = match case {
            Case::Counts => WildMatch::new(pattern),
            Case::Ignored => WildMatch::new_case_insensitive(pattern),
        };
        let written = whole.pattern();
        let is_wildcard = |letter| matches!(letter, '*' | '?');
        let prefix = literal_prefix(&written);
        let suffix = written.rsplit(is_wildcard).next().unwrap_or_default();
        let (suffix, between) = match written.len() - prefix.len() {
            0 => ("", Between::Nothing),
            rest if rest == 1 + suffix.len() && !written.contains('?') => {
                (suffix, Between::Anything)
            }
            _ => (suffix, Between::Pattern(whole)),
        };
        Self {
            prefix: prefix.into(),
            suffix: suffix.into(),
            between,
            case,
            written: written.into(),
        }
    }

    fn matches(&self, text: &str) -> bool {
        let bytes = text.as_bytes();
        let (first, last) = (self.prefix.len(), self.suffix.len());
        if bytes.len() < first + last
            || !self.is_same(&bytes[..first], &self.prefix)
            || !self.is_same(&bytes[bytes.len() - last..], &self.suffix)
        {
            return false;
        }
        match &self.between {
            Between::Nothing => bytes.len() == first,
            Between::Anything => true,
            Between::Pattern(pattern) => pattern.matches(text),
        }
    }

    fn is_same(&self, bytes: &[u8], literal: &str) -> bool {
        match self.case {
            Case::Counts => bytes == literal.as_bytes(),
            Case::Ignored => bytes.eq_ignore_ascii_case(literal.as_bytes()),
        }
    }
}

/// The text before the first wildcard.
pub(in crate::policy) fn literal_prefix(pattern: &str) -> &str {
    pattern
        .split_once(['*', '?'])
        .map_or(pattern, |(prefix, _)| prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn hosts_are_matched_whatever_their_case() {
        for (pattern, host, expected) in [
            ("*.example.test", "www.example.test", true),
            ("*.Example.Test", "WWW.EXAMPLE.test", true),
            ("*.example.test", "example.test", false),
            ("*.example.test", "www.example.test.evil", false),
            ("api-?.Test", "API-1.test", true),
            ("api.test", "API.test", true),
            ("api.test", "api.tes", false),
        ] {
            assert_eq!(
                Globs::of_host(pattern).matches(host),
                expected,
                "{pattern} {host}"
            );
        }
        assert!(!Globs::new(["/a*"]).matches("/A"));
    }

    proptest! {
        #[test]
        fn prefix_and_suffix_change_no_result(pattern in "[ab*?]{0,7}", text in "[ab]{0,7}") {
            let whole = WildMatch::new(&pattern);
            prop_assert_eq!(Globs::new([pattern.as_str()]).matches(&text), whole.matches(&text));
            prop_assert_eq!(
                Globs::of_host(&pattern).matches(&text.to_ascii_uppercase()),
                whole.matches(&text)
            );
        }
    }
}
