//! The progress line on stderr, if that is a terminal.

use std::time::Duration;

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::summary::WarmSummary;

const TICK: Duration = Duration::from_millis(200);

/// A line that is redrawn; dropping it removes the line.
pub(super) struct ProgressLine(ProgressBar);

impl ProgressLine {
    /// The line before the number of paths is known.
    pub(super) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(TICK);
        Self(bar)
    }

    pub(super) fn reading(&self, sitemaps: u64, paths: usize) {
        self.0
            .set_message(format!("sitemaps read: {sitemaps}, paths found: {paths}"));
    }

    pub(super) fn begin(&self, paths: usize) {
        let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = write!(out, "{:.0}/s", state.per_sec());
        };
        if let Ok(style) =
            ProgressStyle::with_template("[{wide_bar}] {pos}/{len} {rate} eta {eta}{msg}")
        {
            self.0
                .set_style(style.with_key("rate", rate).progress_chars("=> "));
        }
        self.0.set_message("");
        self.0.reset();
        self.0.set_length(paths as u64);
    }

    pub(super) fn step(&self, tally: &WarmSummary) {
        let failed = match tally.failed {
            0 => String::new(),
            failed => format!("  {failed} failed"),
        };
        self.0
            .set_message(format!("  {}{failed}", ByteSize(tally.bytes)));
        self.0.inc(1);
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
