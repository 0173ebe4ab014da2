//! The page that `stats` prints, fitted to the size of the terminal: what does not fit is shortened, summed or left out, and
//! the page says so.

use std::time::Duration;

use bytesize::ByteSize;
use caching_proxy::{
    cache::CacheStats,
    control::Instance,
    observe::{
        OriginCount, OriginReport, ReasonCount, Report, RouteCount, TunnelReport, duration, grouped,
    },
};

use super::{
    client_lines::{certificate_line, clients_line},
    tier_lines::{disk_line, shared_line},
};
use crate::commands::text::{self, begin, noun};

/// The most reasons of one kind that are shown; the others are summed.
const MAX_CAUSES: usize = 6;
/// The longest name.
const NAME: usize = 23;
/// The width of counts, and their width on a narrow terminal.
const COUNT: usize = 11;
const NARROW_COUNT: usize = 7;
const WIDE_FROM: usize = 64;
/// The least width of an explanation; below it, the explanation is left out.
const LEAST_HINT: usize = 12;

/// The size of the output; `None` for no limit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Room {
    columns: Option<usize>,
    rows: Option<usize>,
}

impl Room {
    /// The size of the terminal.
    pub(super) fn of_terminal() -> Self {
        let size = text::size_of_terminal();
        Self {
            // Some terminals begin a new line after a character in the last column.
            columns: size.map(|(columns, _)| columns.saturating_sub(1).max(1)),
            rows: size.map(|(_, rows)| rows),
        }
    }

    /// As wide as the terminal, with any number of rows.
    pub(super) fn wide() -> Self {
        Self {
            rows: None,
            ..Self::of_terminal()
        }
    }
}

/// A count with its name and explanation.
#[derive(Clone, Debug)]
struct CountRow {
    count: u64,
    name: String,
    hint: String,
}

/// Rows under a title, the most frequent first.
#[derive(Clone, Debug)]
struct CountSection {
    title: &'static str,
    rows: Vec<CountRow>,
    /// How many rows are shown. If that is not all, the last one is the sum of the others.
    shown: usize,
}

/// The whole page.
#[derive(Clone, Debug)]
pub(super) struct Page {
    title: String,
    top: Vec<String>,
    sections: Vec<CountSection>,
}

impl Page {
    /// The page for a report. `earlier` is the report of a second ago; `None` if there is none.
    pub(super) fn new(instance: &Instance, report: &Report, earlier: Option<&Report>) -> Self {
        let uptime = match report.uptime_seconds {
            seconds @ ..10 => format!("{seconds} s"),
            seconds => duration(Duration::from_secs(seconds)),
        };
        let Instance { port, origin, .. } = instance;
        let causes = [
            ("Why misses went to the origin", &report.misses_by),
            ("Not stored", &report.not_stored_by),
            ("Stored, but not reused", &report.not_reused_by),
            ("Failed", &report.failed_by),
        ];
        let causes = causes.map(|(title, causes)| CountSection::of_causes(title, causes));
        let mut sections = vec![CountSection::of_outcomes(report)];
        sections.extend(causes);
        sections.push(CountSection::of_origins(&report.origins));
        sections.push(CountSection::of_routes(&report.routes));
        sections.retain(|section| !section.rows.is_empty());
        let mut top = Vec::from_iter(report.is_offline.then(|| {
            "offline: no request goes to the origin (caching-proxy offline off)".to_owned()
        }));
        top.extend([
            ratio_line(report, earlier),
            saved_line(report),
            origin_line(&report.origin),
            memory_line(report.cache.as_ref()),
        ]);
        top.extend(report.disk.as_ref().map(disk_line));
        top.extend(report.shared.as_ref().map(shared_line));
        top.extend(certificate_line(&report.certificates));
        top.extend(pace_line(&report.origin));
        top.extend(clients_line(&report.clients));
        top.extend(tunnels_line(&report.tunnels));
        top.extend(dropped_lines(report));
        Self {
            title: text::plain(&format!("{origin} on port {port}, up {uptime}")),
            top,
            sections,
        }
    }

