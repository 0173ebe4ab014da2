//! RFC 9111, 3: which responses may be stored, and what is stored of their heads.

use std::borrow::Cow;

use actix_web::http::{
    Method, StatusCode,
    header::{AGE, CONTENT_RANGE, DATE, ETAG, LAST_MODIFIED, SET_COOKIE},
};

use crate::policy::{
    Audience, ContentRange, Fields, Policy, Reason, Request, RequestContent, ResponseHeaders,
    StoredHead, Time,
    directives::origin_directives::{CacheKind, OriginDirectives},
    freshness::{
        age::{corrected_initial_age_millis, date},
        calculation::{certainty, lifetime},
        lifetime::Lifetime,
        stale::forbidden_by,
    },
    identity::is_ignored_set_cookie,
    is_name,
    mode::{Credentials, SetCookie, always_stores},
    storing::{
        invalidation::TargetUri, live_stream::is_event_stream, provenance::Provenance,
        stored_head::Scope, vary::selectors,
    },
    syntax::{date::imf_fixdate, list::members},
};

/// A view of a response of the origin: its head, and the times of request and response.
#[derive(Clone, Copy, Debug)]
pub struct Response<'a> {
    /// The final status.
    pub status: StatusCode,
    /// The end-to-end fields: what may be stored and passed on.
    pub headers: &'a ResponseHeaders,
    /// The fields that Connection names. They count like the others, but are neither stored nor passed on. `None`: there
    /// are none.
    pub connection_fields: Option<&'a ResponseHeaders>,
    /// When the request was sent.
    pub request_time: Time,
    /// When the head was received.
    pub response_time: Time,
}

impl<'a> Response<'a> {
    /// RFC 9111, 3.1: the fields as they were received. What a response says is judged by these, before those that
    /// Connection names are removed.
    pub fn received_fields(&self) -> Cow<'a, ResponseHeaders> {
        let Some(named) = self.connection_fields else {
            return Cow::Borrowed(self.headers);
        };
        let mut received = self.headers.clone();
        received.replace(named.iter());
        Cow::Owned(received)
    }
}

/// RFC 9111, 3: the head to store of a response to this request.
///
/// Fails with the reason if the response may not be stored. The caller checks that the body is complete and not too
/// large.
pub fn admit(
    policy: &Policy,
    request: &Request<'_>,
    response: &Response<'_>,
) -> Result<StoredHead, Reason> {
    check_message(request, response)?;
    head_to_store(policy, request, response)
}

/// RFC 9110, 9.3.3: the head to store of a response to POST for later GETs of the target. The response may be stored if
/// its Content-Location is the target and it has an explicit lifetime.
///
/// Fails with the reason if it may not be stored.
pub fn admit_post(
    policy: &Policy,
    request: &Request<'_>,
    target: &TargetUri<'_>,
    response: &Response<'_>,
) -> Result<StoredHead, Reason> {
    let received = response.received_fields();
    let is_representation = *request.method == Method::POST
        && response.status == StatusCode::OK
        && target.is_content_location(&received);
    if !is_representation {
        return Err(Reason::Method);
    }
    let origin = policy.mode.obey_origin(OriginDirectives::of(&received));
    let lifetime =
        origin.explicit_lifetime_seconds(CacheKind::Shared, &received, response.response_time);
    if lifetime.is_none() {
        return Err(Reason::Method);
    }
    check_response(request, response)?;
    head_to_store(policy, request, response)
}

