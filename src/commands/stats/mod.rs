//! `stats`: the counters of a running proxy, once or every second.
//!
//! | file | what |
//! |---|---|
//! | `page.rs` | the page for people, fitted to the terminal |
//! | `screen.rs` | the terminal screen of `--watch` |

mod client_lines;
mod page;
mod screen;
mod tier_lines;

use std::{
    io::{self, IsTerminal as _, Write as _},
    thread,
    time::Duration,
};

use bytesize::ByteSize;
use caching_proxy::{
    cli::ProxyArgs,
    control::{self, ChosenInstance},
    observe::Report,
};
use tokio::time::Instant;

use self::{
    page::{Page, Room, millis, percent},
    screen::{Screen, ScreenEvent},
};
use super::text::{json_document, json_line};
use crate::failure::Failure;

/// The interval of `--watch`.
const EVERY: Duration = Duration::from_secs(1);

/// Prints the counters of the chosen proxy.
pub(super) fn stats(proxy: ProxyArgs, watch: bool) -> Result<(), Failure> {
    let chosen = control::choose(proxy.port)?;
    if watch && !proxy.json && io::stdout().is_terminal() {
        return on_screen(&chosen);
    }
    let mut earlier: Option<Report> = None;
    let mut out = io::stdout().lock();
    loop {
        let report: Report = chosen.ask("GET", "/stats", &[])?;
        let text = match (proxy.json, watch) {
            (true, true) => json_line(&report)?,
            (true, false) => json_document(&report)?,
            (false, true) => line(&report, earlier.as_ref()),
            (false, false) => Page::new(&chosen.instance, &report, None).text(Room::wide()),
        };
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Ok(()) => {}
            // The reader of the pipe has closed it.
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

/// Draws the page every second until a signal ends it.
fn on_screen(chosen: &ChosenInstance) -> Result<(), Failure> {
    let mut earlier: Option<Report> = None;
    // Before the alternate screen, so that an error appears on the normal one.
    let mut report: Report = chosen.ask("GET", "/stats", &[])?;
    let mut screen = Screen::take().map_err(Failure::Print)?;
    loop {
        let page = Page::new(&chosen.instance, &report, earlier.as_ref());
        let next = Instant::now() + EVERY;
        loop {
            screen.draw(&page).map_err(Failure::Print)?;
            match screen.next(next) {
                ScreenEvent::End => return Ok(()),
                ScreenEvent::Changed => {}
                ScreenEvent::Time => break,
            }
        }
        earlier = Some(report);
        report = chosen.ask("GET", "/stats", &[])?;
    }
}

/// One line for programs: the changes since the last line.
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
