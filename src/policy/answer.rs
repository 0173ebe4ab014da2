//! RFC 9111, 4.3.2, and RFC 9110, 13 and 14: the client's conditions and range, answered from the store.

use actix_web::http::{
    Method, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_LOCATION, DATE, ETAG, EXPIRES, HeaderName, HeaderValue,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, RANGE, VARY,
    },
};

use super::{
    Request, Stored, Time,
    date::http_date,
    list::{entity_tags, trim},
    range::{Place, RangeField},
    validating::{strongly_equal, weakly_equal},
};

/// What of a stored response answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The stored response as it is.
    Full,
    /// 304 with [`not_modified_fields`].
    NotModified,
    /// 206 with `Content-Range: bytes first-last/body_len`; both ends count.
    Partial {
        /// Place of the first byte.
        first: u64,
        /// Place of the last byte.
        last: u64,
    },
    /// 416 with `Content-Range: bytes */body_len`.
    RangeNotSatisfiable,
}

/// RFC 9110, 13.2.2: evaluates If-None-Match, If-Modified-Since, If-Range and Range, in this order, for a
/// stored response that is served, whose body has `body_len` bytes.
pub fn answer(request: &Request<'_>, stored: &Stored, body_len: u64) -> Answer {
    // RFC 9110, 13.2.1: without the condition the answer would have to be a success.
    if !stored.status().is_success() {
        return Answer::Full;
    }
    if not_modified(request, stored) {
        return Answer::NotModified;
    }
    // RFC 9110, 14.2: Range is defined for GET.
    let range = match request.headers.get(RANGE) {
        Some(range) if *request.method == Method::GET && stored.status() == StatusCode::OK => range,
        _ => return Answer::Full,
    };
    if !if_range_holds(request, stored) {
        return Answer::Full;
    }
    match RangeField::parse(range) {
        RangeField::Single(range) => match range.place(body_len) {
            Place::Within { first, last } => Answer::Partial { first, last },
            Place::Unsatisfiable => Answer::RangeNotSatisfiable,
            Place::Whole => Answer::Full,
        },
        RangeField::Several | RangeField::Ignored => Answer::Full,
    }
}

/// RFC 9110, 15.4.5: the stored fields a 304 carries, beside Age. Last-Modified only guides caches where no
/// entity tag does.
pub fn not_modified_fields(stored: &Stored) -> impl Iterator<Item = &(HeaderName, HeaderValue)> {
    let has_tag = stored.etag().is_some();
    stored.fields().iter().filter(move |(name, _)| {
        matches!(
            *name,
            CACHE_CONTROL | CONTENT_LOCATION | DATE | ETAG | EXPIRES | VARY
        ) || *name == LAST_MODIFIED && !has_tag
            || name.as_str() == "cdn-cache-control"
    })
}

fn not_modified(request: &Request<'_>, stored: &Stored) -> bool {
    // RFC 9110, 13.1.3: with If-None-Match, If-Modified-Since does not count.
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
    // RFC 9111, 4.3.2: without Last-Modified the Date counts.
    let modified = match stored.last_modified() {
        Some(modified) => http_date(modified.as_bytes(), stored.received),
        None => Some(stored.date),
    };
    modified.is_some_and(|modified| modified.unix_seconds() <= since.unix_seconds())
}

/// RFC 9110, 13.1.2: a listed tag is weakly equal, or `*`.
fn none_match_fails(request: &Request<'_>, stored: &Stored) -> bool {
    let mut tags = request
        .headers
        .get_all(IF_NONE_MATCH)
        .flat_map(|line| entity_tags(line.as_bytes()));
    tags.any(|tag| {
        tag == b"*"
            || stored
                .etag()
                .is_some_and(|held| weakly_equal(tag, held.as_bytes()))
    })
}

/// RFC 9110, 13.1.5: the same strong validator, or no If-Range.
fn if_range_holds(request: &Request<'_>, stored: &Stored) -> bool {
    let Some(condition) = request.headers.get(IF_RANGE) else {
        return true;
    };
    let condition = trim(condition.as_bytes());
    if condition.starts_with(b"\"") || condition.starts_with(b"W/") {
        return stored
            .etag()
            .is_some_and(|held| strongly_equal(condition, held.as_bytes()));
    }
    let date = |text: &[u8]| http_date(text, stored.received);
    let modified = stored
        .last_modified()
        .and_then(|held| date(held.as_bytes()));
    match (date(condition), modified) {
        (Some(condition), Some(modified)) => {
            condition == modified && is_strong_date(modified, stored)
        }
        _ => false,
    }
}

/// RFC 9110, 8.8.2.2: it could not have changed again within the second it names.
fn is_strong_date(modified: Time, stored: &Stored) -> bool {
    stored.date.unix_seconds() > modified.unix_seconds()
}
