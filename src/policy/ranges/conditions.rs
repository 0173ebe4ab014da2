//! RFC 9111, 4.3.2, and RFC 9110, 13 and 14: the client's conditions and ranges, evaluated on a stored response.

use actix_web::http::{
    Method, StatusCode,
    header::{
        CONTENT_LOCATION, ETAG, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE,
    },
};

use crate::policy::{
    ByteRange, Request, Response, ResponseHeaders, StoredHead, is_name,
    ranges::{
        byte_range::RequestedRange,
        representation::{Representation, is_strong_date},
    },
    syntax::{
        date::http_date,
        list::{entity_tags, trim},
    },
    validating::{strongly_equal, weakly_equal},
};

/// The form in which a stored response is served to a request. Ranges are those of the whole representation, also if
/// only a part of it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseForm {
    /// The stored response as it is.
    Full,
    /// 304 with [`not_modified_fields`].
    NotModified,
    /// 206 with one Content-Range.
    Partial(ByteRange),
    /// 206 of type `multipart/byteranges` (RFC 9110, 14.6), with the parts in this order.
    Multipart(Box<[ByteRange]>),
    /// 416 with `Content-Range: bytes */length`.
    RangeNotSatisfiable,
}

/// RFC 9110, 13.2.2: evaluates If-None-Match, If-Modified-Since, If-Range and Range, in this order, on a stored response
/// with a body of `body_bytes`. `None`: the body is still arriving, and its length is unknown.
pub fn response_form(
    request: &Request<'_>,
    stored: &StoredHead,
    body_bytes: Option<u64>,
) -> ResponseForm {
    if !request.is_conditional() && stored.content_range().is_none() {
        // Most requests: the validators of the stored response need not be looked up.
        return ResponseForm::Full;
    }
    let representation = stored.representation();
    if not_modified(request, &representation) {
        return ResponseForm::NotModified;
    }
    let (held, complete_bytes) = match (stored.content_range(), body_bytes) {
        (Some(part), _) => (part.range, part.complete_bytes),
        (None, Some(bytes)) => (ByteRange::all(bytes), Some(bytes)),
        (None, None) => return ResponseForm::Full,
    };
    match requested_range(request, &representation, complete_bytes) {
        RequestedRange::One(range) if held.contains(range) => ResponseForm::Partial(range),
        RequestedRange::Several(ranges) if ranges.iter().all(|range| held.contains(*range)) => {
            ResponseForm::Multipart(ranges)
        }
        RequestedRange::Nothing => ResponseForm::RangeNotSatisfiable,
        // A stored part is served as that part.
        _ if stored.content_range().is_some() => ResponseForm::Partial(held),
        _ => ResponseForm::Full,
    }
}

/// The form in which a response that is not stored is passed to a client whose conditions and range were not forwarded.
/// `body_bytes` is the length of the body; `None` if it is unknown.
pub fn passed_form(
    request: &Request<'_>,
    response: &Response<'_>,
    body_bytes: Option<u64>,
) -> ResponseForm {
    let received = response.received_fields();
    let representation = Representation::of(response.status, &received, response.response_time);
    if not_modified(request, &representation) {
        return ResponseForm::NotModified;
    }
    let is_whole = response.status == StatusCode::OK;
    let Some(bytes) = body_bytes.filter(|bytes| *bytes > 0 && is_whole) else {
        return ResponseForm::Full;
    };
    match requested_range(request, &representation, body_bytes) {
        // Only this range is left out of a request.
        RequestedRange::One(range) if range == ByteRange::all(bytes) => {
            ResponseForm::Partial(range)
        }
        _ => ResponseForm::Full,
    }
}

/// RFC 9110, 14.1.2: true if the request is for all bytes from the first one on, as the first request of a media player.
pub(in crate::policy) fn is_range_of_all(request: &Request<'_>) -> bool {
    let mut lines = request.headers.get_all(RANGE);
    let all = ByteRange {
        first: 0,
        last: u64::MAX,
    };
    match (lines.next(), lines.next()) {
        (Some(line), None) => RequestedRange::parse(line, None) == RequestedRange::One(all),
        _ => false,
    }
}

