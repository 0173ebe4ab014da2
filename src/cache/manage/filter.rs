//! A filter of stored responses: by path, by pattern, by tag.

use serde::{Deserialize, Serialize};
use wildmatch::WildMatchPattern;

use crate::{
    cache::store::{entry::Entry, key::Resource},
    mask::cut,
    policy::{Routes, Rules, StoredHead, encoded_target},
};

/// The longest path, in bytes: clients send no longer ones.
const MAX_PATH_BYTES: usize = 64 * 1024;
/// The most paths and tags in one filter.
const MAX_NAMES: usize = 1000;
/// Error messages repeat at most this many characters of the input.
const MAX_ECHO_CHARS: usize = 200;

/// A pattern in which `*` matches any characters, and every other character itself.
type Glob = WildMatchPattern<'*', '\0'>;

/// A filter as a user writes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterSpec {
    /// Paths with their queries, or URLs, whose hosts are ignored.
    pub paths: Vec<String>,
    /// Whether a `*` in a path matches only itself.
    pub exact: bool,
    /// Tags, from `Surrogate-Key` and `Cache-Tag` of stored responses.
    pub tags: Vec<String>,
}

/// Why a filter is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// A path does not begin like one.
    #[error(
        "{0:?} is not a path: write one that begins with \"/\", such as \"/products/1?fields=id\", or a URL"
    )]
    NoPath(String),
    /// A path has a character that no request can have.
    #[error(
        "{0:?} has a space or a control character, which no request can have: write %20 for a space"
    )]
    NoTarget(String),
    /// A path is too long.
    #[error("a path has at most {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// There are too many paths and tags.
    #[error("at most {MAX_NAMES} paths and tags can be named at a time")]
    TooMany,
    /// There is no path and no tag.
    #[error(
        "name a path such as \"/products/1\", a pattern such as \"/products/*\", or a tag with --tag"
    )]
    Nothing,
    /// A tag is empty or has a comma.
    #[error("{0:?} is not a tag: a tag is not empty and has no comma")]
    NoTag(String),
}

/// A filter of stored responses.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    exact: Vec<ExactTarget>,
    globs: Vec<Glob>,
    tags: Vec<Box<[u8]>>,
    /// Whether clients choose the Host, which is then part of the key.
    is_hosted: bool,
}

/// A filter as it is written on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cache) struct WrittenFilter {
    /// Targets with their scopes.
    exact: Vec<(Box<str>, Option<Box<str>>)>,
    globs: Vec<String>,
    tags: Vec<Box<[u8]>>,
    is_hosted: bool,
}

impl From<WrittenFilter> for EntryFilter {
    fn from(written: WrittenFilter) -> Self {
        let exact = written.exact.into_iter();
        Self {
            exact: exact
                .map(|(target, scope)| ExactTarget { target, scope })
                .collect(),
            globs: written.globs.iter().map(|glob| Glob::new(glob)).collect(),
            tags: written.tags,
            is_hosted: written.is_hosted,
        }
    }
}

/// A target under which responses are stored, in the scope of a route, if it has one.
#[derive(Clone, Debug, PartialEq)]
struct ExactTarget {
    target: Box<str>,
    scope: Option<Box<str>>,
}

impl EntryFilter {
    /// All that is stored.
    pub fn all() -> Self {
        Self {
            globs: vec![Glob::new("*")],
            ..Self::default()
        }
    }

    /// What is stored for `resource`, of every identity and every body.
    pub(in crate::cache) fn of_resource(resource: &Resource) -> Self {
        Self {
            exact: vec![ExactTarget {
                target: resource.target().into(),
                scope: resource.scope().map(Into::into),
            }],
            is_hosted: resource.host().is_some(),
            ..Self::default()
        }
    }

    /// The filter of `spec`. Rules rewrite its paths as they rewrite targets of requests; `rules` are those of the requests
    /// that no route matches. A path is meant for all routes that it has. With `is_hosted` clients choose the Host, and the
    /// filter matches all hosts.
    ///
    /// # Errors
    /// A path or tag is malformed, or there are too many or none.
    pub fn new(
        spec: &FilterSpec,
        (routes, rules): (&Routes, &Rules),
        is_hosted: bool,
    ) -> Result<Self, FilterError> {
        match spec.paths.len() + spec.tags.len() {
            0 => return Err(FilterError::Nothing),
            count if count > MAX_NAMES => return Err(FilterError::TooMany),
            _ => {}
        }
        let mut filter = Self {
            is_hosted,
            ..Self::default()
        };
        for path in &spec.paths {
            let is_glob = !spec.exact && path.contains('*');
            let target = parse_target(path, is_glob)?;
            if is_glob {
                filter.globs.push(Glob::new(&target));
            }
            for (rewritten, scope) in routes.keys(rules, &target) {
                if !is_glob {
                    filter.exact.push(ExactTarget {
                        target: rewritten.into(),
                        scope: scope.map(Into::into),
                    });
                } else if *rewritten != target {
                    filter.globs.push(Glob::new(&rewritten));
                }
            }
        }
        for tag in &spec.tags {
            let tag = tag.trim();
            if tag.is_empty() || tag.contains(',') {
                return Err(FilterError::NoTag(shown(tag)));
            }
            filter.tags.push(tag.as_bytes().into());
        }
        Ok(filter)
    }

    /// All resources that match; `None` if that depends on what is stored.
    pub(in crate::cache) fn resources(&self) -> Option<Vec<Resource>> {
        let is_known = self.globs.is_empty() && self.tags.is_empty() && !self.is_hosted;
        let resource = |it: &ExactTarget| Resource::of(&it.target, None, it.scope.as_deref());
        is_known.then(|| self.exact.iter().map(resource).collect())
    }

