//! Entry points for fuzzing: dates, ranges, and heads that were written down.

use actix_web::http::header::{CONTENT_RANGE, HeaderValue};

use super::{
    ContentRange, ResponseHeaders, StoredHead, Time,
    ranges::byte_range::RequestedRange,
    syntax::date::{http_date, imf_fixdate},
};

/// 2024-02-29T12:00:00Z
const NOW: Time = Time::from_unix_millis(1_709_208_000_000);
/// The last second of the year 9999, which four digits can write.
const LAST_SECOND: u64 = 253_402_300_799;

/// A formatted date is parsed again as the same date.
pub fn date(bytes: &[u8]) {
    if let Some(date) = http_date(bytes, NOW) {
        assert!(date.unix_seconds() <= LAST_SECOND);
        assert_eq!(http_date(imf_fixdate(date).as_bytes(), NOW), Some(date));
    }
}

/// The selected ranges are within the representation and do not overlap. The first byte is the length of the
/// representation; 255 is an unknown length.
pub fn range(bytes: &[u8]) {
    let Some((&first, value)) = bytes.split_first() else {
        return;
    };
    let Ok(value) = HeaderValue::from_bytes(value) else {
        return;
    };
    let complete_bytes = (first < u8::MAX).then_some(u64::from(first));
    let mut ranges = match RequestedRange::parse(&value, complete_bytes) {
        RequestedRange::One(range) => vec![range],
        RequestedRange::Several(ranges) => ranges.into_vec(),
        RequestedRange::Whole | RequestedRange::Nothing | RequestedRange::UnknownEnd => Vec::new(),
    };
    ranges.sort_by_key(|range| range.first);
    for range in &ranges {
        assert!(range.first <= range.last);
        assert!(complete_bytes.is_none_or(|complete| range.last < complete));
    }
    for pair in ranges.windows(2) {
        assert!(pair[0].last < pair[1].first);
    }
}

/// A parsed Content-Range is possible, and is parsed again as the same after formatting.
pub fn content_range(bytes: &[u8]) {
    let mut headers = ResponseHeaders::from_iter([(&b"content-range"[..], bytes)]);
    let Some(part) = ContentRange::of(&headers) else {
        return;
    };
    assert!(part.range.first <= part.range.last);
    assert!(
        part.complete_bytes
            .is_none_or(|complete| part.range.last < complete)
    );
    assert!(part.range.len_bytes() > 0);
    if let Ok(written) = HeaderValue::try_from(part.to_field_value()) {
        headers.insert(&CONTENT_RANGE, &written);
    }
    assert_eq!(ContentRange::of(&headers), Some(part));
}

/// Bytes that are read as a head are the only way to write that head. Its values are within what the policy expects.
pub fn stored_head(bytes: &[u8]) {
    let Some(head) = StoredHead::read(bytes) else {
        return;
    };
    let mut written = Vec::new();
    head.write(&mut written);
    // The first byte is the version, of which older ones are read too.
    assert_eq!(written[1..], bytes[1..]);
    assert_eq!(head.fields().iter().count(), head.fields().len());
    assert!(head.same_variant(&head));
    assert!(
        written
            .windows(head.variant_bytes().len())
            .any(|part| part == head.variant_bytes())
    );
    if let Some(part) = head.content_range() {
        assert!(part.range.len_bytes() > 0);
    }
    let _ = (
        head.age_seconds(NOW),
        head.ttl_seconds(NOW),
        head.weight_bytes(),
    );
    assert_eq!(head.is_fresh(NOW), head.fresh_millis(NOW) > 0);
    assert!(head.tags().all(|tag| !tag.is_empty()));
    let _ = (head.expired(NOW), head.representation().strong_validator());
}