/// RFC 9110, 14.2: what the request requests of a representation of this length.
pub(in crate::policy) fn requested_range(
    request: &Request<'_>,
    stored: &Representation<'_>,
    complete_bytes: Option<u64>,
) -> RequestedRange {
    let is_divisible = matches!(stored.status, StatusCode::OK | StatusCode::PARTIAL_CONTENT);
    match request.headers.get(RANGE) {
        // RFC 9110, 14.2: Range is defined for GET.
        Some(range)
            if *request.method == Method::GET
                && is_divisible
                && if_range_holds(request, stored) =>
        {
            RequestedRange::parse(range, complete_bytes)
        }
        _ => RequestedRange::Whole,
    }
}

/// RFC 9110, 15.4.5: the stored fields of a 304, in addition to Age. Fields that describe the content are left out, and so
/// is Last-Modified beside an entity tag. All others stay: browsers need those of CORS also in a 304.
pub fn not_modified_fields(stored: &StoredHead) -> impl Iterator<Item = (&[u8], &[u8])> {
    let has_tag = stored.etag().is_some();
    let fields = stored.fields().iter();
    fields.filter(move |(name, _)| is_of_not_modified(name, has_tag))
}

/// RFC 9110, 15.4.5: removes from the fields of a response what a 304 in its place does not have.
pub fn make_not_modified(headers: &mut ResponseHeaders) {
    let has_tag = headers.contains(&ETAG);
    headers.retain(|name, _| is_of_not_modified(name, has_tag));
}

/// True for a field that a 304 has. `has_tag` is true if the response has an entity tag.
fn is_of_not_modified(name: &[u8], has_tag: bool) -> bool {
    match is_name(name, &LAST_MODIFIED) {
        true => !has_tag,
        false => !describes_content(name),
    }
}

/// RFC 9110, 8: true for representation metadata. Not all names with this prefix are.
fn describes_content(name: &[u8]) -> bool {
    let begins_with = |prefix: &[u8]| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    let is_exempt = is_name(name, &CONTENT_LOCATION) || begins_with(b"content-security-policy");
    begins_with(b"content-") && !is_exempt
}

/// RFC 9111, 4.3.2: true if the client's conditions show that it has this response.
pub(in crate::policy) fn not_modified(request: &Request<'_>, stored: &Representation<'_>) -> bool {
    // RFC 9110, 13.2.1: conditions only apply to successful responses.
    if !stored.status.is_success() {
        return false;
    }
    // RFC 9110, 13.1.3: If-None-Match overrides If-Modified-Since.
    if request.headers.contains_key(IF_NONE_MATCH) {
        return none_match_fails(request, stored);
    }
    let mut lines = request.headers.get_all(IF_MODIFIED_SINCE);
    let (Some(since), None) = (lines.next(), lines.next()) else {
        return false;
    };
    let Some(since) = http_date(since.as_bytes(), stored.received) else {
        return false;
    };
    // RFC 9111, 4.3.2: without Last-Modified, the Date is compared.
    let modified = match stored.last_modified {
        Some(modified) => http_date(modified, stored.received),
        None => Some(stored.date),
    };
    modified.is_some_and(|modified| modified.unix_seconds() <= since.unix_seconds())
}

/// RFC 9110, 13.1.2: true if a listed tag is `*` or weakly equal to the stored one.
fn none_match_fails(request: &Request<'_>, stored: &Representation<'_>) -> bool {
    let mut tags = request
        .headers
        .get_all(IF_NONE_MATCH)
        .flat_map(|line| entity_tags(line.as_bytes()));
    tags.any(|tag| tag == b"*" || stored.etag.is_some_and(|held| weakly_equal(tag, held)))
}

