//! RFC 9110, 5.6.7: HTTP dates, parsed strictly.
//!
//! A lenient parser could turn a broken Expires into a long lifetime. So a text is a date only if formatting the parsed
//! date gives the same text again. The callers define what anything else means (an invalid Expires lies in the past).

use std::{
    sync::LazyLock,
    time::{Duration, UNIX_EPOCH},
};

use chrono::{
    DateTime, Datelike, NaiveDate, NaiveDateTime, Utc, Weekday,
    format::{Item, Parsed, StrftimeItems, parse},
};
use httpdate::HttpDate;

use crate::policy::Time;

/// IMF-fixdate without the day of the week and `GMT`.
static IMF_FIXDATE: Format = LazyLock::new(|| StrftimeItems::new("%d %b %Y %H:%M:%S").collect());
/// RFC 850 without the day of the week and `GMT`.
static RFC850: Format = LazyLock::new(|| StrftimeItems::new("%d-%b-%y %H:%M:%S").collect());
/// asctime without the day of the week.
static ASCTIME: Format = LazyLock::new(|| StrftimeItems::new("%b %e %H:%M:%S %Y").collect());
/// asctime with a zero before a day of one digit.
static ASCTIME_WITH_ZERO: Format =
    LazyLock::new(|| StrftimeItems::new("%b %d %H:%M:%S %Y").collect());

type Format = LazyLock<Vec<Item<'static>>>;

/// The days of the week in an IMF-fixdate.
const WEEKDAYS: [[u8; 3]; 7] = [
    *b"Mon", *b"Tue", *b"Wed", *b"Thu", *b"Fri", *b"Sat", *b"Sun",
];

/// 9999-12-31T23:59:59Z: the last second of a year with four digits.
const LAST_SECOND: i64 = 253_402_300_799;

/// Parses an HTTP date: IMF-fixdate, RFC 850 or asctime; names in any case. `now` resolves two-digit years.
///
/// `None` for any other text. The day of the week need not be the right one. A leap second counts as the second before
/// it. Dates before 1970 become 1970-01-01T00:00:00Z.
pub(in crate::policy) fn http_date(value: &[u8], now: Time) -> Option<Time> {
    usual(value).or_else(|| any_form(std::str::from_utf8(value).ok()?, now))
}

/// A date in any of the three forms.
fn any_form(text: &str, now: Time) -> Option<Time> {
    let date = match text.split_once(", ") {
        Some((day, rest)) => {
            let date_time = without_gmt(rest)?;
            match is_short_weekday(day)? {
                true => exactly(date_time, &IMF_FIXDATE)?,
                false => in_century(exactly(date_time, &RFC850)?, now)?,
            }
        }
        None => {
            let (day, rest) = text.split_once(' ')?;
            if !is_short_weekday(day)? {
                return None;
            }
            exactly(rest, &ASCTIME).or_else(|| exactly(rest, &ASCTIME_WITH_ZERO))?
        }
    };
    let seconds = u64::try_from(date.and_utc().timestamp()).unwrap_or(0);
    Some(Time::from_unix_millis(seconds * 1000))
}

/// Formats a time as IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`. Times after the year 9999 become its last second.
pub fn imf_fixdate(time: Time) -> String {
    let seconds = time.unix_seconds().min(LAST_SECOND.unsigned_abs());
    HttpDate::from(UNIX_EPOCH + Duration::from_secs(seconds)).to_string()
}

