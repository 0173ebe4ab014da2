//! Which stored responses are meant: by path, by pattern, by tag.

use serde::{Deserialize, Serialize};
use wildmatch::WildMatchPattern;

use crate::{
    cache::store::{entry::Entry, key::Resource},
    mask::cut,
    policy::{Rules, StoredHead},
};

/// Longer ones than any client sends are not looked for.
const MAX_PATH_BYTES: usize = 64 * 1024;
/// Nobody names more than these at a time.
const MAX_NAMES: usize = 1000;
/// What is wrong is repeated up to this many characters.
const MAX_ECHO_CHARS: usize = 200;

/// `*` stands for any run of characters, and nothing else for anything but itself.
type Glob = WildMatchPattern<'*', '\0'>;

/// What somebody names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FilterSpec {
    /// Paths with their queries, as clients ask for them, or whole URLs, whose hosts do not count.
    pub paths: Vec<String>,
    /// Whether a `*` in a path stands for itself alone.
    pub exact: bool,
    /// Tags: what `Surrogate-Key` and `Cache-Tag` of a stored response hold.
    pub tags: Vec<String>,
}

/// Why a name names nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    /// It does not begin like a path.
    #[error(
        "{0:?} is no path: one begins with \"/\", as in \"/products/1?fields=id\"; or write a whole URL"
    )]
    NoPath(String),
    /// It holds what no request can.
    #[error(
        "{0:?} holds a space or a control character, which no request can: write %20 for a space"
    )]
    NoTarget(String),
    /// It is too long.
    #[error("a path has at most {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// There are too many.
    #[error("at most {MAX_NAMES} paths and tags can be named at a time")]
    TooMany,
    /// There are none.
    #[error(
        "name a path such as \"/products/1\", a pattern such as \"/products/*\", or a tag with --tag"
    )]
    Nothing,
    /// It is empty, or it could not stand in a list of tags.
    #[error("{0:?} is no tag: one has no comma in it and is not empty")]
    NoTag(String),
}

/// Which stored responses are meant.
#[derive(Clone, Debug, Default)]
pub struct EntryFilter {
    exact: Vec<Box<str>>,
    globs: Vec<Glob>,
    tags: Vec<Box<[u8]>>,
    /// Whether resources differ by a Host that clients choose.
    is_hosted: bool,
}

impl EntryFilter {
    /// All that is stored.
    pub fn all() -> Self {
        Self {
            globs: vec![Glob::new("*")],
            ..Self::default()
        }
    }

    /// What is named. Under `rules` a path stands for what a request for it is answered from. `is_hosted`: clients
    /// choose the Host, and all of them are meant.
    ///
    /// # Errors
    /// A name is none, or there are too many, or there is none at all.
    pub fn new(names: &FilterSpec, rules: &Rules, is_hosted: bool) -> Result<Self, FilterError> {
        match names.paths.len() + names.tags.len() {
            0 => return Err(FilterError::Nothing),
            count if count > MAX_NAMES => return Err(FilterError::TooMany),
            _ => {}
        }
        let mut filter = Self {
            is_hosted,
            ..Self::default()
        };
        for path in &names.paths {
            let is_glob = !names.exact && path.contains('*');
            let target = parse_target(path, is_glob)?;
            let rewritten = rules.rewritten(&target);
            if is_glob {
                filter.globs.push(Glob::new(&target));
                if *rewritten != target {
                    filter.globs.push(Glob::new(&rewritten));
                }
            } else {
                filter.exact.push(rewritten.as_ref().into());
            }
        }
        for tag in &names.tags {
            let tag = tag.trim();
            if tag.is_empty() || tag.contains(',') {
                return Err(FilterError::NoTag(shown(tag)));
            }
            filter.tags.push(tag.as_bytes().into());
        }
        Ok(filter)
    }

    /// The resources that are meant, where these are all and can be told without looking at what is stored.
    pub(in crate::cache) fn resources(&self) -> Option<Vec<Resource>> {
        let is_sure = self.globs.is_empty() && self.tags.is_empty() && !self.is_hosted;
        is_sure.then(|| self.exact.iter().map(|path| Resource::new(path)).collect())
    }

    /// True when everything stored for `resource` is meant.
    pub(in crate::cache) fn matches_path(&self, resource: &Resource) -> bool {
        let target = resource.target();
        self.exact.iter().any(|exact| **exact == *target)
            || self.globs.iter().any(|glob| glob.matches(target))
    }

    /// True when this response is meant, which is stored for `resource`.
    pub(in crate::cache) fn matches(&self, resource: &Resource, entry: &Entry) -> bool {
        self.matches_path(resource) || self.matches_tags(entry.head())
    }

    /// True for a head with one of the tags that are meant.
    pub(in crate::cache) fn matches_tags(&self, head: &StoredHead) -> bool {
        !self.tags.is_empty()
            && head
                .tags()
                .any(|tag| self.tags.iter().any(|filter| **filter == *tag))
    }

    /// The tags that are meant.
    pub(in crate::cache) fn tags(&self) -> &[Box<[u8]>] {
        &self.tags
    }
}

/// A path as it stands in a request.
///
/// # Errors
/// It is none.
pub fn parse_target(path: &str, is_glob: bool) -> Result<String, FilterError> {
    if path.len() > MAX_PATH_BYTES {
        return Err(FilterError::TooLong);
    }
    let path = path.split_once('#').map_or(path, |(path, _)| path);
    let scheme = path.get(..8).map(str::to_ascii_lowercase);
    let behind_scheme = match scheme.as_deref() {
        Some("https://") => path.get(8..),
        Some(scheme) if scheme.starts_with("http://") => path.get(7..),
        _ => None,
    };
    let target = match behind_scheme {
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
        let names = FilterSpec {
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
            exact,
            tags: Vec::new(),
        };
        EntryFilter::new(&names, &Rules::default(), false)
    }

    #[test]
    fn a_path_is_taken_as_clients_write_it_and_a_url_without_its_host() {
        for (path, expected) in [
            ("/", "/"),
            ("/a?b=c", "/a?b=c"),
            ("/a#b", "/a"),
            ("http://localhost:8000/a?b", "/a?b"),
            ("HTTPS://example.org", "/"),
            ("https://example.org?x", "/?x"),
            ("http://a/b//c", "/b//c"),
        ] {
            assert_eq!(parse_target(path, false).as_deref(), Ok(expected), "{path}");
        }
        for path in ["", "a", "?a", "*", "/a b", "/a\nb", "ftp://a/b"] {
            assert!(parse_target(path, false).is_err(), "{path}");
        }
    }

    #[test]
    fn a_star_stands_for_anything_unless_it_is_to_be_exact_and_a_question_mark_for_itself() {
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
        let hosted = Resource::with_host("/a", b"h");
        assert!(named(&["/a"], false).unwrap().matches_path(&hosted));
    }

    #[test]
    fn who_names_nothing_is_told_what_would_be_right() {
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
