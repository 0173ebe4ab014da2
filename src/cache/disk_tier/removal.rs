//! What has ended in memory, and when that holds on disk too.

use tokio::sync::oneshot;

use crate::{
    cache::{found::Cleared, shared_tier::ToldOthers},
    disk::{Ended, NotDurable},
};

/// What an actor has removed from memory. [`Removal::confirmed`] waits until it is removed from the disk too.
#[derive(Debug, Default)]
pub struct Removal {
    /// What was removed from memory.
    pub cleared: Cleared,
    pub(in crate::cache) confirmation: Confirmation,
    /// What the other instances were told.
    pub told: ToldOthers,
}

impl Removal {
    /// Waits, at most some seconds, until the disk has confirmed it, and the process that has taken over. Returns what was
    /// removed from the disk.
    ///
    /// # Errors
    /// It could not be written to the disk. It holds nevertheless: the disk is not read before it could be written.
    pub async fn confirmed(self) -> Result<(Cleared, Ended), NotDurable> {
        let ended = self.confirmation.wait().await?;
        self.told.applied_there().await;
        Ok((self.cleared, ended))
    }
}

/// The end that the disk is to confirm. Empty if there is no store on disk.
#[derive(Debug, Default)]
pub(in crate::cache) struct Confirmation(Option<oneshot::Receiver<Result<Ended, NotDurable>>>);

impl Confirmation {
    /// An end that is not confirmed yet, and where its confirmation is sent.
    pub(super) fn new() -> (Self, oneshot::Sender<Result<Ended, NotDurable>>) {
        let (sender, receiver) = oneshot::channel();
        (Self(Some(receiver)), sender)
    }

    pub(in crate::cache) async fn wait(self) -> Result<Ended, NotDurable> {
        match self.0 {
            None => Ok(Ended::default()),
            // The actor has failed. It is started again, and then ends everything.
            Some(receiver) => receiver.await.unwrap_or(Err(NotDurable)),
        }
    }
}
