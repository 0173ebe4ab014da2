//! RFC 9111, 3.3 and 3.4: stored parts of a representation, which requests they serve, and how they are combined.

use actix_web::http::{
    Method, StatusCode,
    header::{
        CONTENT_ENCODING, CONTENT_RANGE, ETAG, HeaderName, HeaderValue, IF_RANGE, LAST_MODIFIED,
        RANGE,
    },
};

use crate::policy::{
    ByteRange, ContentRange, Policy, Request, Response, ResponseHeaders, StoredHead, Time,
    freshness::age::date,
    ranges::{
        byte_range::RequestedRange,
        conditions::{not_modified, requested_range},
        representation::is_strong_date,
    },
    storing::admit::head_to_store,
    syntax::date::http_date,
    validating::{MergedHead, strongly_equal},
};

/// How much of a request a stored part covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Coverage {
    /// All requested bytes.
    Covered,
    /// Not all, but the missing bytes can be fetched and combined with it.
    Lacks(MissingBytes),
    /// Not enough to be of use.
    Misses,
}

/// The bytes that a fetch requests to extend a stored part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingBytes {
    /// All bytes from this one on, if the representation is unchanged ([`crate::policy::rest_request_fields`]).
    From(u64),
    /// The range that the client requests.
    Requested,
}

/// How much of the requested bytes a stored part has.
pub(in crate::policy) fn coverage(
    request: &Request<'_>,
    stored: &StoredHead,
    part: ContentRange,
) -> Coverage {
    // A HEAD is for the head of the whole response.
    if *request.method != Method::GET {
        return Coverage::Misses;
    }
    let representation = stored.representation();
    if not_modified(request, &representation) {
        return Coverage::Covered;
    }
    let held = part.range;
    let has_rest = representation.strong_validator().is_some();
    match requested_range(request, &representation, part.complete_bytes) {
        RequestedRange::Nothing => Coverage::Covered,
        RequestedRange::One(range) if held.contains(range) => Coverage::Covered,
        RequestedRange::Several(ranges) if ranges.iter().all(|range| held.contains(*range)) => {
            Coverage::Covered
        }
        RequestedRange::Whole if held.first == 0 && has_rest => rest(held),
        RequestedRange::One(range) if held.adjoins(range) && has_rest => {
            match held.first <= range.first && reaches_end(range, part) {
                true => rest(held),
                false => Coverage::Lacks(MissingBytes::Requested),
            }
        }
        _ => Coverage::Misses,
    }
}

fn rest(held: ByteRange) -> Coverage {
    Coverage::Lacks(MissingBytes::From(held.last + 1))
}

/// True if the range ends with the representation. An open range of a representation of unknown length ends with
/// `u64::MAX`.
fn reaches_end(range: ByteRange, part: ContentRange) -> bool {
    match part.complete_bytes {
        Some(complete) => range.last + 1 >= complete,
        None => range.last == u64::MAX,
    }
}

/// RFC 9110, 14.2 and 13.1.5: the fields that request the rest of a stored part from the byte `first` on, or the whole
/// representation if it has changed. `None` without a strong validator.
pub fn rest_request_fields(
    stored: &StoredHead,
    first: u64,
) -> Option<[(HeaderName, HeaderValue); 2]> {
    let range = HeaderValue::try_from(format!("bytes={first}-")).ok()?;
    let validator = HeaderValue::from_bytes(stored.representation().strong_validator()?).ok()?;
    Some([(RANGE, range), (IF_RANGE, validator)])
}

/// A stored part combined with a new one.
#[derive(Debug)]
pub struct Combination {
    /// The new head: of a whole response if no byte is missing.
    pub head: StoredHead,
    /// The bytes of the stored part before the new one. `None` if there are none.
    pub before: Option<ByteRange>,
    /// The bytes of the stored part after the new one. `None` if there are none.
    pub after: Option<ByteRange>,
}

