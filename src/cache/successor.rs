//! The process that has taken over from this one, as the actor knows it.

use std::time::Duration;

use actix::Message;
use bytes::Bytes;
use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot,
    },
    time::timeout,
};

use crate::cache::shared_tier::SharedEnd;

/// How long an end waits until the process that has taken over has applied it.
const APPLY_LIMIT: Duration = Duration::from_secs(10);

/// Tells the process that has taken over what ends here. Unsafe requests that were in progress then may still invalidate.
#[derive(Clone, Debug)]
pub(super) struct Successor(UnboundedSender<PassedEnd>);

/// An end of stored responses, for the process that has taken over.
#[derive(Debug)]
pub struct PassedEnd {
    /// The end, for [`Cache::apply_end`](crate::cache::Cache::apply_end).
    pub bytes: Bytes,
    /// Gets a value when that process has applied it.
    pub applied: oneshot::Sender<()>,
}

impl Successor {
    /// A successor, and what it is told.
    pub(super) fn new() -> (Self, UnboundedReceiver<PassedEnd>) {
        let (sender, ends) = unbounded_channel();
        (Self(sender), ends)
    }

    pub(super) fn tell(&self, end: &SharedEnd) -> AppliedThere {
        self.tell_bytes(end.write().into())
    }

    pub(super) fn tell_bytes(&self, bytes: Bytes) -> AppliedThere {
        let (applied, confirmation) = oneshot::channel();
        // Nobody reads if that process has ended, and its memory with it.
        let _ = self.0.send(PassedEnd { bytes, applied });
        AppliedThere(Some(confirmation))
    }
}

/// The end that the process that has taken over is to apply. Empty if there is none.
#[derive(Debug, Default)]
pub struct AppliedThere(Option<oneshot::Receiver<()>>);

impl AppliedThere {
    /// Waits, at most some seconds, until that process has applied it. False if it has not.
    pub(super) async fn confirmed(self) -> bool {
        match self.0 {
            None => true,
            Some(applied) => matches!(timeout(APPLY_LIMIT, applied).await, Ok(Ok(()))),
        }
    }
}

/// Empties memory, uses no disk from now on, and tells the successor what ends.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct HandOverCache(pub(super) Successor);

/// Tells the successor of an end that was applied here. Does nothing if there is none.
#[derive(Message, Debug)]
#[rtype(result = "AppliedThere")]
pub struct PassOn(pub(super) Bytes);
