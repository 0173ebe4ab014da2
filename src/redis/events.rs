//! The events of all instances, as they reach the user of this room.

use bytes::Bytes;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::redis::stamp::Stamp;

/// A message that has to be applied and then confirmed ([`crate::redis::Redis::confirm`]), in its order.
#[derive(Clone, Debug)]
pub struct RedisMessage {
    /// What has happened.
    pub kind: RedisMessageKind,
    pub(super) number: u64,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisMessageKind {
    /// The stream is read from its beginning: the events that were known are forgotten.
    Begins {
        /// The events after this position follow.
        from: Stamp,
        /// False if events may have been missed: all own tiers are emptied.
        is_continuous: bool,
        /// Own events with a token up to this one were published before, and may not come back.
        own_until: u64,
    },
    /// An event.
    Event {
        /// Its position.
        stamp: Stamp,
        /// What was published.
        bytes: Bytes,
        /// The token of an own event. It stands for all own events with a smaller token too. `None` if another instance
        /// has published it.
        own: Option<u64>,
        /// True if the own tiers have applied it in an earlier run. It is there to judge records.
        is_known: bool,
    },
    /// Nothing was heard of Redis for the length of the lease: all own tiers are emptied.
    LeaseEnded,
}

impl RedisMessageKind {
    /// The position up to which everything is applied after this message. `None` if the own tiers had applied as much before.
    pub fn newly_applied(&self) -> Option<Stamp> {
        match self {
            Self::Begins {
                from,
                is_continuous: false,
                ..
            } => Some(*from),
            Self::Event {
                stamp,
                is_known: false,
                ..
            } => Some(*stamp),
            Self::Begins { .. } | Self::Event { .. } | Self::LeaseEnded => None,
        }
    }
}

/// The messages, in their order.
#[derive(Debug)]
pub struct RedisEvents {
    pub(super) messages: UnboundedReceiver<RedisMessage>,
}

impl RedisEvents {
    /// The next message. `None` after [`crate::redis::Redis`] was closed or dropped.
    pub async fn next(&mut self) -> Option<RedisMessage> {
        self.messages.recv().await
    }
}
