//! How many lines of log were dropped.

use std::sync::atomic::{AtomicU64, Ordering};

/// One count for the process, as there is one log.
static DROPPED_LINES: AtomicU64 = AtomicU64::new(0);

/// Counts lines that were dropped because nobody read the log.
pub fn count_dropped_log_lines(count: u64) {
    DROPPED_LINES.fetch_add(count, Ordering::Relaxed);
}

/// How many lines of log were dropped since the start of the program.
pub fn dropped_log_lines() -> u64 {
    DROPPED_LINES.load(Ordering::Relaxed)
}
