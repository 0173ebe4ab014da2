//! RFC 9111, 4.4: invalidating stored responses.

use std::borrow::Cow;

use actix_web::http::{
    Method, StatusCode,
    header::{CONTENT_LOCATION, LOCATION},
};

use crate::policy::ResponseHeaders;

/// RFC 9111, 4.4: true if a response of this status to this method invalidates the stored responses of its target.
///
/// All methods invalidate except those known to be safe.
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    let is_safe = matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    );
    !is_safe && (status.is_success() || status.is_redirection())
}

/// The target URI of a request (RFC 9110, 7.1).
#[derive(Clone, Debug)]
pub struct TargetUri<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host, and the port if it is not the default of the scheme.
    pub authority: Cow<'a, str>,
    /// The path and query of the forwarded request.
    pub target: Cow<'a, str>,
}

impl TargetUri<'_> {
    /// The other targets (path and query) on the same origin that Location and Content-Location of a response to an unsafe
    /// request name.
    ///
    /// References to other origins are left out, so that no origin can invalidate responses of another one.
    pub fn also_invalidated(&self, headers: &ResponseHeaders) -> Vec<String> {
        let mut targets = Vec::new();
        for line in [LOCATION, CONTENT_LOCATION]
            .iter()
            .flat_map(|name| headers.get_all(name))
        {
            if let Some(other) = self.local_target(line)
                && other != self.target
                && !targets.contains(&other)
            {
                targets.push(other);
            }
        }
        targets
    }

    /// RFC 9110, 8.7: true if the response has one Content-Location and it is this target.
    pub(in crate::policy) fn is_content_location(&self, headers: &ResponseHeaders) -> bool {
        let mut lines = headers.get_all(&CONTENT_LOCATION);
        match (lines.next(), lines.next()) {
            (Some(line), None) => {
                !line.is_empty() && self.local_target(line).as_deref() == Some(&self.target)
            }
            _ => false,
        }
    }

    /// The target of a reference to the same origin. `None` for other references.
    fn local_target(&self, line: &[u8]) -> Option<String> {
        let reference = std::str::from_utf8(line).ok()?;
        local_reference(self.scheme, &self.authority, reference.trim())
            .map(|reference| resolve(&self.target, &reference))
    }
}

/// The reference without fragment, scheme and authority. `None` if scheme or authority are not those of the origin.
fn local_reference<'r>(scheme: &str, authority: &str, reference: &'r str) -> Option<Cow<'r, str>> {
    let reference = reference.split('#').next().unwrap_or_default();
    let rest = match scheme_end(reference) {
        Some(end) if reference[..end].eq_ignore_ascii_case(scheme) => {
            // An opaque URI (`http:foo`) is not on this origin.
            reference[end + 1..].strip_prefix("//")?
        }
        Some(_) => return None,
        None => match reference.strip_prefix("//") {
            Some(rest) => rest,
            None => return Some(Cow::Borrowed(reference)),
        },
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (named, path) = rest.split_at(end);
    let is_same = with_port(scheme, named).eq_ignore_ascii_case(&with_port(scheme, authority));
    is_same.then(|| match path.strip_prefix('/') {
        Some(_) => Cow::Borrowed(path),
        None => Cow::Owned(format!("/{path}")),
    })
}

/// RFC 3986, 3.1: the position of the colon after a scheme. `None` without a scheme.
fn scheme_end(reference: &str) -> Option<usize> {
    let end = reference.find([':', '/', '?'])?;
    let scheme = &reference[..end];
    let is_scheme = reference[end..].starts_with(':')
        && scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some(end)
}

/// An authority with an explicit port.
fn with_port(scheme: &str, authority: &str) -> String {
    // The colons of an IPv6 address are within brackets.
    let after_host = authority.rfind(']').unwrap_or(0);
    match authority[after_host..].find(':') {
        Some(colon) if after_host + colon + 1 < authority.len() => authority.to_owned(),
        _ => {
            let port = if scheme.eq_ignore_ascii_case("https") {
                443
            } else {
                80
            };
            format!("{}:{port}", authority.trim_end_matches(':'))
        }
    }
}

/// RFC 3986, 5.2.2: resolves a reference without authority.
fn resolve(base: &str, reference: &str) -> String {
    let base_path = base.split('?').next().unwrap_or_default();
    let (path, query) = match reference.find('?') {
        Some(mark) => reference.split_at(mark),
        None => (reference, ""),
    };
    if path.is_empty() {
        return match query {
            "" => base.to_owned(),
            query => format!("{}{query}", base_path),
        };
    }
    if path.starts_with('/') {
        return format!("{}{query}", without_dot_segments(path));
    }
    let folder = &base_path[..base_path.rfind('/').map_or(0, |slash| slash + 1)];
    let folder = if folder.is_empty() { "/" } else { folder };
    format!(
        "{}{query}",
        without_dot_segments(&format!("{folder}{path}"))
    )
}

