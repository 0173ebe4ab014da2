//! RFC 9110, 14: Range and Content-Range.

use actix_web::http::header::{CONTENT_RANGE, HeaderValue};

use crate::policy::syntax::list::{members, trim};

use crate::policy::ResponseHeaders;

/// The largest number of ranges in a multipart response. A request for more gets the whole representation.
const MAX_RANGES: usize = 16;

/// A range of bytes of a representation. Both ends are included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// Position of the first byte.
    pub first: u64,
    /// Position of the last byte.
    pub last: u64,
}

impl ByteRange {
    /// The range of all `bytes`.
    pub(in crate::policy) fn all(bytes: u64) -> Self {
        Self {
            first: 0,
            last: bytes.saturating_sub(1),
        }
    }

    /// The number of bytes.
    pub fn len_bytes(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    pub(in crate::policy) fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// True if the two overlap, or one begins where the other ends.
    pub(in crate::policy) fn adjoins(self, other: Self) -> bool {
        self.first <= other.last.saturating_add(1) && other.first <= self.last.saturating_add(1)
    }
}

/// A part of a representation, as in Content-Range (RFC 9110, 14.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// Which bytes.
    pub range: ByteRange,
    /// Length of the whole representation in bytes. `None`: unknown.
    pub complete_bytes: Option<u64>,
}

impl ContentRange {
    /// Parses the Content-Range of a response. `None` if it is absent, repeated, invalid or impossible.
    pub fn of(headers: &ResponseHeaders) -> Option<Self> {
        let mut lines = headers.get_all(&CONTENT_RANGE);
        match (lines.next(), lines.next()) {
            (Some(line), None) => Self::parse(line),
            _ => None,
        }
    }

    fn parse(value: &[u8]) -> Option<Self> {
        const UNIT: &[u8] = b"bytes ";
        let (unit, range) = trim(value).split_at_checked(UNIT.len())?;
        if !unit.eq_ignore_ascii_case(UNIT) {
            return None;
        }
        let slash = range.iter().position(|&byte| byte == b'/')?;
        let (range, complete) = (&range[..slash], &range[slash + 1..]);
        let dash = range.iter().position(|&byte| byte == b'-')?;
        let range = ByteRange {
            first: exact_number(&range[..dash])?,
            last: exact_number(&range[dash + 1..])?,
        };
        let complete_bytes = match complete {
            b"*" => None,
            number => Some(exact_number(number)?),
        };
        let part = Self {
            range,
            complete_bytes,
        };
        part.is_possible().then_some(part)
    }

    /// True if the part has a byte, and ends within the representation.
    pub(in crate::policy) fn is_possible(&self) -> bool {
        let ByteRange { first, last } = self.range;
        first <= last
            && last < u64::MAX
            && self.complete_bytes.is_none_or(|complete| last < complete)
    }

    /// The value of the field: `bytes 0-9/10`.
    pub fn to_field_value(&self) -> String {
        let ByteRange { first, last } = self.range;
        match self.complete_bytes {
            Some(complete) => format!("bytes {first}-{last}/{complete}"),
            None => format!("bytes {first}-{last}/*"),
        }
    }

    /// True if it has all bytes of the representation.
    pub(in crate::policy) fn is_whole(&self) -> bool {
        self.range.first == 0 && self.complete_bytes == Some(self.range.last + 1)
    }
}

/// One range of a Range field (RFC 9110, 14.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum RangeSpec {
    /// `first-last`. `last` is `u64::MAX` for `first-`.
    From { first: u64, last: u64 },
    /// `-length`: the last `length` bytes.
    Suffix { length: u64 },
}

/// What a Range field requests of a representation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::policy) enum RequestedRange {
    /// All of it: the field has another unit, is invalid (RFC 9110, 14.2), or requests too many or overlapping ranges.
    Whole,
    /// One range. If the length of the representation is unknown, it may end after the last byte.
    One(ByteRange),
    /// Several ranges that do not overlap, in the order of the request.
    Several(Box<[ByteRange]>),
    /// Only bytes after the end.
    Nothing,
    /// Bytes counted from the end of a representation of unknown length.
    UnknownEnd,
}

/// What one range selects of a representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum RangeSelection {
    Within(ByteRange),
    /// Nothing: it begins after the end.
    Unsatisfiable,
    /// All of it: the representation is empty, so any suffix is the whole.
    Whole,
    /// It is counted from the end, and the length is unknown.
    UnknownEnd,
}

impl RequestedRange {
    /// Parses `bytes=a-b`, `bytes=a-`, `bytes=-n` and lists of them, for a representation of this length.
    pub(in crate::policy) fn parse(value: &HeaderValue, complete_bytes: Option<u64>) -> Self {
        let Some(set) = bytes_set(value.as_bytes()) else {
            return Self::Whole;
        };
        let mut selections = members(set)
            .map(|member| RangeSpec::parse(member).map(|range| range.select(complete_bytes)));
        match (selections.next(), selections.next()) {
            (Some(Some(only)), None) => Self::single(only),
            (Some(first), Some(second)) => [first, second]
                .into_iter()
                .chain(selections)
                .collect::<Option<Vec<_>>>()
                .map_or(Self::Whole, |selections| Self::several(&selections)),
            _ => Self::Whole,
        }
    }

