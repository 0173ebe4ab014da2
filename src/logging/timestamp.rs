//! The time of a log line. Each thread formats it once a second: formatting it costs more than the rest of the line.

use std::{cell::RefCell, time::SystemTime};

use chrono::{DateTime, Local};

/// The format of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeFormat {
    /// `2026-11-24T08:59:29.123+00:00`.
    Rfc3339,
    /// `24/Nov/2026:08:59:29 +0000`.
    CommonLog,
}

impl TimeFormat {
    /// The patterns of the parts before and after the milliseconds, which stay the same within a second. `None` after them
    /// if the format has no milliseconds.
    const fn parts(self) -> (&'static str, Option<&'static str>) {
        match self {
            Self::Rfc3339 => ("%Y-%m-%dT%H:%M:%S.", Some("%:z")),
            Self::CommonLog => ("%d/%b/%Y:%H:%M:%S %z", None),
        }
    }
}

/// The second that a thread has formatted last.
struct FormattedSecond {
    format: TimeFormat,
    second: i64,
    before: String,
    /// `None` if the format has no milliseconds.
    after: Option<String>,
}

impl FormattedSecond {
    fn new(format: TimeFormat, time: DateTime<Local>) -> Self {
        let (before, after) = format.parts();
        Self {
            format,
            second: time.timestamp(),
            before: time.format(before).to_string(),
            after: after.map(|after| time.format(after).to_string()),
        }
    }

    fn write(&self, millis: u32, out: &mut Vec<u8>) {
        out.extend_from_slice(self.before.as_bytes());
        if let Some(after) = &self.after {
            let digits = [millis / 100, millis / 10 % 10, millis % 10];
            out.extend(digits.map(|digit| b"0123456789"[digit as usize]));
            out.extend_from_slice(after.as_bytes());
        }
    }
}

/// Writes the local time.
pub(super) fn write_time(out: &mut Vec<u8>, format: TimeFormat) {
    thread_local! {
        static LAST: RefCell<Option<FormattedSecond>> = const { RefCell::new(None) };
    }
    let (second, millis) = now();
    let new = || FormattedSecond::new(format, at(second));
    let written = LAST.try_with(|last| {
        let mut last = last.borrow_mut();
        let last = last.get_or_insert_with(new);
        if (last.second, last.format) != (second, format) {
            *last = new();
        }
        last.write(millis, out);
    });
    // A thread that ends has no variables any more.
    if written.is_err() {
        new().write(millis, out);
    }
}

/// Seconds since 1970, and the milliseconds of the current second.
#[allow(clippy::disallowed_methods, reason = "only shown in the log")]
fn now() -> (i64, u32) {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    (seconds, since.subsec_millis())
}

fn at(second: i64) -> DateTime<Local> {
    DateTime::from_timestamp(second, 0)
        .unwrap_or_default()
        .with_timezone(&Local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_can_be_parsed_again() {
        for (format, read) in [
            (TimeFormat::Rfc3339, "%Y-%m-%dT%H:%M:%S%.3f%:z"),
            (TimeFormat::CommonLog, "%d/%b/%Y:%H:%M:%S %z"),
        ] {
            let mut written = Vec::new();
            FormattedSecond::new(format, at(1_795_404_600)).write(7, &mut written);
            let written = String::from_utf8(written).unwrap();
            let read = DateTime::parse_from_str(&written, read).unwrap();
            let millis = if format == TimeFormat::Rfc3339 { 7 } else { 0 };
            assert_eq!(
                read.timestamp_millis(),
                1_795_404_600_000 + millis,
                "{written}"
            );
        }
    }

    #[test]
    fn one_thread_can_use_several_formats() {
        for _ in 0..2 {
            for (format, len) in [(TimeFormat::Rfc3339, 29), (TimeFormat::CommonLog, 26)] {
                let mut written = Vec::new();
                write_time(&mut written, format);
                assert_eq!(written.len(), len, "{written:?}");
            }
        }
    }
}
