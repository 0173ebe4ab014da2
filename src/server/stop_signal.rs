//! Tells all tasks of the server that it begins to stop.

use std::future::pending;

use tokio::sync::watch;

/// Resolves when the server begins to stop. Clones are the same signal.
#[derive(Clone)]
pub(super) struct StopSignal(watch::Receiver<bool>);

impl StopSignal {
    /// The signal, and the sender that gives it by sending `true`.
    pub(super) fn new() -> (watch::Sender<bool>, Self) {
        let (sender, receiver) = watch::channel(false);
        (sender, Self(receiver))
    }

    /// Waits for the signal. Never resolves if the server ends without it.
    pub(super) async fn notified(&self) {
        if self.0.clone().wait_for(|stops| *stops).await.is_err() {
            pending().await
        }
    }
}
