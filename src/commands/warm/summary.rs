//! The summary of a run, in words or JSON.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use bytesize::ByteSize;
use serde::Serialize;

use super::outcome::FetchOutcome;

/// The most failures that are named.
const MAX_NAMED: usize = 10;
/// The most other hosts that are named.
const MAX_HOSTS: usize = 10;

/// The counters of a run.
#[derive(Debug, Default, Serialize)]
pub(super) struct WarmSummary {
    /// Different paths to fetch.
    pub(super) paths: u64,
    /// Complete responses below 400: the sum of the next three.
    pub(super) fetched: u64,
    pub(super) already_stored: u64,
    pub(super) stored_now: u64,
    pub(super) not_stored: u64,
    /// How many for each reason.
    pub(super) not_stored_reasons: BTreeMap<String, u64>,
    /// Paths, and sitemaps beside the first.
    pub(super) failed: u64,
    /// The first failures.
    pub(super) failures: Vec<Failed>,
    /// Skipped because an earlier run found that they are not stored.
    pub(super) resumed: u64,
    /// Paths left when the run was stopped.
    pub(super) not_tried: u64,
    pub(super) duplicates: u64,
    pub(super) sitemaps: u64,
    /// Locations in sitemaps that are on other hosts.
    pub(super) other_hosts: u64,
    #[serde(skip)]
    hosts: BTreeMap<String, u64>,
    /// Locations in sitemaps that are outside the origin's path.
    pub(super) outside: u64,
    /// Bytes of bodies.
    pub(super) bytes: u64,
    pub(super) seconds: f64,
    /// How many of them the run has waited because of Retry-After.
    pub(super) waited_seconds: f64,
    /// True if the run was stopped before its end.
    pub(super) interrupted: bool,
}

/// A path that failed.
#[derive(Debug, Serialize)]
pub(super) struct Failed {
    path: String,
    status: Option<u16>,
    error: String,
}

impl WarmSummary {
    /// Counts the outcome of a path.
    pub(super) fn count(&mut self, path: &str, outcome: FetchOutcome) {
        let (bytes, place) = match outcome {
            FetchOutcome::AlreadyStored { bytes } => (bytes, &mut self.already_stored),
            FetchOutcome::StoredNow { bytes } => (bytes, &mut self.stored_now),
            FetchOutcome::NotStored { bytes, reason } => {
                *self.not_stored_reasons.entry(reason).or_default() += 1;
                (bytes, &mut self.not_stored)
            }
            FetchOutcome::Failed { status, error } => return self.failed(path, status, &error),
            FetchOutcome::Gone(error) => return self.failed(path, None, &error),
        };
        *place += 1;
        self.fetched += 1;
        self.bytes += bytes;
    }

    pub(super) fn failed(&mut self, path: &str, status: Option<u16>, error: &str) {
        self.failed += 1;
        if self.failures.len() < MAX_NAMED {
            self.failures.push(Failed {
                path: path.to_owned(),
                status,
                error: error.to_owned(),
            });
        }
    }

    pub(super) fn elsewhere(&mut self, host: String) {
        self.other_hosts += 1;
        if self.hosts.len() < MAX_HOSTS || self.hosts.contains_key(&host) {
            *self.hosts.entry(host).or_default() += 1;
        }
    }

    /// The run has taken this time, and has waited for this part of it because of Retry-After.
    pub(super) fn took(&mut self, time: Duration, waited: Duration) {
        let seconds = |time: Duration| (time.as_secs_f64() * 1000.0).round() / 1000.0;
        self.seconds = seconds(time);
        self.waited_seconds = seconds(waited);
    }

    /// The summary for people; counters that are 0 are left out.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "{} in {:.1} s, {}\n",
            counted(self.paths, "path"),
            self.seconds,
            ByteSize(self.bytes)
        );
        let mut line = |name: &str, number: u64, detail: &str| {
            if number > 0 {
                let line = format!("  {name:<15} {number:>7}  {detail}");
                let _ = writeln!(text, "{}", line.trim_end());
            }
        };
        line("stored now", self.stored_now, "");
        line("already stored", self.already_stored, "");
        line(
            "not stored",
            self.not_stored,
            &list(&self.not_stored_reasons),
        );
        line("not stored", self.resumed, "in an earlier run, skipped now");
        line("failed", self.failed, "");
        line("not tried", self.not_tried, "");
        line("duplicates", self.duplicates, "");
        line("on other hosts", self.other_hosts, &list(&self.hosts));
        line("elsewhere", self.outside, "outside the origin's path");
        line("sitemaps read", self.sitemaps, "");
        if self.waited_seconds > 0.0 {
            let waited = self.waited_seconds;
            let _ = writeln!(text, "  waited {waited:.1} s, as Retry-After asked for");
        }
        for Failed { path, error, .. } in &self.failures {
            let _ = writeln!(text, "failed: {path}: {error}");
        }
        let unnamed = self.failed - self.failures.len() as u64;
        if unnamed > 0 {
            let _ = writeln!(text, "failed: {unnamed} more");
        }
        text
    }

    /// The other host that most locations are of, where there was nothing else.
    pub(super) fn likely_site(&self) -> Option<&str> {
        let most = self.hosts.iter().max_by_key(|(_, number)| **number);
        most.filter(|_| self.paths == 0)
            .map(|(host, _)| host.as_str())
    }
}

fn list(numbers: &BTreeMap<String, u64>) -> String {
    let named: Vec<String> = numbers
        .iter()
        .map(|(name, number)| format!("{name} {number}"))
        .collect();
    named.join(", ")
}

pub(super) fn counted(number: u64, one: &str) -> String {
    format!("{number} {one}{}", if number == 1 { "" } else { "s" })
}
