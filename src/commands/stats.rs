//! `stats`: what a running proxy does, at a glance, once or every second.

use std::{
    fmt::Write as _,
    io::{self, IsTerminal as _, Write as _},
    thread,
    time::Duration,
};

use bytesize::ByteSize;
use caching_proxy::{
    cli::Whom,
    control::{self, Instance},
    observe::{CacheReport, Cause, OriginReport, Report, duration, grouped},
};

use crate::Failure;

/// How often it is shown anew.
const EVERY: Duration = Duration::from_secs(1);
/// Reasons of one kind that are shown; the others are summed.
const MAX_CAUSES: usize = 6;
/// ECMA-48: to the first place, and clear from there to the end.
const HOME: &str = "\u{1b}[H\u{1b}[J";
/// Clear a line behind its text: what stood there before may have been longer.
const REST: &str = "\u{1b}[K\n";

/// Shows what the chosen proxy does.
pub(super) fn stats(whom: Whom, watch: bool) -> Result<(), Failure> {
    let chosen = control::choose(whom.port)?;
    let mut earlier: Option<Report> = None;
    let mut out = io::stdout().lock();
    let is_screen = out.is_terminal() && !whom.json;
    loop {
        let report: Report = chosen.ask("GET", "/stats", &[])?;
        let text = match (whom.json, watch) {
            (true, true) => json_line(&report)?,
            (true, false) => serde_json::to_string_pretty(&report)
                .map(|text| text + "\n")
                .map_err(|error| Failure::Print(error.into()))?,
            (false, true) if is_screen => {
                let page = page(&chosen.instance, &report, earlier.as_ref());
                format!("{HOME}{}", page.replace('\n', REST))
            }
            (false, true) => line(&report, earlier.as_ref()),
            (false, false) => page(&chosen.instance, &report, None),
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => {}
            // Whoever read it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(Failure::Print(error)),
        }
        if !watch {
            return Ok(());
        }
        earlier = Some(report);
        thread::sleep(EVERY);
    }
}

fn json_line(report: &Report) -> Result<String, Failure> {
    serde_json::to_string(report)
        .map(|text| text + "\n")
        .map_err(|error| Failure::Print(error.into()))
}

/// One line for programs that read lines: what happened since the last one.
fn line(report: &Report, earlier: Option<&Report>) -> String {
    let since = |of: fn(&Report) -> u64| of(report).saturating_sub(earlier.map_or(0, of));
    let used = report.cache.as_ref().map_or(0, |cache| cache.used_bytes);
    format!(
        "{} requests={} hits={} misses={} failed={} ratio={} p50={} memory={}\n",
        chrono::Local::now().format("%H:%M:%S"),
        since(|report| report.requests),
        since(|report| report.hits + report.validated + report.stale),
        since(|report| report.misses + report.collapsed),
        since(|report| report.failed),
        percent(report.hit_ratio).replace(' ', ""),
        millis(report.origin.p50_millis).replace(' ', ""),
        ByteSize(used).to_string().replace(' ', ""),
    )
}

/// All of it, for people.
fn page(instance: &Instance, report: &Report, earlier: Option<&Report>) -> String {
    let mut page = String::new();
    let uptime = match report.uptime_seconds {
        seconds @ ..10 => format!("{seconds} s"),
        seconds => duration(Duration::from_secs(seconds)),
    };
    let Instance { port, origin, .. } = instance;
    let _ = writeln!(page, "{origin} on port {port}, up {uptime}\n");
    let rate = earlier.map_or_else(String::new, |earlier| {
        let rate = report.requests.saturating_sub(earlier.requests);
        format!(", {} in the last second", grouped(rate))
    });
    let _ = writeln!(
        page,
        "Hit ratio  {:>8}   {} {}{rate}",
        percent(report.hit_ratio),
        grouped(report.requests),
        if report.requests == 1 {
            "request"
        } else {
            "requests"
        },
    );
    let saved = &report.saved;
    let _ = writeln!(
        page,
        "Saved      {:>8}   requests to the origin, {}, {} of waiting",
        grouped(saved.requests),
        ByteSize(saved.bytes),
        duration(Duration::from_millis(saved.millis)),
    );
    origin_line(&mut page, &report.origin);
    memory_line(&mut page, report.cache.as_ref());
    outcomes(&mut page, report);
    causes(&mut page, "Why they went to the origin", &report.misses_by);
    causes(&mut page, "Not stored", &report.not_stored_by);
    causes(
        &mut page,
        "Stored, but not used as it was",
        &report.not_reused_by,
    );
    causes(&mut page, "Failed", &report.failed_by);
    page
}

fn origin_line(page: &mut String, origin: &OriginReport) {
    let _ = writeln!(
        page,
        "Origin     {:>8}   median; p90 {}, p99 {}; {} answered, {} failed",
        millis(origin.p50_millis),
        millis(origin.p90_millis),
        millis(origin.p99_millis),
        grouped(origin.answers),
        grouped(origin.failures),
    );
}

fn memory_line(page: &mut String, cache: Option<&CacheReport>) {
    let Some(cache) = cache else {
        page.push_str("Memory     the cache does not answer\n");
        return;
    };
    let _ = writeln!(
        page,
        "Memory     {:>8}   of {}; {} stored, {} evicted, {} being fetched",
        ByteSize(cache.used_bytes),
        ByteSize(cache.limit_bytes),
        grouped(cache.entries),
        grouped(cache.evictions),
        grouped(cache.fetches),
    );
}

fn outcomes(page: &mut String, report: &Report) {
    let rows = [
        (report.hits, "hit", "from the cache"),
        (
            report.validated,
            "validated",
            "from the cache, after the origin called it current",
        ),
        (report.stale, "stale", "from the cache, past its time"),
        (report.misses, "miss", "from the origin"),
        (
            report.collapsed,
            "collapsed",
            "shared another request's fetch",
        ),
        (report.own, "own", "answered by the proxy itself"),
        (
            report.failed,
            "failed",
            "no answer of the origin or the cache",
        ),
    ];
    let rows = rows.iter().filter(|(count, ..)| *count > 0);
    let mut lines = rows
        .map(|(count, name, meaning)| row(*count, name, Some(meaning)))
        .peekable();
    if lines.peek().is_some() {
        page.push_str("\nAnswers\n");
        page.extend(lines);
    }
}

fn causes(page: &mut String, title: &str, causes: &[Cause]) {
    if causes.is_empty() {
        return;
    }
    let _ = writeln!(page, "\n{title}");
    for cause in causes.iter().take(MAX_CAUSES) {
        page.push_str(&row(cause.count, &cause.name, cause.hint.as_deref()));
    }
    let others: u64 = causes
        .iter()
        .skip(MAX_CAUSES)
        .map(|cause| cause.count)
        .sum();
    if others > 0 {
        page.push_str(&row(others, "others", None));
    }
}

fn row(count: u64, name: &str, hint: Option<&str>) -> String {
    let line = format!(
        "{:>19}   {name:<20}  {}",
        grouped(count),
        hint.unwrap_or("")
    );
    format!("{}\n", line.trim_end())
}

fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn millis(millis: Option<f64>) -> String {
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
