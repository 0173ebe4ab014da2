//! A proxy that serves: until a signal stops it, or another process takes over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use caching_proxy::{
    control::{Control, HandOver, OfferedFiles},
    dashboard::{Dashboard, MetricsListener},
    observe::Saved,
    reload::Reload,
    server::Server,
};
use tokio::{
    sync::mpsc::{self, Receiver},
    task::JoinHandle,
    time::sleep,
};

use crate::{
    failure::Failure,
    signals::{SignalAction, Signals},
};

/// Signals this close together count as one: some parents signal both the child and its process group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);
/// How long requests and tunnels may go on after another process has taken over.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(60 * 60);

/// A proxy that serves, with all that listens.
pub(crate) struct RunningProxy {
    pub(crate) server: Server,
    pub(crate) signals: Signals,
    pub(crate) reload: Reload,
    /// `None` if commands cannot reach it.
    pub(crate) control: Option<Control>,
    pub(crate) dashboard: Option<Dashboard>,
    /// It tells load balancers that the proxy is shutting down, so it ends last.
    pub(crate) metrics: Option<MetricsListener>,
    /// What a process that takes over gets.
    pub(crate) offered: Arc<OfferedFiles>,
    /// Gets such a process.
    pub(crate) taken: Receiver<HandOver>,
    /// Ends when the process has said all that it ends from which this one has taken over. `None` if there was none.
    pub(crate) process_before: Option<JoinHandle<()>>,
}

impl RunningProxy {
    /// Serves until it ends.
    ///
    /// # Errors
    /// The server has ended by itself, or a second signal did not wait for requests in progress.
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        loop {
            tokio::select! {
                action = self.signals.next() => match action {
                    SignalAction::Stop => return self.stop().await.map(drop),
                    // The reload logs its own result.
                    SignalAction::Reload => drop(self.reload.run().await),
                },
                // One that has ended meanwhile changes nothing.
                Some(mut process) = self.taken.recv() => if process.accept() {
                    return self.hand_over(process).await;
                },
                error = self.server.ended() => return Err(Failure::Ended(error)),
            }
        }
    }

    /// Lets another process take over, and finishes the requests in progress.
    async fn hand_over(mut self, process: HandOver) -> Result<(), Failure> {
        let pid = process.pid();
        log::info!(
            "process {pid} takes over the port: finishing requests in progress (Ctrl-C: at most ten seconds more)"
        );
        // Only one process can take over, and it opens all this. First what ends stored responses, so that each is cleared
        // before the store is closed.
        (self.taken, self.offered) = (mpsc::channel(1).1, Arc::default());
        if let Some(control) = self.control.take() {
            control.hand_over().await;
        }
        (self.dashboard, self.metrics) = (None, None);
        let ends = self.server.hand_over().await;
        let mut stopped = Ok(());
        let finished = async {
            let drained = async {
                self.server.drained().await;
                // What it tells is passed on.
                if let Some(ends) = &mut self.process_before {
                    let _ = ends.await;
                }
            };
            tokio::select! {
                () = drained => {}
                () = sleep(HAND_OVER_LIMIT) => {}
                () = self.signals.stop_after(Instant::now()) => {}
            }
            let before = self.process_before.as_ref();
            let are_before_known = before.is_none_or(JoinHandle::is_finished);
            match self.stop().await {
                Ok(are_known) => are_known && are_before_known,
                Err(error) => {
                    stopped = Err(error);
                    false
                }
            }
        };
        if let Err(error) = process.release(ends, finished).await {
            log::warn!("process {pid}, which has taken over, does not listen any more: {error}");
        }
        stopped
    }

    /// Finishes the requests in progress, unless a second signal stops the proxy at once. The result is that of
    /// [`Server::stop`].
    async fn stop(mut self) -> Result<bool, Failure> {
        log::info!("shutting down: finishing requests in progress (Ctrl-C again to quit now)");
        // Who connects from now on is refused.
        self.offered = Arc::default();
        let shared = self.server.shared();
        let stopped = async {
            let is_known = self.server.stop().await;
            // Last, so that the cache can be cleared as long as anything is served from it.
            if let Some(control) = self.control {
                control.stop().await;
            }
            is_known
        };
        tokio::select! {
            is_known = stopped => {
                if let Some(sentence) = Saved::of(&shared.observer.totals()).sentence() {
                    log::info!("{sentence}");
                }
                Ok(is_known)
            }
            () = self.signals.stop_after(Instant::now() + SAME_SIGNAL) => Err(Failure::Killed),
        }
    }
}
