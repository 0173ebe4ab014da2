//! CORS (the Fetch standard, 3.2): by these headers browsers let pages of other sites read responses.

use actix_web::http::{
    Method,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

use crate::policy::ResponseHeaders;

/// What a page may ask for. A method beyond these is allowed when a preflight names it.
const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
/// Pages send far fewer headers.
const MAX_NAMES: usize = 128;
/// Schemes of sites are short, and so are host names (RFC 1035, 2.3.4).
const MAX_ORIGIN_BYTES: usize = 512;

/// True for the preflight of a browser: its question whether a page of another site may send a request.
pub fn is_preflight(method: &Method, request: &HeaderMap) -> bool {
    *method == Method::OPTIONS
        && request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
        && site_of(request).is_some()
}

/// The headers of the response to a preflight that allow what it asks for, without those of [`allow_site`].
pub fn preflight_headers(request: &HeaderMap) -> ResponseHeaders {
    let mut headers = ResponseHeaders::new();
    let asked = request.get(header::ACCESS_CONTROL_REQUEST_METHOD);
    let asked = asked.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
    let is_listed = |method: &Method| METHODS.split(", ").any(|listed| listed == method.as_str());
    let methods = match asked.filter(|method| !is_listed(method)) {
        Some(method) => HeaderValue::try_from(format!("{METHODS}, {method}")),
        None => Ok(HeaderValue::from_static(METHODS)),
    };
    if let Ok(methods) = methods {
        headers.insert(&header::ACCESS_CONTROL_ALLOW_METHODS, &methods);
    }
    let names = request.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
    let names = names.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    let names = names.filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok());
    insert_names(
        &mut headers,
        &header::ACCESS_CONTROL_ALLOW_HEADERS,
        names.take(MAX_NAMES),
    );
    for name in [
        header::ACCESS_CONTROL_REQUEST_METHOD,
        header::ACCESS_CONTROL_REQUEST_HEADERS,
    ] {
        headers.append(&header::VARY, &name.into());
    }
    headers
}

/// Lets the page that sent `request` read the response with these headers, whatever the origin says about that. Without a
/// page, the response says only that it depends on one.
pub fn allow_site(headers: &mut ResponseHeaders, method: &Method, request: &HeaderMap) {
    if let Some(site) = site_of(request) {
        headers.insert(&header::ACCESS_CONTROL_ALLOW_ORIGIN, site);
        let credentials = HeaderValue::from_static("true");
        headers.insert(&header::ACCESS_CONTROL_ALLOW_CREDENTIALS, &credentials);
        if !is_preflight(method, request) {
            // With credentials `*` stands for itself.
            let names = headers
                .iter()
                .filter_map(|(name, _)| HeaderName::from_bytes(name).ok());
            let names: Vec<HeaderName> = names.filter(is_exposed).collect();
            insert_names(
                headers,
                &header::ACCESS_CONTROL_EXPOSE_HEADERS,
                names.into_iter(),
            );
        }
    }
    if !varies_by_site(headers) {
        headers.append(&header::VARY, &HeaderValue::from_static("Origin"));
    }
}

