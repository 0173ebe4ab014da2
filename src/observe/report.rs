//! [`Report`]: all counters, with a name and an explanation for each reason. `stats` and the dashboard show it.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    CertificateReport, ClientReport, Observer, OriginTotals, RouteTotals, Totals, dropped_log_lines,
};
use crate::{
    cache::CacheStats,
    disk::DiskStats,
    error::ProxyError,
    headers::RequestOutcome,
    origin::{OriginPace, OriginUrl},
    policy::{Mode, Reason, Remedy, Time},
    redis::RedisStats,
};

/// The state of a proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Seconds since the proxy began to count.
    pub uptime_seconds: u64,
    /// Whether no request goes to an origin.
    #[serde(default)]
    pub is_offline: bool,
    /// All requests.
    pub requests: u64,
    /// The share of requests whose body came from the cache, from 0 to 1. Responses of the proxy's own, and tunnels, do not
    /// count. `None` if there were no others.
    pub hit_ratio: Option<f64>,
    /// Fresh stored responses served.
    pub hits: u64,
    /// Stored responses served after the origin confirmed them with 304.
    pub validated: u64,
    /// Stored responses served while stale.
    pub stale: u64,
    /// Responses that came from the origin.
    pub misses: u64,
    /// Requests that shared the fetch of another request.
    pub collapsed: u64,
    /// Responses of the proxy's own: to OPTIONS and TRACE, and redirects to https.
    pub own: u64,
    /// Tunnels (WebSocket).
    #[serde(default)]
    pub tunnels: TunnelReport,
    /// The connections of clients, and what they speak.
    #[serde(default)]
    pub clients: ClientReport,
    /// Requests that got an error of the proxy.
    pub failed: u64,
    /// Why misses went to the origin.
    pub misses_by: Vec<ReasonCount>,
    /// Why responses of the origin were not stored.
    pub not_stored_by: Vec<ReasonCount>,
    /// Why stored responses were not served without asking the origin.
    pub not_reused_by: Vec<ReasonCount>,
    /// Why requests failed.
    pub failed_by: Vec<ReasonCount>,
    /// Responses by the first digit of their status, from 1 to 5.
    pub status_classes: Vec<u64>,
    /// Bytes of bodies sent to clients.
    pub sent_bytes: u64,
    /// Bytes of bodies received from the origin.
    pub received_bytes: u64,
    /// What the cache has saved.
    pub saved: Saved,
    /// The state of the origin.
    pub origin: OriginReport,
    /// What was counted of each origin; empty if there is one origin only.
    #[serde(default)]
    pub origins: Vec<OriginCount>,
    /// What was counted of each route; empty if there have been none.
    #[serde(default)]
    pub routes: Vec<RouteCount>,
    /// The state of the cache; `None` if it did not respond.
    pub cache: Option<CacheStats>,
    /// The state of the store on disk; `None` if there is none.
    #[serde(default)]
    pub disk: Option<DiskStats>,
    /// The state of the tier that several instances share; `None` if there is none.
    #[serde(default)]
    pub shared: Option<RedisStats>,
    /// The certificates that clients get, the default one first; empty without TLS.
    #[serde(default)]
    pub certificates: Vec<CertificateReport>,
    /// Lines of log that were dropped because nobody read them.
    #[serde(default)]
    pub dropped_log_lines: u64,
}

/// A reason, and how often it occurred.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReasonCount {
    /// The short name of the reason.
    pub name: String,
    /// How often.
    pub count: u64,
    /// The flag that would change it, or else what the reason means.
    pub hint: Option<String>,
}

/// What was counted of one origin, and its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginCount {
    /// Its URL.
    pub origin: String,
    /// True if it gets no requests for a while, because it has failed and is one of several of a route.
    #[serde(default)]
    pub is_avoided: bool,
    /// The rest.
    #[serde(flatten)]
    pub counted: OriginReport,
}