/// RFC 3986, 5.2.4: removes `.` and `..` segments. Empty segments and all other bytes stay.
fn without_dot_segments(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            segment => kept.push(segment),
        }
    }
    format!("/{}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::headers;
    use proptest::prelude::*;

    fn uri<'a>(scheme: &'a str, authority: &'a str, target: &'a str) -> TargetUri<'a> {
        TargetUri {
            scheme,
            authority: authority.into(),
            target: target.into(),
        }
    }

    #[test]
    fn s8_7_content_location_is_resolved_before_comparing() {
        for (lines, expected) in [
            (&["/items/7?new"][..], true),
            (&["http://example.com/items/7?new"], true),
            (&["7?new"], true),
            (&["?new"], true),
            (&["/items/7"], false),
            (&["/items/8?new"], false),
            (&["https://example.com/items/7?new"], false),
            (&["http://evil.example/items/7?new"], false),
            (&[""], false),
            (&[], false),
            (&["/items/7?new", "/items/7?new"], false),
        ] {
            let lines: Vec<_> = lines
                .iter()
                .map(|line| ("content-location", *line))
                .collect();
            let found =
                uri("http", "example.com", "/items/7?new").is_content_location(&headers(&lines));
            assert_eq!(found, expected, "{lines:?}");
        }
    }

    #[test]
    fn s4_4_methods_not_known_to_be_safe_invalidate_on_success_and_redirection() {
        let unknown = Method::from_bytes(b"FOO").unwrap();
        for method in [
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
            unknown,
        ] {
            for (status, expected) in [
                (200, true),
                (204, true),
                (303, true),
                (400, false),
                (404, false),
                (500, false),
            ] {
                let status = StatusCode::from_u16(status).unwrap();
                assert_eq!(invalidates(&method, status), expected, "{method} {status}");
            }
        }
        for method in [Method::GET, Method::HEAD, Method::OPTIONS, Method::TRACE] {
            assert!(!invalidates(&method, StatusCode::OK), "{method}");
        }
    }

    #[test]
    fn s4_4_references_to_the_same_origin_are_resolved() {
        for (reference, expected) in [
            ("/other", Some("/other")),
            ("/other?x=1#part", Some("/other?x=1")),
            ("http://example.com/other", Some("/other")),
            ("HTTP://EXAMPLE.com:80/other", Some("/other")),
            ("http://example.com", Some("/")),
            ("http://example.com?q", Some("/?q")),
            ("//example.com/other", Some("/other")),
            ("other", Some("/items/other")),
            ("./other", Some("/items/other")),
            ("../other/.", Some("/other/")),
            ("../../../..", Some("/")),
            ("?page=2", Some("/items/7?page=2")),
            ("/a//b", Some("/a//b")),
            ("x:y/z", None),
            ("", None),
            ("#top", None),
            ("/items/7?old", None),
            ("https://example.com/other", None),
            ("http://example.com:8080/other", None),
            ("http://evil.example/other", None),
            ("//evil.example/other", None),
            ("http://user@example.com/other", None),
            ("mailto:somebody@example.com", None),
        ] {
            let found = uri("http", "example.com", "/items/7?old")
                .also_invalidated(&headers(&[("location", reference)]));
            assert_eq!(found.first().map(String::as_str), expected, "{reference}");
        }
    }

    #[test]
    fn s4_4_location_and_content_location_invalidate_each_target_once() {
        let held = headers(&[
            ("location", "/a"),
            ("content-location", "/b"),
            ("content-location", "/a"),
        ]);
        assert_eq!(
            uri("http", "[::1]:8080", "/").also_invalidated(&held),
            ["/a", "/b"]
        );
    }

    #[test]
    fn s4_4_ports_of_an_ipv6_origin_are_compared() {
        let found = |location| {
            uri("https", "[::1]", "/").also_invalidated(&headers(&[("location", location)]))
        };
        assert_eq!(found("https://[::1]:443/a"), ["/a"]);
        assert!(found("https://[::1]:444/a").is_empty());
    }

    proptest! {
        #[test]
        fn any_reference_is_resolved_to_a_path(base in "/\\PC{0,20}", reference in "\\PC{0,30}") {
            if let Some(local) = local_reference("http", "h", &reference) {
                prop_assert!(resolve(&base, &local).starts_with('/'));
            }
        }

        #[test]
        fn nearly_urls_are_resolved_to_a_path(reference in "(http:)?/{0,3}(h|x)?(:80)?[./?a]{0,9}") {
            if let Some(local) = local_reference("http", "h", &reference) {
                prop_assert!(resolve("/a/b?c", &local).starts_with('/'));
            }
        }
    }
}
