//! Dot segments of paths (RFC 3986, 3.3), also those that only some servers take for such.

use std::borrow::Cow;

use memchr::{memchr, memmem};

/// How many dots a segment stands for, if it is a dot segment: 1 or 2. `%2e` is a dot. `None` for other segments.
fn dots(segment: &[u8]) -> Option<usize> {
    let (mut rest, mut count) = (segment, 0);
    while let Some((first, after)) = rest.split_first() {
        rest = match first {
            b'.' => after,
            b'%' if after.len() >= 2 && after[..2].eq_ignore_ascii_case(b"2e") => &after[2..],
            _ => return None,
        };
        count += 1;
    }
    matches!(count, 1 | 2).then_some(count)
}

/// What follows the prefix in a path, with the slash before it; `None` if the path is not below the prefix.
pub(super) fn below<'a>(path: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    match path.strip_prefix(prefix)? {
        b"" => Some(b"/"),
        rest => rest.starts_with(b"/").then_some(rest),
    }
}

/// True if the path may have dot segments.
pub(super) fn has_dots(path: &[u8]) -> bool {
    memchr(b'.', path).is_some()
        || memmem::find(path, b"%2e").is_some()
        || memmem::find(path, b"%2E").is_some()
}

/// A path that begins with a slash, without its dot segments (RFC 3986, 5.2.4). Empty segments and all other bytes stay.
pub(super) fn without_dot_segments(path: &[u8]) -> Cow<'_, [u8]> {
    if !has_dots(path) {
        return Cow::Borrowed(path);
    }
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let dots = dots(segment);
        if dots == Some(2) {
            kept.pop();
        }
        if dots.is_none() {
            kept.push(segment);
        } else if segments.peek().is_none() {
            kept.push(b"");
        }
    }
    let mut path = b"/".to_vec();
    path.extend(kept.join(&b'/'));
    Cow::Owned(path)
}

/// True if dot segments of a path that begins with `start` may lead to one that does not, or above the root. Servers
/// differ in what they take for a slash (`\`, `%5c`, `%2f`), and some cut `;parameters` off a segment before they compare
/// it: each reading counts.
pub fn may_leave(path: &str, start: &str) -> bool {
    let path = path.as_bytes();
    let readings = [(false, false), (false, true), (true, false), (true, true)];
    has_dots(path)
        && readings
            .into_iter()
            .any(|reading| leaves(&with_slashes(path, reading), start.as_bytes()))
}

/// The path with a slash in the place of backslashes, and of encoded slashes.
fn with_slashes(path: &[u8], (backslashes, encoded): (bool, bool)) -> Vec<u8> {
    let mut read = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, after)) = rest.split_first() {
        let is_encoded =
            |digits: &[u8; 2]| after.len() >= 2 && after[..2].eq_ignore_ascii_case(digits);
        let (byte, length) = match first {
            b'\\' if backslashes => (b'/', 1),
            b'%' if backslashes && is_encoded(b"5c") => (b'/', 3),
            b'%' if encoded && is_encoded(b"2f") => (b'/', 3),
            other => (*other, 1),
        };
        read.push(byte);
        rest = &rest[length..];
    }
    read
}

fn leaves(path: &[u8], start: &[u8]) -> bool {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut is_climbing = false;
    for segment in path.split(|byte| *byte == b'/') {
        let name = segment.split(|byte| *byte == b';').next();
        match dots(name.unwrap_or_default()) {
            Some(2) if kept.pop().is_none() => return true,
            Some(2) => is_climbing = true,
            // Servers that merge slashes see no empty segment.
            None if !segment.is_empty() => kept.push(segment),
            _ => {}
        }
    }
    let mut start = start.to_vec();
    start.dedup_by(|one, other| (*one, *other) == (b'/', b'/'));
    let resolved = [b"/", &*kept.join(&b'/'), b"/"].concat();
    is_climbing && !resolved.starts_with(&start)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dot_segments_are_removed_in_every_spelling() {
        for (path, expected) in [
            ("/a/b", "/a/b"),
            ("/a/./b/..", "/a/"),
            ("/a/%2E%2e/b", "/b"),
            ("/a/.%2e/../../b", "/b"),
            ("/a//../b", "/a/b"),
            ("/...", "/..."),
            ("/.", "/"),
        ] {
            let found = without_dot_segments(path.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), expected, "{path}");
        }
    }

    #[test]
    fn a_path_that_may_lead_above_its_start_is_found() {
        for path in [
            "/..",
            "/../x",
            "/a/../../x",
            "/%2e%2e/x",
            "/.%2E/x",
            "/a/..%2f..%2fx",
            "/a%2f../../x",
            "/..\\x",
            "/a\\..\\..\\x",
            "/a\\b/../../x",
            "/%5c..%5cx",
            "/..;x=1/y",
            "/a//../../x",
            "//../x",
            "/./../x",
        ] {
            assert!(may_leave(path, ""), "{path}");
        }
        for path in [
            "/",
            "/a/../b",
            "/a/b/../../c",
            "/...",
            "/a..b/..c",
            "/.well-known/x",
            "/@scope%2fname",
            "/%252e%252e/x",
            "/a;b/../c",
        ] {
            assert!(!may_leave(path, ""), "{path}");
        }
    }

    #[test]
    fn a_path_that_may_lead_to_another_start_is_found() {
        for (path, start) in [
            ("/api/..", "/api/"),
            ("/api/../secret", "/api/"),
            ("/api/x/../../secret", "/api/"),
            ("/api/%2e%2e/apix", "/api/"),
            ("/api/..%2fsecret", "/api/"),
            ("/api/..\\secret", "/api/"),
            ("/api/..;/secret", "/api/"),
            ("/api/;/../../secret", "/api/"),
            ("/api//../secret", "/api/"),
            ("/api/../../api/x", "/api/"),
            ("/files-a/../b", "/files-"),
            ("/files-a%2f../../b", "/files-"),
            ("/apis/../b", "/api"),
        ] {
            assert!(may_leave(path, start), "{path} {start}");
        }
        for (path, start) in [
            ("/api/x/..", "/api/"),
            ("/api/x/../y", "/api/"),
            ("/api/../api/x", "/api/"),
            ("/api/./x.html", "/api/"),
            ("/files-a/../files-b", "/files-"),
            ("//a/b/../c", "//a/"),
            ("/a/../b", "/"),
            ("/a/../b", ""),
        ] {
            assert!(!may_leave(path, start), "{path} {start}");
        }
    }

    proptest! {
        #[test]
        fn a_path_that_does_not_climb_stays_below_its_prefix(path in "(/|\\.|\\.\\.|%2[eE]|%2f|\\\\|a|;){0,12}") {
            let path = format!("/{path}");
            prop_assume!(!may_leave(&path, ""));
            for reading in [path.clone(), path.replace('\\', "/"), path.replace("%2f", "/")] {
                let whole = format!("/p/q{reading}");
                let resolved = without_dot_segments(whole.as_bytes());
                prop_assert!(resolved.starts_with(b"/p/q/"), "{}", path);
            }
        }
    }
}
