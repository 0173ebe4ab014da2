//! RFC 9110, 5.6.7: HTTP dates, read strictly.
//!
//! A lenient reader turns a broken Expires into a long lifetime. So what is not exactly one of the three
//! forms is no date, and the callers know what that means (an invalid Expires is in the past).

use crate::policy::Time;

const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];
const SECONDS_OF_DAY: u64 = 86_400;

/// Reads an HTTP date: IMF-fixdate, RFC 850 or asctime; names in any case. `now` resolves two-digit years.
///
/// None when it is anything else. Dates before 1970 become the epoch.
pub(in crate::policy) fn http_date(value: &[u8], now: Time) -> Option<Time> {
    imf_date(value)
        .or_else(|| rfc850_date(value, now))
        .or_else(|| asctime_date(value))
}

/// Writes a time as IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT`.
pub(in crate::policy) fn imf_fixdate(time: Time) -> String {
    let seconds = time.unix_seconds();
    let days = seconds / SECONDS_OF_DAY;
    let (year, month, day) = civil(days);
    // 1970-01-01 was a Thursday.
    let week_day = DAYS[usize::try_from((days + 4) % 7).unwrap_or(0)];
    let month_name = MONTHS[month - 1];
    let second_of_day = seconds % SECONDS_OF_DAY;
    format!(
        "{}, {day:02} {month_name} {year:04} {:02}:{:02}:{:02} GMT",
        &week_day[..3],
        second_of_day / 3600,
        second_of_day / 60 % 60,
        second_of_day % 60,
    )
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn imf_date(value: &[u8]) -> Option<Time> {
    let mut reader = Reader(value);
    reader.name(DAYS.iter().map(|day| &day[..3]))?;
    reader.literal(b", ")?;
    let day = reader.number(2)?;
    reader.literal(b" ")?;
    let month = reader.name(MONTHS)?;
    reader.literal(b" ")?;
    let year = reader.number(4)?;
    reader.literal(b" ")?;
    let second_of_day = reader.time_of_day()?;
    reader.literal(b" ")?;
    reader.name(["GMT"])?;
    reader.end()?;
    moment(year, month, day, second_of_day)
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850_date(value: &[u8], now: Time) -> Option<Time> {
    let mut reader = Reader(value);
    reader.name(DAYS)?;
    reader.literal(b", ")?;
    let day = reader.number(2)?;
    reader.literal(b"-")?;
    let month = reader.name(MONTHS)?;
    reader.literal(b"-")?;
    let year_of_century = reader.number(2)?;
    reader.literal(b" ")?;
    let second_of_day = reader.time_of_day()?;
    reader.literal(b" ")?;
    reader.name(["GMT"])?;
    reader.end()?;
    // RFC 9110, 5.6.7: what appears to be more than 50 years in the future is the most recent year in the
    // past with the same last two digits.
    let (this_year, _, _) = civil(now.unix_seconds() / SECONDS_OF_DAY);
    let year = this_year - this_year % 100 + year_of_century;
    let year = if year > this_year + 50 {
        year - 100
    } else {
        year
    };
    moment(year, month, day, second_of_day)
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime_date(value: &[u8]) -> Option<Time> {
    let mut reader = Reader(value);
    reader.name(DAYS.iter().map(|day| &day[..3]))?;
    reader.literal(b" ")?;
    let month = reader.name(MONTHS)?;
    reader.literal(b" ")?;
    let day = match reader.literal(b" ") {
        Some(()) => reader.number(1)?,
        None => reader.number(2)?,
    };
    reader.literal(b" ")?;
    let second_of_day = reader.time_of_day()?;
    reader.literal(b" ")?;
    let year = reader.number(4)?;
    reader.end()?;
    moment(year, month, day, second_of_day)
}

/// Consumes the text of a date from its front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn literal(&mut self, text: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(text)?;
        Some(())
    }

    /// The 1-based place of the name that stands here.
    fn name<'n>(&mut self, names: impl IntoIterator<Item = &'n str>) -> Option<usize> {
        let (index, length) = names.into_iter().enumerate().find_map(|(index, name)| {
            let head = self.0.get(..name.len())?;
            head.eq_ignore_ascii_case(name.as_bytes())
                .then_some((index, name.len()))
        })?;
        self.0 = &self.0[length..];
        Some(index + 1)
    }

    /// Exactly so many digits.
    fn number(&mut self, digits: usize) -> Option<u64> {
        let (head, rest) = self.0.split_at_checked(digits)?;
        let number = head.iter().try_fold(0, |number, byte| {
            byte.is_ascii_digit()
                .then(|| number * 10 + u64::from(byte - b'0'))
        })?;
        self.0 = rest;
        Some(number)
    }

    /// `08:49:37` in seconds; a leap second counts as the one before.
    fn time_of_day(&mut self) -> Option<u64> {
        let hour = self.number(2)?;
        self.literal(b":")?;
        let minute = self.number(2)?;
        self.literal(b":")?;
        let second = self.number(2)?;
        (hour < 24 && minute < 60 && second <= 60)
            .then(|| hour * 3600 + minute * 60 + second.min(59))
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

fn moment(year: u64, month: usize, day: u64, second_of_day: u64) -> Option<Time> {
    if day == 0 || day > days_of_month(year, month) {
        return None;
    }
    if year < 1970 {
        return Some(Time::from_unix_millis(0));
    }
    let days_of_earlier_months: u64 = (1..month).map(|earlier| days_of_month(year, earlier)).sum();
    let days = days_before_year(year) + days_of_earlier_months + day - 1;
    let seconds = days * SECONDS_OF_DAY + second_of_day;
    Some(Time::from_unix_millis(seconds * 1000))
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_of_month(year: u64, month: usize) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from the epoch to January 1st of a year from 1970 on.
fn days_before_year(year: u64) -> u64 {
    let leap_days_until = |year: u64| year / 4 - year / 100 + year / 400;
    (year - 1970) * 365 + leap_days_until(year - 1) - leap_days_until(1969)
}

/// Year, month (1 to 12) and day of a day counted from the epoch.
fn civil(days: u64) -> (u64, usize, u64) {
    // The mean length of a year misses the right one by less than a year.
    let mut year = (1970 + days.saturating_mul(400) / 146_097)
        .saturating_sub(1)
        .max(1970);
    while days_before_year(year + 1) <= days {
        year += 1;
    }
    let mut day = days - days_before_year(year);
    let mut month = 1;
    while month < 12 && day >= days_of_month(year, month) {
        day -= days_of_month(year, month);
        month += 1;
    }
    (year, month, day + 1)
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
        fn what_is_written_reads_back(seconds in 0_u64..253_402_300_800) {
            let time = Time::from_unix_millis(seconds * 1000);
            prop_assert_eq!(http_date(imf_fixdate(time).as_bytes(), NOW), Some(time));
        }

        #[test]
        fn any_time_is_written_without_panic(millis: u64) {
            let _ = imf_fixdate(Time::from_unix_millis(millis));
        }
    }
}
