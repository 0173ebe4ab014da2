//! Via, and the requests in which it shows a loop (RFC 9110, 7.6.3).

use actix_web::http::header::{self, HeaderMap, HeaderValue};

/// Appends our own member to Via.
pub fn append_via(headers: &mut HeaderMap, via: &HeaderValue) {
    headers.append(header::VIA, via.clone());
}

/// True if `headers` carry our own Via: the request has passed through this proxy before.
pub fn is_loop(headers: &HeaderMap, via: &HeaderValue) -> bool {
    let own = via.as_bytes();
    headers
        .get_all(header::VIA)
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|member| member.trim_ascii() == own)
}

#[cfg(test)]
mod tests {
    use super::{super::test_maps::map, *};

    #[test]
    fn our_own_via_is_found_in_any_line_and_member() {
        let via = HeaderValue::from_static("1.1 us");
        assert!(is_loop(
            &map(&[("via", "1.0 fred"), ("via", "1.0 x,1.1 us , 1.1 y")]),
            &via
        ));
        assert!(!is_loop(&map(&[("via", "1.1 us2, 1.0 fred")]), &via));
    }
}
