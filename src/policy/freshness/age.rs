//! RFC 9111, 4.2.3: calculating age.

use actix_web::http::header::{AGE, DATE};

use crate::policy::{
    ResponseHeaders, Time,
    directives::cache_control::delta_seconds,
    syntax::{date::http_date, list::trim},
};

/// `corrected_initial_age` in milliseconds: the age of a response when it was received. `date` is that of the response, or
/// the time of its receipt.
pub(in crate::policy) fn corrected_initial_age_millis(
    headers: &ResponseHeaders,
    date: Time,
    request_time: Time,
    response_time: Time,
) -> u64 {
    // Dates have whole seconds, so a fraction of a second must not count as age.
    let apparent_age_seconds = response_time
        .unix_seconds()
        .saturating_sub(date.unix_seconds());
    let response_delay_millis = response_time.millis_since(request_time);
    let corrected_age_millis = u64::from(age_value_seconds(headers)) * 1000 + response_delay_millis;
    corrected_age_millis.max(apparent_age_seconds * 1000)
}

/// The Date of a response. `None` if it is absent, repeated or invalid.
pub(in crate::policy) fn date(headers: &ResponseHeaders, now: Time) -> Option<Time> {
    let mut lines = headers.get_all(&DATE);
    match (lines.next(), lines.next()) {
        (Some(line), None) => http_date(line, now),
        _ => None,
    }
}

/// RFC 9111, 5.1: the first member of the first line. 0 if it is absent or not a number.
fn age_value_seconds(headers: &ResponseHeaders) -> u32 {
    headers.get(&AGE).map_or(0, |line| {
        let first = line.split(|&byte| byte == b',').next();
        delta_seconds(trim(first.unwrap_or_default())).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::{NOW, headers};
    use proptest::prelude::*;

    fn age_millis(headers: &ResponseHeaders, request_time: Time, response_time: Time) -> u64 {
        let date = date(headers, response_time).unwrap_or(response_time);
        corrected_initial_age_millis(headers, date, request_time, response_time)
    }

    fn age_seconds(lines: &[(&str, &str)]) -> u64 {
        age_millis(&headers(lines), NOW, NOW) / 1000
    }

    #[test]
    fn s5_1_age_is_the_first_member_of_the_first_line_digits_only_and_saturates() {
        for (value, seconds) in [
            ("7", 7),
            ("007", 7),
            ("7, 3", 7),
            ("7 , x", 7),
            ("x, 7", 0),
            (", 7", 0),
            ("-7", 0),
            ("7.0", 0),
            ("\"7\"", 0),
            ("99999999999999999999", 1 << 31),
        ] {
            assert_eq!(age_seconds(&[("age", value)]), seconds, "{value}");
        }
        assert_eq!(age_seconds(&[("age", "3"), ("age", "9")]), 3);
    }

    #[test]
    fn s4_2_3_the_larger_of_apparent_age_and_corrected_age_value_counts() {
        let date = "Mon, 23 Nov 2026 03:29:50 GMT"; // ten seconds before NOW
        assert_eq!(age_seconds(&[("date", date)]), 10);
        assert_eq!(age_seconds(&[("date", date), ("age", "3")]), 10);
        assert_eq!(age_seconds(&[("date", date), ("age", "30")]), 30);
        assert_eq!(age_seconds(&[("date", "Mon, 23 Nov 2026 03:31:00 GMT")]), 0);
        assert_eq!(age_seconds(&[("date", date), ("date", date)]), 0);
        assert_eq!(age_seconds(&[("date", "yesterday")]), 0);
    }

    #[test]
    fn s4_2_3_the_delay_of_the_response_counts() {
        let later = Time::from_unix_millis(NOW.unix_millis() + 4500);
        let aged = headers(&[("age", "2")]);
        assert_eq!(age_millis(&aged, NOW, later), 6500);
        assert_eq!(age_millis(&aged, later, NOW), 2000);
    }

    #[test]
    fn s4_2_3_a_fraction_of_a_second_is_not_age() {
        let later = Time::from_unix_millis(NOW.unix_millis() + 999);
        let fresh = headers(&[("date", "Mon, 23 Nov 2026 03:30:00 GMT")]);
        assert_eq!(age_millis(&fresh, later, later), 0);
    }

    proptest! {
        #[test]
        fn any_age_and_date_saturate(age: Vec<u8>, date: Vec<u8>, millis: u64) {
            let mut lines = ResponseHeaders::new();
            lines.extend([(&b"age"[..], &*age), (b"date", &date)]);
            let at = Time::from_unix_millis(millis);
            age_millis(&lines, at, at);
        }

        #[test]
        fn a_response_is_at_least_as_old_as_its_age(seconds: u64, behind in "( *,[ -~]{0,5})?") {
            let value = format!("{seconds}{behind}");
            let expected = seconds.min(1 << 31);
            prop_assert_eq!(age_seconds(&[("age", &value)]), expected);
        }
    }
}
