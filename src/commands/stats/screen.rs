//! The terminal screen of `stats --watch`: the alternate screen, left at the end.

use std::{
    io::{self, Write as _},
    process,
};

use rustix::process::{Pid, Signal as Number, kill_process};
use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    time::{Instant, sleep_until},
};

use super::page::{Page, Room};

/// DEC private modes: the alternate screen, and no cursor.
const TAKE: &str = "\u{1b}[?1049h\u{1b}[?25l";
const GIVE_BACK: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// Terminals that support synchronized output show everything between the two at once; others ignore them.
const BEGIN: &str = "\u{1b}[?2026h\u{1b}[H";
/// Clears what an earlier drawing left below.
const END: &str = "\u{1b}[J\u{1b}[?2026l";
/// Clears the rest of a line: the text drawn there before may have been longer.
const REST: &str = "\u{1b}[K\n";

/// Why waiting ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScreenEvent {
    /// The time has come.
    Time,
    /// The size of the terminal changed, or the process was suspended: draw again.
    Changed,
    /// A signal ends the program.
    End,
}

/// The alternate screen of the terminal. Dropping it returns to the normal screen and prints the last page in full.
pub(super) struct Screen {
    runtime: Runtime,
    signals: ScreenSignals,
    last: String,
}

struct ScreenSignals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    size: Signal,
    suspend: Signal,
}

impl ScreenSignals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            size: signal(SignalKind::window_change())?,
            suspend: signal(SignalKind::from_raw(Number::TSTP.as_raw()))?,
        })
    }
}

impl Screen {
    /// Switches the terminal on stdout to its alternate screen.
    ///
    /// # Errors
    /// Signal handlers cannot be installed, or stdout cannot be written.
    pub(super) fn take() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let signals = runtime.block_on(async { ScreenSignals::new() })?;
        write(TAKE)?;
        Ok(Self {
            runtime,
            signals,
            last: String::new(),
        })
    }

    /// Draws the page over the previous one, fitted to the size of the terminal.
    pub(super) fn draw(&mut self, page: &Page) -> io::Result<()> {
        let text = page.text(Room::of_terminal());
        let text = text.trim_end_matches('\n').replace('\n', REST);
        self.last = page.text(Room::wide());
        write(&format!("{BEGIN}{text}\u{1b}[K{END}"))
    }

    /// Waits for the next event, at most until `time`.
    pub(super) fn next(&mut self, time: Instant) -> ScreenEvent {
        let signals = &mut self.signals;
        let (event, is_suspended) = self.runtime.block_on(async {
            tokio::select! {
                biased;
                _ = signals.interrupt.recv() => (ScreenEvent::End, false),
                _ = signals.terminate.recv() => (ScreenEvent::End, false),
                _ = signals.hangup.recv() => (ScreenEvent::End, false),
                _ = signals.suspend.recv() => (ScreenEvent::Changed, true),
                _ = signals.size.recv() => (ScreenEvent::Changed, false),
                () = sleep_until(time) => (ScreenEvent::Time, false),
            }
        });
        if is_suspended {
            suspend();
        }
        event
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // The terminal may be gone; then there is nothing to restore.
        let _ = write(&format!("{GIVE_BACK}{}", self.last));
    }
}

/// Restores the terminal and stops the process until the shell continues it.
fn suspend() {
    let _ = write(GIVE_BACK);
    let own = i32::try_from(process::id()).ok().and_then(Pid::from_raw);
    if let Some(own) = own {
        let _ = kill_process(own, Number::STOP);
    }
    let _ = write(TAKE);
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
