//! Headers that concern one connection only (RFC 9110, 7.6.1).

use actix_web::http::header::{self, HeaderMap, HeaderName};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");

/// Removed from every message that is forwarded. Content-Length is among them because the message is framed anew on the
/// next connection.
pub(super) static HOP_BY_HOP: [HeaderName; 11] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    PROXY_AUTHENTICATION_INFO,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
];

/// Removes the headers that concern one connection only, those named in Connection included. Returns the latter; `None`
/// if there are none.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderMap> {
    let named = named_in_connection(headers);
    // Most messages have Content-Length at most. One pass over the headers costs less than a lookup of each name.
    let mut found = headers.keys().filter(|name| is_hop_by_hop(name, &named));
    let only_length = found.all(|name| *name == header::CONTENT_LENGTH);
    if only_length {
        headers.remove(header::CONTENT_LENGTH);
        return None;
    }
    let found = headers.keys().filter(|name| is_hop_by_hop(name, &named));
    let mut removed = None;
    for name in found.cloned().collect::<Vec<_>>() {
        for value in headers.remove(&name) {
            if !concerns_connection(&name) {
                let removed = removed.get_or_insert_with(HeaderMap::new);
                removed.append(name.clone(), value);
            }
        }
    }
    removed
}

/// The names that Connection lists.
pub(super) fn named_in_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != header::CONNECTION)
        .collect()
}

/// True for a hop-by-hop header. `named` are the names that Connection lists.
pub(super) fn is_hop_by_hop(name: &HeaderName, named: &[HeaderName]) -> bool {
    concerns_connection(name) || named.contains(name)
}

/// True for one of [`HOP_BY_HOP`]. A match costs less than eleven comparisons.
fn concerns_connection(name: &HeaderName) -> bool {
    match *name {
        header::CONNECTION
        | header::PROXY_AUTHENTICATE
        | header::PROXY_AUTHORIZATION
        | header::TE
        | header::TRAILER
        | header::TRANSFER_ENCODING
        | header::UPGRADE
        | header::CONTENT_LENGTH => true,
        _ => matches!(
            name.as_str(),
            "keep-alive" | "proxy-connection" | "proxy-authentication-info"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::test_maps::map, *};

    #[test]
    fn the_headers_of_a_connection_are_told_by_their_names() {
        for name in &HOP_BY_HOP {
            assert!(concerns_connection(name), "{name}");
        }
        for name in [header::CONTENT_TYPE, HeaderName::from_static("keep-alives")] {
            assert!(!concerns_connection(&name), "{name}");
        }
    }

    #[test]
    fn what_connection_names_is_removed_and_returned() {
        let mut headers = map(&[("content-length", "1"), ("etag", "a")]);
        assert!(remove_hop_by_hop(&mut headers).is_none());
        assert_eq!(headers.len(), 1);
        let mut headers = map(&[
            ("connection", "x-hop, close, te"),
            ("x-hop", "1"),
            ("te", "trailers"),
            ("content-length", "1"),
            ("etag", "a"),
        ]);
        let removed = remove_hop_by_hop(&mut headers).unwrap();
        assert_eq!((headers.len(), removed.len()), (1, 1));
        assert!(removed.contains_key("x-hop"));
    }
}