/// The head to store, if the directives of client and origin allow storing. Method, body and status are checked before.
pub(in crate::policy) fn head_to_store(
    policy: &Policy,
    request: &Request<'_>,
    response: &Response<'_>,
) -> Result<StoredHead, Reason> {
    if let Some(reason) = request.bypass {
        return Err(reason);
    }
    // RFC 9111, 5.2.1.5: no part of the request or the response is stored.
    if request.directives.no_store {
        return Err(Reason::ClientNoStore);
    }
    let received = response.received_fields();
    let headers = &*received;
    let sent = OriginDirectives::of(headers);
    let audience = audience(&sent);
    let cache = match (request.identity, audience) {
        (Some(_), Audience::Partition) => CacheKind::Private,
        _ => CacheKind::Shared,
    };
    let origin = policy.mode.obey_origin(sent);
    check_directives(policy, request, response, &origin, cache)?;
    let status = response.status;
    let (request_time, response_time) = (response.request_time, response.response_time);
    let lifetime = lifetime(policy, &origin, cache, status, headers, response_time)?;
    let cookies = policy.mode.set_cookie(audience);
    if cookies == SetCookie::Refuse && sets_cookie(policy, headers) {
        return Err(refusal(Reason::SetCookie, status));
    }
    let selectors = selectors(policy.mode, (request.headers, request.request_id), headers)
        .map_err(|reason| refusal(reason, status))?;
    let never_stale = forbidden_by(&origin.directives, cache);
    check_use(&origin, lifetime, never_stale, response)?;
    let (status, part) = status_and_range(status, headers)?;
    let named = response.connection_fields;
    let partition = request.identity.filter(|_| audience == Audience::Partition);
    let date = date(headers, response_time).unwrap_or(response_time);
    Ok(StoredHead {
        fields: stored_fields(response, &origin, cache, cookies),
        selectors,
        lifetime: lifetime.into(),
        certainty: certainty(policy, &origin, cache, headers, response_time),
        received: response_time,
        date,
        initial_age_millis: corrected_initial_age_millis(
            headers,
            date,
            request_time,
            response_time,
        ),
        stale_while_revalidate_seconds: origin.directives.stale_while_revalidate.unwrap_or(0),
        never_stale,
        audience,
        status,
        scope: Scope {
            partition,
            part,
            connection_fields: named.map(|named| Fields::copy_of(named.iter())),
            stale_if_error_seconds: origin.directives.stale_if_error,
            provenance: Provenance::Fetched,
        }
        .boxed(),
    })
}

/// RFC 9111, 3.3 and 3.4: the status to store, and the part of the representation, if it is a part. A part that has all
/// bytes is stored as a 200.
pub(in crate::policy) fn status_and_range(
    status: StatusCode,
    headers: &ResponseHeaders,
) -> Result<(StatusCode, Option<ContentRange>), Reason> {
    if status != StatusCode::PARTIAL_CONTENT {
        return Ok((status, None));
    }
    match ContentRange::of(headers) {
        Some(part) if part.is_whole() => Ok((StatusCode::OK, None)),
        Some(part) => Ok((status, Some(part))),
        // Several parts in one body, or a part with an unknown position.
        None => Err(Reason::Partial),
    }
}

/// The reason to report. For statuses that no mode stores it is the status, because no flag would change that.
fn refusal(reason: Reason, status: StatusCode) -> Reason {
    match always_stores(status) {
        true => reason,
        false => Reason::Status,
    }
}

/// Checks method, request body and response, without the origin's directives.
pub(in crate::policy) fn check_message(
    request: &Request<'_>,
    response: &Response<'_>,
) -> Result<(), Reason> {
    if *request.method != Method::GET && request.content != RequestContent::Keyed {
        return Err(Reason::Method);
    }
    if request.content == RequestContent::Some {
        return Err(Reason::RequestBody);
    }
    check_response(request, response)
}

/// Checks content type and status.
fn check_response(request: &Request<'_>, response: &Response<'_>) -> Result<(), Reason> {
    let received = response.received_fields();
    if is_event_stream(&received) {
        return Err(Reason::EventStream);
    }
    match response.status.as_u16() {
        // RFC 9111, 3.3: only a request with Range has a 206.
        206 if !request.has_range() => Err(Reason::Partial),
        // Some origins answer a Range in units of their own with a 200 that is not the whole.
        200..=299
            if response.status != StatusCode::PARTIAL_CONTENT
                && request.has_range()
                && received.contains(&CONTENT_RANGE) =>
        {
            Err(Reason::ContentRange)
        }
        // They are about the conditions and the range of this request, not about the target.
        304 | 412 if request.has_condition() => Err(Reason::Condition),
        416 if request.has_range() => Err(Reason::Range),
        // RFC 9111, 3: the status is final. A 304 updates a stored response and is not stored itself (4.3.4).
        100..=199 | 304 => Err(Reason::Status),
        _ => Ok(()),
    }
}

