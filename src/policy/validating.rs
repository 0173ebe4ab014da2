//! RFC 9111, 4.3: validation of stored responses by the origin.

use actix_web::http::{
    StatusCode,
    header::{
        AGE, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderName, HeaderValue,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, SET_COOKIE,
    },
};

use super::{
    Fields, Policy, Reason, Request, Response, ResponseHeaders, StoredHead, is_name,
    storing::{admit::head_to_store, vary::same_names},
    syntax::date::imf_fixdate,
};

/// RFC 9111, 4.3.1: the conditions that validate a stored response. Empty if it has no validator.
pub fn validators(stored: &StoredHead) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let condition = |name, validator| {
        let value = HeaderValue::from_bytes(stored.fields.get(validator)?).ok()?;
        Some((name, value))
    };
    let etag = condition(IF_NONE_MATCH, &ETAG);
    let date = condition(IF_MODIFIED_SINCE, &LAST_MODIFIED);
    etag.into_iter().chain(date)
}

/// RFC 9111, 4.3.4: true if a 304 to our validators selects this stored response.
///
/// If it does not, the 304 is dropped and the request is sent again without conditions.
pub fn revalidation_matches(stored: &StoredHead, response: &Response<'_>) -> bool {
    let received = response.received_fields();
    let tag = received.get(&ETAG);
    let date = received.get(&LAST_MODIFIED);
    match (tag, stored.etag()) {
        (Some(new), Some(held)) => weakly_equal(new, held),
        // The stored response has no tag. Only the same date shows that the 304 is about it.
        (Some(_), None) => date.is_some() && date == stored.last_modified(),
        (None, _) => match (date, stored.last_modified()) {
            (Some(new), Some(held)) => new == held,
            _ => stored.etag().is_some() || stored.last_modified().is_some(),
        },
    }
}

/// RFC 9111, 4.3.4: the stored head, freshened by a 304.
///
/// Fails with the reason if the new head may not be stored. Then the stored response has to be removed, and the client
/// gets its body with the [`MergedHead`].
pub fn revalidated(
    policy: &Policy,
    request: &Request<'_>,
    stored: &StoredHead,
    response: &Response<'_>,
) -> Result<StoredHead, Reason> {
    let mut merged = MergedHead::new(policy, stored, response);
    if let Some(part) = stored.content_range()
        && let Ok(content_range) = HeaderValue::try_from(part.to_field_value())
    {
        merged.headers.insert(&CONTENT_RANGE, &content_range);
    }
    let merged = Response {
        status: stored.status(),
        ..merged.view(response)
    };
    let mut fresh = head_to_store(policy, request, &merged)?;
    // The validating request matched this variant, so it stays the same variant.
    if same_names(&fresh.selectors, &stored.selectors) {
        fresh.selectors.clone_from(&stored.selectors);
    }
    Ok(fresh)
}

/// What a 200 response to HEAD shows about the stored response to GET.
#[derive(Debug)]
pub enum HeadUpdate {
    /// It is current, with this new head.
    Freshened(Box<StoredHead>),
    /// It is no longer current.
    Outdated,
    /// Nothing.
    Inconclusive,
}

/// RFC 9111, 4.3.5: freshens a stored response with a body of `body_bytes` by a 200 response to HEAD with a
/// Content-Length of `announced_bytes`, if they have a validator in common, and neither a validator nor the length differs.
///
/// The RFC lets equal lengths alone freshen. Bodies of the same length often differ, and then the stored body would get the
/// headers of another one.
pub fn freshen_by_head(
    policy: &Policy,
    request: &Request<'_>,
    stored: &StoredHead,
    body_bytes: u64,
    response: &Response<'_>,
    announced_bytes: Option<u64>,
) -> HeadUpdate {
    if response.status != StatusCode::OK || stored.status() != StatusCode::OK {
        return HeadUpdate::Inconclusive;
    }
    let received = response.received_fields();
    let agrees = |name, held: Option<&[u8]>| received.get(name).map(|new| Some(new) == held);
    let validators = [
        agrees(&ETAG, stored.etag()),
        agrees(&LAST_MODIFIED, stored.last_modified()),
    ];
    let is_other_length = announced_bytes.is_some_and(|bytes| bytes != body_bytes);
    if is_other_length || validators.contains(&Some(false)) {
        return HeadUpdate::Outdated;
    }
    if !validators.contains(&Some(true)) {
        return HeadUpdate::Inconclusive;
    }
    match revalidated(policy, request, stored, response) {
        Ok(head) => HeadUpdate::Freshened(Box::new(head)),
        Err(_) => HeadUpdate::Outdated,
    }
}

