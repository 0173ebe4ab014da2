//! Responses made from stored ones, and from those that another request is fetching.

use std::ops::RangeInclusive;

use actix_web::http::{
    StatusCode,
    header::{self, HeaderValue},
};

use crate::{
    cache::{Body, BodyReader, Entry},
    clock,
    headers::{self, CacheStatus, ResponseHeaders, is_name},
    policy::{self, ByteRange, ContentRange, ResponseForm, StoredHead, Time},
    proxy::{
        hit::multipart::Multipart,
        response::{
            client_response::{ClientResponse, ResponseBody},
            streamed_body::{StreamedBody, offsets},
        },
    },
};

/// The response to `view` from `entry`, with the client's conditions and range applied (RFC 9110, 13 and 14).
pub(crate) fn from_entry(
    view: &policy::Request<'_>,
    entry: &Entry,
    cache_status: CacheStatus,
    now: Time,
) -> ClientResponse {
    let stored = entry.body();
    let head = entry.head();
    let (base, complete_bytes) = placement(head, Some(stored.len_bytes()));
    let mut headers = stored_headers(head, now);
    let (status, body) = match policy::response_form(view, head, Some(stored.len_bytes())) {
        ResponseForm::Full => (head.status(), stored_bytes(stored, 0..=u64::MAX)),
        ResponseForm::NotModified => {
            headers = not_modified_headers(head, now);
            (StatusCode::NOT_MODIFIED, ResponseBody::Empty)
        }
        ResponseForm::Partial(range) => {
            insert_content_range(&mut headers, range, complete_bytes);
            let offsets = offsets(range, base);
            (StatusCode::PARTIAL_CONTENT, stored_bytes(stored, offsets))
        }
        // RFC 9110, 14.2: a server may ignore Range and send the whole.
        ResponseForm::Multipart(_) if stored.is_in_file() => {
            (head.status(), stored_bytes(stored, 0..=u64::MAX))
        }
        ResponseForm::Multipart(ranges) => {
            let parts = Multipart::new(stored, base, complete_bytes, &ranges, &mut headers);
            (StatusCode::PARTIAL_CONTENT, ResponseBody::Multipart(parts))
        }
        ResponseForm::RangeNotSatisfiable => {
            insert_complete_length(&mut headers, complete_bytes);
            (StatusCode::RANGE_NOT_SATISFIABLE, ResponseBody::Empty)
        }
    };
    ClientResponse {
        status,
        headers,
        body,
        cache_status,
        problem: None,
    }
}

/// The bytes of a stored body at these offsets.
fn stored_bytes(body: &Body, offsets: RangeInclusive<u64>) -> ResponseBody {
    match body.file_part(offsets.clone()) {
        None => ResponseBody::Stored(body.slices(*offsets.start(), *offsets.end())),
        Some(part) => ResponseBody::InFile(part.into()),
    }
}

/// The response to a client while the body is being stored. `headers` are what it gets, `head` is what is stored, and
/// the body that arrives has `length` bytes; `None` if its length is unknown.
pub(crate) fn while_streaming(
    view: &policy::Request<'_>,
    head: &StoredHead,
    headers: ResponseHeaders,
    (reader, length): (BodyReader, Option<u64>),
    cache_status: CacheStatus,
) -> ClientResponse {
    let (base, _) = placement(head, length);
    let source = (headers, length);
    from_arriving(
        view,
        head,
        source,
        cache_status,
        clock::now,
        |range| match (range, reader.stored()) {
            (Some(range), _) => {
                ResponseBody::Streamed(StreamedBody::part(reader, base, range).into())
            }
            // It was stored before its headers leave.
            (None, Some(body)) if length == Some(body.len_bytes()) => {
                ResponseBody::Stored(body.all())
            }
            (None, _) => ResponseBody::Streamed(StreamedBody::whole(reader, length).into()),
        },
    )
}