/// Whom the response may be served to. `private` overrides `public` and `s-maxage`.
pub(in crate::policy) fn audience(origin: &OriginDirectives<'_>) -> Audience {
    let directives = &origin.directives;
    if !directives.private && (directives.public || directives.s_maxage.is_some()) {
        Audience::Everyone
    } else {
        Audience::Partition
    }
}

/// Checks the directives of the origin.
fn check_directives(
    policy: &Policy,
    request: &Request<'_>,
    response: &Response<'_>,
    origin: &OriginDirectives<'_>,
    cache: CacheKind,
) -> Result<(), Reason> {
    let directives = &origin.directives;
    // RFC 9111, 5.2.2.3: `must-understand` overrides `no-store` for known statuses. Unknown ones are not stored.
    let forbidden = if directives.must_understand {
        (!is_understood(response.status)).then_some(Reason::MustUnderstand)
    } else {
        directives.no_store.then_some(Reason::NoStore)
    };
    // RFC 9111, 5.2.2.7.
    let private = directives.private && cache == CacheKind::Shared;
    if let Some(reason) = forbidden.or(private.then_some(Reason::Private)) {
        return Err(refusal(reason, response.status));
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

/// True for the final statuses of RFC 9110.
fn is_understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200..=206 | 300..=303 | 305 | 307 | 308 | 400..=417 | 421 | 422 | 426 | 500..=505
    )
}

fn sets_cookie(policy: &Policy, headers: &ResponseHeaders) -> bool {
    headers
        .get_all(&SET_COOKIE)
        .any(|line| !is_ignored_set_cookie(policy, line))
}

/// Refuses responses that could neither be reused, nor validated, nor served stale when the origin fails.
fn check_use(
    origin: &OriginDirectives<'_>,
    lifetime: Lifetime,
    never_stale: Option<Reason>,
    response: &Response<'_>,
) -> Result<(), Reason> {
    if response.headers.contains(&ETAG) || response.headers.contains(&LAST_MODIFIED) {
        return Ok(());
    }
    if origin.directives.no_cache {
        return Err(refusal(Reason::NoCache, response.status));
    }
    let is_stale_at_once = lifetime == Lifetime::of_seconds(0);
    if is_stale_at_once && (!origin.names_lifetime() || never_stale.is_some()) {
        return Err(refusal(Reason::NoLifetime, response.status));
    }
    Ok(())
}

