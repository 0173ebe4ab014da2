//! The parts of a URI reference (RFC 3986, 4.1), as bytes: header values need not be text.

use std::net::Ipv6Addr;

/// A URI reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UriReference<'a> {
    /// `http://host/path` or `//host/path`.
    WithAuthority {
        /// `None` for a network-path reference.
        scheme: Option<WebScheme>,
        /// Host and port; userinfo, if there is some.
        authority: &'a [u8],
        /// Path, query and fragment: empty, or from the slash, question mark or number sign on.
        rest: &'a [u8],
    },
    /// A path that begins with a slash, query and fragment.
    AbsolutePath(&'a [u8]),
    /// Any other reference without a scheme.
    RelativePath(&'a [u8]),
    /// Another scheme, or none of the forms above.
    Other,
}

/// `http` or `https`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WebScheme {
    Http,
    Https,
}

impl WebScheme {
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"http") {
            return Some(Self::Http);
        }
        name.eq_ignore_ascii_case(b"https").then_some(Self::Https)
    }

    pub(super) fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl<'a> UriReference<'a> {
    pub(super) fn of(reference: &'a [u8]) -> Self {
        let end = reference.iter().position(|byte| b":/?#".contains(byte));
        let scheme = end.filter(|end| reference[*end] == b':');
        let (scheme, after) = match scheme {
            Some(end) => match WebScheme::of(&reference[..end]) {
                Some(scheme) => (Some(scheme), &reference[end + 1..]),
                None => return Self::Other,
            },
            None => (None, reference),
        };
        match after.strip_prefix(b"//") {
            Some(after) => {
                let end = after.iter().position(|byte| b"/?#".contains(byte));
                let (authority, rest) = after.split_at(end.unwrap_or(after.len()));
                Self::WithAuthority {
                    scheme,
                    authority,
                    rest,
                }
            }
            None if scheme.is_some() => Self::Other,
            None if after.starts_with(b"/") => Self::AbsolutePath(after),
            None => Self::RelativePath(after),
        }
    }
}

/// Where the path of a reference without authority ends: its query and fragment follow.
pub(super) fn path_end(reference: &[u8]) -> usize {
    let end = reference.iter().position(|byte| b"?#".contains(byte));
    end.unwrap_or(reference.len())
}

/// Host, without brackets, and port of an authority; the port is `None` if there is none. `None` if the authority has
/// userinfo, or is none.
pub(super) fn host_and_port(authority: &[u8]) -> Option<(&[u8], Option<u16>)> {
    if authority.iter().any(|byte| b"@\\".contains(byte)) {
        return None;
    }
    let (host, port) = match authority.strip_prefix(b"[") {
        Some(rest) => {
            let end = rest.iter().position(|byte| *byte == b']')?;
            (&rest[..end], &rest[end + 1..])
        }
        None => {
            let end = authority.iter().position(|byte| *byte == b':');
            authority.split_at(end.unwrap_or(authority.len()))
        }
    };
    let port = match port {
        b"" | b":" => None,
        port => Some(port_number(port.strip_prefix(b":")?)?),
    };
    (!host.is_empty()).then_some((host, port))
}

fn port_number(digits: &[u8]) -> Option<u16> {
    let digits = std::str::from_utf8(digits).ok()?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// True if two host names without brackets are the same.
pub(super) fn is_same_host(one: &[u8], other: &[u8]) -> bool {
    let address = |host| std::str::from_utf8(host).ok()?.parse::<Ipv6Addr>().ok();
    one.eq_ignore_ascii_case(other)
        || (one.contains(&b':') && address(one).is_some_and(|one| address(other) == Some(one)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn references_are_told_apart() {
        use UriReference::{AbsolutePath, Other, RelativePath};
        let with =
            |scheme, authority: &'static str, rest: &'static str| UriReference::WithAuthority {
                scheme,
                authority: authority.as_bytes(),
                rest: rest.as_bytes(),
            };
        for (reference, expected) in [
            ("http://h", with(Some(WebScheme::Http), "h", "")),
            (
                "HTTPS://h:1/a?b",
                with(Some(WebScheme::Https), "h:1", "/a?b"),
            ),
            ("http://h?q", with(Some(WebScheme::Http), "h", "?q")),
            ("http://h#f", with(Some(WebScheme::Http), "h", "#f")),
            ("//h/a", with(None, "h", "/a")),
            ("/a:b", AbsolutePath(b"/a:b")),
            ("a/b:c", RelativePath(b"a/b:c")),
            ("?a:b", RelativePath(b"?a:b")),
            ("", RelativePath(b"")),
            ("mailto:x", Other),
            ("http:x", Other),
            ("http:/x", Other),
            ("javascript://h/x", Other),
        ] {
            assert_eq!(
                UriReference::of(reference.as_bytes()),
                expected,
                "{reference}"
            );
        }
    }

    #[test]
    fn an_authority_with_userinfo_is_no_host() {
        for (authority, expected) in [
            ("h", Some(("h", None))),
            ("h:", Some(("h", None))),
            ("h:8080", Some(("h", Some(8080)))),
            ("[::1]", Some(("::1", None))),
            ("[::1]:80", Some(("::1", Some(80)))),
            ("user@h", None),
            ("h:80@evil", None),
            ("h\\@evil", None),
            ("h:+80", None),
            ("h:99999", None),
            ("[::1", None),
            ("[::1]x", None),
            (":80", None),
            ("", None),
        ] {
            let expected = expected.map(|(host, port): (&str, _)| (host.as_bytes(), port));
            assert_eq!(host_and_port(authority.as_bytes()), expected, "{authority}");
        }
        assert!(is_same_host(b"0:0::1", b"::1") && is_same_host(b"A.b", b"a.B"));
        assert!(!is_same_host(b"::1", b"::2") && !is_same_host(b"a", b"a."));
    }

    proptest! {
        #[test]
        fn the_parts_are_the_whole(reference in "(http:|https:|x:)?/{0,3}[a-z@:\\[\\]0-9]{0,9}[/?#\\\\a]{0,5}") {
            if let UriReference::WithAuthority { authority, rest, .. } = UriReference::of(reference.as_bytes()) {
                let end = [b"//", authority, rest].concat();
                prop_assert!(reference.as_bytes().ends_with(&end));
            }
        }
    }
}
