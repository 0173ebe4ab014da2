//! The dates of certificates that are made here.

use std::time::Duration;

use chrono::{DateTime, Datelike as _};
use rcgen::CertificateParams;

use crate::policy::Time;

pub(super) const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes a certificate valid from the day of `from` until the beginning of the day of `until`.
pub(super) fn set_validity(params: &mut CertificateParams, from: Time, until: Time) {
    let day = |time: Time| {
        let seconds = i64::try_from(time.unix_seconds()).unwrap_or(i64::MAX);
        let date = DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::UNIX_EPOCH);
        let number = |it: u32| u8::try_from(it).unwrap_or(1);
        let (month, day) = (number(date.month()), number(date.day()));
        rcgen::date_time_ymd(date.year().min(9999), month, day)
    };
    (params.not_before, params.not_after) = (day(from), day(until));
}