/// The fields to store, unchanged, in a buffer of their own.
pub(in crate::policy) fn stored_fields(
    response: &Response<'_>,
    origin: &OriginDirectives<'_>,
    cache: CacheKind,
    cookies: SetCookie,
) -> Fields {
    let names = |list: Option<&[u8]>, name: &[u8]| {
        list.is_some_and(|list| members(list).any(|member| member.eq_ignore_ascii_case(name)))
    };
    let is_part = response.status == StatusCode::PARTIAL_CONTENT;
    let is_stored = |name: &[u8]| {
        let of_one_user =
            cache == CacheKind::Shared && names(origin.directives.private_fields, name);
        // RFC 9111, 5.2.2.4: such a field is not reused without validation, so it is not stored.
        let of_one_use = names(origin.directives.no_cache_fields, name);
        let is_cookie = is_name(name, &SET_COOKIE) && cookies != SetCookie::Store;
        // Every 206 from the cache gets its own Content-Range.
        let is_place = is_part && is_name(name, &CONTENT_RANGE);
        !is_name(name, &AGE) && !is_place && !of_one_user && !of_one_use && !is_cookie
    };
    // RFC 9110, 6.6.1: a recipient with a clock adds a missing Date.
    let own_date = (!response.headers.contains(&DATE)).then(|| imf_fixdate(response.response_time));
    let own_date = own_date
        .as_ref()
        .map(|date| (&b"Date"[..], date.as_bytes()));
    let kept = response.headers.iter().filter(|(name, _)| is_stored(name));
    Fields::copy_of(kept.chain(own_date))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Mode,
        fixture::{
            DATE, Exchange, Lines, NOW, headers as fixture_headers, identity, later, stored, text,
        },
    };

    const MODES: [Mode; 3] = [Mode::Standard, Mode::Strict, Mode::Always];
    const TAG: (&str, &str) = ("etag", "\"a\"");

    /// The reasons not to store in standard, strict and always.
    fn refusals(exchange: impl Fn(Mode) -> Exchange<'static>) -> [Option<Reason>; 3] {
        MODES.map(|mode| exchange(mode).admit().err())
    }

    fn names(stored: &StoredHead) -> Vec<String> {
        let mut names: Vec<_> = stored
            .fields()
            .iter()
            .map(|(name, _)| text(name).to_ascii_lowercase())
            .collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn s3_lifetimes_by_status_without_directives() {
        // Standard: until cleared, for a minute, or not stored. Always: stored or not. Strict: heuristic lifetime only.
        for (status, standard, always) in [
            (200, Some(None), true),
            (203, Some(None), true),
            (204, Some(None), true),
            (300, Some(None), true),
            (301, Some(None), true),
            (308, Some(None), true),
            (404, Some(Some(60)), true),
            (410, Some(Some(60)), true),
            (201, None, true),
            (299, None, true),
            (302, None, true),
            (307, None, true),
            (206, None, false),
            (304, None, false),
            (400, None, false),
            (401, None, false),
            (403, None, false),
            (405, None, false),
            (407, None, false),
            (408, None, false),
            (414, None, false),
            (425, None, false),
            (429, None, false),
            (500, None, false),
            (501, None, false),
            (503, None, false),
            (599, None, false),
        ] {
            let ttl = |mode| {
                let admitted = Exchange::new(mode, &[]).status(status).admit();
                admitted.ok().map(|stored| stored.ttl_seconds(NOW))
            };
            assert_eq!(ttl(Mode::Standard), standard, "standard {status}");
            assert_eq!(ttl(Mode::Always), always.then_some(None), "always {status}");
            assert_eq!(ttl(Mode::Strict), None, "strict {status}");
        }
    }

    #[test]
    fn s3_a_post_is_stored_if_its_body_is_in_the_key() {
        let refused = |content| {
            refusals(|mode| {
                let mut exchange = Exchange::new(mode, &[("cache-control", "max-age=9")]);
                exchange.method = Method::POST;
                exchange.content = content;
                exchange
            })
        };
        assert_eq!(refused(RequestContent::Keyed), [None; 3]);
        for content in [RequestContent::None, RequestContent::Some] {
            assert_eq!(refused(content), [Some(Reason::Method); 3]);
        }
    }

    #[test]
    fn s3_any_final_status_but_304_is_stored_with_an_explicit_lifetime() {
        for status in [200, 204, 299, 302, 400, 404, 410, 499, 500, 599] {
            for mode in [Mode::Standard, Mode::Strict] {
                let exchange = Exchange::new(mode, &[("cache-control", "max-age=9")]);
                let kept = exchange.status(status).admit().unwrap();
                assert_eq!(kept.ttl_seconds(NOW), Some(9), "{status}");
                assert_eq!(kept.status().as_u16(), status);
            }
        }
        for (status, reason) in [
            (304, Reason::Status),
            (103, Reason::Status),
            (206, Reason::Partial),
        ] {
            let exchange =
                |mode| Exchange::new(mode, &[("cache-control", "max-age=9")]).status(status);
            assert_eq!(refusals(exchange), [Some(reason); 3], "{status}");
        }
    }

    #[test]
    fn s3_only_always_stores_what_the_origin_forbids() {
        for (value, reason) in [
            ("no-store", Reason::NoStore),
            ("NO-STORE, max-age=9", Reason::NoStore),
            ("private, max-age=9", Reason::Private),
            ("private, public, s-maxage=9", Reason::Private),
            ("no-cache", Reason::NoCache),
            ("must-revalidate", Reason::NoLifetime),
            ("max-age=0, must-revalidate", Reason::NoLifetime),
            ("foo=bar, immutable", Reason::NoLifetime),
        ] {
            let exchange =
                |mode| Exchange::new(mode, Box::leak(Box::new([("cache-control", value)])));
            assert_eq!(
                refusals(exchange),
                [Some(reason), Some(reason), None],
                "{value}"
            );
        }
    }

    #[test]
    fn s3_the_reason_for_an_error_is_its_status() {
        let exchange = |mode| Exchange::new(mode, &[("cache-control", "no-store")]).status(500);
        assert_eq!(refusals(exchange), [Some(Reason::Status); 3]);
    }

    #[test]
    fn s3_which_fields_limit_a_response() {
        for (response, none) in [
            (&[("cache-control", "public")][..] as Lines<'_>, true),
            (&[("cache-control", "no-transform, foo")], true),
            (&[("pragma", "foo")], true),
            (&[("last-modified", DATE)], true),
            (
                &[("age", "900"), ("date", "Mon, 23 Nov 2026 01:30:00 GMT")],
                true,
            ),
            (&[("cache-control", "max-age=a1")], false),
            (&[("cache-control", "max-age")], false),
            (&[("cache-control", "must-revalidate"), TAG], false),
            (&[("pragma", "no-cache"), TAG], false),
            (&[("expires", "0")], false),
            (&[("cdn-cache-control", ""), TAG], false),
            (&[("cdn-cache-control", "!"), TAG], false),
        ] {
            let kept = stored(Mode::Standard, response);
            assert_eq!(
                kept.ttl_seconds(later(999_999)).is_none(),
                none,
                "{response:?}"
            );
            assert_eq!(kept.is_fresh(later(999_999)), none, "{response:?}");
            assert!(stored(Mode::Always, response).is_fresh(later(999_999)));
        }
    }

    #[test]
    fn s3_ttl_limits_responses_without_lifetime_and_all_in_always() {
        let ttl = |mode, status, response| {
            let mut exchange = Exchange::new(mode, response).status(status);
            exchange.policy.ttl = Some(std::time::Duration::from_secs(600));
            exchange.admit().unwrap().ttl_seconds(later(1))
        };
        const LONG: Lines<'_> = &[("cache-control", "max-age=9999")];
        assert_eq!(ttl(Mode::Standard, 200, &[]), Some(599));
        assert_eq!(ttl(Mode::Standard, 404, &[]), Some(59));
        assert_eq!(ttl(Mode::Standard, 200, LONG), Some(9998));
        assert_eq!(ttl(Mode::Always, 200, LONG), Some(599));
        assert_eq!(ttl(Mode::Always, 404, &[]), Some(599));
        // The age of the response does not shorten a lifetime from the configuration.
        assert_eq!(ttl(Mode::Standard, 200, &[("age", "9000")]), Some(599));
    }

    #[test]
    fn s3_request_methods_bodies_and_no_store() {
        let mut exchange = Exchange::new(Mode::Always, &[("cache-control", "max-age=9")]);
        exchange.method = Method::HEAD;
        assert_eq!(exchange.admit().err(), Some(Reason::Method));
        exchange.method = Method::POST;
        assert_eq!(exchange.admit().err(), Some(Reason::Method));
        exchange.method = Method::GET;
        exchange.content = RequestContent::Some;
        assert_eq!(exchange.admit().err(), Some(Reason::RequestBody));
        let exchange = |mode| {
            Exchange::new(mode, &[("cache-control", "max-age=9")])
                .request(&[("cache-control", "no-store")])
        };
        let reason = Some(Reason::ClientNoStore);
        assert_eq!(refusals(exchange), [reason, reason, None]);
    }

    #[test]
    fn s3_a_whole_response_to_a_conditional_or_range_request_is_stored() {
        let exchange = |mode| {
            Exchange::new(mode, &[("cache-control", "max-age=9")])
                .request(&[("if-none-match", "\"a\""), ("range", "bytes=0-1")])
        };
        assert_eq!(refusals(exchange), [None; 3]);
    }

    #[test]
    fn s3_5_authorization() {
        const AUTHORIZED: Lines<'_> = &[("authorization", "Bearer a")];
        for (value, strict) in [
            ("max-age=9", Some(Reason::Authorization)),
            ("max-age=9, public", None),
            ("max-age=9, must-revalidate", None),
            ("s-maxage=9", None),
            ("max-age=9, proxy-revalidate", Some(Reason::Authorization)),
        ] {
            let response = [("cache-control", value)];
            let exchange = Exchange::new(Mode::Strict, &response).request(AUTHORIZED);
            assert_eq!(exchange.admit().err(), strict, "{value}");
            let exchange = Exchange::new(Mode::Standard, &response).request(AUTHORIZED);
            assert_eq!(exchange.identity(1).admit().err(), None, "{value}");
        }
    }

    #[test]
    fn partitions_store_private_responses_and_share_public_ones() {
        for (value, reason, audience) in [
            ("max-age=9", None, Audience::Partition),
            ("private, max-age=9", None, Audience::Partition),
            (
                "private, public, max-age=9, s-maxage=7",
                None,
                Audience::Partition,
            ),
            ("public, max-age=9", None, Audience::Everyone),
            ("s-maxage=9", None, Audience::Everyone),
            ("no-store", Some(Reason::NoStore), Audience::Partition),
        ] {
            let response = [("cache-control", value)];
            let admitted = Exchange::new(Mode::Standard, &response).identity(1).admit();
            assert_eq!(admitted.as_ref().err().copied(), reason, "{value}");
            if let Ok(kept) = admitted {
                assert_eq!(kept.audience(), audience, "{value}");
                let partition = (audience == Audience::Partition).then(|| identity(1));
                assert_eq!(kept.partition(), partition, "{value}");
                assert_eq!(kept.ttl_seconds(NOW), Some(9), "{value}");
            }
        }
        // Always obeys the origin about who may get the response, but not about its lifetime.
        let kept =
            Exchange::new(Mode::Always, &[("cache-control", "s-maxage=0, no-store")]).identity(1);
        assert_eq!(kept.admit().unwrap().audience(), Audience::Everyone);
        let kept = Exchange::new(Mode::Always, &[("cache-control", "public, private")]).identity(1);
        assert_eq!(kept.admit().unwrap().partition(), Some(identity(1)));
    }

    #[test]
    fn set_cookie_prevents_storing_is_dropped_or_is_stored() {
        const COOKIE: (&str, &str) = ("set-cookie", "session=1");
        for (response, standard, kept_in) in [
            (
                &[COOKIE][..] as Lines<'_>,
                Some(Reason::SetCookie),
                [false, false],
            ),
            (
                &[COOKIE, ("cache-control", "max-age=9")],
                Some(Reason::SetCookie),
                [true, false],
            ),
            (
                &[COOKIE, ("cache-control", "max-age=9, public")],
                None,
                [true, false],
            ),
            (
                &[COOKIE, ("cache-control", "s-maxage=9")],
                None,
                [true, false],
            ),
            (
                &[("set-cookie", "_ga=1"), ("cache-control", "max-age=9")],
                None,
                [true, false],
            ),
            (
                &[
                    ("set-cookie", "_ga=1"),
                    COOKIE,
                    ("cache-control", "max-age=9"),
                ],
                Some(Reason::SetCookie),
                [true, false],
            ),
        ] {
            let admitted = Exchange::new(Mode::Standard, response).admit();
            assert_eq!(admitted.as_ref().err().copied(), standard, "{response:?}");
            assert!(
                admitted.is_err()
                    || !names(&admitted.unwrap())
                        .iter()
                        .any(|name| name == "set-cookie")
            );
            for (mode, replayed) in [Mode::Strict, Mode::Always].into_iter().zip(kept_in) {
                if let Ok(kept) = Exchange::new(mode, response).admit() {
                    assert_eq!(
                        names(&kept).iter().any(|name| name == "set-cookie"),
                        replayed,
                        "{response:?}"
                    );
                }
            }
        }
        // `private` overrides `public`, so the cookie prevents storing.
        let response = [COOKIE, ("cache-control", "max-age=9, public, private")];
        let exchange = Exchange::new(Mode::Standard, &response).identity(1);
        assert_eq!(exchange.admit().err(), Some(Reason::SetCookie));
    }

    #[test]
    fn s5_2_2_3_must_understand() {
        for (status, value, reason) in [
            (200, "must-understand, no-store, max-age=9", None),
            (
                499,
                "must-understand, no-store, max-age=9",
                Some(Reason::Status),
            ),
            (
                299,
                "must-understand, max-age=9",
                Some(Reason::MustUnderstand),
            ),
            (
                200,
                "must-understand, private, max-age=9",
                Some(Reason::Private),
            ),
        ] {
            let response = [("cache-control", value)];
            let exchange = Exchange::new(Mode::Strict, &response).status(status);
            assert_eq!(exchange.admit().err(), reason, "{status} {value}");
        }
    }

    #[test]
    fn s5_2_2_qualified_no_cache_and_private_exclude_only_their_fields() {
        const RESPONSE: Lines<'_> = &[
            (
                "cache-control",
                "max-age=9, no-cache=\"X-A, x-b\", private=\"x-c\"",
            ),
            ("x-a", "1"),
            ("x-b", "2"),
            ("x-c", "3"),
            ("x-d", "4"),
        ];
        assert_eq!(
            names(&stored(Mode::Strict, RESPONSE)),
            ["cache-control", "date", "x-d"]
        );
        let own = Exchange::new(Mode::Standard, RESPONSE)
            .identity(1)
            .admit()
            .unwrap();
        assert_eq!(names(&own), ["cache-control", "date", "x-c", "x-d"]);
        assert_eq!(stored(Mode::Always, RESPONSE).fields().len(), 6);
        assert!(own.is_fresh(NOW));
    }

    #[test]
    fn s9_3_3_a_post_response_with_its_target_as_content_location_is_stored_for_gets() {
        let target = TargetUri {
            scheme: "http",
            authority: "example.com".into(),
            target: "/a".into(),
        };
        let kept = |mode, status, response: Lines<'_>| {
            let mut exchange = Exchange::new(mode, response).status(status);
            exchange.method = Method::POST;
            exchange.content = RequestContent::Some;
            let headers = fixture_headers(response);
            exchange.with_request(|request| {
                let response = exchange.response_of(&headers, NOW);
                admit_post(&exchange.policy, request, &target, &response).err()
            })
        };
        let here = ("content-location", "/a");
        let lasting = ("cache-control", "max-age=9");
        let method = Some(Reason::Method);
        for (status, response, expected) in [
            (200, &[here, lasting][..] as Lines<'_>, None),
            (
                200,
                &[here, ("expires", "Mon, 23 Nov 2026 03:40:00 GMT")],
                None,
            ),
            (201, &[here, lasting], method),
            (200, &[lasting], method),
            (200, &[("content-location", "/b"), lasting], method),
            (200, &[here], method),
            (
                200,
                &[here, ("cache-control", "max-age=9, no-store")],
                Some(Reason::NoStore),
            ),
        ] {
            for mode in [Mode::Standard, Mode::Strict] {
                assert_eq!(
                    kept(mode, status, response),
                    expected,
                    "{mode:?} {response:?}"
                );
            }
            assert_eq!(kept(Mode::Always, status, response), method);
        }
    }

    #[test]
    fn s6_6_1_a_response_without_date_gets_the_time_of_receipt() {
        let dates = |response: Lines<'_>| -> Vec<String> {
            let kept = stored(
                Mode::Strict,
                &[&[("cache-control", "max-age=9")], response].concat(),
            );
            let dates = kept.fields().get_all(&actix_web::http::header::DATE);
            dates.map(|value| text(value).to_owned()).collect()
        };
        assert_eq!(dates(&[]), [DATE]);
        assert_eq!(dates(&[("date", "yesterday")]), ["yesterday"]);
    }

    #[test]
    fn s3_1_fields_are_stored_unchanged_except_age() {
        let kept = stored(
            Mode::Strict,
            &[
                ("cache-control", "max-age=9"),
                ("age", "3"),
                ("x-a", "caf\u{e9}"),
                ("x-b", "1"),
                ("x-b", ""),
                ("x-b", "2"),
            ],
        );
        let values = |requested_range: &'static str| -> Vec<&[u8]> {
            let fields = kept.fields.iter();
            let of_name = fields.filter(|(name, _)| *name == requested_range.as_bytes());
            of_name.map(|(_, value)| value).collect()
        };
        assert_eq!(values("x-a"), ["caf\u{e9}".as_bytes()]);
        assert_eq!(values("x-b"), [&b"1"[..], b"", b"2"]);
        assert!(values("age").is_empty());
        assert_eq!(kept.age_seconds(later(2)), 5);
    }

    #[test]
    fn s5_2_2_targeted_directives_replace_cache_control_and_expires() {
        for (response, ttl) in [
            (
                &[
                    ("cache-control", "no-store"),
                    ("cdn-cache-control", "max-age=7"),
                ][..] as Lines<'_>,
                Ok(7),
            ),
            (
                &[
                    ("cdn-cache-control", "none"),
                    ("cache-control", "max-age=9"),
                    TAG,
                ],
                Ok(0),
            ),
            (
                &[
                    ("cdn-cache-control", "max-age=7;"),
                    ("cache-control", "max-age=9"),
                ],
                Ok(9),
            ),
            (
                &[("cdn-cache-control", ""), ("cache-control", "max-age=9")],
                Ok(9),
            ),
            (
                &[
                    ("cdn-cache-control", "no-store"),
                    ("cache-control", "max-age=9"),
                ],
                Err(Reason::NoStore),
            ),
        ] {
            for mode in [Mode::Standard, Mode::Strict] {
                let found = Exchange::new(mode, response).admit();
                let found = found.map(|kept| kept.ttl_seconds(NOW).unwrap());
                assert_eq!(found, ttl, "{response:?}");
            }
        }
    }

    #[test]
    fn a_typical_head_is_small_and_shares_no_buffer() {
        let response: Lines<'_> = &[
            ("content-type", "application/json; charset=utf-8"),
            ("content-length", "1234"),
            ("date", DATE),
            ("etag", "\"33a64df551425fcc55e4d42a148795d9\""),
            ("vary", "accept-encoding"),
        ];
        let kept = Exchange::new(Mode::Standard, response)
            .request(&[("accept-encoding", "gzip, br")])
            .admit()
            .unwrap();
        assert!(kept.weight_bytes() < 1000, "{}", kept.weight_bytes());
        // With the counters of its Arc and 7 bytes for its alignment, it is in the allocator's class of 112 bytes.
        assert!(
            size_of::<StoredHead>() + 2 * size_of::<usize>() + 7 <= 112,
            "{}",
            size_of::<StoredHead>()
        );
    }
}