/// The site of the page that sent a request, as Origin names it; `None` if there is none.
fn site_of(request: &HeaderMap) -> Option<&HeaderValue> {
    let mut lines = request.get_all(header::ORIGIN);
    let (Some(site), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let value = site.as_bytes();
    let is_site = value == b"null" || memchr::memmem::find(value, b"://").is_some();
    let is_plain = value
        .iter()
        .all(|byte| byte.is_ascii_graphic() && *byte != b',');
    (is_site && is_plain && value.len() <= MAX_ORIGIN_BYTES).then_some(site)
}

/// True for a header that a page may not read unless it is named, and may read if it is.
fn is_exposed(name: &HeaderName) -> bool {
    let is_readable = [
        header::CACHE_CONTROL,
        header::CONTENT_LANGUAGE,
        header::CONTENT_LENGTH,
        header::CONTENT_TYPE,
        header::EXPIRES,
        header::LAST_MODIFIED,
        header::PRAGMA,
    ]
    .contains(name);
    !is_readable && *name != header::SET_COOKIE && !name.as_str().starts_with("access-control-")
}

fn varies_by_site(headers: &ResponseHeaders) -> bool {
    let lines = headers.get_all(&header::VARY);
    let mut names = lines.flat_map(|line| line.split(|byte| *byte == b','));
    names.any(|name| {
        let name = name.trim_ascii();
        name == b"*" || name.eq_ignore_ascii_case(b"origin")
    })
}

/// Sets a header to a list of names, sorted; removes it if there are none.
fn insert_names(
    headers: &mut ResponseHeaders,
    header: &HeaderName,
    names: impl Iterator<Item = HeaderName>,
) {
    let mut names: Vec<HeaderName> = names.collect();
    names.sort_unstable_by(|one, other| one.as_str().cmp(other.as_str()));
    names.dedup();
    let names: Vec<&str> = names.iter().map(HeaderName::as_str).collect();
    match HeaderValue::try_from(names.join(", ")) {
        Ok(list) if !names.is_empty() => {
            headers.insert(header, &list);
        }
        _ => {
            headers.remove(header);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::test_maps::{map, response, values},
        *,
    };

    fn preflight(lines: &[(&str, &str)]) -> HeaderMap {
        let mut request = map(&[
            ("origin", "http://app.test"),
            ("access-control-request-method", "GET"),
        ]);
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.insert(name, HeaderValue::try_from(*value).unwrap());
        }
        request
    }

    #[test]
    fn a_preflight_asks_for_a_method_and_names_its_site() {
        assert!(is_preflight(&Method::OPTIONS, &preflight(&[])));
        assert!(is_preflight(
            &Method::OPTIONS,
            &preflight(&[("origin", "null")])
        ));
        assert!(!is_preflight(&Method::GET, &preflight(&[])));
        for origin in [
            "",
            "app.test",
            "http://a, http://b",
            "http://a b",
            "http://\u{e4}",
        ] {
            let request = preflight(&[("origin", origin)]);
            assert!(!is_preflight(&Method::OPTIONS, &request), "{origin}");
        }
        let long = format!("http://{}", "a".repeat(MAX_ORIGIN_BYTES));
        assert!(!is_preflight(
            &Method::OPTIONS,
            &preflight(&[("origin", &long)])
        ));
        assert!(!is_preflight(
            &Method::OPTIONS,
            &map(&[("origin", "http://app.test")])
        ));
        let mut two = preflight(&[]);
        two.append(header::ORIGIN, HeaderValue::from_static("http://b.test"));
        assert!(!is_preflight(&Method::OPTIONS, &two));
    }

    #[test]
    fn a_preflight_is_allowed_what_it_asks_for() {
        let headers = preflight_headers(&preflight(&[
            ("access-control-request-method", "PURGE"),
            (
                "access-control-request-headers",
                "X-B,content-type ,, bad name,x-a, X-b",
            ),
        ]));
        let methods = values(&headers, "access-control-allow-methods");
        assert_eq!(methods, [format!("{METHODS}, PURGE")]);
        let names = values(&headers, "access-control-allow-headers");
        assert_eq!(names, ["content-type, x-a, x-b"]);
        let headers = preflight_headers(&preflight(&[(
            "access-control-request-method",
            "bad method",
        )]));
        assert_eq!(values(&headers, "access-control-allow-methods"), [METHODS]);
        assert_eq!(values(&headers, "access-control-allow-headers"), [""; 0]);
    }

    #[test]
    fn a_response_is_opened_to_the_site_that_asks() {
        let mut headers = response(&[
            ("access-control-allow-origin", "https://other.test"),
            ("vary", "Accept"),
            ("content-type", "text/plain"),
            ("link", "</2>"),
            ("set-cookie", "a=1"),
        ]);
        allow_site(
            &mut headers,
            &Method::GET,
            &map(&[("origin", "http://app.test")]),
        );
        for (name, expected) in [
            ("access-control-allow-origin", &["http://app.test"][..]),
            ("access-control-allow-credentials", &["true"]),
            ("access-control-expose-headers", &["link, vary"]),
            ("vary", &["Accept", "Origin"]),
        ] {
            assert_eq!(values(&headers, name), expected, "{name}");
        }
    }

    #[test]
    fn a_response_without_a_site_says_that_it_depends_on_one() {
        for (vary, expected) in [
            ("Accept", &["Accept", "Origin"][..]),
            ("accept, ORIGIN", &["accept, ORIGIN"]),
            ("*", &["*"]),
        ] {
            let mut headers = response(&[("vary", vary), ("access-control-allow-origin", "*")]);
            allow_site(&mut headers, &Method::GET, &HeaderMap::new());
            assert_eq!(values(&headers, "vary"), expected);
            assert_eq!(values(&headers, "access-control-allow-origin"), ["*"]);
            assert_eq!(
                values(&headers, "access-control-allow-credentials"),
                [""; 0]
            );
        }
    }

    proptest! {
        #[test]
        fn any_preflight_gets_a_bounded_list(names in "[ -~]{0,40}", method in "[ -~]{0,9}", count in 0_usize..300) {
            let many: String = (0..count).map(|index| format!(",x-{index}")).collect();
            let headers = preflight_headers(&preflight(&[
                ("access-control-request-headers", &format!("{names}{many}")),
                ("access-control-request-method", &method),
            ]));
            let list = values(&headers, "access-control-allow-headers").join(",");
            prop_assert!(list.split(',').count() <= MAX_NAMES);
            prop_assert!(values(&headers, "access-control-allow-methods").len() == 1);
        }
    }
}