    /// The lines, each with a line end.
    pub(super) fn text(&self, room: Room) -> String {
        let columns = room.columns.unwrap_or(usize::MAX);
        let rows = room.rows.unwrap_or(usize::MAX);
        let mut lines = self.lines(columns, Gaps::Shown);
        if lines.len() > rows {
            lines = self.summed(columns, rows);
        }
        if lines.len() > rows {
            // Even with sums it does not fit: show the beginning.
            lines = self.lines(columns, Gaps::None);
            let shown = rows.saturating_sub(1);
            let more = lines.len() - shown;
            lines.truncate(shown);
            lines.push(format!("\u{2026} {more} more lines"));
        }
        lines
            .iter()
            .map(|line| begin(line, columns) + "\n")
            .collect()
    }

    /// The lines with rows summed until they fit in `rows`, if that is possible.
    fn summed(&self, columns: usize, rows: usize) -> Vec<String> {
        let mut page = self.clone();
        loop {
            let lines = page.lines(columns, Gaps::None);
            if lines.len() <= rows || !page.shrink() {
                return lines;
            }
        }
    }

    /// Shows one row less in the longest section, in that of the outcomes last. False if no more rows can be summed.
    fn shrink(&mut self) -> bool {
        let Some((outcomes, causes)) = self.sections.split_first_mut() else {
            return false;
        };
        let long = |section: &&mut CountSection| section.shown > 2;
        let longest = causes
            .iter_mut()
            .filter(long)
            .max_by_key(|section| section.shown);
        let Some(section) = longest.or(Some(outcomes).filter(long)) else {
            return false;
        };
        section.shown -= 1;
        true
    }

    fn lines(&self, columns: usize, gaps: Gaps) -> Vec<String> {
        let gap = || matches!(gaps, Gaps::Shown).then(String::new);
        let mut lines = vec![self.title.clone()];
        lines.extend(gap());
        lines.extend(self.top.iter().cloned());
        for section in &self.sections {
            lines.extend(gap());
            lines.push(section.title.to_owned());
            lines.extend(section.shown().iter().map(|row| row.line(columns)));
        }
        lines
    }
}

/// Whether empty lines separate the sections.
#[derive(Clone, Copy)]
enum Gaps {
    Shown,
    None,
}

impl CountSection {
    fn new(title: &'static str, rows: Vec<CountRow>) -> Self {
        let shown = rows.len().min(MAX_CAUSES + 1);
        Self { title, rows, shown }
    }

    fn of_causes(title: &'static str, causes: &[ReasonCount]) -> Self {
        let row = |cause: &ReasonCount| CountRow {
            count: cause.count,
            name: text::plain(&cause.name),
            hint: text::plain(cause.hint.as_deref().unwrap_or_default()),
        };
        Self::new(title, causes.iter().map(row).collect())
    }

    fn of_origins(origins: &[OriginCount]) -> Self {
        let row = |origin: &OriginCount| CountRow {
            count: origin.counted.answers,
            name: text::plain(&origin.origin),
            hint: origin_state(origin),
        };
        Self::most_first("Responses of each origin", origins.iter().map(row))
    }

    fn of_routes(routes: &[RouteCount]) -> Self {
        let row = |route: &RouteCount| {
            let failed = route.outcomes.get("failed").copied().unwrap_or(0);
            let ratio = percent(route.hit_ratio);
            CountRow {
                count: route.requests,
                name: text::plain(&route.route),
                hint: format!("hit ratio {ratio}, {} failed", grouped(failed)),
            }
        };
        Self::most_first("Requests of each route", routes.iter().map(row))
    }

    fn most_first(title: &'static str, rows: impl Iterator<Item = CountRow>) -> Self {
        let mut rows: Vec<CountRow> = rows.collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        Self::new(title, rows)
    }

