//! Answers made of what is stored, or of what another request is fetching.

use std::sync::Arc;

use actix_web::http::{
    StatusCode,
    header::{self, HeaderMap, HeaderValue},
};

use crate::{
    cache::{BodyReader, Entry, FetchEvent, SharedFetch, SharedHead},
    clock,
    headers::{self, CacheStatus, StoreOutcome},
    policy::{self, ByteRange, ContentRange, Decision, Forward, ResponseForm, StoredHead, Time},
    proxy::{
        hit::multipart::Multipart,
        request::forwarded::ForwardedRequest,
        response::{
            client_response::{ClientResponse, ResponseBody},
            streamed_body::{StreamedBody, span},
        },
    },
};

/// The answer to `view` from `entry`, its conditions and range applied.
pub(crate) fn reuse(
    view: &policy::Request<'_>,
    entry: &Entry,
    cache_status: CacheStatus,
    now: Time,
) -> ClientResponse {
    let body = entry.body();
    let head = entry.head();
    let (base, complete_bytes) = match head.content_range() {
        Some(part) => (part.range.first, part.complete_bytes),
        None => (0, Some(body.len_bytes())),
    };
    let mut fields = stored_fields(head, now);
    let (status, content) = match policy::response_form(view, head, Some(body.len_bytes())) {
        ResponseForm::Full => (head.status(), ResponseBody::Stored(body.all())),
        ResponseForm::NotModified => {
            fields = not_modified_fields(head, now);
            (StatusCode::NOT_MODIFIED, ResponseBody::Empty)
        }
        ResponseForm::Partial(extent) => {
            insert_place(&mut fields, extent, complete_bytes);
            let span = span(extent, base);
            (
                StatusCode::PARTIAL_CONTENT,
                ResponseBody::Stored(body.slices(*span.start(), *span.end())),
            )
        }
        ResponseForm::Multipart(extents) => {
            let parts = Multipart::new(body, base, complete_bytes, &extents, &mut fields);
            (StatusCode::PARTIAL_CONTENT, ResponseBody::Multipart(parts))
        }
        ResponseForm::RangeNotSatisfiable => {
            insert_length(&mut fields, complete_bytes);
            (StatusCode::RANGE_NOT_SATISFIABLE, ResponseBody::Empty)
        }
    };
    ClientResponse {
        status,
        fields,
        body: content,
        cache_status,
        problem: None,
    }
}

/// The answer to a client whose fetch is being stored: `fields` are what it gets, `head` is what is stored. What comes
/// has `length` bytes.
pub(crate) fn reading(
    view: &policy::Request<'_>,
    head: &StoredHead,
    mut fields: HeaderMap,
    (reader, length): (BodyReader, Option<u64>),
    cache_status: CacheStatus,
) -> ClientResponse {
    let (base, complete_bytes) = match head.content_range() {
        Some(part) => (part.range.first, part.complete_bytes),
        None => (0, length),
    };
    let (status, content) = match policy::response_form(view, head, length) {
        ResponseForm::NotModified => {
            fields = not_modified_fields(head, clock::now());
            (StatusCode::NOT_MODIFIED, ResponseBody::Empty)
        }
        ResponseForm::Partial(extent) => {
            insert_place(&mut fields, extent, complete_bytes);
            let part = StreamedBody::part(reader, base, extent);
            (StatusCode::PARTIAL_CONTENT, ResponseBody::Streamed(part))
        }
        ResponseForm::RangeNotSatisfiable => {
            insert_length(&mut fields, complete_bytes);
            (StatusCode::RANGE_NOT_SATISFIABLE, ResponseBody::Empty)
        }
        // A server may always answer with the whole (RFC 9110, 14.2).
        ResponseForm::Full | ResponseForm::Multipart(_) => {
            if head.content_range().is_none() {
                fields.remove(header::CONTENT_RANGE);
            }
            let whole = StreamedBody::whole(reader, length);
            (head.status(), ResponseBody::Streamed(whole))
        }
    };
    ClientResponse {
        status,
        fields,
        body: content,
        cache_status,
        problem: None,
    }
}

/// What came of following another request's fetch.
pub(crate) enum FollowOutcome {
    /// Its answer suits.
    ClientResponse(Box<ClientResponse>),
    /// It does not suit this request, or is nobody else's, or was not needed, or failed: look again.
    Released,
}

/// Waits for the head of another request's fetch, and reads along when the answer would be served to `ask` if it were
/// stored already.
pub(crate) async fn follow(
    ask: &ForwardedRequest,
    mut fill: SharedFetch,
    why: Forward,
) -> FollowOutcome {
    let opening = match fill.event().await {
        FetchEvent::Head(opening) => opening,
        FetchEvent::LookAgain | FetchEvent::Released => return FollowOutcome::Released,
    };
    let now = clock::now();
    let view = ask.view();
    let head: Arc<StoredHead> = Arc::clone(&opening.head);
    let decision = policy::decide(ask.policy(), &view, std::iter::once(&*head), now);
    if !matches!(decision, Decision::Serve { .. }) {
        return FollowOutcome::Released;
    }
    let cache_status = CacheStatus::miss(why, None, StoreOutcome::Collapsed);
    let fields = stored_fields(&head, now);
    let source = reader_of(fill, opening);
    FollowOutcome::ClientResponse(Box::new(reading(
        &view,
        &head,
        fields,
        source,
        cache_status,
    )))
}

fn reader_of(fill: SharedFetch, opening: SharedHead) -> (BodyReader, Option<u64>) {
    let length = opening.length;
    (fill.reader(opening), length)
}

pub(crate) fn stored_fields(head: &StoredHead, now: Time) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(head.fields().len() + 4);
    for (name, value) in head.fields().iter() {
        fields.append(name, value);
    }
    headers::set_age(&mut fields, head.age_seconds(now));
    fields
}

pub(crate) fn not_modified_fields(head: &StoredHead, now: Time) -> HeaderMap {
    let mut fields = HeaderMap::new();
    for (name, value) in policy::not_modified_fields(head) {
        fields.append(name, value);
    }
    headers::set_age(&mut fields, head.age_seconds(now));
    fields
}

/// Content-Range of a part (RFC 9110, 14.4).
pub(crate) fn insert_place(fields: &mut HeaderMap, extent: ByteRange, complete_bytes: Option<u64>) {
    let part = ContentRange {
        range: extent,
        complete_bytes,
    };
    insert_range(fields, &part.to_field_value());
}

/// Content-Range of a 416 (RFC 9110, 15.5.17).
pub(crate) fn insert_length(fields: &mut HeaderMap, complete_bytes: Option<u64>) {
    if let Some(complete) = complete_bytes {
        insert_range(fields, &format!("bytes */{complete}"));
    }
}

fn insert_range(fields: &mut HeaderMap, range: &str) {
    if let Ok(range) = HeaderValue::from_str(range) {
        fields.insert(header::CONTENT_RANGE, range);
    }
}
