//! RFC 9111, 4.3: validation of stored responses by the origin.

use actix_web::http::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE, SET_COOKIE,
};

use super::{
    Audience, Policy, Reason, Reply, Request, Stored, admit, date::imf_fixdate, mode::SetCookie,
    selecting::same_names,
};

/// The client's conditions and its Range: dropped when we validate, or fetch the whole for everybody.
pub const CLIENT_CONDITIONS: [HeaderName; 6] = [
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    IF_RANGE,
    RANGE,
];

/// RFC 9111, 4.3.1: the conditions of our own that validate a stored response; none when it has no validator.
pub fn validators(stored: &Stored) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let etag = stored.etag().map(|tag| (IF_NONE_MATCH, tag.clone()));
    let date = stored
        .last_modified()
        .map(|date| (IF_MODIFIED_SINCE, date.clone()));
    etag.into_iter().chain(date)
}

/// RFC 9111, 4.3.4: does a 304 to our validators speak about this stored response?
///
/// When it does not, it is given to nobody: the request goes out again without conditions.
pub fn revalidation_matches(stored: &Stored, reply: &Reply<'_>) -> bool {
    let tag = reply.headers.get(ETAG);
    let date = reply.headers.get(LAST_MODIFIED);
    match (tag, stored.etag()) {
        (Some(new), Some(held)) => weakly_equal(new.as_bytes(), held.as_bytes()),
        // A tag we do not hold; only the same date says that it means what we hold.
        (Some(_), None) => date.is_some() && date == stored.last_modified(),
        (None, _) => match (date, stored.last_modified()) {
            (Some(new), Some(held)) => new == held,
            _ => stored.etag().is_some() || stored.last_modified().is_some(),
        },
    }
}

/// RFC 9111, 4.3.4: the stored head freshened by a 304. It passes [`admit`] again.
///
/// Fails with the reason when it may not be kept any longer; then the stored one is to be dropped, and
/// the client gets its body under [`merged_head`].
pub fn revalidated(
    policy: &Policy,
    request: &Request<'_>,
    stored: &Stored,
    reply: &Reply<'_>,
) -> Result<Stored, Reason> {
    let headers = merged_head(policy, stored, reply);
    let merged = Reply {
        status: stored.status(),
        headers: &headers,
        ..*reply
    };
    let mut fresh = admit(policy, request, &merged)?;
    // The request that validated matched the variant; the variant stays what it was.
    if same_names(&fresh.selectors, &stored.selectors) {
        fresh.selectors.clone_from(&stored.selectors);
    }
    Ok(fresh)
}

/// RFC 9111, 3.2: the stored fields, those of the 304 in the place of their namesakes.
pub fn merged_head(policy: &Policy, stored: &Stored, reply: &Reply<'_>) -> HeaderMap {
    // A cookie is never merged in, where cookies are not stored; public or not.
    let keeps_cookies = policy.mode.set_cookie(Audience::Everyone) == SetCookie::Keep;
    let is_replaced = |name: &HeaderName| {
        !describes_body(name)
            && (*name != SET_COOKIE || keeps_cookies)
            && reply.headers.contains_key(name)
    };
    let mut merged = HeaderMap::with_capacity(stored.fields().len());
    for (name, value) in stored.fields() {
        // RFC 9110, 6.6.1: a 304 without Date was made when it was received.
        if *name != DATE && !is_replaced(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    for (name, value) in reply.headers {
        if is_replaced(name) {
            merged.append(name.clone(), value.clone());
        }
    }
    if !merged.contains_key(DATE)
        && let Ok(date) = HeaderValue::try_from(imf_fixdate(reply.response_time))
    {
        merged.append(DATE, date);
    }
    merged
}

/// RFC 9111, 3.2: what belongs to the stored body, which a 304 does not bring.
fn describes_body(name: &HeaderName) -> bool {
    matches!(*name, CONTENT_LENGTH | CONTENT_ENCODING | CONTENT_RANGE)
}

/// RFC 9110, 8.8.3.2: equal without regard to `W/`.
pub(super) fn weakly_equal(one: &[u8], other: &[u8]) -> bool {
    opaque_tag(one) == opaque_tag(other)
}

/// RFC 9110, 8.8.3.2: equal and both strong.
pub(super) fn strongly_equal(one: &[u8], other: &[u8]) -> bool {
    let is_strong = |tag: &[u8]| tag.starts_with(b"\"");
    is_strong(one) && is_strong(other) && one == other
}

fn opaque_tag(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}
