//! The messages to the writer.

use std::sync::{Arc, mpsc::SyncSender};

use tokio::sync::oneshot;

use crate::disk::{
    availability::EndState,
    ended::RuleId,
    ends::{End, Ended, NotDurable, Swept},
    record::Record,
    waiting_keys::WaitingKey,
};

/// A message to the writer. It does them in their order.
pub(super) enum Message {
    /// Writes a response down.
    Put {
        record: Arc<dyn Record>,
        /// Its memory, as it was counted.
        bytes: u64,
        waiting: WaitingKey,
    },
    /// A newer response of this key was dropped: the one that is stored is not the newest any more.
    Superseded(WaitingKey),
    /// Ends responses.
    End(EndCall),
    /// Replaces the checkpoint. It covers the ends before it.
    Checkpoint(Vec<u8>),
    /// Makes room for so many bytes of bodies that arrive, and answers whether there is. It counts as used until they are
    /// written.
    MakeRoom {
        bytes: u64,
        answer: SyncSender<bool>,
    },
    /// A body is finished, or was given up, and no record has named it.
    Release(u64),
    /// The file of a body is damaged, or not there.
    BodyGone(u64),
    /// The index is loaded.
    Loaded,
    /// The records that rules name were removed from the index: these sequence numbers.
    Swept {
        sequences: Vec<u64>,
        rules: Vec<RuleId>,
    },
    /// Writes what waits, and closes.
    Close { answer: Option<oneshot::Sender<()>> },
}

/// A call of [`crate::disk::Disk::end`].
pub(super) struct EndCall {
    pub(super) ends: Vec<End>,
    /// Its memory, as it was counted.
    pub(super) bytes: u64,
    pub(super) state: Arc<EndState>,
    pub(super) durable: oneshot::Sender<Result<Ended, NotDurable>>,
    pub(super) swept: oneshot::Sender<Swept>,
}
