//! Freeing memory in a thread of its own.
//!
//! The actor runs in the thread of a worker. To free a large store, or one large body, takes long enough to delay the hits of
//! that worker. So whatever is large is freed here, a part at a time: the allocator returns freed memory to the system a
//! second later, in the next thread that calls it, and that may be a worker. If no thread calls it, it returns nothing, so
//! this one calls it for some seconds.

use std::{
    cell::OnceCell,
    hint::black_box,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    thread,
    time::Duration,
};

use rustix::process::setpriority_process;

/// The nice value of the thread: the workers go first where they share a processor with it.
const PRIORITY: i32 = 10;
/// What is freed at once, in bytes, and the pause after that.
const PART_BYTES: u64 = 2 * 1024 * 1024;
const PAUSE: Duration = Duration::from_millis(12);
/// How often the allocator is called after the last garbage, and how long after each other.
const CALLS: usize = 200;
const BETWEEN_CALLS: Duration = Duration::from_millis(12);
/// For so many bytes, the allocator looks for memory to return when they are freed.
const CALLED_FOR_BYTES: usize = 1024 * 1024;

/// Frees one piece of garbage.
type Job = Box<dyn FnOnce() + Send>;

/// A thread that frees memory. It starts when it is first used, and ends after this is dropped.
#[derive(Debug, Default)]
pub(in crate::cache) struct Disposal {
    /// `None` if the thread could not be started.
    jobs: OnceCell<Option<Sender<Job>>>,
}

impl Disposal {
    /// Runs `job` in the thread, or here if there is no thread.
    pub(in crate::cache) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let job: Job = Box::new(job);
        let refused = match self.jobs.get_or_init(Self::start) {
            Some(jobs) => jobs.send(job).err().map(|refused| refused.0),
            None => Some(job),
        };
        if let Some(job) = refused {
            job();
        }
    }

    fn start() -> Option<Sender<Job>> {
        let (jobs, waiting) = channel::<Job>();
        let run = move || {
            // Elsewhere this would concern the whole process.
            if cfg!(target_os = "linux") {
                let _ = setpriority_process(None, PRIORITY);
            }
            while let Ok(job) = waiting.recv() {
                job();
                return_memory(&waiting);
            }
        };
        let thread = thread::Builder::new().name("cache-free".to_owned());
        thread.spawn(run).ok().map(|_| jobs)
    }
}

/// Has the allocator return memory. Meanwhile it runs what is waiting.
fn return_memory(waiting: &Receiver<Job>) {
    let mut calls = 0;
    while calls < CALLS {
        match waiting.recv_timeout(BETWEEN_CALLS) {
            Ok(job) => {
                job();
                calls = 0;
            }
            Err(RecvTimeoutError::Timeout) => {
                drop(black_box(Vec::<u8>::with_capacity(CALLED_FOR_BYTES)));
                calls += 1;
            }
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
}

/// Pauses after each part of what is freed.
#[derive(Debug, Default)]
pub(in crate::cache) struct Pace {
    freed_bytes: u64,
}

impl Pace {
    /// Counts what was freed. Pauses after a part, unless `is_urgent`.
    pub(in crate::cache) fn freed(&mut self, bytes: u64, is_urgent: bool) {
        self.freed_bytes += bytes;
        if self.freed_bytes >= PART_BYTES && !is_urgent {
            self.freed_bytes = 0;
            thread::sleep(PAUSE);
        }
    }
}
