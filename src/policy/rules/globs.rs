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

/// The beginnings of the paths that each of a list of patterns matches. They tell for most patterns, in one comparison, that
/// the pattern does not match a path.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct PathStarts(Arc<[PathStart]>);

/// The first bytes of all paths that match: `bytes` where `mask` has ones.
#[derive(Debug)]
struct PathStart {
    mask: u128,
    bytes: u128,
}

impl PathStarts {
    /// The beginnings for the patterns, in their order. Each of `paths` matches if one of its patterns does.
    pub(in crate::policy) fn new<'a>(paths: impl Iterator<Item = &'a Globs>) -> Self {
        Self(paths.map(PathStart::of).collect())
    }

    /// The positions of the patterns that may match `path`, in their order.
    pub(in crate::policy) fn candidates(&self, path: &str) -> impl Iterator<Item = usize> {
        let first = first_bytes(path.as_bytes());
        let starts = self.0.iter().enumerate();
        let candidates = starts.filter(move |(_, start)| first & start.mask == start.bytes);
        candidates.map(|(position, _)| position)
    }
}

impl PathStart {
    fn of(path: &Globs) -> Self {
        let start = match &*path.0 {
            [pattern] if pattern.case == Case::Counts => pattern.prefix.as_bytes(),
            // No beginning is common to all.
            _ => &[],
        };
        let ones = [u8::MAX; size_of::<u128>()];
        Self {
            mask: first_bytes(&ones[..start.len().min(ones.len())]),
            bytes: first_bytes(start),
        }
    }
}

/// The first bytes of `text`, with zeros after its end.
fn first_bytes(text: &[u8]) -> u128 {
    let mut first = [0; size_of::<u128>()];
    let taken = text.len().min(first.len());
    first[..taken].copy_from_slice(&text[..taken]);
    u128::from_ne_bytes(first)
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
        fn every_pattern_that_matches_is_a_candidate(
            patterns in proptest::collection::vec("/[ab]{0,20}[ab*?]{0,3}|[*]b", 0..8),
            path in "/[ab]{0,20}",
        ) {
            let paths: Vec<Globs> = patterns.iter().map(|it| Globs::new([it.as_str()])).collect();
            let starts = PathStarts::new(paths.iter());
            let candidates: Vec<usize> = starts.candidates(&path).collect();
            prop_assert!(candidates.is_sorted());
            for (position, pattern) in paths.iter().enumerate() {
                let is_candidate = candidates.contains(&position);
                prop_assert!(is_candidate || !pattern.matches(&path), "{}", patterns[position]);
                let prefix = literal_prefix(&patterns[position]);
                let has_start = path.starts_with(&prefix[..prefix.len().min(16)]);
                prop_assert_eq!(is_candidate, has_start, "{}", patterns[position]);
            }
        }

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
