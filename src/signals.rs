//! What the signals ask of the program.
//!
//! SIGINT and SIGTERM ask it to end, SIGHUP to read its configuration again. But SIGHUP is also what comes when a
//! terminal is closed: then, without the terminal that it was started from, it ends too.

use std::{
    fs::{self, File},
    io,
    time::Instant,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The terminal that a process belongs to, as long as it does.
const OWN_TERMINAL: &str = "/dev/tty";

/// What somebody asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// The end.
    End,
    /// The configuration read again.
    Reload,
}

/// The signals that ask for something.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// It began in a terminal, and nobody (`nohup`) had said that it shall live on without.
    ends_with_terminal: bool,
}

impl Signals {
    /// From here on they do not end the program by themselves.
    pub(crate) fn new() -> io::Result<Self> {
        // Before SIGHUP is listened to, for then it is not ignored any more.
        let ends_with_terminal = has_terminal() && !ignores_hangup();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            ends_with_terminal,
        })
    }

    /// What is asked for next.
    pub(crate) async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.interrupt.recv() => Asked::End,
            _ = self.terminate.recv() => Asked::End,
            _ = self.hangup.recv() => match self.ends_with_terminal && !has_terminal() {
                true => Asked::End,
                false => Asked::Reload,
            },
        }
    }

    /// The first time that the end is asked for later than `time`.
    pub(crate) async fn end_after(&mut self, time: Instant) {
        while self.next().await != Asked::End || Instant::now() <= time {}
    }
}

fn has_terminal() -> bool {
    File::open(OWN_TERMINAL).is_ok()
}

/// Whether the parent has set SIGHUP to be ignored; where the system does not say, it has not.
fn ignores_hangup() -> bool {
    const HANGUP: u64 = 1;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0) & HANGUP != 0
}