    fn single(selection: RangeSelection) -> Self {
        match selection {
            RangeSelection::Within(range) => Self::One(range),
            RangeSelection::Unsatisfiable => Self::Nothing,
            RangeSelection::Whole => Self::Whole,
            RangeSelection::UnknownEnd => Self::UnknownEnd,
        }
    }

    /// RFC 9110, 14.2: many small or overlapping ranges come from a broken client or an attack, so they get the whole.
    fn several(selections: &[RangeSelection]) -> Self {
        if selections.len() > MAX_RANGES || selections.contains(&RangeSelection::Whole) {
            return Self::Whole;
        }
        if selections.contains(&RangeSelection::UnknownEnd) {
            return Self::UnknownEnd;
        }
        let ranges: Box<[ByteRange]> = selections
            .iter()
            .filter_map(|selection| match selection {
                RangeSelection::Within(range) => Some(*range),
                _ => None,
            })
            .collect();
        let mut ordered = ranges.to_vec();
        ordered.sort_by_key(|range| range.first);
        if ordered.windows(2).any(|pair| pair[1].first <= pair[0].last) {
            return Self::Whole;
        }
        match *ranges {
            [] => Self::Nothing,
            [only] => Self::One(only),
            _ => Self::Several(ranges),
        }
    }
}

/// The text after `bytes=`, with the unit in any case. `None` for other units.
fn bytes_set(value: &[u8]) -> Option<&[u8]> {
    const UNIT: &[u8] = b"bytes=";
    let (unit, set) = trim(value).split_at_checked(UNIT.len())?;
    unit.eq_ignore_ascii_case(UNIT).then_some(set)
}

impl RangeSpec {
    fn parse(member: &[u8]) -> Option<Self> {
        let dash = member.iter().position(|&byte| byte == b'-')?;
        match (&member[..dash], &member[dash + 1..]) {
            (b"", length) => Some(Self::Suffix {
                length: number(length)?,
            }),
            (first, b"") => Some(Self::From {
                first: number(first)?,
                last: u64::MAX,
            }),
            (first, last) => {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(Self::From { first, last })
            }
        }
    }

    /// RFC 9110, 14.1.2: what it selects of a representation of this length.
    pub(in crate::policy) fn select(self, complete_bytes: Option<u64>) -> RangeSelection {
        match (self, complete_bytes) {
            (Self::Suffix { length: 0 }, _) => RangeSelection::Unsatisfiable,
            (Self::Suffix { .. }, None) => RangeSelection::UnknownEnd,
            (Self::Suffix { .. }, Some(0)) => RangeSelection::Whole,
            (Self::Suffix { length }, Some(complete)) => RangeSelection::Within(ByteRange {
                first: complete.saturating_sub(length),
                last: complete - 1,
            }),
            (Self::From { first, .. }, Some(complete)) if first >= complete => {
                RangeSelection::Unsatisfiable
            }
            (Self::From { first, last }, Some(complete)) => RangeSelection::Within(ByteRange {
                first,
                last: last.min(complete - 1),
            }),
            (Self::From { first, last }, None) => RangeSelection::Within(ByteRange { first, last }),
        }
    }
}

/// Parses digits. Saturates. `None` for any other text.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0_u64, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    }))
}

