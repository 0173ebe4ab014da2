//! A queue in front of stdout or stderr, with a thread of its own that writes.
//!
//! A reader may stop reading: a pager, a stopped terminal, a stuck collector of logs. Then only this thread waits. The
//! lines of all threads are in one buffer, in their order. It is locked only as long as it takes to copy a line, or to
//! exchange it for an empty one. It is bounded; lines that do not fit are dropped and counted.

use std::{
    io::{self, ErrorKind, Write},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::{Duration, Instant},
};

/// The most bytes that wait.
const MAX_WAITING_BYTES: usize = 4 * 1024 * 1024;
/// A buffer that has grown beyond this is not used again, in bytes.
const MAX_RETAINED_BYTES: usize = 128 * 1024;
/// How long the thread pauses after it has written. Lines that arrive meanwhile wake no thread, and are written together.
const PAUSE: Duration = Duration::from_millis(5);
/// How often dropped lines are reported at most.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How often [`OutputQueue::flush`] looks whether everything is written.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The sending side of a queue.
pub(crate) struct OutputQueue {
    shared: Arc<QueueState>,
    writer: Thread,
}

/// What the senders and the thread that writes share.
struct QueueState {
    report: DropReport,
    /// Whole lines that wait to be written.
    lines: Mutex<Vec<u8>>,
    /// Everything is written, and the thread sleeps until it is woken.
    is_idle: AtomicBool,
    dropped_lines: AtomicU64,
}

/// What happens to lines that are dropped.
#[derive(Clone, Copy)]
pub(crate) struct DropReport {
    /// Counts them, at once.
    pub(crate) count: fn(u64),
    /// The line that says how many were dropped. It is written once the output flows again.
    pub(crate) line: fn(u64) -> Vec<u8>,
}

