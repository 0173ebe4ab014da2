//! Freeing memory in a thread of its own.
//!
//! The actor runs in the thread of a worker. To free a large store, or one large body, takes long enough to delay the hits of
//! that worker. So whatever is large is freed here.

use std::{
    cell::OnceCell,
    sync::mpsc::{Sender, channel},
    thread,
};

use rustix::process::setpriority_process;

/// The nice value of the thread.
const LOWEST_PRIORITY: i32 = 19;

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
            // The workers go first where they share a processor with it. Elsewhere this would concern the whole process.
            if cfg!(target_os = "linux") {
                let _ = setpriority_process(None, LOWEST_PRIORITY);
            }
            waiting.into_iter().for_each(|job| job());
        };
        let thread = thread::Builder::new().name("cache-free".to_owned());
        thread.spawn(run).ok().map(|_| jobs)
    }
}