/// Parses digits. `None` for any other text, and for too large numbers.
fn exact_number(text: &[u8]) -> Option<u64> {
    number(text).filter(|number| *number < u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn requested_range(value: &str, complete_bytes: Option<u64>) -> RequestedRange {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        RequestedRange::parse(&value, complete_bytes)
    }

    fn one(first: u64, last: u64) -> RequestedRange {
        RequestedRange::One(ByteRange { first, last })
    }

    fn several(ranges: &[(u64, u64)]) -> RequestedRange {
        RequestedRange::Several(
            ranges
                .iter()
                .map(|&(first, last)| ByteRange { first, last })
                .collect(),
        )
    }

    #[test]
    fn s14_1_2_single_ranges() {
        for (value, first, last) in [
            ("bytes=0-0", 0, 0),
            ("bytes=0-499", 0, 99),
            ("bytes=10-19", 10, 19),
            ("Bytes=10-", 10, 99),
            ("bytes=-30", 70, 99),
            ("bytes=-300", 0, 99),
            ("bytes= 10-19 ,", 10, 19),
            ("bytes=0-99999999999999999999999", 0, 99),
        ] {
            assert_eq!(
                requested_range(value, Some(100)),
                one(first, last),
                "{value}"
            );
        }
    }

    #[test]
    fn s15_5_17_unsatisfiable_ranges() {
        for (value, complete) in [
            ("bytes=100-", 100),
            ("bytes=99999999999999999999999-", 100),
            ("bytes=-0", 100),
            ("bytes=0-", 0),
            ("bytes=100-,200-", 100),
        ] {
            assert_eq!(
                requested_range(value, Some(complete)),
                RequestedRange::Nothing,
                "{value}"
            );
        }
        assert_eq!(requested_range("bytes=-5", Some(0)), RequestedRange::Whole);
    }

    #[test]
    fn s14_2_invalid_ranges_are_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-3",
            "bytes=1 - 2",
            "bytes 1-2",
            "items=0-1",
            "bytes=0-1,x",
            "bytes=0-1,2-3,x",
            "bytes=+1-2",
            "bytes=1-2-3",
        ] {
            assert_eq!(
                requested_range(value, Some(100)),
                RequestedRange::Whole,
                "{value}"
            );
        }
    }

    #[test]
    fn s14_2_several_ranges_unless_they_overlap_or_are_too_many() {
        for (value, expected) in [
            ("bytes=0-1, 5-", several(&[(0, 1), (5, 99)])),
            ("bytes=50-59,0-1,-1", several(&[(50, 59), (0, 1), (99, 99)])),
            ("bytes=0-1,2-3", several(&[(0, 1), (2, 3)])),
            // Ranges after the end are left out.
            ("bytes=0-1,500-", one(0, 1)),
            ("bytes=0-5,5-9", RequestedRange::Whole),
            ("bytes=5-9,0-5", RequestedRange::Whole),
            ("bytes=0-,-1", RequestedRange::Whole),
        ] {
            assert_eq!(requested_range(value, Some(100)), expected, "{value}");
        }
        let list = |count: u64| {
            let ranges: Vec<_> = (0..count).map(|n| format!("{0}-{0}", n * 2)).collect();
            format!("bytes={}", ranges.join(","))
        };
        assert!(matches!(
            requested_range(&list(16), Some(100)),
            RequestedRange::Several(ranges) if ranges.len() == 16
        ));
        assert_eq!(requested_range(&list(17), Some(100)), RequestedRange::Whole);
    }

    #[test]
    fn s14_1_2_ranges_of_a_representation_of_unknown_length() {
        for (value, expected) in [
            ("bytes=0-9", one(0, 9)),
            ("bytes=5-", one(5, u64::MAX)),
            ("bytes=-5", RequestedRange::UnknownEnd),
            ("bytes=0-1,-5", RequestedRange::UnknownEnd),
            ("bytes=-0", RequestedRange::Nothing),
            ("bytes=0-1,3-4", several(&[(0, 1), (3, 4)])),
        ] {
            assert_eq!(requested_range(value, None), expected, "{value}");
        }
    }

    #[test]
    fn s14_4_content_range() {
        let part = |value: &str| ContentRange::parse(value.as_bytes());
        for (value, first, last, complete_bytes) in [
            ("bytes 0-9/10", 0, 9, Some(10)),
            ("Bytes 5-5/99", 5, 5, Some(99)),
            ("bytes 5-9/*", 5, 9, None),
        ] {
            let range = ByteRange { first, last };
            let expected = ContentRange {
                range,
                complete_bytes,
            };
            assert_eq!(part(value), Some(expected), "{value}");
            assert_eq!(expected.to_field_value(), value.replace("Bytes", "bytes"));
        }
        for value in [
            "",
            "bytes",
            "bytes ",
            "bytes */10",
            "bytes 0-10/10",
            "bytes 5-4/10",
            "bytes 0-9",
            "bytes 0-/10",
            "bytes 0-9/",
            "bytes=0-9/10",
            "items 0-9/10",
            "bytes 0-99999999999999999999999/*",
            "bytes +0-9/10",
        ] {
            assert_eq!(part(value), None, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_range_selects_bytes_within_the_representation(bytes: Vec<u8>, complete: Option<u64>) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = RequestedRange::parse(&value, complete);
            }
            let _ = RangeSpec::parse(&bytes).map(|range| range.select(complete));
            let _ = ContentRange::parse(&bytes);
        }

        #[test]
        fn selections_are_within_the_representation(first: Option<u64>, last: Option<u64>, complete: u64) {
            let number = |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
            let text = format!("{}-{}", number(first), number(last));
            let placed = RangeSpec::parse(text.as_bytes()).map(|range| range.select(Some(complete)));
            if let Some(RangeSelection::Within(ByteRange { first, last })) = placed {
                prop_assert!(first <= last && last < complete);
            }
        }

        #[test]
        fn a_written_content_range_is_parsed_again(first in 0_u64..1000, more in 0_u64..1000, behind in 1_u64..1000) {
            let last = first + more;
            let part = ContentRange { range: ByteRange { first, last }, complete_bytes: Some(last + behind) };
            prop_assert_eq!(ContentRange::parse(part.to_field_value().as_bytes()), Some(part));
        }
    }
}