    fn of_outcomes(report: &Report) -> Self {
        let rows = [
            (report.hits, "hit", "from the cache"),
            (
                report.validated,
                "validated",
                "from the cache, confirmed by the origin",
            ),
            (report.stale, "stale", "from the cache, after its lifetime"),
            (report.misses, "miss", "from the origin"),
            (
                report.collapsed,
                "collapsed",
                "shared another request's fetch",
            ),
            (report.own, "own", "created by the proxy itself"),
            (
                report.tunnels.total,
                "tunnel",
                "WebSocket, passed on both ways",
            ),
            (
                report.failed,
                "failed",
                "no response from the origin or the cache",
            ),
        ];
        let rows = rows.into_iter().filter(|(count, ..)| *count > 0);
        let row = |(count, name, hint): (u64, &str, &str)| CountRow {
            count,
            name: name.to_owned(),
            hint: hint.to_owned(),
        };
        Self::new("Responses", rows.map(row).collect())
    }

    fn shown(&self) -> Vec<CountRow> {
        if self.shown >= self.rows.len() {
            return self.rows.clone();
        }
        let (shown, others) = self.rows.split_at(self.shown.saturating_sub(1));
        let mut rows = shown.to_vec();
        rows.push(CountRow {
            count: others.iter().map(|row| row.count).sum(),
            name: "others".to_owned(),
            hint: format!("\u{2026} {} more names", others.len()),
        });
        rows
    }
}

impl CountRow {
    fn line(&self, columns: usize) -> String {
        let width = match columns {
            ..WIDE_FROM => NARROW_COUNT,
            _ => COUNT,
        };
        let line = format!("{:>width$}  {:<NAME$}  ", grouped(self.count), self.name);
        let left = columns.saturating_sub(line.chars().count());
        match left < self.hint.chars().count().min(LEAST_HINT) {
            true => line.trim_end().to_owned(),
            false => (line + &self.hint).trim_end().to_owned(),
        }
    }
}

fn ratio_line(report: &Report, earlier: Option<&Report>) -> String {
    let rate = earlier.map_or_else(String::new, |earlier| {
        let rate = report.requests.saturating_sub(earlier.requests);
        format!(", {} in the last second", grouped(rate))
    });
    format!(
        "Hit ratio  {:>8}   {}{rate}",
        percent(report.hit_ratio),
        counted(report.requests, "request"),
    )
}

fn saved_line(report: &Report) -> String {
    let saved = &report.saved;
    format!(
        "Saved      {:>8}   {} to the origin, {}, {} of waiting",
        grouped(saved.requests),
        noun(saved.requests, "request"),
        ByteSize(saved.bytes),
        duration(Duration::from_millis(saved.millis)),
    )
}

fn origin_line(origin: &OriginReport) -> String {
    format!(
        "Origin     {:>8}   median (estimated); p90 {}, p99 {}; {}, {}",
        millis(origin.p50_millis),
        millis(origin.p90_millis),
        millis(origin.p99_millis),
        counted(origin.answers, "response"),
        counted(origin.failures, "failure"),
    )
}

/// How fast one of several origins responds, how often it failed, and why it gets no requests now.
fn origin_state(origin: &OriginCount) -> String {
    let OriginCount {
        is_avoided,
        counted: times,
        ..
    } = origin;
    let mut text = format!(
        "median {}, p99 {}, {}",
        millis(times.p50_millis),
        millis(times.p99_millis),
        counted(times.failures, "failure")
    );
    match times.paused_seconds {
        Some(left) => text += &format!(", paused for {left} s"),
        None if *is_avoided => text += ", avoided after a failure",
        None => {}
    }
    text
}

/// `None` if requests go to the origin at once.
fn pace_line(origin: &OriginReport) -> Option<String> {
    if let Some(left) = origin.paused_seconds {
        let left = format!("{left} s");
        let origin = text::plain(origin.paused.as_deref().unwrap_or("the origin"));
        return Some(format!(
            "Pause      {left:>8}   until {origin} gets requests again, as it has asked for (Retry-After)"
        ));
    }
    let queued = || {
        let wait = match origin.queued {
            1 => "request waits",
            _ => "requests wait",
        };
        let queued = grouped(origin.queued);
        format!("Queue      {queued:>8}   {wait}, because of --max-rate")
    };
    (origin.queued > 0).then(queued)
}

