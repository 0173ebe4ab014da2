//! RFC 9111, 3: storing responses.

use actix_web::http::{
    Method, StatusCode,
    header::{
        AGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, SET_COOKIE,
    },
};
use bytes::Bytes;

use super::{
    Audience, Policy, Reason, Request, RequestContent, Stored, Time,
    age::{corrected_initial_age_millis, date},
    freshness::{CacheKind, Lifetime, Word, lifetime},
    identity::is_ignored_set_cookie,
    list::members,
    mode::{Credentials, SetCookie, UnknownCoding, always_keeps},
    selecting::selectors,
    stale::forbidden_by,
};

/// An answer of the origin: its head without hop-by-hop fields, and when it was asked for and came.
#[derive(Clone, Copy, Debug)]
pub struct Reply<'a> {
    /// The final status.
    pub status: StatusCode,
    /// The fields, without hop-by-hop ones.
    pub headers: &'a HeaderMap,
    /// When the request was sent.
    pub request_time: Time,
    /// When the head was received.
    pub response_time: Time,
    /// How the end of the body is told.
    pub framing: Framing,
}

/// How the end of an answer's body is told (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// By Content-Length, the chunked coding, or no body at all.
    Delimited,
    /// By the close of the connection.
    UntilClose,
    /// By the close of the connection, under a transfer coding we do not know.
    UnknownCoding,
}

/// RFC 9111, 3: may the answer to this request be kept, and what is kept of its head?
///
/// Fails with the reason when it may not. Whether the body arrived whole, and fits, is not judged here.
pub fn admit(policy: &Policy, request: &Request<'_>, reply: &Reply<'_>) -> Result<Stored, Reason> {
    check_message(policy, request, reply)?;
    let said = Word::of(reply.headers);
    let audience = audience(&said);
    let cache = match (request.identity, audience) {
        (Some(_), Audience::Partition) => CacheKind::Private,
        _ => CacheKind::Shared,
    };
    let word = policy.mode.heard(said);
    check_word(policy, request, reply, &word, cache)?;
    let cookies = policy.mode.set_cookie(audience);
    if cookies == SetCookie::Refuse && sets_cookie(policy, reply.headers) {
        return Err(Reason::SetCookie);
    }
    let selectors = selectors(policy.mode, request.headers, reply.headers)?;
    let (status, headers) = (reply.status, reply.headers);
    let lifetime = lifetime(policy, &word, cache, status, headers, reply.response_time)?;
    check_use(&word, lifetime, reply.headers)?;
    Ok(Stored {
        fields: kept_fields(headers, &word, cache, cookies),
        selectors,
        lifetime,
        received: reply.response_time,
        date: date(headers, reply.response_time).unwrap_or(reply.response_time),
        initial_age_millis: corrected_initial_age_millis(
            headers,
            reply.request_time,
            reply.response_time,
        ),
        stale_while_revalidate_seconds: word.directives.stale_while_revalidate.unwrap_or(0),
        stale_if_error_seconds: word.directives.stale_if_error,
        never_stale: forbidden_by(&word.directives, cache),
        partition: match audience {
            Audience::Everyone => None,
            Audience::Partition => request.identity,
        },
        audience,
        status,
    })
}

/// What request and message allow, whatever the origin says.
fn check_message(policy: &Policy, request: &Request<'_>, reply: &Reply<'_>) -> Result<(), Reason> {
    if *request.method != Method::GET {
        return Err(Reason::Method);
    }
    if request.content == RequestContent::Some {
        return Err(Reason::RequestBody);
    }
    if reply.framing == Framing::UnknownCoding
        && policy.mode.unknown_coding() == UnknownCoding::Refuse
    {
        return Err(Reason::UnknownCoding);
    }
    if is_event_stream(reply.headers) {
        return Err(Reason::EventStream);
    }
    match reply.status.as_u16() {
        206 => Err(Reason::Partial),
        // RFC 9111, 3: the status is final; a 304 updates, it is not stored (4.3.4).
        100..=199 | 304 => Err(Reason::Status),
        // RFC 9111, 5.2.1.5: no part of request or response is stored.
        _ if request.directives.no_store => Err(Reason::ClientNoStore),
        _ => Ok(()),
    }
}

