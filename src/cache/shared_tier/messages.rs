//! The messages to the actor about ends at other instances.

use std::sync::Arc;

use actix::Message;

use crate::{
    cache::{
        disk_tier::Removal,
        shared_tier::{end::SharedEnd, record::InSharedTier},
    },
    policy::{StoredHead, Time},
    redis::Stamp,
};

/// Notes an end, so that nothing is loaded that it ends.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct NoteEnd {
    pub(super) stamp: Stamp,
    pub(super) end: Arc<SharedEnd>,
    /// The token of an end of this instance; `None` if it is another one's.
    pub(super) own: Option<u64>,
}

/// The stream of ends is read from its beginning.
#[derive(Message, Debug)]
#[rtype(result = "()")]
pub struct BeginEnds {
    pub(super) from: Stamp,
    /// Ends of this instance with tokens up to this do not come back.
    pub(super) own_until: u64,
}

/// Removes all stored responses of this instance and voids all fetches. The others are not told.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Removal")]
pub struct ClearHere;

/// The lease of this instance has ended: removes everything here, unless that was done at its end.
#[derive(Message, Clone, Copy, Debug)]
#[rtype(result = "Removal")]
pub struct EndLease;

/// Returns the heads of these responses that have not ended. Nothing is loaded.
#[derive(Message)]
#[rtype(result = "Vec<StoredHead>")]
pub struct JudgeHeads {
    pub(super) found: Vec<InSharedTier>,
    pub(super) now: Time,
}