/// RFC 9111, 3.2: the fields of a stored response, updated with those of a newer response.
#[derive(Debug)]
pub struct MergedHead {
    /// The end-to-end fields.
    pub headers: ResponseHeaders,
    /// The fields that Connection names, in either response. `None`: there are none.
    connection_fields: Option<ResponseHeaders>,
}

impl MergedHead {
    /// The fields of `stored`, updated with those of `response`.
    pub fn new(policy: &Policy, stored: &StoredHead, response: &Response<'_>) -> Self {
        Self {
            headers: merged_fields(policy, stored, response),
            connection_fields: merged_connection_fields(stored, response),
        }
    }

    /// A response with these fields, and otherwise like `response`.
    pub(in crate::policy) fn view<'a>(&'a self, response: &Response<'_>) -> Response<'a> {
        Response {
            headers: &self.headers,
            connection_fields: self.connection_fields.as_ref(),
            status: response.status,
            request_time: response.request_time,
            response_time: response.response_time,
        }
    }
}

fn merged_fields(policy: &Policy, stored: &StoredHead, response: &Response<'_>) -> ResponseHeaders {
    // A cookie in a 304 is for the client whose request was validated, and is not stored. It replaces one that every
    // client gets from the cache all the same.
    let replaces_cookies =
        policy.mode.stores_set_cookie() && stored.fields().get(&SET_COOKIE).is_some();
    let is_newer = |name: &[u8]| {
        let may_replace = !is_name(name, &SET_COOKIE) || replaces_cookies;
        !describes_body(name) && may_replace
    };
    let mut merged = ResponseHeaders::new();
    // RFC 9110, 6.6.1: a 304 without Date gets the time of its receipt.
    let held = stored.fields().iter();
    merged.extend(held.filter(|(name, _)| !is_name(name, &DATE)));
    let newer = response.headers.iter();
    merged.replace(newer.filter(|(name, _)| is_newer(name)));
    if !merged.contains(&DATE)
        && let Ok(date) = HeaderValue::try_from(imf_fixdate(response.response_time))
    {
        merged.append(&DATE, &date);
    }
    merged
}

/// Those of the response, and those of the stored response that it does not replace.
fn merged_connection_fields(
    stored: &StoredHead,
    response: &Response<'_>,
) -> Option<ResponseHeaders> {
    let mut merged = ResponseHeaders::new();
    let held = stored.connection_fields().into_iter();
    // The Age and Date of a stored response say nothing about a newer one.
    let held = held
        .flat_map(Fields::iter)
        .filter(|(name, _)| !is_name(name, &AGE) && !is_name(name, &DATE));
    merged.extend(held);
    merged.remove_names_of(response.headers.iter());
    if let Some(named) = response.connection_fields {
        merged.replace(named.iter());
    }
    merged.remove(&SET_COOKIE);
    (!merged.is_empty()).then_some(merged)
}

/// RFC 9111, 3.2: true for fields about the stored body. A 304 does not update them.
fn describes_body(name: &[u8]) -> bool {
    [CONTENT_LENGTH, CONTENT_ENCODING, CONTENT_RANGE]
        .iter()
        .any(|field| is_name(name, field))
}

/// RFC 9110, 8.8.3.2: true if two tags are equal without `W/`.
pub(super) fn weakly_equal(one: &[u8], other: &[u8]) -> bool {
    opaque_tag(one) == opaque_tag(other)
}

/// RFC 9110, 8.8.3.2: true if two tags are equal and strong.
pub(super) fn strongly_equal(one: &[u8], other: &[u8]) -> bool {
    let is_strong = |tag: &[u8]| tag.starts_with(b"\"");
    is_strong(one) && is_strong(other) && one == other
}

