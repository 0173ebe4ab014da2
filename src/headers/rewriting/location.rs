//! References in responses: Location and Content-Location (RFC 9110, 10.2.2 and 8.7), Refresh (as HTML defines it).

use super::{
    path::{has_dots, without_dot_segments},
    proxied_origin::ProxiedOrigin,
    reference::{UriReference, path_end},
};

impl ProxiedOrigin<'_> {
    /// The Location or Content-Location for the client, in place of the one that the origin sent with its response for
    /// `target`; `None` if that can stay. A path becomes one at the proxy, or an absolute URL if it is outside of the prefix.
    pub(super) fn location(
        &self,
        reference: &[u8],
        target: &str,
        url_at_proxy: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Option<Vec<u8>> {
        let reference = reference.trim_ascii();
        match UriReference::of(reference) {
            UriReference::WithAuthority { .. } => url_at_proxy(reference),
            UriReference::AbsolutePath(path) if !self.has_same_paths() => self
                .path_at_proxy(path)
                .or_else(|| Some(self.absolute(path))),
            // Without dot segments a relative path leads to the same place on both sides.
            UriReference::RelativePath(path)
                if !self.has_same_paths() && has_dots(&path[..path_end(path)]) =>
            {
                let path = self.resolved(path, target);
                self.path_at_proxy(&path)
                    .or_else(|| Some(self.absolute(&path)))
            }
            _ => None,
        }
    }

    /// The absolute path at the proxy for a URL of this origin, which every client resolves against the URL by which it
    /// reached the proxy; `None` if the URL is of another host, or can stay. `leads_back` tells whether a request for that
    /// path goes to this origin.
    pub fn url_at_proxy(&self, url: &[u8], leads_back: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        match UriReference::of(url) {
            UriReference::WithAuthority {
                scheme,
                authority,
                rest,
            } if self.is_named_by(scheme, authority) => {
                let rest = match rest.first() {
                    Some(b'/') => rest.into(),
                    _ => [b"/", rest].concat(),
                };
                let is_relative = scheme.is_none();
                self.path_at_proxy(&rest)
                    .filter(|path| leads_back(path))
                    .or_else(|| is_relative.then(|| self.absolute(&rest)))
            }
            _ => None,
        }
    }

    /// A path at the origin as an absolute URL.
    fn absolute(&self, path: &[u8]) -> Vec<u8> {
        [self.serialized().as_bytes(), path].concat()
    }

    /// The absolute path at the origin of a relative reference in the response for `target` (RFC 3986, 5.2).
    fn resolved(&self, reference: &[u8], target: &str) -> Vec<u8> {
        let (path, tail) = reference.split_at(path_end(reference));
        let base = target.as_bytes();
        let base = &base[..path_end(base)];
        let folder = base.iter().rposition(|byte| *byte == b'/');
        let folder = &base[..folder.map_or(0, |slash| slash + 1)];
        let whole = [self.prefix.as_bytes(), folder, path].concat();
        [&*without_dot_segments(&whole), tail].concat()
    }
}

/// The Refresh for the client, with another URL; `None` if it can stay.
pub(super) fn refresh(
    value: &[u8],
    location: impl Fn(&[u8]) -> Option<Vec<u8>>,
) -> Option<Vec<u8>> {
    let start = url_start(value)?;
    let (before, url) = value.split_at(start);
    let (quote, url) = url.split_at(usize::from(matches!(url.first(), Some(b'"' | b'\''))));
    // Without a closing quote the URL goes to the end.
    let end = url.iter().position(|byte| quote.contains(byte));
    let (url, after) = url.split_at(end.unwrap_or(url.len()));
    let rewritten = location(url)?;
    Some([before, quote, &rewritten, after].concat())
}

