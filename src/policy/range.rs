//! RFC 9110, 14: byte ranges.

use actix_web::http::header::HeaderValue;

use super::list::{members, trim};

/// One byte range of a Range field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteRange {
    /// `first-last`; `last` is the greatest number when it is open.
    From { first: u64, last: u64 },
    /// `-length`: so many bytes at the end.
    Suffix { length: u64 },
}

/// What a Range field asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RangeField {
    /// One range.
    Single(ByteRange),
    /// More than one.
    Several,
    /// Another unit, or not understood: to be ignored (RFC 9110, 14.2).
    Ignored,
}

/// Where a range lies in a body of known length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Both ends count.
    Within { first: u64, last: u64 },
    /// It begins behind the end.
    Unsatisfiable,
    /// The body is empty and any suffix of it is the whole.
    Whole,
}

impl RangeField {
    /// Reads `bytes=a-b`, `bytes=a-`, `bytes=-n` and lists of them.
    pub(super) fn parse(value: &HeaderValue) -> Self {
        let Some(set) = bytes_set(value.as_bytes()) else {
            return Self::Ignored;
        };
        let mut ranges = members(set).map(ByteRange::parse);
        match (ranges.next(), ranges.next()) {
            (Some(Some(range)), None) => Self::Single(range),
            (Some(Some(_)), Some(Some(_))) if ranges.all(|range| range.is_some()) => Self::Several,
            _ => Self::Ignored,
        }
    }
}

/// What stands behind `bytes=`, the unit in any case.
fn bytes_set(value: &[u8]) -> Option<&[u8]> {
    const UNIT: &[u8] = b"bytes=";
    let (unit, set) = trim(value).split_at_checked(UNIT.len())?;
    unit.eq_ignore_ascii_case(UNIT).then_some(set)
}

impl ByteRange {
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

    /// RFC 9110, 14.1.2: what it selects of a body.
    pub(super) fn place(self, body_len: u64) -> Place {
        match self {
            Self::Suffix { length: 0 } => Place::Unsatisfiable,
            Self::Suffix { .. } if body_len == 0 => Place::Whole,
            Self::Suffix { length } => Place::Within {
                first: body_len.saturating_sub(length),
                last: body_len - 1,
            },
            Self::From { first, .. } if first >= body_len => Place::Unsatisfiable,
            Self::From { first, last } => Place::Within {
                first,
                last: last.min(body_len - 1),
            },
        }
    }
}

/// Digits only, saturating.
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(value: &str) -> RangeField {
        RangeField::parse(&HeaderValue::from_bytes(value.as_bytes()).unwrap())
    }

    fn place(value: &str, body_len: u64) -> Place {
        match parse(value) {
            RangeField::Single(range) => range.place(body_len),
            other => panic!("{value}: {other:?}"),
        }
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
            assert_eq!(place(value, 100), Place::Within { first, last }, "{value}");
        }
    }

    #[test]
    fn s15_5_17_unsatisfiable_ranges() {
        assert_eq!(place("bytes=100-", 100), Place::Unsatisfiable);
        assert_eq!(
            place("bytes=99999999999999999999999-", 100),
            Place::Unsatisfiable
        );
        assert_eq!(place("bytes=-0", 100), Place::Unsatisfiable);
        assert_eq!(place("bytes=0-", 0), Place::Unsatisfiable);
        assert_eq!(place("bytes=-5", 0), Place::Whole);
    }

    #[test]
    fn s14_2_what_is_not_understood_is_ignored() {
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
            assert_eq!(parse(value), RangeField::Ignored, "{value}");
        }
        assert_eq!(parse("bytes=0-1, 5-"), RangeField::Several);
    }

    proptest! {
        #[test]
        fn any_value_is_read_and_placed_within_the_body(bytes: Vec<u8>, body_len: u64) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = RangeField::parse(&value);
            }
            let _ = ByteRange::parse(&bytes).map(|range| range.place(body_len));
        }

        #[test]
        fn what_is_placed_lies_within_the_body(first: Option<u64>, last: Option<u64>, body_len: u64) {
            let number = |number: Option<u64>| number.map(|n| n.to_string()).unwrap_or_default();
            let text = format!("{}-{}", number(first), number(last));
            if let Some(Place::Within { first, last }) = ByteRange::parse(text.as_bytes()).map(|range| range.place(body_len)) {
                prop_assert!(first <= last && last < body_len);
            }
        }
    }
}
