//! Request headers that name the proxy: they name the origin when they are forwarded.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::{
    proxied_origin::{ClientAddress, ProxiedOrigin},
    reference::{UriReference, path_end},
};

/// RFC 4918, 10.3.
pub(in crate::headers) const DESTINATION: HeaderName = HeaderName::from_static("destination");

/// True if `is_outside` is for the path of a Destination.
pub fn is_destination_outside(headers: &HeaderMap, is_outside: impl Fn(&str) -> bool) -> bool {
    headers.get_all(DESTINATION).any(|line| {
        let path = match UriReference::of(line.as_bytes()) {
            UriReference::WithAuthority { rest, .. } => rest,
            UriReference::AbsolutePath(path) | UriReference::RelativePath(path) => path,
            UriReference::Other => b"",
        };
        is_outside(&String::from_utf8_lossy(&path[..path_end(path)]))
    })
}

/// The headers that name the page from which a request comes.
pub static PAGE_HEADERS: [HeaderName; 2] = [header::ORIGIN, header::REFERER];

/// True for the name of a header that [`ProxiedOrigin::rewrite_request`] may change.
pub fn may_name_proxy(name: &HeaderName) -> bool {
    *name == DESTINATION || PAGE_HEADERS.contains(name)
}

impl ProxiedOrigin<'_> {
    /// Makes a request name the origin where it names the proxy, which the client reached at `address`.
    pub fn rewrite_request(&self, headers: &mut HeaderMap, address: &ClientAddress<'_>) {
        rewrite_lines(headers, &DESTINATION, |line| {
            self.destination(line, address)
        });
        if self.preserved.is_none() {
            for name in &PAGE_HEADERS {
                rewrite_lines(headers, name, |line| self.page(line, address));
            }
        }
    }

    /// True if Origin or Referer of a request is forwarded with another value.
    pub fn changes_page(&self, headers: &HeaderMap, address: &ClientAddress<'_>) -> bool {
        let mut lines = PAGE_HEADERS.iter().flat_map(|name| headers.get_all(name));
        self.preserved.is_none() && lines.any(|line| self.page(line.as_bytes(), address).is_some())
    }

    /// The Origin or Referer for the origin, which compares it with its own name (RFC 6454, 7; RFC 9110, 10.1.3); `None` if
    /// it names another page than one of the proxy.
    fn page(&self, url: &[u8], address: &ClientAddress<'_>) -> Option<Vec<u8>> {
        match UriReference::of(url) {
            UriReference::WithAuthority {
                scheme: Some(scheme),
                authority,
                rest,
            } if address.is_named_by(scheme, authority) => {
                // An Origin has no path. A page may belong to another origin than the request.
                let path = match rest {
                    b"" => Vec::new(),
                    rest => self.path_at_origin(rest).unwrap_or(rest.to_vec()),
                };
                Some([self.serialized().as_bytes(), &path].concat())
            }
            _ => None,
        }
    }

    /// The Destination for the origin; `None` if it can stay.
    fn destination(&self, reference: &[u8], address: &ClientAddress<'_>) -> Option<Vec<u8>> {
        match UriReference::of(reference) {
            UriReference::WithAuthority {
                scheme: Some(scheme),
                authority,
                rest,
            } if address.is_named_by(scheme, authority) => {
                let path = self.path_at_origin(rest)?;
                let start = match self.preserved {
                    Some(_) => &reference[..reference.len() - rest.len()],
                    None => return Some([self.serialized().as_bytes(), &path].concat()),
                };
                Some([start, &path].concat())
            }
            UriReference::AbsolutePath(path) if !self.has_same_paths() => self.path_at_origin(path),
            _ => None,
        }
    }
}