/// A date as [`imf_fixdate`] writes it, as most are, with any day of the week; `None` for any other text.
fn usual(text: &[u8]) -> Option<Time> {
    let text: &[u8; 29] = text.try_into().ok()?;
    let is_usual = WEEKDAYS.contains(&[text[0], text[1], text[2]])
        && text[3..5] == *b", "
        && [text[7], text[11], text[16]] == *b"   "
        && [text[19], text[22]] == *b"::"
        && text[25..] == *b" GMT";
    if !is_usual {
        return None;
    }
    let year = i32::try_from(digits(&text[12..16])?).ok()?;
    let (month, day) = (month(&text[8..11])?, digits(&text[5..7])?);
    let date = NaiveDate::from_ymd_opt(year, month, day)?;
    let [hour, minute, second] = [&text[17..19], &text[20..22], &text[23..25]];
    let date = date.and_hms_opt(digits(hour)?, digits(minute)?, digits(second)?)?;
    let seconds = u64::try_from(date.and_utc().timestamp()).ok()?;
    Some(Time::from_unix_millis(seconds * 1000))
}

/// The number of a month, from 1; `None` if it is not named as in an IMF-fixdate.
fn month(name: &[u8]) -> Option<u32> {
    Some(match name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    })
}

/// A number of few digits; `None` if something else is among them.
fn digits(text: &[u8]) -> Option<u32> {
    text.iter().try_fold(0, |number, digit| {
        digit
            .is_ascii_digit()
            .then(|| number * 10 + u32::from(digit - b'0'))
    })
}

fn utc(time: Time) -> DateTime<Utc> {
    let seconds = i64::try_from(time.unix_seconds()).unwrap_or(LAST_SECOND);
    DateTime::from_timestamp(seconds.min(LAST_SECOND), 0).unwrap_or_default()
}

/// True for `Sun`, false for `Sunday`, `None` for a text that is neither.
fn is_short_weekday(text: &str) -> Option<bool> {
    let _: Weekday = text.parse().ok()?;
    Some(text.len() == 3)
}

fn without_gmt(text: &str) -> Option<&str> {
    let (date_time, zone) = text.rsplit_once(' ')?;
    zone.eq_ignore_ascii_case("GMT").then_some(date_time)
}

/// `None` if the text is not what the format writes.
fn exactly(text: &str, format: &Format) -> Option<NaiveDateTime> {
    let mut parsed = Parsed::new();
    parse(&mut parsed, text, format.iter()).ok()?;
    let date = parsed.to_naive_datetime_with_offset(0).ok()?;
    let written = date.format_with_items(format.iter()).to_string();
    written.eq_ignore_ascii_case(text).then_some(date)
}

