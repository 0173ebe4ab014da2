//! All that is counted, in the words and figures that people and programs get.

use std::{fmt::Write as _, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Observer, Totals};
use crate::{
    cache::CacheStats,
    error::ProxyError,
    policy::{Mode, Reason, Time},
};

/// How a proxy is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// For how long it has been counting.
    pub uptime_seconds: u64,
    /// Requests answered, in whatever way.
    pub requests: u64,
    /// Of all but the proxy's own answers, the share whose body came from the cache, from 0 to 1; None: there were none.
    pub hit_ratio: Option<f64>,
    /// Fresh stored responses served.
    pub hits: u64,
    /// Stored responses served after the origin called them current.
    pub validated: u64,
    /// Stored responses served past their time.
    pub stale: u64,
    /// Responses of the origin handed on.
    pub misses: u64,
    /// Requests that shared another one's fetch.
    pub collapsed: u64,
    /// Answers of the proxy's own, to OPTIONS and TRACE.
    pub own: u64,
    /// Requests that got neither the origin's answer nor the cache's.
    pub failed: u64,
    /// Why misses went to the origin.
    pub misses_by: Vec<ReasonCount>,
    /// Why answers of the origin were not kept.
    pub not_stored_by: Vec<ReasonCount>,
    /// Why stored responses were not used as they were.
    pub not_reused_by: Vec<ReasonCount>,
    /// What failed requests failed of.
    pub failed_by: Vec<ReasonCount>,
    /// Answers by the first digit of their status, from 1 to 5.
    pub status_classes: Vec<u64>,
    /// Bytes of bodies that left for clients.
    pub sent_bytes: u64,
    /// Bytes of bodies that came from the origin.
    pub received_bytes: u64,
    /// What the cache has spared.
    pub saved: Saved,
    /// How the origin does.
    pub origin: OriginReport,
    /// How the cache does; None: it did not answer.
    pub cache: Option<CacheStats>,
}

/// One reason, and how often it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// Its short name.
    pub name: String,
    /// How often.
    pub count: u64,
    /// What it means or, where there is such a thing, which flag would change it.
    pub hint: Option<String>,
}

/// What the cache has spared the origin and those who wait for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Requests to the origin.
    pub requests: u64,
    /// Their share of all requests but the proxy's own answers, from 0 to 1.
    pub sharing: Option<f64>,
    /// Bytes of bodies.
    pub bytes: u64,
    /// Waiting: what the fetches of what was served again once took, in milliseconds.
    pub millis: u64,
}

/// How the origin does, as seen from here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginReport {
    /// Answers whose head has come.
    pub answers: u64,
    /// Requests that failed.
    pub failures: u64,
    /// And how.
    pub failures_by: Vec<ReasonCount>,
    /// Half of all answers began within so many milliseconds; None: there were none.
    pub p50_millis: Option<f64>,
    /// Nine of ten.
    pub p90_millis: Option<f64>,
    /// Ninety-nine of a hundred.
    pub p99_millis: Option<f64>,
    /// When it last answered, in milliseconds since the epoch.
    pub last_answer: Option<u64>,
    /// When it last failed, in milliseconds since the epoch.
    pub last_failure: Option<u64>,
    /// The short name of that failure.
    pub last_failure_kind: Option<String>,
}