/// The response to a client from a representation that arrives, under `head`, with the client's conditions and range
/// applied. `body` gives the bytes of a range; `None` stands for all of them.
pub(crate) fn from_arriving(
    view: &policy::Request<'_>,
    head: &StoredHead,
    (mut headers, length): (ResponseHeaders, Option<u64>),
    cache_status: CacheStatus,
    now: impl FnOnce() -> Time,
    body: impl FnOnce(Option<ByteRange>) -> ResponseBody,
) -> ClientResponse {
    let (_, complete_bytes) = placement(head, length);
    let (status, body) = match policy::response_form(view, head, length) {
        ResponseForm::NotModified => {
            headers = not_modified_headers(head, now());
            (StatusCode::NOT_MODIFIED, ResponseBody::Empty)
        }
        ResponseForm::Partial(range) => {
            insert_content_range(&mut headers, range, complete_bytes);
            (StatusCode::PARTIAL_CONTENT, body(Some(range)))
        }
        ResponseForm::RangeNotSatisfiable => {
            headers.remove(&header::CONTENT_RANGE);
            insert_complete_length(&mut headers, complete_bytes);
            (StatusCode::RANGE_NOT_SATISFIABLE, ResponseBody::Empty)
        }
        // RFC 9110, 14.2: a server may ignore Range and send the whole.
        ResponseForm::Full | ResponseForm::Multipart(_) => (head.status(), body(None)),
    };
    ClientResponse {
        status,
        headers,
        body,
        cache_status,
        problem: None,
    }
}

/// How a hit on `entry` at `now` is reported.
pub(crate) fn hit_status(entry: &Entry, now: Time) -> CacheStatus {
    CacheStatus {
        saved_millis: entry.fetch_millis(),
        remark: entry.head().provenance().reason(),
        ..CacheStatus::hit(entry.head().ttl_seconds(now))
    }
}

/// Where a stored body begins in its representation, and the length of the whole in bytes; `None` if it is unknown.
fn placement(head: &StoredHead, length: Option<u64>) -> (u64, Option<u64>) {
    match head.content_range() {
        Some(part) => (part.range.first, part.complete_bytes),
        None => (0, length),
    }
}

/// The stored headers with the Age at `now`.
pub(crate) fn stored_headers(head: &StoredHead, now: Time) -> ResponseHeaders {
    let mut headers: ResponseHeaders = head.fields().iter().collect();
    headers::set_age(&mut headers, head.age_seconds(now));
    headers
}

/// The headers of a 304 from the cache (RFC 9110, 15.4.5), with the Age at `now`.
pub(crate) fn not_modified_headers(head: &StoredHead, now: Time) -> ResponseHeaders {
    let mut headers: ResponseHeaders = policy::not_modified_fields(head).collect();
    headers::set_age(&mut headers, head.age_seconds(now));
    headers
}

/// Gives the cookies of the origin's newest response to the client whose request it answers. They are for this client
/// alone, and the stored response does not have them.
pub(crate) fn replace_cookies(headers: &mut ResponseHeaders, newest: &ResponseHeaders) {
    let cookies = newest.iter();
    headers.replace(cookies.filter(|(name, _)| is_name(name, &header::SET_COOKIE)));
}

/// Writes the Content-Range of a part (RFC 9110, 14.4).
pub(crate) fn insert_content_range(
    headers: &mut ResponseHeaders,
    range: ByteRange,
    complete_bytes: Option<u64>,
) {
    let part = ContentRange {
        range,
        complete_bytes,
    };
    insert_range(headers, &part.to_field_value());
}

/// Writes the Content-Range of a 416 (RFC 9110, 15.5.17).
pub(crate) fn insert_complete_length(headers: &mut ResponseHeaders, complete_bytes: Option<u64>) {
    if let Some(complete) = complete_bytes {
        insert_range(headers, &format!("bytes */{complete}"));
    }
}

fn insert_range(headers: &mut ResponseHeaders, range: &str) {
    if let Ok(range) = HeaderValue::from_str(range) {
        headers.insert(&header::CONTENT_RANGE, &range);
    }
}