/// RFC 9110, 5.6.7: a two-digit year that appears to be more than 50 years in the future is the most recent year in the
/// past with the same last two digits.
fn in_century(date: NaiveDateTime, now: Time) -> Option<NaiveDateTime> {
    let this_year = utc(now).year();
    let year = this_year - this_year % 100 + date.year() % 100;
    let is_far_ahead = year > this_year + 50;
    date.with_year(if is_far_ahead { year - 100 } else { year })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-23T03:30:00Z
    const NOW: Time = Time::from_unix_millis(1_795_404_600_000);
    const EXAMPLE_SECONDS: u64 = 784_111_777;

    fn seconds(text: &str) -> Option<u64> {
        http_date(text.as_bytes(), NOW).map(Time::unix_seconds)
    }

    #[test]
    fn s5_6_7_reads_all_three_forms_with_names_in_any_case() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "sun, 06 NOV 1994 08:49:37 gmt",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "SUNDAY, 06-nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
            "Sun Nov 06 08:49:37 1994",
        ] {
            assert_eq!(seconds(text), Some(EXAMPLE_SECONDS), "{text}");
        }
    }

    #[test]
    fn s5_6_7_refuses_everything_else() {
        for text in [
            "",
            "0",
            "-1",
            "Sun, 06 Nov 1994 08:49:37 UTC",
            "Sun, 06 Nov 1994 08:49:37 AEST",
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 06 Nov 1994 08:49:37 GMT ",
            "Sun, 06 Nov 94 08:49:37 GMT",
            "Sun 06 Nov 1994 08:49:37 GMT",
            "Sun, 06  Nov 1994 08:49:37 GMT",
            "Sun,  06 Nov 1994 08:49:37 GMT",
            "Sun, 06-Nov-1994 08:49:37 GMT",
            "Sun, 6 Nov 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 8:49:37 GMT",
            "Sun, 06 Nov 1994 24:00:00 GMT",
            "Sun, 06 Nov 1994 08:60:37 GMT",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 00 Nov 1994 08:49:37 GMT",
            "Son, 06 Nov 1994 08:49:37 GMT",
            "Sun, 06 Okt 1994 08:49:37 GMT",
            "Sun, 06-Nov-94 08:49:37 GMT",
            "Sunday, 06-Nov-1994 08:49:37 GMT",
            "06 Nov 1994 08:49:37 GMT",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn s5_6_7_two_digit_years_lie_at_most_fifty_years_ahead() {
        let year = |text| imf_fixdate(http_date(text, NOW).unwrap())[12..16].to_owned();
        assert_eq!(year(b"Sunday, 06-Nov-76 08:49:37 GMT"), "2076");
        assert_eq!(year(b"Sunday, 06-Nov-77 08:49:37 GMT"), "1977");
        assert_eq!(year(b"Sunday, 06-Nov-26 08:49:37 GMT"), "2026");
    }

    #[test]
    fn s5_6_7_leap_years_and_leap_seconds() {
        assert!(seconds("Thu, 29 Feb 2024 00:00:00 GMT").is_some());
        assert!(seconds("Tue, 29 Feb 2000 00:00:00 GMT").is_some());
        assert_eq!(seconds("Mon, 29 Feb 2100 00:00:00 GMT"), None);
        assert_eq!(
            seconds("Sat, 31 Dec 2016 23:59:60 GMT"),
            seconds("Sat, 31 Dec 2016 23:59:59 GMT")
        );
        assert_eq!(seconds("Wed, 01 Jan 1969 00:00:00 GMT"), Some(0));
    }

    #[test]
    fn writes_imf_fixdate() {
        let time = Time::from_unix_millis(EXAMPLE_SECONDS * 1000 + 999);
        assert_eq!(imf_fixdate(time), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(
            imf_fixdate(Time::from_unix_millis(0)),
            "Thu, 01 Jan 1970 00:00:00 GMT"
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>, now: u64) {
            let _ = http_date(&bytes, Time::from_unix_millis(now));
        }

        #[test]
        fn nearly_dates_are_read_without_panic(text in "[A-Z][a-z]{2,8},? [ 0-9]{1,3}[- ][A-Z][a-z]{2}[- ][0-9]{2,5} [0-9:]{7,9} GMT") {
            let _ = http_date(text.as_bytes(), NOW);
        }

        #[test]
        fn a_written_date_is_parsed_again(seconds in 0_u64..253_402_300_800) {
            let time = Time::from_unix_millis(seconds * 1000);
            prop_assert_eq!(http_date(imf_fixdate(time).as_bytes(), NOW), Some(time));
        }

        #[test]
        fn a_usual_date_is_read_as_any_other(
            text in "(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-3][0-9] (Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [0-9]{4} [0-2][0-9]:[0-6][0-9]:[0-6][0-9] GMT",
            seconds in 0_u64..253_402_300_800,
            at in 0_usize..29,
            byte: u8,
        ) {
            let written = imf_fixdate(Time::from_unix_millis(seconds * 1000));
            prop_assert!(usual(written.as_bytes()).is_some());
            let mut texts = [text, written].map(String::into_bytes);
            for _ in 0..2 {
                for text in &mut texts {
                    let decoded = std::str::from_utf8(text).ok();
                    let expected = decoded.and_then(|text| any_form(text, NOW));
                    prop_assert_eq!(http_date(text, NOW), expected);
                    text[at] = byte;
                }
            }
        }

        #[test]
        fn any_time_is_written_without_panic(millis: u64) {
            let _ = imf_fixdate(Time::from_unix_millis(millis));
        }
    }
}
