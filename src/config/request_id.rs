//! The header of the request id.

use actix_web::http::header::{self, HeaderName};

use super::{error::ValueError, value::Given};

/// Headers with a meaning of their own. An id in one of them would change it.
const TAKEN: [HeaderName; 34] = [
    header::AGE,
    header::ALLOW,
    header::ALT_SVC,
    header::AUTHORIZATION,
    header::CONNECTION,
    header::COOKIE,
    header::DATE,
    header::ETAG,
    header::EXPECT,
    header::EXPIRES,
    header::FORWARDED,
    header::HOST,
    header::LAST_MODIFIED,
    header::LINK,
    header::LOCATION,
    header::MAX_FORWARDS,
    header::ORIGIN,
    header::PRAGMA,
    header::RANGE,
    header::REFERER,
    header::REFRESH,
    header::RETRY_AFTER,
    header::SERVER,
    header::SET_COOKIE,
    header::STRICT_TRANSPORT_SECURITY,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
    header::VARY,
    header::VIA,
    header::WARNING,
    header::WWW_AUTHENTICATE,
];

/// The name of a header. `None` for `none`.
pub(super) fn request_id(given: &Given) -> Result<Option<HeaderName>, ValueError> {
    const RIGHT: &str = "\"none\", or the name of a header for ids, such as \"X-Request-Id\"";
    if given.text() == Some("none") {
        return Ok(None);
    }
    let name = given
        .text()
        .and_then(|text| HeaderName::from_bytes(text.as_bytes()).ok())
        .filter(|name| !TAKEN.contains(name) && !is_of_a_group(name.as_str()));
    name.map(Some).ok_or_else(|| given.is_not(RIGHT))
}

/// True for names of groups of headers that have meanings of their own.
fn is_of_a_group(name: &str) -> bool {
    let groups = [
        "accept",
        "access-control-",
        "cache-",
        "cdn-",
        "content-",
        "if-",
        "proxy-",
        "sec-",
        "surrogate-",
        "x-forwarded-",
        "x-http-method",
    ];
    let taken = [
        "destination",
        "keep-alive",
        "traceparent",
        "tracestate",
        "x-cache",
        "x-method-override",
    ];
    groups.iter().any(|group| name.starts_with(group)) || taken.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_have_another_meaning_are_refused() {
        let parse = |text: &str| request_id(&Given::Argument(text.into()));
        for name in ["X-Request-Id", "x-correlation-id", "X-Amzn-Trace-Id"] {
            assert_eq!(parse(name).unwrap().unwrap().as_str(), name.to_lowercase());
        }
        assert_eq!(parse("none").unwrap(), None);
        for name in [
            "",
            "a b",
            "Host",
            "cookie",
            "If-Match",
            "x-forwarded-for",
            "X-Cache",
            "Content-Length",
            "Last-Modified",
            "X-HTTP-Method-Override",
        ] {
            assert!(parse(name).is_err(), "{name}");
        }
    }
}
