//! Retry-After (RFC 9110, 10.2.3).

use std::time::Duration;

use actix_web::http::header::{self};

use super::date::http_date;
use crate::policy::{ResponseHeaders, Time};

/// How long a client should wait before its next request. `None` without Retry-After, if it is neither a number of seconds
/// nor a date, and if the time has passed already.
pub fn retry_after(headers: &ResponseHeaders, now: Time) -> Option<Duration> {
    let value = headers.get(&header::RETRY_AFTER)?.trim_ascii();
    let is_number = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let wait = match is_number {
        // Only a number that is too large is no u64.
        true => {
            let seconds = std::str::from_utf8(value).ok()?.parse().unwrap_or(u64::MAX);
            Duration::from_secs(seconds)
        }
        false => Duration::from_millis(http_date(value, now)?.millis_since(now)),
    };
    (!wait.is_zero()).then_some(wait)
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::policy::fixture::headers;

    #[test]
    fn s10_2_3_seconds_and_dates_are_read_and_never_negative() {
        // Sun, 06 Nov 1994 08:49:37 GMT
        let now = Time::from_unix_millis(784_111_777_000);
        for (value, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0", None),
            ("-5", None),
            ("+5", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120)),
            ("Sunday, 06-Nov-94 08:49:47 GMT", Some(10)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:00:00 GMT", None),
        ] {
            let headers = headers(&[("retry-after", value)]);
            let found = retry_after(&headers, now);
            assert_eq!(found, seconds.map(Duration::from_secs), "{value:?}");
        }
        assert_eq!(retry_after(&ResponseHeaders::new(), now), None);
    }
}
