//! The tier that several proxies share, as the cache uses it: beneath memory and disk, and optional.
//!
//! | file | what it holds |
//! |---|---|
//! | `tier` | [`SharedTier`]: what is written, read and told |
//! | `load` | [`Cache::load_shared`](crate::cache::Cache::load_shared): brings what the tier has for a key into memory |
//! | `acting` | what the actor does with it |
//! | `applying` | applies what other instances have ended |
//! | `end` | [`SharedEnd`]: what ends responses at all instances, as they tell each other |
//! | `known_ends` | [`KnownEnds`]: whether a response that the tier has is ended |
//! | `messages` | the messages about ends at other instances |
//! | `record` | a stored response as a record |
//! | `state` | [`SharedState`]: the tier, and what the actor knows of other instances |
//! | `told` | [`ToldOthers`]: who has applied an end |
//!
//! Nothing is removed from the tier when it ends: each response has the position in the stream of ends that was applied here
//! when its fetch began, and is not used after an end with a later position that concerns it. The actor alone decides that,
//! because the ends come to it in order. An end of this instance has no position before it has come back: until then it ends
//! whatever it concerns.

mod acting;
mod applying;
mod end;
mod known_ends;
mod load;
mod messages;
mod record;
mod state;
mod tier;
mod told;

pub(in crate::cache) use self::{end::SharedEnd, state::SharedState};
pub use self::{
    load::Turn,
    messages::ClearHere,
    record::InSharedTier,
    tier::{SharedTier, SharingSettings},
    told::{OtherInstances, ToldOthers, Unconfirmed},
};