    /// True if everything stored for `resource` matches.
    pub(in crate::cache) fn matches_path(&self, resource: &Resource) -> bool {
        let target = resource.target();
        let is_exact = |exact: &ExactTarget| {
            *exact.target == *target && exact.scope.as_deref() == resource.scope()
        };
        self.exact.iter().any(is_exact) || self.globs.iter().any(|glob| glob.matches(target))
    }

    /// True if something stored for `resource` may match.
    pub(in crate::cache) fn may_match(&self, resource: &Resource) -> bool {
        !self.tags.is_empty() || self.matches_path(resource)
    }

    /// True if this response, which is stored for `resource`, matches.
    pub(in crate::cache) fn matches(&self, resource: &Resource, entry: &Entry) -> bool {
        self.matches_path(resource) || self.matches_tags(entry.head())
    }

    /// True if the head has one of the tags.
    pub(in crate::cache) fn matches_tags(&self, head: &StoredHead) -> bool {
        !self.tags.is_empty()
            && head
                .tags()
                .any(|tag| self.tags.iter().any(|filter| **filter == *tag))
    }

    /// How many paths, patterns and tags a key is compared with.
    pub(in crate::cache) fn patterns(&self) -> usize {
        self.exact.len() + self.globs.len() + self.tags.len()
    }

    /// The filter as it is written on disk.
    pub(in crate::cache) fn written(&self) -> WrittenFilter {
        let exact = self.exact.iter();
        WrittenFilter {
            exact: exact
                .map(|it| (it.target.clone(), it.scope.clone()))
                .collect(),
            globs: self.globs.iter().map(Glob::pattern).collect(),
            tags: self.tags.clone(),
            is_hosted: self.is_hosted,
        }
    }

    /// The tags.
    pub(in crate::cache) fn tags(&self) -> &[Box<[u8]>] {
        &self.tags
    }
}

/// The target of a request for `path`, which may be a URL. It is encoded as that of a client's request.
///
/// # Errors
/// It is not a path.
pub fn parse_target(path: &str, is_glob: bool) -> Result<String, FilterError> {
    if path.len() > MAX_PATH_BYTES {
        return Err(FilterError::TooLong);
    }
    let path = path.split_once('#').map_or(path, |(path, _)| path);
    let scheme = path.get(..8).map(str::to_ascii_lowercase);
    let after_scheme = match scheme.as_deref() {
        Some("https://") => path.get(8..),
        Some(scheme) if scheme.starts_with("http://") => path.get(7..),
        _ => None,
    };
    let target = match after_scheme {
        None => path.to_owned(),
        Some(rest) => {
            let begin = rest.find(['/', '?']).unwrap_or(rest.len());
            match &rest[begin..] {
                "" => "/".to_owned(),
                target if target.starts_with('?') => format!("/{target}"),
                target => target.to_owned(),
            }
        }
    };
    if target.contains(|letter: char| letter.is_control() || letter == ' ') {
        return Err(FilterError::NoTarget(shown(path)));
    }
    let target = encoded_target(target.as_bytes()).unwrap_or(target);
    if target.starts_with('/') || (is_glob && target.starts_with('*')) {
        Ok(target)
    } else {
        Err(FilterError::NoPath(shown(path)))
    }
}

fn shown(name: &str) -> String {
    cut(name, MAX_ECHO_CHARS).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(paths: &[&str], exact: bool) -> Result<EntryFilter, FilterError> {
        let spec = FilterSpec {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            exact,
            tags: Vec::new(),
        };
        EntryFilter::new(&spec, (&Routes::default(), &Rules::default()), false)
    }

    #[test]
    fn a_path_is_used_as_written_and_a_url_without_its_host() {
        for (path, expected) in [
            ("/", "/"),
            ("/a?b=c", "/a?b=c"),
            ("/a#b", "/a"),
            ("http://localhost:8000/a?b", "/a?b"),
            ("HTTPS://example.org", "/"),
            ("https://example.org?x", "/?x"),
            ("http://a/b//c", "/b//c"),
            ("/?key=\"\u{e4}\"", "/?key=%22%C3%A4%22"),
        ] {
            assert_eq!(parse_target(path, false).as_deref(), Ok(expected), "{path}");
        }
        for path in ["", "a", "?a", "*", "/a b", "/a\nb", "ftp://a/b"] {
            assert!(parse_target(path, false).is_err(), "{path}");
        }
    }

    #[test]
    fn a_star_matches_anything_unless_exact_and_a_question_mark_matches_itself() {
        for (path, exact, stored, expected) in [
            ("/a/*", false, "/a/b?c", true),
            ("/a/*", false, "/a", false),
            ("/a/*", true, "/a/*", true),
            ("/a/*", true, "/a/b", false),
            ("/a?b*", false, "/a?bc", true),
            ("/a?b*", false, "/axb", false),
            ("*.js", false, "/x.js", true),
            ("/a", false, "/a?b", false),
        ] {
            let filter = named(&[path], exact).unwrap();
            assert_eq!(
                filter.matches_path(&Resource::new(stored)),
                expected,
                "{path} {stored}"
            );
        }
        let hosted = Resource::of("/a", Some(b"h"), None);
        assert!(named(&["/a"], false).unwrap().matches_path(&hosted));
    }

    #[test]
    fn an_empty_or_malformed_filter_gets_a_message_with_an_example() {
        let refusal = named(&[], false).unwrap_err().to_string();
        assert!(refusal.contains("/products/*"), "{refusal}");
        let refusal = named(&["products"], false).unwrap_err().to_string();
        assert!(refusal.contains("begins with \"/\""), "{refusal}");
        assert_eq!(
            named(&["/"; 1001], false).unwrap_err(),
            FilterError::TooMany
        );
    }
}