fn memory_line(cache: Option<&CacheStats>) -> String {
    let Some(cache) = cache else {
        return "Memory     the cache does not respond".to_owned();
    };
    format!(
        "Memory     {:>8}   of {}; {} stored, {} evicted, {} being fetched",
        ByteSize(cache.used_bytes).to_string(),
        ByteSize(cache.limit_bytes),
        grouped(cache.entries),
        grouped(cache.evictions),
        grouped(cache.fetches),
    )
}

/// `None` if there were no tunnels.
fn tunnels_line(tunnels: &TunnelReport) -> Option<String> {
    let text = || {
        format!(
            "Tunnels    {:>8}   open; {} in all, {} to the origin, {} to clients",
            grouped(tunnels.open),
            grouped(tunnels.total),
            ByteSize(tunnels.to_origin_bytes),
            ByteSize(tunnels.to_client_bytes),
        )
    };
    (tunnels.total > 0).then(text)
}

/// `None` if no lines of log were dropped.
fn dropped_lines(report: &Report) -> Option<String> {
    let lines = report.dropped_log_lines;
    let text = || {
        let (number, noun) = (grouped(lines), noun(lines, "line"));
        format!("Log        {number:>8}   {noun} dropped, because nobody read the log")
    };
    (lines > 0).then(text)
}

fn counted(number: u64, one: &str) -> String {
    format!("{} {}", grouped(number), noun(number, one))
}

pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

pub(super) fn millis(millis: Option<f64>) -> String {
    millis.map_or_else(
        || "-".to_owned(),
        |millis| match millis {
            10_000.0.. => format!("{:.0} s", millis / 1000.0),
            1_000.0.. => format!("{:.1} s", millis / 1000.0),
            10.0.. => format!("{millis:.0} ms"),
            _ => format!("{millis:.1} ms"),
        },
    )
}

#[cfg(test)]
mod tests {
    use caching_proxy::{
        error::ProxyError,
        observe::{LiveRequests, Observer},
        policy::{ForwardReason, Mode, Reason, Remedy},
    };

    use super::*;

    fn cause(number: u64, name: &str, hint: &str) -> ReasonCount {
        ReasonCount {
            name: name.to_owned(),
            count: 1000 - number,
            hint: Some(hint.to_owned()),
        }
    }

    /// Of everything there can be, with this many origins and routes.
    fn everything(origins: u64) -> Page {
        let mut report = Report::new(&Observer::new(LiveRequests::Off, 1), None, Mode::Strict);
        report.requests = 12_345_678;
        report.hits = 9_876_543;
        (report.validated, report.stale, report.misses) = (1, 1, 1);
        (report.collapsed, report.own, report.failed) = (1, 1, 1);
        report.tunnels.total = 1;
        let reasons = Reason::ALL.iter().zip(0..).map(|(reason, number)| {
            let remedy = reason.remedy(Mode::Strict).map(Remedy::hint);
            let hint = remedy.unwrap_or(reason.meaning().into());
            cause(number, reason.as_str(), &hint)
        });
        report.not_stored_by = reasons.collect();
        report.not_reused_by = report.not_stored_by.clone();
        let forwards = ForwardReason::ALL.iter().zip(0..);
        let forwards = forwards.map(|(why, number)| cause(number, why.as_str(), why.meaning()));
        report.misses_by = forwards.collect();
        let kinds = ProxyError::KINDS.iter().zip(0..);
        let kinds = kinds.map(|(kind, number)| cause(number, kind.0, kind.1));
        report.failed_by = kinds.collect();
        let origins = (0..origins).map(|number| OriginCount {
            origin: format!("http://origin-{number}.test"),
            is_avoided: true,
            counted: OriginReport {
                answers: number,
                ..report.origin.clone()
            },
        });
        report.origins = origins.collect();
        let routes = report.origins.iter().map(|origin| RouteCount {
            route: format!("{}/*", origin.origin),
            requests: origin.counted.answers,
            hit_ratio: Some(0.5),
            outcomes: [("failed".to_owned(), 3)].into(),
            status_classes: vec![0; 5],
        });
        report.routes = routes.collect();
        let instance = Instance {
            pid: 1,
            port: 8000,
            bind: std::net::Ipv4Addr::LOCALHOST.into(),
            https_port: None,
            requires_https: false,
            origin: format!("https://{}.example.com", "long".repeat(20)),
            version: String::new(),
            started: String::new(),
        };
        Page::new(&instance, &report, Some(&report))
    }