/// RFC 9111, 3.4: combines a stored part with a new one that overlaps or adjoins it and has the same strong validator.
/// The fields are the newer ones. Ranges are those of the whole representation.
///
/// `None` if they cannot be combined, or the new head forbids storing.
pub fn combine(
    policy: &Policy,
    request: &Request<'_>,
    stored: &StoredHead,
    response: &Response<'_>,
) -> Option<Combination> {
    let held = stored.content_range()?;
    let received = response.received_fields();
    let new =
        ContentRange::of(&received).filter(|_| response.status == StatusCode::PARTIAL_CONTENT)?;
    let lengths_agree = match (held.complete_bytes, new.complete_bytes) {
        (Some(held), Some(new)) => held == new,
        _ => true,
    };
    if !lengths_agree
        || !held.range.adjoins(new.range)
        || !has_same_strong_validator(stored, &received, response.response_time)
        || !has_same_coding(stored, &received)
    {
        return None;
    }
    let union = ContentRange {
        range: ByteRange {
            first: held.range.first.min(new.range.first),
            last: held.range.last.max(new.range.last),
        },
        complete_bytes: new.complete_bytes.or(held.complete_bytes),
    };
    let mut merged = MergedHead::new(policy, stored, response);
    let content_range = HeaderValue::try_from(union.to_field_value()).ok()?;
    merged.headers.insert(&CONTENT_RANGE, &content_range);
    let head = head_to_store(policy, request, &merged.view(response)).ok()?;
    Some(Combination {
        head,
        before: (held.range.first < new.range.first).then(|| ByteRange {
            first: held.range.first,
            last: new.range.first - 1,
        }),
        after: (new.range.last < held.range.last).then(|| ByteRange {
            first: new.range.last + 1,
            last: held.range.last,
        }),
    })
}

/// True for the same content coding. Some origins give the compressed and the plain form the same strong tag.
fn has_same_coding(stored: &StoredHead, headers: &ResponseHeaders) -> bool {
    let new = headers.get_all(&CONTENT_ENCODING);
    let held = stored.fields.get_all(&CONTENT_ENCODING);
    held.eq(new)
}

