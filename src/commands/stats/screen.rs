//! The terminal while something is drawn on it again and again: a screen of its own, given back at the end.

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

/// DEC private modes: the other screen, and no cursor.
const TAKE: &str = "\u{1b}[?1049h\u{1b}[?25l";
const GIVE_BACK: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// A terminal that knows it shows all that stands between the two at once; the others ignore it.
const BEGIN: &str = "\u{1b}[?2026h\u{1b}[H";
/// Clear what is left below of an earlier drawing.
const END: &str = "\u{1b}[J\u{1b}[?2026l";
/// Clear a line behind its text: what stood there before may have been longer.
const REST: &str = "\u{1b}[K\n";

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScreenEvent {
    /// The time is over.
    Time,
    /// The terminal has another size, or was used for something else meanwhile: draw again.
    Changed,
    /// Somebody wants it to end.
    End,
}

/// The terminal, taken. It is given back when this is dropped, and then shows what was drawn last in full.
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
    /// Takes the terminal that stdout is.
    ///
    /// # Errors
    /// When signals cannot be listened to, or nothing can be written.
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

    /// Draws over what was drawn before, no more than the terminal has room for.
    pub(super) fn draw(&mut self, page: &Page) -> io::Result<()> {
        let text = page.text(Room::of_terminal());
        let text = text.trim_end_matches('\n').replace('\n', REST);
        self.last = page.text(Room::wide());
        write(&format!("{BEGIN}{text}\u{1b}[K{END}"))
    }

    /// Waits for the next event, until `time` at the latest.
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
        // The terminal may be gone: then nothing is to be given back.
        let _ = write(&format!("{GIVE_BACK}{}", self.last));
    }
}

/// Stops, with the terminal as it was, until the shell wants it to go on.
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