impl Report {
    /// Of what was counted so far, with what the cache says of itself; hints are for the policy in force.
    pub fn new(observer: &Observer, cache: Option<CacheStats>, mode: Mode) -> Self {
        let totals = observer.totals();
        let judged = totals.requests().saturating_sub(totals.own());
        let from_cache = totals.hits() + totals.validated() + totals.stale();
        let reason = |(reason, count): (Reason, u64)| {
            let hint = reason.remedy(mode).unwrap_or(reason.meaning());
            cause(reason.as_str(), count, hint)
        };
        Self {
            uptime_seconds: observer.uptime().as_secs(),
            requests: totals.requests(),
            hit_ratio: sharing(from_cache, judged),
            hits: totals.hits(),
            validated: totals.validated(),
            stale: totals.stale(),
            misses: totals.misses(),
            collapsed: totals.collapsed(),
            own: totals.own(),
            failed: totals.failed(),
            misses_by: causes(
                totals
                    .misses_by()
                    .map(|(forward, count)| cause(forward.as_str(), count, forward.meaning())),
            ),
            not_stored_by: causes(totals.not_stored_by().map(reason)),
            not_reused_by: causes(totals.not_reused_by().map(reason)),
            failed_by: causes(
                totals
                    .failed_by()
                    .map(|(name, count)| cause(name, count, failure_meaning(name))),
            ),
            status_classes: totals.classes().to_vec(),
            sent_bytes: totals.sent_bytes(),
            received_bytes: totals.received_bytes(),
            saved: Saved::of(&totals),
            origin: OriginReport::of(&totals),
            cache,
        }
    }
}

impl Saved {
    /// What these counts say.
    pub fn of(totals: &Totals) -> Self {
        let judged = totals.requests().saturating_sub(totals.own());
        Self {
            requests: totals.saved_requests(),
            sharing: sharing(totals.saved_requests(), judged),
            bytes: totals.saved_bytes(),
            millis: totals.saved_millis(),
        }
    }

    /// The same in one line; None: nobody has asked anything.
    pub fn sentence(&self) -> Option<String> {
        let sharing = self.sharing?;
        let (requests, bytes) = (grouped(self.requests), bytesize::ByteSize(self.bytes));
        let word = match self.requests {
            1 => "request",
            _ => "requests",
        };
        let waiting = duration(Duration::from_millis(self.millis));
        Some(format!(
            "saved {requests} {word} to the origin ({:.0} %), {bytes}, {waiting} of waiting",
            sharing * 100.0
        ))
    }
}

impl OriginReport {
    fn of(totals: &Totals) -> Self {
        let failure = totals.last_failure();
        Self {
            answers: totals.latency_counts().iter().sum(),
            failures: totals.origin_failed_by().map(|(_, count)| count).sum(),
            failures_by: causes(
                totals
                    .origin_failed_by()
                    .map(|(kind, count)| cause(kind.name(), count, kind.meaning())),
            ),
            p50_millis: totals.latency_percentile(0.5),
            p90_millis: totals.latency_percentile(0.9),
            p99_millis: totals.latency_percentile(0.99),
            last_answer: totals.last_answer().map(Time::unix_millis),
            last_failure: failure.map(|(time, _)| time.unix_millis()),
            last_failure_kind: failure.map(|(_, kind)| kind.name().to_owned()),
        }
    }
}

fn cause(name: &str, count: u64, hint: &str) -> ReasonCount {
    ReasonCount {
        name: name.to_owned(),
        count,
        hint: Some(hint.to_owned()),
    }
}

fn failure_meaning(name: &str) -> &'static str {
    let kind = ProxyError::KINDS.iter().find(|kind| kind.0 == name);
    kind.map_or("", |(_, meaning)| meaning)
}

/// Those that were, the most frequent first.
fn causes(all: impl Iterator<Item = ReasonCount>) -> Vec<ReasonCount> {
    let mut causes: Vec<ReasonCount> = all.filter(|cause| cause.count > 0).collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    causes
}