/// Where the URL of a Refresh begins, or the quote before it: after a number of seconds, a separator, and `url=`, which may
/// be missing; `None` if there is no URL.
fn url_start(value: &[u8]) -> Option<usize> {
    let skipped = |from: usize, is_skipped: fn(u8) -> bool| {
        let rest = value.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| is_skipped(**byte)).count()
    };
    let is_space = |byte: u8| byte.is_ascii_whitespace();
    let number = skipped(0, is_space);
    let number_end = skipped(number, |byte| byte.is_ascii_digit() || byte == b'.');
    let separator = skipped(number_end, is_space);
    let has_separator = value
        .get(separator)
        .is_some_and(|byte| b";,".contains(byte));
    let start = skipped(separator + usize::from(has_separator), is_space);
    if number_end == number || start == number_end {
        return None;
    }
    let rest = value.get(start..)?;
    let name = rest
        .get(..3)
        .filter(|name| name.eq_ignore_ascii_case(b"url"));
    let equals = skipped(start + 3, is_space);
    match name {
        Some(_) if value.get(equals) == Some(&b'=') => Some(skipped(equals + 1, is_space)),
        _ => Some(start),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::proxied_origin::ClientAddress, *};

    const PLAIN: ProxiedOrigin<'_> = ProxiedOrigin {
        scheme: "https",
        host: "shop.example",
        port: 443,
        prefix: "",
        stripped: "",
        preserved: None,
    };
    const PREFIXED: ProxiedOrigin<'_> = ProxiedOrigin {
        prefix: "/app",
        ..PLAIN
    };
    const STRIPPED: ProxiedOrigin<'_> = ProxiedOrigin {
        prefix: "/v1",
        stripped: "/api",
        ..PLAIN
    };

    fn rewritten(origin: &ProxiedOrigin<'_>, reference: &[u8]) -> Option<Vec<u8>> {
        let url_at_proxy = |url: &[u8]| origin.url_at_proxy(url, |_| true);
        origin.location(reference, "/a/b?c=/d/", url_at_proxy)
    }

    fn location(origin: &ProxiedOrigin<'_>, reference: &str) -> String {
        let rewritten = rewritten(origin, reference.as_bytes());
        String::from_utf8(rewritten.unwrap_or_else(|| reference.into())).unwrap()
    }

    #[test]
    fn references_to_the_origin_become_paths() {
        for (reference, expected) in [
            ("https://shop.example/login?next=/a#f", "/login?next=/a#f"),
            ("HTTPS://SHOP.example:443/", "/"),
            ("https://shop.example", "/"),
            ("https://shop.example?q", "/?q"),
            ("https://shop.example#f", "/#f"),
            ("https://shop.example:/x", "/x"),
            ("//shop.example/x", "/x"),
            // The application believes to be reached over http.
            ("http://shop.example/x", "/x"),
            ("http://shop.example:443/x", "/x"),
            ("  https://shop.example/x ", "/x"),
            ("https://shop.example//evil.example/x", "/.//evil.example/x"),
            ("https://shop.example/\\evil.example", "/./\\evil.example"),
            ("https://shop.example/\t/evil.example", "/./\t/evil.example"),
            ("https://shop.example/..//evil.example", "/..//evil.example"),
        ] {
            assert_eq!(location(&PLAIN, reference), expected, "{reference}");
        }
    }

    #[test]
    fn other_references_stay() {
        for reference in [
            "",
            "/login",
            "//other.example/x",
            "/\\other.example",
            "../x",
            "?page=2",
            "https://other.example/x",
            "https://shop.example:8443/x",
            "http://shop.example:8080/x",
            "https://user@shop.example/x",
            "https://shop.example@evil.example/x",
            "https://shop.example\\@evil.example/x",
            "https://shop.example.evil.example/x",
            "https://evilshop.example/x",
            "https:/shop.example/x",
            "ftp://shop.example/x",
            "javascript:alert(1)",
        ] {
            assert_eq!(location(&PLAIN, reference), reference);
        }
        let http = ProxiedOrigin {
            scheme: "http",
            port: 80,
            ..PLAIN
        };
        // Rewritten, it would lead to the same response again.
        for reference in ["https://shop.example/x", "https://shop.example:80/x"] {
            assert_eq!(location(&http, reference), reference);
        }
        assert_eq!(location(&http, "http://shop.example/x"), "/x");
    }

    #[test]
    fn references_lose_the_prefix_of_the_origin() {
        for (reference, expected) in [
            ("https://shop.example/app/x", "/x"),
            ("https://shop.example/app", "/"),
            ("https://shop.example/app?q", "/?q"),
            ("/app/x?y#z", "/x?y#z"),
            ("/app", "/"),
            ("/app#f", "/#f"),
            ("/app/./x/../y", "/y"),
            ("/app//evil.example", "/.//evil.example"),
            ("/app/\\evil.example", "/./\\evil.example"),
            ("/app/\t\t/evil.example", "/./\t\t/evil.example"),
            ("/app/x/..//evil.example", "/.//evil.example"),
            ("x", "x"),
            ("?q", "?q"),
            ("#f", "#f"),
            ("../x", "/x"),
            ("../../app/x", "/x"),
            ("%2e%2e/x", "/x"),
            // Outside.
            ("/other", "https://shop.example/other"),
            ("/apple", "https://shop.example/apple"),
            ("/app/../other", "https://shop.example/app/../other"),
            ("/app\\..\\other", "https://shop.example/app\\..\\other"),
            ("//shop.example/other", "https://shop.example/other"),
            ("https://shop.example/other", "https://shop.example/other"),
            ("../../other?q", "https://shop.example/other?q"),
        ] {
            assert_eq!(location(&PREFIXED, reference), expected, "{reference}");
        }
    }

    #[test]
    fn references_gain_the_prefix_that_the_origin_does_not_get() {
        for (reference, expected) in [
            ("https://shop.example/v1/x", "/api/x"),
            ("/v1/x", "/api/x"),
            ("/v1", "/api/"),
            ("/v1//evil.example", "/api//evil.example"),
            ("../../v1/x", "/api/x"),
            ("x", "x"),
            ("/x", "https://shop.example/x"),
        ] {
            assert_eq!(location(&STRIPPED, reference), expected, "{reference}");
        }
    }

    #[test]
    fn a_url_stays_if_its_path_at_the_proxy_leads_to_another_origin() {
        let found = |url: &[u8]| PLAIN.url_at_proxy(url, |path| path.starts_with(b"/api/"));
        for (url, expected) in [
            ("https://shop.example/api/x", Some("/api/x")),
            ("https://shop.example/x", None),
            ("//shop.example/x", Some("https://shop.example/x")),
            ("/api/x", None),
        ] {
            assert_eq!(
                found(url.as_bytes()).as_deref(),
                expected.map(str::as_bytes),
                "{url}"
            );
        }
    }

    #[test]
    fn a_preserved_host_names_the_origin_as_well() {
        let address = ClientAddress {
            scheme: "http",
            authority: b"localhost:8000",
        };
        let origin = ProxiedOrigin {
            preserved: Some(address),
            ..PREFIXED
        };
        for (reference, expected) in [
            ("http://localhost:8000/app/x", "/x"),
            ("//localhost:8000/app/x", "/x"),
            ("https://shop.example/app/x", "/x"),
            (
                "https://localhost:8000/app/x",
                "https://localhost:8000/app/x",
            ),
            ("http://localhost/app/x", "http://localhost/app/x"),
        ] {
            assert_eq!(location(&origin, reference), expected, "{reference}");
        }
    }

    #[test]
    fn an_ipv6_origin_is_named_in_any_spelling() {
        let origin = ProxiedOrigin {
            scheme: "http",
            host: "::1",
            port: 8080,
            prefix: "/app",
            ..PLAIN
        };
        for (reference, expected) in [
            ("http://[::1]:8080/app/x", "/x"),
            ("http://[0:0:0::1]:8080/app/x", "/x"),
            ("/x", "http://[::1]:8080/x"),
        ] {
            assert_eq!(location(&origin, reference), expected, "{reference}");
        }
    }

    #[test]
    fn the_url_of_a_refresh_is_rewritten() {
        for (value, expected) in [
            ("5; url=https://shop.example/x", "5; url=/x"),
            ("0;URL='https://shop.example/x'; y", "0;URL='/x'; y"),
            ("0;url=\"https://shop.example/x", "0;url=\"/x"),
            ("1.5 , https://shop.example/x", "1.5 , /x"),
            ("3 url = https://shop.example/x", "3 url = /x"),
        ] {
            let found = refresh(value.as_bytes(), |url| rewritten(&PLAIN, url)).unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), expected, "{value}");
        }
        for value in [
            "",
            "5",
            "5;",
            "5; url=",
            "5; url=/x",
            "5; url=https://other.example/x",
            "x; url=https://shop.example/x",
            "; url=https://shop.example/x",
            "5url=https://shop.example/x",
        ] {
            let found = refresh(value.as_bytes(), |url| rewritten(&PLAIN, url));
            assert_eq!(found, None, "{value}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_stay() {
        let found = rewritten(&PLAIN, b"https://shop.example/caf\xe9");
        assert_eq!(found.as_deref(), Some(&b"/caf\xe9"[..]));
    }

    proptest! {
        #[test]
        fn no_reference_to_the_origin_becomes_one_to_another_host(
            path in "(/|\\\\|\t|\\.|%2e|evil\\.example|app|v1|\\?|#|@|:){0,9}",
            start in "(https?://shop\\.example|//shop\\.example)?(/app|/v1)?",
        ) {
            for origin in [PLAIN, PREFIXED, STRIPPED] {
                let reference = format!("{start}{path}");
                if let Some(found) = rewritten(&origin, reference.as_bytes()) {
                    let found: Vec<u8> = found.into_iter().filter(|byte| *byte != b'\t').collect();
                    let is_path = found.starts_with(b"/") && !found.starts_with(b"//") && !found.starts_with(b"/\\");
                    let is_own = found.starts_with(b"https://shop.example/");
                    prop_assert!(is_path || is_own, "{:?} {:?}", reference, String::from_utf8_lossy(&found));
                }
            }
        }

        #[test]
        fn a_path_below_the_prefix_comes_back_to_the_same_path(path in "(/[a-z%2e.]{0,4}){1,4}(\\?[a-z/.]{0,4})?") {
            for origin in [PREFIXED, STRIPPED] {
                let at_origin = format!("{}{path}", origin.prefix);
                let url = format!("https://shop.example{at_origin}");
                for reference in [&at_origin, &url] {
                    if let Some(found) = rewritten(&origin, reference.as_bytes()) && found.starts_with(b"/") {
                        let back = origin.path_at_origin(&found).unwrap();
                        let (one, two) = (path_end(&back), path_end(at_origin.as_bytes()));
                        prop_assert_eq!(without_dot_segments(&back[..one]), without_dot_segments(&at_origin.as_bytes()[..two]));
                        prop_assert_eq!(&back[one..], &at_origin.as_bytes()[two..]);
                    }
                }
            }
        }

        #[test]
        fn any_refresh_is_handled(value in "[0-9. ]{0,3}[;, ]{0,2}(url *= *)?['\"]?(https://shop.example)?[ -~]{0,9}") {
            if let Some(found) = refresh(value.as_bytes(), |url| rewritten(&PLAIN, url)) {
                prop_assert!(!found.is_empty());
            }
        }
    }
}