    fn shown(columns: usize, rows: usize) -> Vec<String> {
        shown_of(&everything(0), columns, rows)
    }

    fn shown_of(page: &Page, columns: usize, rows: usize) -> Vec<String> {
        let room = Room {
            columns: Some(columns),
            rows: Some(rows),
        };
        page.text(room).lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_page_never_exceeds_its_size() {
        let pages = [everything(0), everything(64)];
        for columns in [1, 2, 10, 39, 63, 64, 79, 119, 500] {
            for (rows, page) in [1, 2, 5, 10, 24, 40, 100]
                .into_iter()
                .flat_map(|rows| pages.iter().map(move |page| (rows, page)))
            {
                let lines = shown_of(page, columns, rows);
                assert!(lines.len() <= rows, "{columns}x{rows}: {lines:#?}");
                let widest = lines.iter().map(|line| line.chars().count()).max();
                assert!(widest <= Some(columns), "{columns}x{rows}: {lines:#?}");
            }
        }
    }

    #[test]
    fn explanations_fit_80_columns_and_sections_fit_24_rows() {
        let lines = shown(79, 1000);
        assert!(lines.len() > 30);
        let whole = |line: &&String| line.starts_with(' ');
        assert!(
            lines
                .iter()
                .filter(whole)
                .all(|line| !line.ends_with('\u{2026}')),
            "{lines:#?}"
        );
        let lines = shown(79, 24);
        for title in [
            "Responses",
            "Why misses went",
            "Not stored",
            "Stored, but",
            "Failed",
        ] {
            assert!(
                lines.iter().any(|line| line.starts_with(title)),
                "{lines:#?}"
            );
        }
    }

    #[test]
    fn the_busiest_origins_and_routes_have_rows_and_the_others_one() {
        let lines = shown_of(&everything(64), 119, 1000);
        for (title, first) in [
            (
                "Responses of each origin",
                "63  http://origin-63.test    median -, p99 -, 0 failures, avoided after a failure",
            ),
            (
                "Requests of each route",
                "63  http://origin-63.test/*  hit ratio 50.0 %, 3 failed",
            ),
        ] {
            let at = lines.iter().position(|line| line == title).unwrap();
            assert_eq!(lines[at + 1].trim_start(), first);
            let rest: u64 = (0..=57).sum();
            let others = format!("{}  others", grouped(rest));
            assert!(
                lines[at + 7].trim_start().starts_with(&others),
                "{lines:#?}"
            );
        }
    }

    #[test]
    fn rows_without_room_are_summed_or_reported_as_missing() {
        let lines = shown(79, 24);
        let others = lines.iter().filter(|line| line.contains("  others  "));
        assert!(others.count() > 0, "{lines:#?}");
        let lines = shown(39, 10);
        assert_eq!(lines.len(), 10);
        assert!(lines[9].starts_with('\u{2026}'), "{lines:#?}");
        assert!(lines[9].ends_with(" more lines"), "{lines:#?}");
        assert!(lines[0].ends_with('\u{2026}'), "{lines:#?}");
    }

    #[test]
    fn a_row_without_room_for_its_explanation_omits_it() {
        let row = CountRow {
            count: 1234,
            name: "no-store".to_owned(),
            hint: "the origin says no-store".to_owned(),
        };
        assert_eq!(row.line(39), "  1,234  no-store");
        let line = row.line(usize::MAX);
        assert!(line.ends_with("  the origin says no-store"), "{line}");
    }
}
