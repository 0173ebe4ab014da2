//! The time of a line, made anew once a second in each thread: to make it costs more than all else of the line.

use std::{cell::RefCell, time::SystemTime};

use chrono::{DateTime, Local};

/// How a time is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    /// `2026-11-24 08:59:29`.
    Text,
    /// `2026-11-24T08:59:29` and `+00:00`.
    Rfc3339,
    /// `24/Nov/2026:08:59:29` and `+0000`.
    CommonLog,
}

impl Pattern {
    /// What does not change within a second: the part before its fractions and the part behind them.
    const fn parts(self) -> (&'static str, &'static str) {
        match self {
            Self::Text => ("%Y-%m-%d %H:%M:%S", ""),
            Self::Rfc3339 => ("%Y-%m-%dT%H:%M:%S", "%:z"),
            Self::CommonLog => ("%d/%b/%Y:%H:%M:%S", "%z"),
        }
    }
}

/// A second as it was written last.
struct Second {
    pattern: Pattern,
    second: i64,
    before: String,
    behind: String,
}

impl Second {
    fn new(pattern: Pattern, time: DateTime<Local>) -> Self {
        let (before, behind) = pattern.parts();
        Self {
            pattern,
            second: time.timestamp(),
            before: time.format(before).to_string(),
            behind: time.format(behind).to_string(),
        }
    }
}

/// Gives `write` the time by the local clock: what stands before the milliseconds, those, and what stands behind them.
pub(super) fn stamped<T>(pattern: Pattern, write: impl FnOnce(&str, u32, &str) -> T) -> T {
    thread_local! {
        static LAST: RefCell<Option<Second>> = const { RefCell::new(None) };
    }
    let (second, millis) = now();
    LAST.with(|last| {
        let mut last = last.take();
        let is_now = |last: &&mut Second| last.second == second && last.pattern == pattern;
        let current = match last.as_mut().filter(is_now) {
            Some(current) => current,
            None => last.insert(Second::new(pattern, at(second))),
        };
        let written = write(&current.before, millis, &current.behind);
        LAST.set(last);
        written
    })
}

/// Seconds since 1970, and milliseconds of the present one.
#[allow(
    clippy::disallowed_methods,
    reason = "the time of a line of the log, on which nothing depends"
)]
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
    fn each_pattern_can_be_read_back() {
        for (pattern, read) in [
            (Pattern::Rfc3339, "%Y-%m-%dT%H:%M:%S%:z"),
            (Pattern::CommonLog, "%d/%b/%Y:%H:%M:%S%z"),
        ] {
            let second = Second::new(pattern, at(1_795_404_600));
            let written = format!("{}{}", second.before, second.behind);
            let read = DateTime::parse_from_str(&written, read).unwrap();
            assert_eq!(read.timestamp(), 1_795_404_600, "{written}");
        }
    }

    #[test]
    fn one_thread_may_use_several_patterns() {
        for _ in 0..2 {
            let text = stamped(Pattern::Text, |before, _, behind| {
                format!("{before}{behind}")
            });
            let common = stamped(Pattern::CommonLog, |before, _, _| before.to_owned());
            assert_eq!((text.len(), common.len()), (19, 20), "{text} {common}");
        }
    }
}
