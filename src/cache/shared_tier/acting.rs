//! The shared tier, as the actor uses it.

use std::sync::Arc;

use actix::{Context, Handler, MessageResult};

use crate::{
    cache::{
        actor::CacheActor,
        disk_tier::Removal,
        found::PutOutcome,
        shared_tier::{
            end::SharedEnd,
            known_ends::Verdict,
            messages::{BeginEnds, ClearHere, EndLease, JudgeHeads, NoteEnd},
            record::InSharedTier,
            told::ToldOthers,
        },
        store::{entry::Entry, key::Key},
    },
    policy::Time,
    redis::{FetchLease, Stamp},
};

impl CacheActor {
    /// Tells the other instances what has ended here, and a process that has taken over. Does nothing if there are none.
    pub(in crate::cache) fn tell_others(&mut self, end: impl FnOnce() -> SharedEnd) -> ToldOthers {
        if self.shared.is_none() && self.successor.is_none() {
            return ToldOthers::default();
        }
        let end = end();
        let successor = self.successor.as_ref().map(|it| it.tell(&end));
        let told = ToldOthers::by_hand_over(successor.unwrap_or_default());
        let Some(shared) = &mut self.shared else {
            return told;
        };
        let publishing = shared.tier.publish(&end);
        shared.ends.told(publishing.token, end);
        told.and_published(&shared.tier, publishing)
    }

    /// Writes `entry`, which came for memory, to the shared tier, even if it did not fit into memory. `stamp` is what was
    /// applied here when its fetch began.
    pub(in crate::cache) fn put_into_shared_tier(
        &self,
        (key, entry): (&Key, &Arc<Entry>),
        (stamp, now): (Option<Stamp>, Time),
        outcome: PutOutcome,
        lease: Option<FetchLease>,
    ) {
        let (Some(shared), Some(stamp)) = (&self.shared, stamp) else {
            return;
        };
        if matches!(outcome, PutOutcome::Stored | PutOutcome::NoRoom) {
            shared.tier.put(key, entry, (stamp, now), lease);
        }
    }

    /// Removes everything here if this instance has not heard of the others for too long.
    pub(in crate::cache) fn end_with_lease(&mut self, context: &mut Context<Self>) {
        let Some(shared) = &self.shared else {
            return;
        };
        // Before it has heard of them for the first time, nothing of an earlier run is read.
        if shared.tier.valid_until() > 0 && !shared.tier.is_current() {
            drop(self.clear_after_lease(context));
        }
    }

    /// Removes everything here, once for each end of the lease.
    fn clear_after_lease(&mut self, context: &mut Context<Self>) -> Removal {
        if let Some(shared) = &mut self.shared {
            let ended = Some(shared.tier.valid_until());
            if shared.cleared_after == ended {
                return Removal::default();
            }
            shared.cleared_after = ended;
        }
        self.clear_here(context)
    }
}

impl Handler<NoteEnd> for CacheActor {
    type Result = ();

    fn handle(&mut self, note: NoteEnd, context: &mut Self::Context) {
        self.take_turns(context);
        if let Some(shared) = &mut self.shared {
            shared.ends.note(note.stamp, &note.end, note.own);
        }
    }
}

impl Handler<BeginEnds> for CacheActor {
    type Result = ();

    fn handle(&mut self, begin: BeginEnds, context: &mut Self::Context) {
        self.take_turns(context);
        if let Some(shared) = &mut self.shared {
            shared.ends.begin(begin.from, begin.own_until);
        }
    }
}

impl Handler<ClearHere> for CacheActor {
    type Result = MessageResult<ClearHere>;

    fn handle(&mut self, _: ClearHere, context: &mut Self::Context) -> Self::Result {
        MessageResult(self.clear_here(context))
    }
}

impl Handler<EndLease> for CacheActor {
    type Result = MessageResult<EndLease>;

    fn handle(&mut self, _: EndLease, context: &mut Self::Context) -> Self::Result {
        MessageResult(self.clear_after_lease(context))
    }
}

impl Handler<JudgeHeads> for CacheActor {
    type Result = MessageResult<JudgeHeads>;

    fn handle(&mut self, judge: JudgeHeads, _: &mut Self::Context) -> Self::Result {
        let Some(shared) = &self.shared else {
            return MessageResult(Vec::new());
        };
        let judged = judge.found.into_iter().filter_map(|response| {
            let InSharedTier {
                key, head, record, ..
            } = response;
            match shared.verdict(record.stamp, &key, &head) {
                Verdict::Usable => Some(head),
                Verdict::Expired => Some(head.expired(judge.now)),
                Verdict::Ended => None,
            }
        });
        MessageResult(judged.collect())
    }
}