/// What was counted of the requests of one route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RouteCount {
    /// What it matches. `default` is the last route, which matches all requests; `none` are the requests that have none,
    /// and `other` those of routes beyond the number that is told apart.
    pub route: String,
    /// All requests.
    pub requests: u64,
    /// The share of requests whose body came from the cache, as in [`Report::hit_ratio`].
    pub hit_ratio: Option<f64>,
    /// Requests by outcome, those that occurred only.
    pub outcomes: BTreeMap<String, u64>,
    /// Responses by the first digit of their status, from 1 to 5.
    pub status_classes: Vec<u64>,
}

/// An origin as it is now.
#[derive(Clone, Copy, Debug)]
pub struct OriginState<'a> {
    /// Its URL.
    pub url: &'a OriginUrl,
    /// How fast requests go to it.
    pub pace: &'a OriginPace,
    /// True if it gets no requests for a while, because it has failed and is one of several of a route.
    pub is_avoided: bool,
}

/// Tunnels, and what has passed through them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TunnelReport {
    /// How many are open.
    pub open: u64,
    /// How many were opened.
    pub total: u64,
    /// Bytes that were passed on to the origin.
    pub to_origin_bytes: u64,
    /// Bytes that were passed on to clients.
    pub to_client_bytes: u64,
}

/// What the cache has saved the origin and the clients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Saved {
    /// Requests that the origin did not get.
    pub requests: u64,
    /// Their share of all requests, from 0 to 1. Responses of the proxy's own, and tunnels, do not count. `None` if there
    /// were no others.
    pub share: Option<f64>,
    /// Bytes of bodies that the origin did not send.
    pub bytes: u64,
    /// Time that clients did not wait, in milliseconds: the duration of the fetches that were not repeated.
    pub millis: u64,
}

/// The state of the origin, as the proxy sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OriginReport {
    /// Responses whose headers arrived.
    pub answers: u64,
    /// Requests that failed.
    pub failures: u64,
    /// Failed requests by kind.
    pub failures_by: Vec<ReasonCount>,
    /// Median time until the headers of a response, in milliseconds; `None` if there were no responses.
    pub p50_millis: Option<f64>,
    /// The 90th percentile of the same.
    pub p90_millis: Option<f64>,
    /// The 99th percentile of the same.
    pub p99_millis: Option<f64>,
    /// When the origin last responded, in milliseconds since the epoch.
    pub last_answer: Option<u64>,
    /// When a request to the origin last failed, in milliseconds since the epoch.
    pub last_failure: Option<u64>,
    /// The short name of that failure.
    pub last_failure_kind: Option<String>,
    /// For how many seconds an origin gets no requests, as it has asked for: the longest such time. `None` if no origin has.
    #[serde(default)]
    pub paused_seconds: Option<u64>,
    /// The URL of that origin.
    #[serde(default)]
    pub paused: Option<String>,
    /// How many requests queue because of `--max-rate`.
    #[serde(default)]
    pub queued: u64,
}

impl Report {
    /// Reports the counters so far, with the state of the cache. Hints are those for `mode`.
    pub fn new(observer: &Observer, cache: Option<CacheStats>, mode: Mode) -> Self {
        let totals = observer.totals();
        let judged = totals.judged_requests();
        let from_cache = totals.hits() + totals.validated() + totals.stale();
        let reason = |(reason, count): (Reason, u64)| {
            let remedy = reason.remedy(mode).map(Remedy::hint);
            let hint = remedy.unwrap_or(reason.meaning().into());
            cause(reason.as_str(), count, &hint)
        };
        Self {
            uptime_seconds: observer.uptime().as_secs(),
            is_offline: false,
            disk: None,
            shared: None,
            certificates: Vec::new(),
            requests: totals.requests(),
            hit_ratio: share(from_cache, judged),
            hits: totals.hits(),
            validated: totals.validated(),
            stale: totals.stale(),
            misses: totals.misses(),
            collapsed: totals.collapsed(),
            own: totals.own(),
            tunnels: TunnelReport::of(&totals),
            clients: ClientReport::of(totals.clients()),
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
            origin: OriginReport::of(totals.origin()),
            origins: Vec::new(),
            routes: match observer.has_routes() {
                true => observer.route_totals().iter().map(RouteCount::of).collect(),
                false => Vec::new(),
            },
            cache,
            dropped_log_lines: dropped_log_lines(),
        }
    }
}