/// Replaces the values of a header for which `rewritten` returns another one.
fn rewrite_lines(
    headers: &mut HeaderMap,
    name: &HeaderName,
    rewritten: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    if !headers.contains_key(name) {
        return;
    }
    let lines = headers.get_all(name).map(|line| {
        let new = rewritten(line.as_bytes()).and_then(|new| HeaderValue::from_bytes(&new).ok());
        new.unwrap_or_else(|| line.clone())
    });
    let lines: Vec<HeaderValue> = lines.collect();
    headers.remove(name);
    for line in lines {
        headers.append(name.clone(), line);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::{super::path::may_leave, *};
    use crate::headers::test_maps::all;

    const ORIGIN: ProxiedOrigin<'_> = ProxiedOrigin {
        scheme: "https",
        host: "shop.example",
        port: 443,
        prefix: "/app",
        stripped: "",
        preserved: None,
    };
    const ADDRESS: ClientAddress<'_> = ClientAddress {
        scheme: "http",
        authority: b"localhost:8000",
    };

    fn one(name: &str, value: &str) -> HeaderMap {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::try_from(value).unwrap());
        headers
    }

    fn forwarded(origin: &ProxiedOrigin<'_>, name: &str, value: &str) -> String {
        let mut headers = one(name, value);
        let before = headers.clone();
        origin.rewrite_request(&mut headers, &ADDRESS);
        let found = all(&headers, name).join("|");
        if name != "destination" {
            assert_eq!(origin.changes_page(&before, &ADDRESS), found != value);
        }
        found
    }

    #[test]
    fn pages_of_the_proxy_become_pages_of_the_origin() {
        for (name, value, expected) in [
            ("origin", "http://localhost:8000", "https://shop.example"),
            ("origin", "http://LOCALHOST:8000", "https://shop.example"),
            (
                "referer",
                "http://localhost:8000/a?b",
                "https://shop.example/app/a?b",
            ),
            (
                "referer",
                "http://localhost:8000/",
                "https://shop.example/app/",
            ),
            ("origin", "null", "null"),
            ("origin", "http://localhost", "http://localhost"),
            ("origin", "https://localhost:8000", "https://localhost:8000"),
            (
                "origin",
                "http://localhost:8000.evil.example",
                "http://localhost:8000.evil.example",
            ),
            (
                "origin",
                "http://localhost:8000@evil.example",
                "http://localhost:8000@evil.example",
            ),
            (
                "referer",
                "http://evil.example/localhost:8000",
                "http://evil.example/localhost:8000",
            ),
            ("referer", "//localhost:8000/a", "//localhost:8000/a"),
        ] {
            assert_eq!(forwarded(&ORIGIN, name, value), expected);
        }
        let preserving = ProxiedOrigin {
            preserved: Some(ADDRESS),
            ..ORIGIN
        };
        let value = "http://localhost:8000";
        assert_eq!(forwarded(&preserving, "origin", value), value);
    }

    #[test]
    fn a_page_of_another_route_keeps_its_path() {
        let stripped = ProxiedOrigin {
            stripped: "/api",
            ..ORIGIN
        };
        for (path, expected) in [("/api/x", "/app/x"), ("/page", "/page")] {
            let value = format!("http://localhost:8000{path}");
            let expected = format!("https://shop.example{expected}");
            assert_eq!(forwarded(&stripped, "referer", &value), expected);
        }
    }

    #[test]
    fn a_destination_below_the_proxy_gains_the_prefix() {
        for (value, expected) in [
            ("http://localhost:8000/a", "https://shop.example/app/a"),
            ("/a", "/app/a"),
            ("a", "a"),
            ("http://other.example/a", "http://other.example/a"),
        ] {
            assert_eq!(forwarded(&ORIGIN, "destination", value), expected);
        }
        for (value, is_outside) in [
            ("/a/../b", false),
            ("/../b", true),
            ("http://localhost:8000/%2e%2e/b", true),
            ("http://localhost:8000/a?../..", false),
        ] {
            let headers = one("destination", value);
            let found = is_destination_outside(&headers, |path| may_leave(path, ""));
            assert_eq!(found, is_outside, "{value}");
        }
    }

    #[test]
    fn the_port_of_an_address_is_the_one_in_host() {
        for (authority, port) in [("a:8000", 8000), ("a", 80), ("[::1]:9", 9), ("[::1]", 80)] {
            let address = ClientAddress {
                authority: authority.as_bytes(),
                ..ADDRESS
            };
            assert_eq!(address.port(), port, "{authority}");
        }
    }
}
