//! Signals: SIGINT and SIGTERM stop the program, SIGHUP reloads its configuration.
//!
//! The system also sends SIGHUP when a terminal is closed. A program whose terminal is gone stops, unless it was started
//! with `nohup`.

use std::{
    fs::{self, File},
    io,
    time::Instant,
};

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The controlling terminal of the process; it cannot be opened without one.
const OWN_TERMINAL: &str = "/dev/tty";

/// What a signal makes the program do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalAction {
    /// Stop.
    Stop,
    /// Read the configuration again.
    Reload,
}

/// The signals the program handles.
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    /// Whether the program stops when its terminal is closed: it was started in one, and without `nohup`.
    stops_with_terminal: bool,
}

impl Signals {
    /// Starts to handle the signals. From now on they do not end the process by themselves.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub(crate) fn new() -> io::Result<Self> {
        // Checked first: a handler for SIGHUP replaces the setting of `nohup`.
        let stops_with_terminal = has_terminal() && !ignores_hangup();
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            stops_with_terminal,
        })
    }

    /// Waits for the next signal.
    pub(crate) async fn next(&mut self) -> SignalAction {
        tokio::select! {
            _ = self.interrupt.recv() => SignalAction::Stop,
            _ = self.terminate.recv() => SignalAction::Stop,
            _ = self.hangup.recv() => match self.stops_with_terminal && !has_terminal() {
                true => SignalAction::Stop,
                false => SignalAction::Reload,
            },
        }
    }

    /// Waits for a signal to stop that arrives after `time`.
    pub(crate) async fn stop_after(&mut self, time: Instant) {
        while self.next().await != SignalAction::Stop || Instant::now() <= time {}
    }
}

fn has_terminal() -> bool {
    File::open(OWN_TERMINAL).is_ok()
}

/// Whether SIGHUP was ignored when the process started, as `nohup` does. `false` on systems without /proc.
fn ignores_hangup() -> bool {
    const HANGUP: u64 = 1;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.unwrap_or(0) & HANGUP != 0
}