impl TunnelReport {
    fn of(totals: &Totals) -> Self {
        Self {
            open: totals.open_tunnels(),
            total: totals.tunnels(),
            to_origin_bytes: totals.tunnel_to_origin_bytes(),
            to_client_bytes: totals.tunnel_to_client_bytes(),
        }
    }
}

impl Report {
    /// This report, with the origins as they are at `now`: `states` are in the order of `totals`.
    #[must_use]
    pub fn with_origins<'a>(
        mut self,
        totals: &[OriginTotals],
        states: impl Iterator<Item = OriginState<'a>>,
        now: Instant,
    ) -> Self {
        let has_several = totals.len() > 1;
        for (state, totals) in states.zip(totals) {
            let counted = OriginReport::of(totals).paced(state, now);
            self.origin.queued += counted.queued;
            if counted.paused_seconds > self.origin.paused_seconds {
                self.origin.paused_seconds = counted.paused_seconds;
                self.origin.paused.clone_from(&counted.paused);
            }
            if has_several {
                self.origins.push(OriginCount {
                    origin: state.url.to_string(),
                    is_avoided: state.is_avoided,
                    counted,
                });
            }
        }
        self
    }
}

impl RouteCount {
    fn of(totals: &RouteTotals) -> Self {
        let counts = RouteTotals::OUTCOMES.map(|outcome| (outcome, totals.outcome(outcome)));
        let of = |wanted: &[RequestOutcome]| -> u64 {
            let counts = counts
                .iter()
                .filter(|(outcome, _)| wanted.contains(outcome));
            counts.map(|(_, count)| count).sum()
        };
        let (hit, validated, stale) = (
            RequestOutcome::Hit,
            RequestOutcome::Validated,
            RequestOutcome::Stale,
        );
        let requests = totals.requests();
        let judged = requests - of(&[RequestOutcome::Own, RequestOutcome::Tunnel]);
        let occurred = counts.iter().filter(|(_, count)| *count > 0);
        Self {
            route: totals.name.clone(),
            requests,
            hit_ratio: share(of(&[hit, validated, stale]), judged),
            outcomes: occurred
                .map(|(outcome, count)| (outcome.as_str().to_owned(), *count))
                .collect(),
            status_classes: totals.classes().to_vec(),
        }
    }
}

impl Saved {
    /// The savings in `totals`.
    pub fn of(totals: &Totals) -> Self {
        let judged = totals.judged_requests();
        Self {
            requests: totals.saved_requests(),
            share: share(totals.saved_requests(), judged),
            bytes: totals.saved_bytes(),
            millis: totals.saved_millis(),
        }
    }

    /// The savings in one line; `None` if there were no requests.
    pub fn sentence(&self) -> Option<String> {
        let share = self.share?;
        let (requests, bytes) = (grouped(self.requests), bytesize::ByteSize(self.bytes));
        let word = match self.requests {
            1 => "request",
            _ => "requests",
        };
        let waiting = duration(Duration::from_millis(self.millis));
        Some(format!(
            "saved {requests} {word} to the origin ({:.0} %), {bytes}, {waiting} of waiting",
            share * 100.0
        ))
    }
}

impl OriginReport {
    /// This report, with how fast requests go to the origin.
    fn paced(self, state: OriginState<'_>, now: Instant) -> Self {
        let pause = state.pace.state(now).pause();
        Self {
            queued: state.pace.queued() as u64,
            paused_seconds: pause.map(|(left, _)| left.as_secs() + 1),
            paused: pause.map(|_| state.url.to_string()),
            ..self
        }
    }