#[allow(clippy::cast_precision_loss, reason = "a share of two counts")]
fn sharing(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// A number with commas between its thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A duration in its two largest units: `3 min 12 s`.
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds < 10 {
        return format!("{:.1} s", duration.as_secs_f64());
    }
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "min"),
        (seconds % 60, "s"),
    ];
    let mut text = String::new();
    let large = parts.iter().skip_while(|(number, _)| *number == 0);
    for (number, unit) in large.take(2).filter(|(number, _)| *number > 0) {
        let gap = if text.is_empty() { "" } else { " " };
        let _ = write!(text, "{gap}{number} {unit}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        headers::{CacheStatus, RequestOutcome, StoreOutcome},
        observe::LiveRequests,
        origin::OriginErrorKind,
        policy::{Forward, ForwardReason},
    };
    use actix_web::http::StatusCode;

    #[test]
    fn what_was_saved_is_said_in_one_line_when_somebody_has_asked() {
        let observer = Observer::new(LiveRequests::Off);
        let tally = observer.tally();
        assert_eq!(Saved::of(&observer.totals()).sentence(), None);
        let hit = CacheStatus {
            saved_millis: 48_000,
            ..CacheStatus::hit(None)
        };
        for _ in 0..4 {
            tally.answered(StatusCode::OK, &hit);
            tally.saved(1 << 20);
        }
        let miss = CacheStatus::miss(ForwardReason::UriMiss.into(), None, StoreOutcome::Stored);
        tally.answered(StatusCode::OK, &miss);
        assert_eq!(
            Saved::of(&observer.totals()).sentence().unwrap(),
            "saved 4 requests to the origin (80 %), 4.0 MiB, 3 min 12 s of waiting"
        );
    }

    #[test]
    fn the_own_answers_of_the_proxy_do_not_count_for_the_ratio() {
        let observer = Observer::new(LiveRequests::Off);
        let tally = observer.tally();
        tally.answered(StatusCode::OK, &CacheStatus::hit(None));
        tally.answered(StatusCode::OK, &CacheStatus::own_response());
        let report = Report::new(&observer, None, Mode::Standard);
        assert_eq!((report.requests, report.hit_ratio), (2, Some(1.0)));
    }

    /// What beside the name of a reason fits into a row of 80 columns.
    const HINT_COLUMNS: usize = 41;

    #[test]
    fn every_name_has_an_explanation_that_fits_into_a_row() {
        let observer = Observer::new(LiveRequests::Off);
        let tally = observer.tally();
        for reason in Reason::ALL {
            let why = Forward::with_detail(ForwardReason::Request, reason);
            let storing = StoreOutcome::NotStored(reason);
            tally.answered(StatusCode::OK, &CacheStatus::miss(why, None, storing));
        }
        for forward in ForwardReason::ALL {
            let storing = StoreOutcome::Stored;
            let miss = CacheStatus::miss(forward.into(), None, storing);
            tally.answered(StatusCode::OK, &miss);
        }
        for (name, _) in ProxyError::KINDS {
            let failed = CacheStatus {
                outcome: RequestOutcome::Failed(name),
                ..CacheStatus::own_response()
            };
            tally.answered(StatusCode::BAD_GATEWAY, &failed);
        }
        for kind in OriginErrorKind::ALL {
            tally.origin_failed(kind, Time::from_unix_millis(1));
        }
        for mode in [Mode::Standard, Mode::Strict, Mode::Always] {
            let report = Report::new(&observer, None, mode);
            let all = [
                (report.misses_by, ForwardReason::ALL.len()),
                (report.not_stored_by, Reason::ALL.len()),
                (report.not_reused_by, Reason::ALL.len()),
                (report.failed_by, ProxyError::KINDS.len()),
                (report.origin.failures_by, OriginErrorKind::ALL.len()),
            ];
            for (causes, count) in all {
                assert_eq!(causes.len(), count);
                for ReasonCount { name, hint, .. } in causes {
                    let hint = hint.unwrap_or_default();
                    assert!((5..=HINT_COLUMNS).contains(&hint.len()), "{name}: {hint}");
                    assert!(name.len() <= 23, "{name}");
                }
            }
        }
    }

    #[test]
    fn numbers_and_durations_are_easy_to_read() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1234, "1,234"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (millis, text) in [
            (0, "0.0 s"),
            (1_240, "1.2 s"),
            (192_000, "3 min 12 s"),
            (180_000, "3 min"),
            (7_384_000, "2 h 3 min"),
            (86_400_000 + 5_000, "1 d"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
    }
}