fn has_same_strong_validator(
    stored: &StoredHead,
    headers: &ResponseHeaders,
    response_time: Time,
) -> bool {
    let only = |name| {
        let mut lines = headers.get_all(name);
        match (lines.next(), lines.next()) {
            (line, None) => line,
            _ => None,
        }
    };
    match (stored.etag(), only(&ETAG)) {
        (Some(held), Some(new)) => strongly_equal(held, new),
        (Some(_), None) | (None, Some(_)) => false,
        (None, None) => {
            let modified = only(&LAST_MODIFIED);
            let made = date(headers, response_time).unwrap_or(response_time);
            stored
                .representation()
                .strong_validator()
                .is_some_and(|held| modified == Some(held))
                && modified
                    .and_then(|line| http_date(line, response_time))
                    .is_some_and(|modified| is_strong_date(modified, made))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::{
        Decision, ForwardReason, Mode, Sharing,
        fixture::{DATE, Exchange, Lines, NOW, headers, later, stored, text},
    };

    const FRESH: (&str, &str) = ("cache-control", "max-age=9");
    const TAG: (&str, &str) = ("etag", "\"a\"");
    const EARLIER: &str = "Mon, 23 Nov 2026 03:29:00 GMT";

    /// A part that was stored in strict mode.
    fn part(range: &str, more: Lines<'_>) -> StoredHead {
        let lines = [&[FRESH, ("content-range", range)], more].concat();
        Exchange::new(Mode::Strict, &lines)
            .status(206)
            .request(&[("range", "bytes=0-")])
            .admit()
            .unwrap()
    }

    fn decided(held: &StoredHead, request: Lines<'_>) -> Decision {
        Exchange::new(Mode::Strict, &[])
            .request(request)
            .decide(std::slice::from_ref(held), NOW)
    }

    fn asks(missing: MissingBytes) -> Decision {
        Decision::Extend { index: 0, missing }
    }

    fn fetches(sharing: Sharing) -> Decision {
        Decision::Fetch {
            why: ForwardReason::Partial.into(),
            sharing,
        }
    }

    #[test]
    fn s3_3_a_206_is_stored_with_its_range() {
        let held = part("bytes 2-4/10", &[TAG]);
        assert_eq!(
            (
                held.status().as_u16(),
                held.content_range().unwrap().to_field_value()
            ),
            (206, "bytes 2-4/10".to_owned())
        );
        assert!(held.fields().get(&CONTENT_RANGE).is_none());
    }

    #[test]
    fn s3_4_a_206_of_all_bytes_is_stored_as_a_200() {
        let held = part("bytes 0-9/10", &[]);
        assert_eq!((held.status().as_u16(), held.content_range()), (200, None));
    }

    #[test]
    fn s3_3_a_206_without_one_range_or_to_no_range_request_is_not_stored() {
        let admitted = |request: Lines<'_>, response: Lines<'_>| {
            Exchange::new(Mode::Strict, &[&[FRESH], response].concat())
                .status(206)
                .request(request)
                .admit()
                .map(|_| ())
        };
        let asked: Lines<'_> = &[("range", "bytes=0-1")];
        let placed: Lines<'_> = &[("content-range", "bytes 0-1/10")];
        assert_eq!(admitted(asked, placed), Ok(()));
        assert_eq!(admitted(&[], placed), Err(crate::policy::Reason::Partial));
        for response in [
            &[][..] as Lines<'_>,
            &[("content-type", "multipart/byteranges; boundary=b")],
            &[("content-range", "bytes 0-1")],
            &[placed[0], placed[0]],
        ] {
            assert_eq!(
                admitted(asked, response),
                Err(crate::policy::Reason::Partial)
            );
        }
    }

    #[test]
    fn a_part_without_lifetime_lasts_as_long_as_a_whole_if_its_validator_is_strong() {
        let admitted = |mode, more: Lines<'_>| {
            Exchange::new(mode, &[&[("content-range", "bytes 0-1/10")], more].concat())
                .status(206)
                .request(&[("range", "bytes=0-1")])
                .admit()
                .ok()
                .map(|head| head.ttl_seconds(NOW))
        };
        let modes = [Mode::Standard, Mode::Strict, Mode::Always];
        for strong in [("last-modified", EARLIER), ("etag", "\"a\"")] {
            let found = modes.map(|mode| admitted(mode, &[strong]));
            assert_eq!([found[0], found[2]], [Some(None); 2], "{strong:?}");
        }
        let weak = modes.map(|mode| admitted(mode, &[("etag", "W/\"a\"")]).is_some());
        assert_eq!(weak, [false, true, false]);
        // `always` ignores the lifetime.
        let fresh = modes.map(|mode| admitted(mode, &[FRESH, ("etag", "W/\"a\"")]).is_some());
        assert_eq!(fresh, [true, true, false]);
    }

    #[test]
    fn s3_3_what_a_part_covers_and_what_it_lacks() {
        let served = Decision::Serve {
            index: 0,
            reuse: crate::policy::Reuse::Fresh,
        };
        let rest = |first| asks(MissingBytes::From(first));
        let known = part("bytes 0-4/10", &[TAG]);
        let unknown = part("bytes 0-4/*", &[TAG]);
        let middle = part("bytes 4-6/10", &[TAG]);
        for (held, range, expected) in [
            (&known, Some("bytes=0-4"), served),
            (&known, Some("bytes=2-3"), served),
            (&known, Some("bytes=10-"), served),
            (&known, Some("bytes=0-1,3-4"), served),
            (&known, None, rest(5)),
            (&known, Some("bytes=0-"), rest(5)),
            (&known, Some("bytes=5-"), rest(5)),
            (&known, Some("bytes=3-9"), rest(5)),
            (&known, Some("bytes=-7"), rest(5)),
            (&known, Some("bytes=3-7"), asks(MissingBytes::Requested)),
            (&known, Some("bytes=6-"), fetches(Sharing::StoreOnly)),
            (&known, Some("bytes=-2"), fetches(Sharing::StoreOnly)),
            (&known, Some("bytes=0-1,8-9"), fetches(Sharing::StoreOnly)),
            (&unknown, Some("bytes=0-4"), served),
            (&unknown, Some("bytes=2-"), rest(5)),
            (&unknown, None, rest(5)),
            (&unknown, Some("bytes=3-7"), asks(MissingBytes::Requested)),
            (&unknown, Some("bytes=-2"), fetches(Sharing::StoreOnly)),
            (&middle, Some("bytes=4-6"), served),
            (&middle, Some("bytes=5-"), rest(7)),
            (&middle, Some("bytes=-6"), rest(7)),
            (&middle, Some("bytes=2-5"), asks(MissingBytes::Requested)),
            (&middle, Some("bytes=0-3"), asks(MissingBytes::Requested)),
            (&middle, Some("bytes=0-1"), fetches(Sharing::StoreOnly)),
            (&middle, None, fetches(Sharing::Collapsible)),
        ] {
            let lines: Vec<_> = range.map(|range| ("range", range)).into_iter().collect();
            assert_eq!(decided(held, &lines), expected, "{range:?} of {held:?}");
        }
        // A stale part may be extended too, because If-Range validates it.
        let found =
            Exchange::new(Mode::Strict, &[]).decide(std::slice::from_ref(&known), later(99));
        assert_eq!(found, rest(5));
        assert_eq!(
            decided(&known, &[("if-none-match", "\"a\"")]),
            served,
            "the client has it"
        );
    }

    #[test]
    fn s3_4_without_a_strong_validator_no_rest_is_requested() {
        for more in [
            &[][..] as Lines<'_>,
            &[("etag", "W/\"a\"")],
            &[("last-modified", DATE), ("date", DATE)],
        ] {
            let held = part("bytes 0-4/10", more);
            assert_eq!(
                decided(&held, &[]),
                fetches(Sharing::Collapsible),
                "{more:?}"
            );
            assert_eq!(
                decided(&held, &[("range", "bytes=3-9")]),
                fetches(Sharing::StoreOnly)
            );
        }
        let dated = part(
            "bytes 0-4/10",
            &[("last-modified", EARLIER), ("date", DATE)],
        );
        assert_eq!(decided(&dated, &[]), asks(MissingBytes::From(5)));
        let fields = rest_request_fields(&dated, 5).unwrap();
        assert_eq!(fields[0], (RANGE, HeaderValue::from_static("bytes=5-")));
        assert_eq!(fields[1], (IF_RANGE, HeaderValue::from_static(EARLIER)));
    }

    #[test]
    fn s3_3_a_part_serves_no_head_and_no_store_does_not_extend_it() {
        let held = part("bytes 0-4/10", &[TAG]);
        let mut exchange = Exchange::new(Mode::Strict, &[]);
        exchange.method = Method::HEAD;
        let found = exchange.decide(std::slice::from_ref(&held), NOW);
        assert_eq!(
            found,
            fetches(Sharing::PassThrough(crate::policy::Reason::Method))
        );
        assert_eq!(
            decided(&held, &[("cache-control", "no-store")]),
            fetches(Sharing::PassThrough(crate::policy::Reason::ClientNoStore))
        );
    }

    /// Both ends of a range.
    type Ends = (u64, u64);

    fn joined(
        held: &StoredHead,
        response: Lines<'_>,
    ) -> Option<(String, Option<Ends>, Option<Ends>)> {
        let exchange = Exchange::new(Mode::Strict, &[]).status(206);
        let lines = headers(&[&[FRESH], response].concat());
        let combination = exchange.with_request(|request| {
            combine(
                &exchange.policy,
                request,
                held,
                &exchange.response_of(&lines, NOW),
            )
        })?;
        let position = combination
            .head
            .content_range()
            .map_or("whole".to_owned(), |part| part.to_field_value());
        let ends = |range: ByteRange| (range.first, range.last);
        Some((
            position,
            combination.before.map(ends),
            combination.after.map(ends),
        ))
    }

    #[test]
    fn s3_4_parts_with_different_codings_are_not_combined() {
        let gzip = ("content-encoding", "gzip");
        let br = ("content-encoding", "br");
        for (held, new, expected) in [
            (&[TAG, gzip][..], &[TAG, gzip][..], true),
            (&[TAG, gzip], &[TAG], false),
            (&[TAG], &[TAG, gzip], false),
            (&[TAG, gzip], &[TAG, br], false),
            (&[TAG, gzip], &[TAG, gzip, br], false),
        ] {
            let held = part("bytes 0-4/10", held);
            let new = [&[("content-range", "bytes 5-9/10")], new].concat();
            assert_eq!(joined(&held, &new).is_some(), expected, "{new:?}");
        }
    }

    #[test]
    fn a_whole_is_that_of_a_part_with_the_same_strong_validator() {
        let dated = ("last-modified", EARLIER);
        for (of_whole, of_part, expected) in [
            (TAG, TAG, true),
            (dated, dated, true),
            (TAG, ("etag", "\"b\""), false),
            (TAG, dated, false),
            (("etag", "W/\"a\""), ("etag", "W/\"a\""), false),
            (("etag", "W/\"a\""), TAG, false),
            (("x-a", "1"), ("x-a", "1"), false),
        ] {
            let whole = stored(Mode::Strict, &[FRESH, of_whole]);
            let part = part("bytes 4-6/10", &[of_part]);
            let found = whole.is_whole_of(&part);
            assert_eq!(found, expected, "{of_whole:?} {of_part:?}");
            assert!(!part.is_whole_of(&whole) && !part.is_whole_of(&part));
            assert!(!whole.is_whole_of(&whole));
        }
    }

    #[test]
    fn s3_4_adjoining_parts_are_combined() {
        let held = part("bytes 4-6/10", &[TAG]);
        for (range, position, before, after) in [
            ("bytes 7-9/10", "bytes 4-9/10", Some((4, 6)), None),
            ("bytes 5-9/10", "bytes 4-9/10", Some((4, 4)), None),
            ("bytes 0-3/10", "bytes 0-6/10", None, Some((4, 6))),
            ("bytes 0-9/10", "whole", None, None),
            ("bytes 5-5/*", "bytes 4-6/10", Some((4, 4)), Some((6, 6))),
        ] {
            let found = joined(&held, &[TAG, ("content-range", range)]);
            assert_eq!(found, Some((position.to_owned(), before, after)), "{range}");
        }
        for (range, tag) in [
            ("bytes 8-9/10", "\"a\""),
            ("bytes 0-2/10", "\"a\""),
            ("bytes 7-9/11", "\"a\""),
            ("bytes 7-9/10", "\"b\""),
            ("bytes 7-9/10", "W/\"a\""),
        ] {
            let found = joined(&held, &[("etag", tag), ("content-range", range)]);
            assert_eq!(found, None, "{range} {tag}");
        }
        assert_eq!(joined(&held, &[("content-range", "bytes 7-9/10")]), None);
        let weak = part("bytes 4-6/10", &[("etag", "W/\"a\"")]);
        assert_eq!(
            joined(
                &weak,
                &[("etag", "W/\"a\""), ("content-range", "bytes 7-9/10")]
            ),
            None
        );
    }

    #[test]
    fn s3_4_the_newer_fields_are_stored() {
        let held = part("bytes 0-4/10", &[TAG, ("x-a", "old"), ("x-b", "old")]);
        let exchange = Exchange::new(Mode::Strict, &[]).status(206);
        let lines = headers(&[
            TAG,
            FRESH,
            ("content-range", "bytes 5-9/10"),
            ("x-a", "new"),
        ]);
        let head = exchange
            .with_request(|request| {
                combine(
                    &exchange.policy,
                    request,
                    &held,
                    &exchange.response_of(&lines, NOW),
                )
            })
            .unwrap()
            .head;
        let value = |name: &str| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            head.fields().get(&name).map(|value| text(value).to_owned())
        };
        assert_eq!(
            (
                value("x-a").as_deref(),
                value("x-b").as_deref(),
                head.content_range()
            ),
            (Some("new"), Some("old"), None)
        );
        assert_eq!(value("content-range"), None);
    }

    #[test]
    fn s3_4_nothing_is_combined_with_a_whole_response() {
        let held = stored(Mode::Strict, &[FRESH, TAG]);
        assert_eq!(
            joined(&held, &[TAG, ("content-range", "bytes 7-9/10")]),
            None
        );
    }
}