fn opaque_tag(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// True if a response of this status to a validation shows that the stored response is outdated, whether or not the new
/// response is stored (RFC 9111, 4.3.3). A temporary failure or an error of the request shows nothing about the target.
pub fn outdates_stored(status: StatusCode) -> bool {
    matches!(status.as_u16(), 200..=303 | 305..=399 | 401 | 403 | 404 | 410)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Audience, Mode,
        fixture::{DATE, Exchange, Lines, NOW, headers, identity, later, stored, text},
    };

    const HELD: Lines<'_> = &[
        ("cache-control", "max-age=5"),
        ("etag", "W/\"a\""),
        ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("date", DATE),
        ("age", "3"),
        ("content-length", "7"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("x-b", "3"),
    ];

    fn freshened(mode: Mode, held: Lines<'_>, response: Lines<'_>) -> Result<StoredHead, Reason> {
        let exchange = Exchange::new(mode, held);
        let held = exchange.admit().unwrap();
        let headers = headers(response);
        let response = exchange.response_of(&headers, later(60));
        exchange.with_request(|request| revalidated(&exchange.policy, request, &held, &response))
    }

    fn values(stored: &StoredHead, requested_range: &str) -> Vec<String> {
        let name = HeaderName::from_bytes(requested_range.as_bytes()).unwrap();
        let fields = stored.fields().get_all(&name);
        fields.map(|value| text(value).to_owned()).collect()
    }

    #[test]
    fn s4_3_1_validators_are_the_stored_ones_exactly() {
        let found: Vec<_> = validators(&stored(Mode::Strict, HELD)).collect();
        assert_eq!(
            found[0],
            (IF_NONE_MATCH, HeaderValue::from_static("W/\"a\""))
        );
        assert_eq!(
            found[1],
            (
                IF_MODIFIED_SINCE,
                HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT")
            )
        );
        let without = stored(Mode::Strict, &[("cache-control", "max-age=5")]);
        assert_eq!(validators(&without).count(), 0);
    }

    #[test]
    fn s4_3_4_which_304_selects_the_stored_response() {
        const TAG: (&str, &str) = ("etag", "\"a\"");
        const OLD: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        const NEW: (&str, &str) = ("last-modified", DATE);
        for (held, response, expected) in [
            (&[TAG][..] as Lines<'_>, &[][..] as Lines<'_>, true),
            (&[TAG], &[TAG], true),
            (&[TAG], &[("etag", "W/\"a\"")], true),
            (&[TAG], &[("etag", "\"b\"")], false),
            (&[TAG, OLD], &[TAG, NEW], true),
            (&[TAG], &[OLD], true),
            (&[OLD], &[OLD], true),
            (&[OLD], &[NEW], false),
            (&[OLD], &[], true),
            (&[OLD], &[TAG], false),
            (&[OLD], &[TAG, OLD], true),
            (&[], &[], false),
        ] {
            let held_head = stored(Mode::Standard, held);
            let headers = headers(response);
            let reply_head = Exchange::new(Mode::Standard, response).status(304);
            let reply_head = reply_head.response_of(&headers, later(1));
            assert_eq!(
                revalidation_matches(&held_head, &reply_head),
                expected,
                "{held:?} {response:?}"
            );
        }
    }

    #[test]
    fn s3_2_a_304_replaces_all_fields_but_those_about_the_body() {
        let fresh = freshened(
            Mode::Strict,
            HELD,
            &[
                ("cache-control", "max-age=9"),
                ("content-length", "0"),
                ("content-encoding", "gzip"),
                ("x-a", "4"),
                ("x-c", "5"),
                ("set-cookie", "s=1"),
            ],
        )
        .unwrap();
        assert_eq!(values(&fresh, "cache-control"), ["max-age=9"]);
        assert_eq!(values(&fresh, "content-length"), ["7"]);
        assert!(values(&fresh, "content-encoding").is_empty());
        assert_eq!(values(&fresh, "x-a"), ["4"]);
        assert_eq!(values(&fresh, "x-b"), ["3"]);
        assert_eq!(values(&fresh, "x-c"), ["5"]);
        assert_eq!(values(&fresh, "etag"), ["W/\"a\""]);
        assert!(values(&fresh, "set-cookie").is_empty());
        assert_eq!(fresh.status().as_u16(), 200);
    }

    #[test]
    fn s4_3_5_a_head_freshens_by_a_validator_and_is_refuted_by_any_difference() {
        const TAG: (&str, &str) = ("etag", "\"a\"");
        const OTHER_TAG: (&str, &str) = ("etag", "\"b\"");
        const OLD: (&str, &str) = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        const NEW: (&str, &str) = ("last-modified", DATE);
        for (held, head, length, expected) in [
            (
                &[TAG][..] as Lines<'_>,
                &[TAG][..] as Lines<'_>,
                None,
                "fresh",
            ),
            (&[TAG], &[TAG], Some(7), "fresh"),
            (&[OLD], &[OLD], None, "fresh"),
            (&[TAG, OLD], &[OLD], Some(7), "fresh"),
            (&[TAG], &[TAG], Some(8), "outdated"),
            (&[TAG], &[OTHER_TAG], Some(7), "outdated"),
            (&[OLD], &[NEW], None, "outdated"),
            (&[TAG, OLD], &[TAG, NEW], Some(7), "outdated"),
            (&[], &[TAG], Some(7), "outdated"),
            (&[], &[], Some(8), "outdated"),
            (&[TAG, OLD], &[], Some(8), "outdated"),
            (&[], &[], Some(7), "nothing"),
            (&[TAG, OLD], &[], Some(7), "nothing"),
            (&[TAG, OLD], &[], None, "nothing"),
            (&[], &[], None, "nothing"),
        ] {
            let exchange = Exchange::new(Mode::Standard, held);
            let stored = exchange.admit().unwrap();
            let headers = headers(head);
            let response = exchange.response_of(&headers, later(1));
            let update = exchange.with_request(|request| {
                freshen_by_head(&exchange.policy, request, &stored, 7, &response, length)
            });
            let found = match update {
                HeadUpdate::Freshened(_) => "fresh",
                HeadUpdate::Outdated => "outdated",
                HeadUpdate::Inconclusive => "nothing",
            };
            assert_eq!(found, expected, "{held:?} {head:?} {length:?}");
        }
    }

    #[test]
    fn s4_3_4_a_304_restarts_freshness() {
        let fresh = freshened(Mode::Strict, HELD, &[]).unwrap();
        assert_eq!(fresh.age_seconds(later(60)), 0);
        assert_eq!(fresh.ttl_seconds(later(60)), Some(5));
        assert_eq!(values(&fresh, "date"), ["Mon, 23 Nov 2026 03:31:00 GMT"]);
        let fresh = freshened(Mode::Strict, HELD, &[("age", "2")]).unwrap();
        assert_eq!(fresh.ttl_seconds(later(60)), Some(3));
        let fresh = freshened(
            Mode::Strict,
            HELD,
            &[("date", "Mon, 23 Nov 2026 03:30:59 GMT")],
        );
        assert_eq!(fresh.unwrap().age_seconds(later(60)), 1);
    }

    #[test]
    fn s3_a_merged_head_is_admitted_again() {
        const NO_STORE: Lines<'_> = &[("cache-control", "no-store")];
        const PRIVATE: Lines<'_> = &[("cache-control", "private, max-age=5")];
        for mode in [Mode::Standard, Mode::Strict] {
            assert_eq!(freshened(mode, HELD, NO_STORE).err(), Some(Reason::NoStore));
            assert_eq!(freshened(mode, HELD, PRIVATE).err(), Some(Reason::Private));
        }
        assert!(freshened(Mode::Always, HELD, NO_STORE).is_ok());
    }

    #[test]
    fn s3_2_no_policy_stores_the_set_cookie_of_a_304() {
        const COOKIE: Lines<'_> = &[("set-cookie", "session=1")];
        for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
            let fresh = freshened(mode, HELD, COOKIE).unwrap();
            assert!(values(&fresh, "set-cookie").is_empty(), "{mode:?}");
        }
    }

    #[test]
    fn s3_2_the_set_cookie_of_a_304_replaces_one_that_strict_has_stored() {
        const HELD_COOKIE: Lines<'_> = &[
            ("etag", "\"a\""),
            ("cache-control", "max-age=9"),
            ("set-cookie", "a=b"),
        ];
        let fresh = freshened(Mode::Strict, HELD_COOKIE, &[("set-cookie", "a=c")]).unwrap();
        assert_eq!(values(&fresh, "set-cookie"), ["a=c"]);
    }

    #[test]
    fn s3_1_fields_that_connection_names_count_and_are_not_stored() {
        for (named, expected) in [
            (("cache-control", "private, no-store"), Err(Reason::NoStore)),
            (("cache-control", "private"), Err(Reason::Private)),
            (("set-cookie", "session=1"), Err(Reason::SetCookie)),
            (("vary", "*"), Err(Reason::VaryStar)),
            (("cache-control", "max-age=60"), Ok(Some(60))),
            (("expires", "Mon, 23 Nov 2026 03:31:00 GMT"), Ok(Some(60))),
            (("expires", "0"), Ok(Some(0))),
            (("cdn-cache-control", "max-age=7"), Ok(Some(7))),
        ] {
            let exchange = Exchange::new(Mode::Standard, &[("x-a", "1")]);
            let (fields, connection) = (headers(exchange.response), headers(&[named]));
            let response = Response {
                connection_fields: Some(&connection),
                ..exchange.response_of(&fields, NOW)
            };
            let found = exchange
                .with_request(|request| crate::policy::admit(&exchange.policy, request, &response));
            let found = found.map(|head| {
                assert!(values(&head, named.0).is_empty(), "{named:?}");
                head.ttl_seconds(NOW)
            });
            assert_eq!(found, expected, "{named:?}");
        }
    }

    #[test]
    fn s3_1_a_validator_that_connection_names_cannot_validate() {
        let exchange = Exchange::new(Mode::Strict, &[("cache-control", "no-cache")]);
        let (fields, connection) = (headers(exchange.response), headers(&[("etag", "\"a\"")]));
        let response = Response {
            connection_fields: Some(&connection),
            ..exchange.response_of(&fields, NOW)
        };
        let found = exchange
            .with_request(|request| crate::policy::admit(&exchange.policy, request, &response));
        assert_eq!(found.err(), Some(Reason::NoCache));
    }

    #[test]
    fn s3_2_fields_that_connection_named_count_until_a_response_replaces_them() {
        let exchange = Exchange::new(Mode::Standard, &[("etag", "\"a\"")]);
        let (fields, named) = (
            headers(exchange.response),
            headers(&[("cache-control", "max-age=5"), ("vary", "accept")]),
        );
        let response = Response {
            connection_fields: Some(&named),
            ..exchange.response_of(&fields, NOW)
        };
        let held = exchange
            .with_request(|request| crate::policy::admit(&exchange.policy, request, &response))
            .unwrap();
        let update = |lines: Lines<'_>, named: Lines<'_>| {
            let (fields, named): (_, ResponseHeaders) = (headers(lines), headers(named));
            let response = Response {
                connection_fields: (!named.is_empty()).then_some(&named),
                ..exchange.response_of(&fields, later(60))
            };
            exchange
                .with_request(|request| revalidated(&exchange.policy, request, &held, &response))
        };
        let silent = update(&[], &[]).unwrap();
        assert_eq!(silent.ttl_seconds(later(60)), Some(5));
        assert_eq!(silent.selection().count(), 1);
        let open = update(&[("cache-control", "max-age=9")], &[]).unwrap();
        assert_eq!(open.ttl_seconds(later(60)), Some(9));
        assert_eq!(values(&open, "cache-control"), ["max-age=9"]);
        let named = update(&[], &[("cache-control", "max-age=7")]).unwrap();
        assert_eq!(named.ttl_seconds(later(60)), Some(7));
        let refused = update(&[], &[("cache-control", "no-store")]);
        assert_eq!(refused.err(), Some(Reason::NoStore));
    }

    #[test]
    fn a_validated_response_that_is_no_longer_public_moves_to_the_partition() {
        let held = Exchange::new(
            Mode::Standard,
            &[("cache-control", "public"), ("etag", "\"a\"")],
        );
        let held_head = held.admit().unwrap();
        let headers = headers(&[("cache-control", "private, max-age=5")]);
        let response = held.response_of(&headers, later(1));
        let own = held.clone().identity(1);
        let fresh = own
            .with_request(|request| revalidated(&own.policy, request, &held_head, &response))
            .unwrap();
        assert_eq!(fresh.partition(), Some(identity(1)));
        assert_eq!(fresh.audience(), Audience::Partition);
    }

    #[test]
    fn s4_1_a_validated_variant_stays_the_same_variant() {
        const RESPONSE: Lines<'_> = &[
            ("vary", "accept-language"),
            ("etag", "\"a\""),
            ("content-language", "de"),
        ];
        let first = Exchange::new(Mode::Strict, RESPONSE).request(&[("accept-language", "de")]);
        let second = first
            .clone()
            .request(&[("accept-language", "fr;q=0.1, de")]);
        let held = first.admit().unwrap();
        let headers = headers(&[]);
        let response = second.response_of(&headers, later(1));
        let fresh = second
            .with_request(|request| revalidated(&second.policy, request, &held, &response))
            .unwrap();
        assert!(fresh.same_variant(&held));
    }

    #[test]
    fn s4_3_3_only_statuses_about_the_target_outdate_a_stored_response() {
        for (status, expected) in [
            (200, true),
            (204, true),
            (301, true),
            (404, true),
            (410, true),
            (304, false),
            (401, true),
            (403, true),
            (405, false),
            (406, false),
            (408, false),
            (429, false),
            (500, false),
            (503, false),
        ] {
            assert_eq!(
                outdates_stored(StatusCode::from_u16(status).unwrap()),
                expected,
                "{status}"
            );
        }
    }
}
