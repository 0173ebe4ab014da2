//! Headers that concern one connection only (RFC 9110, 7.6.1).

use std::collections::HashSet;

use actix_web::http::header::{self, HeaderName};

use crate::policy::ResponseHeaders;

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

/// True for one of [`HOP_BY_HOP`], in any case. Most names differ in length, which costs least to compare.
pub(super) fn is_hop_by_hop(name: &[u8]) -> bool {
    let listed: &[&[u8]] = match name.len() {
        2 => &[b"te"],
        7 => &[b"trailer", b"upgrade"],
        10 => &[b"connection", b"keep-alive"],
        14 => &[b"content-length"],
        16 => &[b"proxy-connection"],
        17 => &[b"transfer-encoding"],
        18 => &[b"proxy-authenticate"],
        19 => &[b"proxy-authorization"],
        25 => &[b"proxy-authentication-info"],
        _ => return false,
    };
    listed
        .iter()
        .any(|listed| name.eq_ignore_ascii_case(listed))
}

/// Removes the headers of a response that concern one connection only, those named in Connection included. Returns the latter;
/// `None` if there are none.
pub fn remove_hop_by_hop(headers: &mut ResponseHeaders) -> Option<ResponseHeaders> {
    let named = named_in_connection(headers.get_all(&header::CONNECTION));
    headers.retain(|name, _| !is_hop_by_hop(name));
    if named.is_empty() {
        return None;
    }
    let mut removed = ResponseHeaders::new();
    headers.retain(|name, value| {
        let is_named = HeaderName::from_bytes(name).is_ok_and(|name| named.contains(&name));
        if is_named {
            removed.extend([(name, value)]);
        }
        !is_named
    });
    (!removed.is_empty()).then_some(removed)
}

/// The names that these lines of Connection list, without those of [`HOP_BY_HOP`]. A hostile peer names thousands.
pub(super) fn named_in_connection<'h>(
    lines: impl Iterator<Item = &'h [u8]>,
) -> HashSet<HeaderName> {
    lines
        .flat_map(|line| line.split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !is_hop_by_hop(name.as_ref()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{headers::test_maps::response, policy::title_case};

    #[test]
    fn all_that_are_listed_are_matched_in_any_case_and_no_other() {
        for name in &HOP_BY_HOP {
            let written: Vec<u8> = title_case(name.as_str()).collect();
            assert!(
                is_hop_by_hop(name.as_ref()) && is_hop_by_hop(&written),
                "{name}"
            );
        }
        for name in ["host", "Date", "keep", "upgrades"] {
            assert!(!is_hop_by_hop(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn headers_that_connection_names_in_any_case_are_removed_and_returned() {
        let lines = [
            ("Connection", "x-A, close"),
            ("X-a", "1"),
            ("Keep-Alive", "5"),
            ("x-b", "2"),
            ("CONNECTION", "X-C ,keep-alive"),
            ("x-c", "3"),
            ("X-A", "4"),
        ];
        let mut headers = response(&lines);
        let removed = remove_hop_by_hop(&mut headers).unwrap();
        assert!(headers.iter().eq([(&b"x-b"[..], &b"2"[..])]));
        let expected: [(&[u8], &[u8]); 3] = [(b"X-a", b"1"), (b"x-c", b"3"), (b"X-A", b"4")];
        assert!(removed.iter().eq(expected));
        assert!(remove_hop_by_hop(&mut headers).is_none());
    }
}
