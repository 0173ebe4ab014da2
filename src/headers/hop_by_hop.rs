//! Headers that concern one connection only (RFC 9110, 7.6.1).

use actix_web::http::header::{self, HeaderMap, HeaderName};

/// Removed from every message that is forwarded. Content-Length is among them because the message is framed anew on the
/// next connection.
pub(super) static HOP_BY_HOP: [HeaderName; 11] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    HeaderName::from_static("proxy-authentication-info"),
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
];

/// True for one of [`HOP_BY_HOP`]. To match a name costs less than to compare it with each of them.
fn is_listed(name: &HeaderName) -> bool {
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

/// Removes the headers that concern one connection only, those named in Connection included. Returns the latter; `None`
/// if there are none.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) -> Option<HeaderMap> {
    let mut removed = None;
    for name in named_in_connection(headers) {
        if !is_listed(&name) {
            for value in headers.remove(&name) {
                let removed = removed.get_or_insert_with(HeaderMap::new);
                removed.append(name.clone(), value);
            }
        }
    }
    // Most messages have no other hop-by-hop header.
    headers.remove(header::CONTENT_LENGTH);
    if headers.keys().any(is_listed) {
        headers.retain(|name, _| !is_listed(name));
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
    is_listed(name) || named.contains(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_are_listed_are_matched_and_no_other() {
        assert!(HOP_BY_HOP.iter().all(is_listed));
        for name in [header::HOST, header::DATE, HeaderName::from_static("keep")] {
            assert!(!is_listed(&name), "{name}");
        }
    }
}
