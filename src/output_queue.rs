//! A queue in front of stdout or stderr, with a thread of its own that writes.
//!
//! A reader may stop reading: a pager, a stopped terminal, a stuck collector of logs. Then only this thread waits. The queue
//! is bounded; lines that do not fit are dropped and counted.

use std::{
    io::{self, ErrorKind, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// The most lines that wait, and the most bytes of them.
const MAX_LINES: usize = 8192;
const MAX_BYTES: usize = 4 * 1024 * 1024;
/// How much is written with one call, in bytes.
const BATCH_BYTES: usize = 64 * 1024;
/// How long the thread pauses after it has written. Lines that arrive meanwhile wake no thread, and are written together.
const PAUSE: Duration = Duration::from_millis(5);
/// How often dropped lines are reported at most.
const REPORT_EVERY: Duration = Duration::from_secs(1);
/// How often [`OutputQueue::flush`] looks whether everything is written.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// The sending side of a queue.
pub(crate) struct OutputQueue {
    lines: SyncSender<Vec<u8>>,
    progress: Arc<Progress>,
    report: DropReport,
}

/// What the senders and the thread count.
#[derive(Default)]
struct Progress {
    waiting_lines: AtomicUsize,
    waiting_bytes: AtomicUsize,
    dropped_lines: AtomicU64,
}

/// What happens to lines that are dropped.
#[derive(Clone, Copy)]
pub(crate) struct DropReport {
    /// Counts one, at once.
    pub(crate) count: fn(),
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
        let (lines, waiting) = sync_channel(MAX_LINES);
        let progress = Arc::new(Progress::default());
        let mut writer = Writer {
            out,
            report,
            reported_lines: 0,
            reported_at: None,
            progress: Arc::clone(&progress),
        };
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || writer.run(&waiting))?;
        Ok(Self {
            lines,
            progress,
            report,
        })
    }

    /// Adds a line, or several. Never waits: drops them if too many wait.
    pub(crate) fn push(&self, line: Vec<u8>) {
        let (len, progress) = (line.len(), &self.progress);
        let before = progress.waiting_bytes.fetch_add(len, Ordering::Relaxed);
        progress.waiting_lines.fetch_add(1, Ordering::Relaxed);
        if before.saturating_add(len) > MAX_BYTES || self.lines.try_send(line).is_err() {
            progress.waiting_lines.fetch_sub(1, Ordering::Relaxed);
            progress.waiting_bytes.fetch_sub(len, Ordering::Relaxed);
            progress.dropped_lines.fetch_add(1, Ordering::Relaxed);
            (self.report.count)();
        }
    }

    /// Waits until everything is written, but not longer than until `deadline`.
    pub(crate) fn flush(&self, deadline: Instant) {
        while self.progress.waiting_lines.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            thread::sleep(LOOK_EVERY);
        }
    }
}

/// The side of the thread.
struct Writer<W> {
    out: W,
    report: DropReport,
    reported_lines: u64,
    /// When dropped lines were last reported; `None` if never.
    reported_at: Option<Instant>,
    progress: Arc<Progress>,
}

impl<W: Write> Writer<W> {
    fn run(&mut self, waiting: &Receiver<Vec<u8>>) {
        loop {
            let next = match self.report_in() {
                None => waiting.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(wait) => waiting.recv_timeout(wait),
            };
            match next {
                Ok(first) => self.write_batch(first, waiting),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.report_dropped();
            thread::sleep(PAUSE);
        }
    }

    /// Writes `first` and the lines that wait behind it.
    fn write_batch(&mut self, first: Vec<u8>, waiting: &Receiver<Vec<u8>>) {
        let (mut batch, mut lines) = (first, 1);
        while batch.len() < BATCH_BYTES {
            let Ok(line) = waiting.try_recv() else { break };
            batch.extend_from_slice(&line);
            lines += 1;
        }
        if write_all(&mut self.out, &batch).is_err() {
            for _ in 0..lines {
                let dropped = &self.progress.dropped_lines;
                dropped.fetch_add(1, Ordering::Relaxed);
                (self.report.count)();
            }
        }
        let progress = &self.progress;
        progress
            .waiting_bytes
            .fetch_sub(batch.len(), Ordering::Relaxed);
        progress.waiting_lines.fetch_sub(lines, Ordering::Release);
    }

    fn not_reported(&self) -> u64 {
        self.progress.dropped_lines.load(Ordering::Relaxed) - self.reported_lines
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
        let _ = write_all(&mut self.out, &(self.report.line)(dropped));
        self.reported_lines += dropped;
        self.reported_at = Some(Instant::now());
    }
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
    use std::sync::{Mutex, mpsc};

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
            count: || {
                COUNTED.fetch_add(1, Ordering::Relaxed);
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
        // More than the queue holds in bytes, and the batch that the thread has taken.
        let pushed = MAX_BYTES / 1024 + 100;
        for number in 0..pushed {
            queue.push(format!("{number:<1023}\n").into_bytes());
        }
        queue.flush(Instant::now());
        let dropped = COUNTED.load(Ordering::Relaxed);
        assert!(dropped >= 99, "{dropped}");
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
        queue.push(b"again\n".to_vec());
        queue.flush(later());
        assert!(text.lock().unwrap().ends_with(b"again\n"));
    }
}
