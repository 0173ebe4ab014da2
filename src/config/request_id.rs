//! The header of the request id.

use actix_web::http::header::{self, HeaderName};

use super::{error::ValueError, value::Given};

/// Headers with a meaning of their own. An id in one of them would change it.
const TAKEN: [HeaderName; 30] = [
    header::ACCEPT,
    header::ACCEPT_ENCODING,
    header::ACCEPT_LANGUAGE,
    header::AGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::DATE,
    header::ETAG,
    header::EXPECT,
    header::FORWARDED,
    header::HOST,
    header::LOCATION,
    header::ORIGIN,
    header::RANGE,
    header::REFERER,
    header::SET_COOKIE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::USER_AGENT,
    header::VARY,
    header::VIA,
    header::WARNING,
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
    let groups = ["if-", "sec-", "x-forwarded-", "access-control-", "proxy-"];
    let taken = [
        "x-cache",
        "cache-status",
        "traceparent",
        "tracestate",
        "keep-alive",
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
        ] {
            assert!(parse(name).is_err(), "{name}");
        }
    }
}