    fn of(totals: &OriginTotals) -> Self {
        let failure = totals.last_failure();
        Self {
            answers: totals.answers(),
            failures: totals.failed_by().map(|(_, count)| count).sum(),
            failures_by: causes(
                totals
                    .failed_by()
                    .map(|(kind, count)| cause(kind.name(), count, kind.meaning())),
            ),
            p50_millis: totals.latency_percentile(0.5),
            p90_millis: totals.latency_percentile(0.9),
            p99_millis: totals.latency_percentile(0.99),
            last_answer: totals.last_answer().map(Time::unix_millis),
            last_failure: failure.map(|(time, _)| time.unix_millis()),
            last_failure_kind: failure.map(|(_, kind)| kind.name().to_owned()),
            paused_seconds: None,
            paused: None,
            queued: 0,
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

/// The reasons that occurred, the most frequent first.
fn causes(all: impl Iterator<Item = ReasonCount>) -> Vec<ReasonCount> {
    let mut causes: Vec<ReasonCount> = all.filter(|cause| cause.count > 0).collect();
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    causes
}

#[allow(clippy::cast_precision_loss, reason = "a share of two counts")]
fn share(part: u64, whole: u64) -> Option<f64> {
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
        headers::{CacheStatus, StoreOutcome},
        observe::{LiveRequests, RouteSlot},
        origin::OriginErrorKind,
        policy::{Forward, ForwardReason, OriginIndex},
    };
    use actix_web::http::StatusCode;

    #[test]
    fn savings_are_one_line_after_the_first_request() {
        let observer = Observer::new(LiveRequests::Off, 1);
        let tally = observer.tally();
        assert_eq!(Saved::of(&observer.totals()).sentence(), None);
        let hit = CacheStatus {
            saved_millis: 48_000,
            ..CacheStatus::hit(None)
        };
        for _ in 0..4 {
            tally.answered(RouteSlot::DEFAULT, StatusCode::OK, &hit);
            tally.saved(1 << 20);
        }
        let miss = CacheStatus::miss(ForwardReason::UriMiss.into(), None, StoreOutcome::Stored);
        tally.answered(RouteSlot::DEFAULT, StatusCode::OK, &miss);
        assert_eq!(
            Saved::of(&observer.totals()).sentence().unwrap(),
            "saved 4 requests to the origin (80 %), 4.0 MiB, 3 min 12 s of waiting"
        );
    }

    #[test]
    fn responses_of_the_proxys_own_do_not_count_in_the_hit_ratio() {
        let observer = Observer::new(LiveRequests::Off, 1);
        let tally = observer.tally();
        tally.answered(RouteSlot::DEFAULT, StatusCode::OK, &CacheStatus::hit(None));
        tally.answered(
            RouteSlot::DEFAULT,
            StatusCode::OK,
            &CacheStatus::own_response(),
        );
        let report = Report::new(&observer, None, Mode::Standard);
        assert_eq!((report.requests, report.hit_ratio), (2, Some(1.0)));
    }

    /// The width of a hint in a row of 80 columns.
    const HINT_COLUMNS: usize = 41;

    #[test]
    fn every_reason_has_a_hint_that_fits_in_a_row() {
        let observer = Observer::new(LiveRequests::Off, 1);
        let tally = observer.tally();
        for reason in Reason::ALL {
            let why = Forward::with_detail(ForwardReason::Request, reason);
            let storing = StoreOutcome::NotStored(reason);
            tally.answered(
                RouteSlot::DEFAULT,
                StatusCode::OK,
                &CacheStatus::miss(why, None, storing),
            );
        }
        for forward in ForwardReason::ALL {
            let storing = StoreOutcome::Stored;
            let miss = CacheStatus::miss(forward.into(), None, storing);
            tally.answered(RouteSlot::DEFAULT, StatusCode::OK, &miss);
        }
        for (name, _) in ProxyError::KINDS {
            let failed = CacheStatus {
                outcome: RequestOutcome::Failed(name),
                ..CacheStatus::own_response()
            };
            tally.answered(RouteSlot::DEFAULT, StatusCode::BAD_GATEWAY, &failed);
        }
        for kind in OriginErrorKind::ALL {
            tally.origin_failed(OriginIndex(0), kind, Time::from_unix_millis(1));
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