/// RFC 9110, 13.1.5: true if If-Range is absent or the same strong validator.
fn if_range_holds(request: &Request<'_>, stored: &Representation<'_>) -> bool {
    let Some(condition) = request.headers.get(IF_RANGE) else {
        return true;
    };
    let condition = trim(condition.as_bytes());
    if condition.starts_with(b"\"") || condition.starts_with(b"W/") {
        return stored
            .etag
            .is_some_and(|held| strongly_equal(condition, held));
    }
    let date = |text: &[u8]| http_date(text, stored.received);
    let modified = stored.last_modified.and_then(date);
    match (date(condition), modified) {
        (Some(condition), Some(modified)) => {
            condition == modified && is_strong_date(modified, stored.date)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Mode,
        fixture::{DATE, Exchange, Lines, stored, text},
    };

    const MODIFIED: &str = "Mon, 23 Nov 2026 03:29:00 GMT";
    const EARLIER: &str = "Mon, 23 Nov 2026 03:28:59 GMT";
    const HELD: Lines<'_> = &[
        ("cache-control", "max-age=5"),
        ("date", DATE),
        ("etag", "\"a,\\\""),
        ("last-modified", MODIFIED),
        ("vary", "x-v"),
        ("content-type", "text/plain"),
    ];

    fn form_for(held: Lines<'_>, request: Lines<'_>) -> ResponseForm {
        let exchange = Exchange::new(Mode::Strict, held).request(request);
        let held = stored(Mode::Strict, held);
        exchange.with_request(|request| response_form(request, &held, Some(100)))
    }

    #[test]
    fn s4_3_2_if_none_match_compares_weakly_over_all_lines() {
        for (request, expected) in [
            (&[("if-none-match", "\"a,\\\"")][..] as Lines<'_>, true),
            (&[("if-none-match", "W/\"a,\\\"")], true),
            (&[("if-none-match", "\"x\", W/\"a,\\\"")], true),
            (
                &[("if-none-match", "\"x\""), ("if-none-match", "\"a,\\\"")],
                true,
            ),
            (&[("if-none-match", "*")], true),
            (&[("if-none-match", "\"a\"")], false),
            (&[("if-none-match", "a")], false),
            (&[("if-none-match", "")], false),
            // It overrides If-Modified-Since.
            (
                &[("if-none-match", "\"x\""), ("if-modified-since", DATE)],
                false,
            ),
            (
                &[
                    ("if-none-match", "\"a,\\\""),
                    ("if-modified-since", EARLIER),
                ],
                true,
            ),
        ] {
            let expected = if expected {
                ResponseForm::NotModified
            } else {
                ResponseForm::Full
            };
            assert_eq!(form_for(HELD, request), expected, "{request:?}");
        }
    }

    #[test]
    fn s4_3_2_if_modified_since_compares_last_modified_else_date() {
        const NO_DATE: Lines<'_> = &[("cache-control", "max-age=5"), ("date", MODIFIED)];
        const BAD_DATE: Lines<'_> = &[("cache-control", "max-age=5"), ("last-modified", "x")];
        for (held, since, expected) in [
            (HELD, MODIFIED, true),
            (HELD, DATE, true),
            (HELD, EARLIER, false),
            (HELD, "yesterday", false),
            (NO_DATE, MODIFIED, true),
            (NO_DATE, EARLIER, false),
            (BAD_DATE, DATE, false),
        ] {
            let expected = if expected {
                ResponseForm::NotModified
            } else {
                ResponseForm::Full
            };
            assert_eq!(
                form_for(held, &[("if-modified-since", since)]),
                expected,
                "{since}"
            );
        }
        let twice = [("if-modified-since", DATE), ("if-modified-since", DATE)];
        assert_eq!(form_for(HELD, &twice), ResponseForm::Full);
    }

    #[test]
    fn s13_2_1_conditions_apply_to_successes_only() {
        let exchange = Exchange::new(Mode::Strict, HELD)
            .status(404)
            .request(&[("if-none-match", "*"), ("range", "bytes=0-1")]);
        let held = exchange.admit().unwrap();
        assert_eq!(
            exchange.with_request(|request| response_form(request, &held, Some(100))),
            ResponseForm::Full
        );
    }

    #[test]
    fn s14_2_ranges_of_a_stored_200() {
        let partial = |first, last| ResponseForm::Partial(ByteRange { first, last });
        for (range, expected) in [
            ("bytes=0-9", partial(0, 9)),
            ("bytes=90-", partial(90, 99)),
            ("bytes=-1", partial(99, 99)),
            ("bytes=100-", ResponseForm::RangeNotSatisfiable),
            ("bytes=0-5,3-4", ResponseForm::Full),
            ("lines=0-1", ResponseForm::Full),
        ] {
            assert_eq!(form_for(HELD, &[("range", range)]), expected, "{range}");
        }
    }

    #[test]
    fn s14_6_several_ranges_of_a_stored_200() {
        let ranges = [
            ByteRange {
                first: 90,
                last: 99,
            },
            ByteRange { first: 0, last: 1 },
        ];
        assert_eq!(
            form_for(HELD, &[("range", "bytes=-10,0-1")]),
            ResponseForm::Multipart(Box::new(ranges))
        );
    }

    #[test]
    fn s14_2_range_is_defined_for_get_and_a_200() {
        let mut exchange = Exchange::new(Mode::Strict, HELD).request(&[("range", "bytes=0-1")]);
        let held = exchange.clone().status(203).admit().unwrap();
        let found = exchange.with_request(|request| response_form(request, &held, Some(100)));
        assert_eq!(found, ResponseForm::Full);
        let held = exchange.admit().unwrap();
        exchange.method = Method::HEAD;
        let found = exchange.with_request(|request| response_form(request, &held, Some(100)));
        assert_eq!(found, ResponseForm::Full);
    }

    #[test]
    fn s13_1_5_if_range_needs_the_same_strong_validator() {
        const WEAK: Lines<'_> = &[("cache-control", "max-age=5"), ("etag", "W/\"a\"")];
        const JUST_MODIFIED: Lines<'_> = &[
            ("cache-control", "max-age=5"),
            ("date", DATE),
            ("last-modified", DATE),
        ];
        for (held, condition, expected) in [
            (HELD, "\"a,\\\"", true),
            (HELD, "W/\"a,\\\"", false),
            (HELD, "\"b\"", false),
            (HELD, MODIFIED, true),
            (HELD, DATE, false),
            (HELD, EARLIER, false),
            (HELD, "a", false),
            (WEAK, "W/\"a\"", false),
            (WEAK, "\"a\"", false),
            (JUST_MODIFIED, DATE, false),
        ] {
            let found = form_for(held, &[("range", "bytes=0-1"), ("if-range", condition)]);
            let partial = ResponseForm::Partial(ByteRange { first: 0, last: 1 });
            let expected = if expected {
                partial
            } else {
                ResponseForm::Full
            };
            assert_eq!(found, expected, "{condition}");
        }
    }

    #[test]
    fn s15_4_5_fields_of_a_304() {
        let names = |held| {
            let held = stored(Mode::Strict, held);
            let mut names: Vec<String> = not_modified_fields(&held)
                .map(|(name, _)| text(name).to_ascii_lowercase())
                .collect();
            names.sort();
            names
        };
        assert_eq!(names(HELD), ["cache-control", "date", "etag", "vary"]);
        let untagged = [
            ("expires", DATE),
            ("content-location", "/a"),
            ("last-modified", MODIFIED),
            ("content-type", "text/plain"),
            ("content-language", "de"),
            ("content-md5", "Q2hlY2s="),
            ("content-security-policy", "default-src 'none'"),
            ("content-security-policy-report-only", "img-src *"),
            ("access-control-allow-origin", "*"),
            ("x-ratelimit-remaining", "7"),
            ("cdn-cache-control", "max-age=3"),
        ];
        assert_eq!(
            names(&untagged),
            [
                "access-control-allow-origin",
                "cdn-cache-control",
                "content-location",
                "content-security-policy",
                "content-security-policy-report-only",
                "date",
                "expires",
                "last-modified",
                "x-ratelimit-remaining"
            ]
        );
    }
}
