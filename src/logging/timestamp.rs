//! The time of a log line. Each thread formats it once a second: formatting it costs more than the rest of the line.

use std::{cell::RefCell, time::SystemTime};

use chrono::{DateTime, Local};

/// The format of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TimeFormat {
    /// `2026-11-24T08:59:29` and `+00:00`.
    Rfc3339,
    /// `24/Nov/2026:08:59:29` and `+0000`.
    CommonLog,
}

impl TimeFormat {
    /// The patterns of the parts before and after the milliseconds, which stay the same within a second.
    const fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Rfc3339 => ("%Y-%m-%dT%H:%M:%S", "%:z"),
            Self::CommonLog => ("%d/%b/%Y:%H:%M:%S", "%z"),
        }
    }
}

/// The second that a thread has formatted last.
struct FormattedSecond {
    format: TimeFormat,
    second: i64,
    before: String,
    after: String,
}

impl FormattedSecond {
    fn new(format: TimeFormat, time: DateTime<Local>) -> Self {
        let (before, after) = format.parts();
        Self {
            format,
            second: time.timestamp(),
            before: time.format(before).to_string(),
            after: time.format(after).to_string(),
        }
    }
}

/// Calls `write` with the local time: the part before the milliseconds, the milliseconds, and the part after them.
pub(super) fn with_time<T>(format: TimeFormat, write: impl FnOnce(&str, u32, &str) -> T) -> T {
    thread_local! {
        static LAST: RefCell<Option<FormattedSecond>> = const { RefCell::new(None) };
    }
    let (second, millis) = now();
    LAST.with(|last| {
        let mut last = last.take();
        let is_now = |last: &&mut FormattedSecond| last.second == second && last.format == format;
        let current = match last.as_mut().filter(is_now) {
            Some(current) => current,
            None => last.insert(FormattedSecond::new(format, at(second))),
        };
        let written = write(&current.before, millis, &current.after);
        LAST.set(last);
        written
    })
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
            (TimeFormat::Rfc3339, "%Y-%m-%dT%H:%M:%S%:z"),
            (TimeFormat::CommonLog, "%d/%b/%Y:%H:%M:%S%z"),
        ] {
            let second = FormattedSecond::new(format, at(1_795_404_600));
            let written = format!("{}{}", second.before, second.after);
            let read = DateTime::parse_from_str(&written, read).unwrap();
            assert_eq!(read.timestamp(), 1_795_404_600, "{written}");
        }
    }

    #[test]
    fn one_thread_can_use_several_formats() {
        for _ in 0..2 {
            let text = with_time(TimeFormat::Rfc3339, |before, _, after| {
                format!("{before}{after}")
            });
            let common = with_time(TimeFormat::CommonLog, |before, _, _| before.to_owned());
            assert_eq!((text.len(), common.len()), (25, 20), "{text} {common}");
        }
    }
}
