//! The process that has taken over from this one, as the actor knows it.

use actix::Message;
use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::cache::shared_tier::SharedEnd;

/// Tells the process that has taken over what ends here. Unsafe requests that were in progress then may still invalidate.
#[derive(Clone, Debug)]
pub(super) struct Successor(UnboundedSender<Bytes>);

impl Successor {
    /// A successor, and what it is told.
    pub(super) fn new() -> (Self, UnboundedReceiver<Bytes>) {
        let (sender, ends) = unbounded_channel();
        (Self(sender), ends)
    }

    pub(super) fn tell(&self, end: &SharedEnd) {
        // Nobody reads if that process has ended, and its memory with it.
        let _ = self.0.send(end.write().into());
    }
}

/// Empties memory, uses no disk from now on, and tells the successor what ends.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct HandOverCache(pub(super) Successor);
