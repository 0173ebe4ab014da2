//! Tells all tasks of the server that it begins to stop, or that another process has taken over.

use std::future::pending;

use tokio::sync::watch;

/// How far the server has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum StopStage {
    /// It serves.
    Serving,
    /// Another process accepts the connections. Those that are here end when their clients need them no more.
    HandedOver,
    /// Connections end as soon as their requests in progress are finished.
    Stopping,
}

/// Resolves when the server has reached a stage. Clones are the same signal.
#[derive(Clone)]
pub(super) struct StopSignal(watch::Receiver<StopStage>);

impl StopSignal {
    /// The signal, and the sender that gives it.
    pub(super) fn new() -> (watch::Sender<StopStage>, Self) {
        let (sender, receiver) = watch::channel(StopStage::Serving);
        (sender, Self(receiver))
    }

    /// Waits until connections end. Never resolves if the server ends without a stop.
    pub(super) async fn notified(&self) {
        self.reached(StopStage::Stopping).await;
    }

    /// Whether connections are to end.
    pub(super) fn is_given(&self) -> bool {
        *self.0.borrow() == StopStage::Stopping
    }

    /// Waits until no more connections and requests are wanted. Never resolves if the server ends without a stop.
    pub(super) async fn no_more_wanted(&self) {
        self.reached(StopStage::HandedOver).await;
    }

    async fn reached(&self, stage: StopStage) {
        if self.0.clone().wait_for(|now| *now >= stage).await.is_err() {
            pending().await
        }
    }
}
