//! Printing: stdout is for the result, stderr for everything else.
//!
//! Commands print directly. A proxy that serves must not wait for a reader of its output: [`start_queues`] puts a queue in
//! front of stdout and stderr. Errors while writing are ignored: a closed stdout or stderr must not stop the program.

use std::{
    error::Error,
    io::{self, Write as _},
    sync::OnceLock,
    time::{Duration, Instant},
};

use caching_proxy::{error::Chain, observe::count_dropped_log_lines};

use crate::{
    logging,
    output_queue::{DropReport, OutputQueue},
};

/// How long the end of the program waits for a reader of its output.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);

/// The queues; unset as long as the program prints directly.
static QUEUES: OnceLock<OutputQueues> = OnceLock::new();

struct OutputQueues {
    stdout: OutputQueue,
    stderr: OutputQueue,
}

/// Starts the queues. If their threads cannot be started, the program goes on printing directly.
pub(crate) fn start_queues() {
    let report = DropReport {
        count: count_dropped_log_lines,
        line: logging::dropped_lines,
    };
    let started = OutputQueue::start("stdout", io::stdout(), report)
        .and_then(|stdout| Ok((stdout, OutputQueue::start("stderr", io::stderr(), report)?)));
    if let Ok((stdout, stderr)) = started {
        let _ = QUEUES.set(OutputQueues { stdout, stderr });
    }
}

/// Waits for a moment until everything is written.
pub(crate) fn flush() {
    if let Some(queues) = QUEUES.get() {
        let deadline = Instant::now() + FLUSH_LIMIT;
        queues.stderr.flush(deadline);
        queues.stdout.flush(deadline);
    }
}

/// A number with its noun: `1 entry`, `2 entries`.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// Prints text to stdout.
pub(crate) fn print(text: &str) {
    match QUEUES.get() {
        Some(queues) => queues.stdout.push(text.as_bytes()),
        None => {
            let mut out = io::stdout().lock();
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        }
    }
}

/// Prints whole lines to stderr.
pub(crate) fn write_stderr(lines: &[u8]) {
    match QUEUES.get() {
        Some(queues) => queues.stderr.push(lines),
        None => drop(io::stderr().write_all(lines)),
    }
}

/// Prints a line to stderr.
pub(crate) fn say(line: &str) {
    write_stderr(format!("{line}\n").as_bytes());
}

/// Prints an error with its causes to stderr.
pub(crate) fn say_error(error: &dyn Error) {
    say(&format!("error: {}", Chain(error)));
}