/// It is made for one listener and never ends, so nobody may have to wait for it to be stored.
fn is_event_stream(headers: &HeaderMap) -> bool {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let media_type = content_type.and_then(|value| value.split(|byte| *byte == b';').next());
    media_type.is_some_and(|media_type| {
        media_type
            .trim_ascii()
            .eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// `private` beats `public` and `s-maxage`.
fn audience(word: &Word<'_>) -> Audience {
    let directives = &word.directives;
    if !directives.private && (directives.public || directives.s_maxage.is_some()) {
        Audience::Everyone
    } else {
        Audience::Partition
    }
}

/// What the origin forbids.
fn check_word(
    policy: &Policy,
    request: &Request<'_>,
    reply: &Reply<'_>,
    word: &Word<'_>,
    cache: CacheKind,
) -> Result<(), Reason> {
    let directives = &word.directives;
    // RFC 9111, 5.2.2.3: a status we understand lifts `no-store`, any other is never stored.
    let forbidden = if directives.must_understand {
        (!is_understood(reply.status)).then_some(Reason::MustUnderstand)
    } else {
        directives.no_store.then_some(Reason::NoStore)
    };
    // RFC 9111, 5.2.2.7.
    let private = directives.private && cache == CacheKind::Shared;
    if let Some(reason) = forbidden.or(private.then_some(Reason::Private)) {
        // No policy would keep an error; then the directive is not what stands in the way.
        return Err(match always_keeps(reply.status) {
            true => reason,
            false => Reason::Status,
        });
    }
    // RFC 9111, 3.5.
    let allows_sharing =
        directives.public || directives.must_revalidate || directives.s_maxage.is_some();
    if policy.mode.credentials() == Credentials::SharedCache
        && request.has_authorization()
        && !allows_sharing
    {
        return Err(Reason::Authorization);
    }
    Ok(())
}

/// The final statuses whose caching RFC 9110 defines.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

fn sets_cookie(policy: &Policy, headers: &HeaderMap) -> bool {
    headers
        .get_all(SET_COOKIE)
        .any(|line| !is_ignored_set_cookie(policy, line))
}

/// What could neither be reused nor validated would only take space.
fn check_use(word: &Word<'_>, lifetime: Lifetime, headers: &HeaderMap) -> Result<(), Reason> {
    if headers.contains_key(ETAG) || headers.contains_key(LAST_MODIFIED) {
        return Ok(());
    }
    if word.directives.no_cache {
        return Err(Reason::NoCache);
    }
    if lifetime == Lifetime::of_seconds(0) && !word.names_lifetime() {
        return Err(Reason::NoLifetime);
    }
    Ok(())
}

/// The fields to keep, byte for byte, their values in one buffer that nothing else shares.
fn kept_fields(
    headers: &HeaderMap,
    word: &Word<'_>,
    cache: CacheKind,
    cookies: SetCookie,
) -> Box<[(HeaderName, HeaderValue)]> {
    let names = |list: Option<&[u8]>, name: &HeaderName| {
        list.is_some_and(|list| {
            members(list).any(|member| member.eq_ignore_ascii_case(name.as_str().as_bytes()))
        })
    };
    let is_kept = |name: &HeaderName| {
        let of_one_user = cache == CacheKind::Shared && names(word.directives.private_fields, name);
        // RFC 9111, 5.2.2.4: not to be reused without validation; so it is not stored.
        let of_one_use = names(word.directives.no_cache_fields, name);
        let is_cookie = *name == SET_COOKIE && cookies != SetCookie::Keep;
        *name != AGE && !of_one_user && !of_one_use && !is_cookie
    };
    let kept = || headers.iter().filter(|(name, _)| is_kept(name));
    let mut buffer = Vec::with_capacity(kept().map(|(_, value)| value.len()).sum());
    for (_, value) in kept() {
        buffer.extend_from_slice(value.as_bytes());
    }
    let buffer = Bytes::from(buffer);
    let mut start = 0;
    kept()
        .map(|(name, value)| {
            let end = start + value.len();
            let copy = HeaderValue::from_maybe_shared(buffer.slice(start..end));
            start = end;
            // What was a field value is one again.
            (name.clone(), copy.unwrap_or_else(|_| value.clone()))
        })
        .collect()
}
