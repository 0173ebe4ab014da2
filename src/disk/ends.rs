//! What ends stored responses, and when that is durable.

use futures_util::future::BoxFuture;

use crate::disk::address::Address;

/// What ends stored responses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// All of them.
    All,
    /// Those of these resources, in all partitions.
    Resources(Vec<Box<[u8]>>),
    /// Those at one address.
    Address(Address),
    /// Those that a rule names.
    Matching {
        /// The rule in bytes, as [`ParseRule`] reads it.
        rule: Vec<u8>,
        /// What becomes of them.
        action: RuleAction,
    },
    /// Ends nothing. It is handed back when the directory is opened again. Their number is bounded; the oldest are dropped.
    Note(Vec<u8>),
}

impl End {
    /// What it takes in memory.
    pub(super) fn memory_bytes(&self) -> u64 {
        let content = match self {
            Self::All => 0,
            Self::Resources(names) => names.iter().map(|name| name.len() + 16).sum(),
            Self::Address(address) => address.resource.len() + address.partition.len(),
            Self::Matching { rule, .. } => rule.len(),
            Self::Note(note) => note.len(),
        };
        (content + size_of::<Self>()) as u64
    }
}

/// What becomes of the responses that a rule names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleAction {
    /// They are removed.
    Remove,
    /// They are expired from a time on.
    Expire {
        /// In milliseconds since the Unix epoch.
        at: u64,
    },
}

/// Reads a rule. `None` if it cannot be read; then it names everything.
pub type ParseRule = fn(&[u8]) -> Option<Box<dyn DiskRule>>;

/// A rule that names stored responses.
pub trait DiskRule: Send + Sync {
    /// Whether it names the response of this resource with this head.
    fn names(&self, resource: &[u8], head: &[u8]) -> bool;
}

/// The results of [`crate::disk::Disk::end`]. The work goes on if they are dropped.
pub struct Ending {
    /// Resolves when it is durable, at the latest after 2 seconds.
    pub durable: BoxFuture<'static, Result<Ended, NotDurable>>,
    /// Resolves when all that rules with [`RuleAction::Remove`] name was found. Nothing of it is served from the time on at
    /// which `durable` resolves.
    pub swept: BoxFuture<'static, Swept>,
}

/// What ended at once. It counts nothing for rules, nor what is loaded later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The number of responses.
    pub responses: u64,
    /// Their bytes on the disk.
    pub bytes: u64,
}

/// It could not be written. It holds in this process: until it was written, nothing is served from the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it could not be written to the store on disk")]
pub struct NotDurable;

/// What rules have removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// The number of responses.
    pub responses: u64,
    /// Their bytes on the disk.
    pub bytes: u64,
    /// Their resources: up to 10,000 of them.
    pub resources: Vec<Box<[u8]>>,
    /// True if there are more resources.
    pub has_more_resources: bool,
}