impl OutputQueue {
    /// A queue whose thread writes to `out`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(crate) fn start(
        name: &str,
        out: impl Write + Send + 'static,
        report: DropReport,
    ) -> io::Result<Self> {
        let shared = Arc::new(QueueState {
            report,
            lines: Mutex::default(),
            is_idle: AtomicBool::new(false),
            dropped_lines: AtomicU64::new(0),
        });
        let mut writer = Writer {
            out,
            reported_lines: 0,
            reported_at: None,
            shared: Arc::clone(&shared),
        };
        let thread = thread::Builder::new().name(name.to_owned());
        let handle = thread.spawn(move || writer.run())?;
        let writer = handle.thread().clone();
        Ok(Self { shared, writer })
    }

    /// Adds whole lines. Never waits for the reader: drops them if too many wait.
    pub(crate) fn push(&self, lines: &[u8]) {
        let mut waiting = locked(&self.shared.lines);
        if waiting.len() + lines.len() > MAX_WAITING_BYTES {
            drop(waiting);
            return self.shared.dropped(lines);
        }
        waiting.extend_from_slice(lines);
        drop(waiting);
        let is_idle = &self.shared.is_idle;
        if is_idle.load(Ordering::Acquire) && is_idle.swap(false, Ordering::AcqRel) {
            self.writer.unpark();
        }
    }

    /// Waits until everything is written, but not longer than until `deadline`.
    pub(crate) fn flush(&self, deadline: Instant) {
        while !self.shared.is_written() && Instant::now() < deadline {
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl QueueState {
    fn dropped(&self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.dropped_lines.fetch_add(count, Ordering::Relaxed);
        (self.report.count)(count);
    }

    fn is_any_waiting(&self) -> bool {
        !locked(&self.lines).is_empty()
    }

    /// In this order: lines that no longer wait may be about to be written, and then the thread is not idle.
    fn is_written(&self) -> bool {
        !self.is_any_waiting() && self.is_idle.load(Ordering::Acquire)
    }
}

/// The side of the thread.
struct Writer<W> {
    out: W,
    reported_lines: u64,
    /// When dropped lines were last reported; `None` if never.
    reported_at: Option<Instant>,
    shared: Arc<QueueState>,
}

impl<W: Write> Writer<W> {
    fn run(&mut self) {
        let mut batch = Vec::new();
        loop {
            self.wait_for_lines();
            mem::swap(&mut batch, &mut *locked(&self.shared.lines));
            if write_all(&mut self.out, &batch).is_err() {
                self.shared.dropped(&batch);
            }
            batch.clear();
            batch.shrink_to(MAX_RETAINED_BYTES);
            self.report_dropped();
            thread::sleep(PAUSE);
        }
    }

    /// Sleeps until lines wait, or are to be reported as dropped.
    fn wait_for_lines(&self) {
        let is_idle = &self.shared.is_idle;
        is_idle.store(true, Ordering::Release);
        // A line that was added before that wakes nobody.
        while is_idle.load(Ordering::Acquire) && !self.shared.is_any_waiting() {
            match self.report_in() {
                None => thread::park(),
                Some(Duration::ZERO) => break,
                Some(wait) => thread::park_timeout(wait),
            }
        }
        is_idle.store(false, Ordering::Release);
    }

    fn not_reported(&self) -> u64 {
        self.shared.dropped_lines.load(Ordering::Relaxed) - self.reported_lines
    }

    /// In what time dropped lines are to be reported; `None` if there are none.
    fn report_in(&self) -> Option<Duration> {
        let elapsed = self.reported_at.map_or(REPORT_EVERY, |at| at.elapsed());
        (self.not_reported() > 0).then(|| REPORT_EVERY.saturating_sub(elapsed))
    }

    fn report_dropped(&mut self) {
        if self.report_in() != Some(Duration::ZERO) {
            return;
        }
        let dropped = self.not_reported();
        // The report itself is not counted if it cannot be written.
        let _ = write_all(&mut self.out, &(self.shared.report.line)(dropped));
        self.reported_lines += dropped;
        self.reported_at = Some(Instant::now());
    }
}

/// A panic leaves whole lines in the buffer, so what it has poisoned is used on.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes all of `bytes`. Waits for a reader also if another program has made the pipe non-blocking.
fn write_all(out: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match out.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// An output whose reader reads nothing before the gate opens.
    struct Unread {
        gate: Option<mpsc::Receiver<()>>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Unread {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if let Some(gate) = self.gate.take() {
                gate.recv().unwrap();
            }
            self.text.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    static COUNTED: AtomicU64 = AtomicU64::new(0);

    fn unread() -> (OutputQueue, mpsc::Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let (opens, gate) = mpsc::channel();
        let text = Arc::default();
        let out = Unread {
            gate: Some(gate),
            text: Arc::clone(&text),
        };
        let report = DropReport {
            count: |count| {
                COUNTED.fetch_add(count, Ordering::Relaxed);
            },
            line: |count| format!("{count} dropped\n").into_bytes(),
        };
        let queue = OutputQueue::start("test", out, report).unwrap();
        (queue, opens, text)
    }

    fn later() -> Instant {
        Instant::now() + Duration::from_secs(30)
    }

    #[test]
    fn lines_beyond_the_limit_are_dropped_and_reported_once_the_output_flows() {
        let (queue, opens, text) = unread();
        // More than the buffer holds, and the one that the thread has taken.
        let pushed = 2 * MAX_WAITING_BYTES / 1024 + 100;
        for number in 0..pushed {
            queue.push(format!("{number:<1023}\n").as_bytes());
        }
        queue.flush(Instant::now());
        let dropped = COUNTED.load(Ordering::Relaxed);
        assert!(dropped >= 100, "{dropped}");
        assert!(text.lock().unwrap().is_empty(), "the reader reads nothing");
        opens.send(()).unwrap();
        queue.flush(later());
        let report = format!("{dropped} dropped");
        let written = || String::from_utf8(text.lock().unwrap().clone()).unwrap();
        assert_eq!(written().lines().filter(|line| *line == report).count(), 1);
        assert_eq!(
            written().lines().count() as u64,
            pushed as u64 - dropped + 1
        );
        queue.push(b"again\n");
        queue.flush(later());
        assert!(text.lock().unwrap().ends_with(b"again\n"));
    }

    #[test]
    fn lines_of_each_thread_are_written_whole_and_in_their_order() {
        let (queue, opens, text) = unread();
        opens.send(()).unwrap();
        thread::scope(|scope| {
            for name in ["a", "b", "c"] {
                let queue = &queue;
                scope.spawn(move || {
                    for number in 0..1000 {
                        queue.push(format!("{name} {number}\n").as_bytes());
                    }
                });
            }
        });
        queue.flush(later());
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        for name in ["a", "b", "c"] {
            let of_thread = text.lines().filter(|line| line.starts_with(name));
            let expected = (0..1000).map(|number| format!("{name} {number}"));
            assert!(of_thread.eq(expected), "{text}");
        }
        assert_eq!(text.lines().count(), 3000);
    }
}
