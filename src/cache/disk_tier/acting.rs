//! The store on disk, as the actor uses it.

use std::sync::Arc;

use actix::{
    AsyncContext as _, Context, Handler, MessageResult, WrapFuture as _, fut::ActorFutureExt as _,
};

use crate::{
    cache::{
        actor::CacheActor,
        disk_tier::{endings::EndScope, removal::Confirmation, tier::DiskTier},
        fetches::{
            messages::{Load, LoadedFrom},
            reader::FetchId,
        },
        found::PutOutcome,
        store::{
            entry::Entry,
            key::{Key, Resource},
            related::UnsafeRequest,
        },
    },
    disk::Ending,
    policy::Time,
};

impl CacheActor {
    /// Notes what the disk was told to end. Tickets for it may load when the disk has confirmed it.
    pub(in crate::cache) fn confirm(
        &mut self,
        scope: EndScope,
        ending: Ending,
        context: &mut Context<Self>,
    ) -> Confirmation {
        self.endings.begin(&scope);
        if let Some(disk) = &self.disk {
            disk.ends.begin();
        }
        let (confirmation, sender) = Confirmation::new();
        let confirmed = ending.durable.into_actor(self);
        context.spawn(confirmed.map(move |result, actor, _| {
            actor.endings.confirmed(&scope);
            if let Some(disk) = &actor.disk {
                disk.ends.confirm();
            }
            // Nobody may wait for it any more.
            let _ = sender.send(result);
        }));
        confirmation
    }

    /// Ends on disk what `end` does. Does nothing without a store on disk.
    pub(in crate::cache) fn end_on_disk(
        &mut self,
        scope: EndScope,
        end: impl FnOnce(&DiskTier) -> Ending,
        context: &mut Context<Self>,
    ) -> Confirmation {
        match &self.disk {
            None => Confirmation::default(),
            Some(disk) => {
                let ending = end(disk);
                self.confirm(scope, ending, context)
            }
        }
    }

    /// Ends on disk what is stored for `resources`. `related` is the unsafe request that does it. Does nothing without a store
    /// on disk.
    pub(in crate::cache) fn invalidate_on_disk(
        &mut self,
        resources: &[Resource],
        related: Option<(&Resource, UnsafeRequest)>,
        context: &mut Context<Self>,
    ) -> Confirmation {
        let Some(disk) = &self.disk else {
            return Confirmation::default();
        };
        let noted = related.filter(|(resource, _)| self.endings.noted.is_new(resource));
        let ending = disk.invalidate(resources, noted);
        self.confirm(EndScope::Resources(resources.to_vec()), ending, context)
    }

    /// Writes `entry`, which came for memory, to the disk: as stale as it is in memory, and even if it did not fit there.
    /// `since` is its order, or that of the entry that it validates.
    pub(in crate::cache) fn put_on_disk(
        &mut self,
        key: &Key,
        entry: &Arc<Entry>,
        (_, since): (Time, FetchId),
        outcome: PutOutcome,
    ) {
        let Some(disk) = &self.disk else {
            return;
        };
        let stored = match outcome {
            PutOutcome::Stored => self.store.peek(key),
            PutOutcome::NoRoom => None,
            _ => return,
        };
        let stored = stored.as_ref().and_then(|stored| stored.variants.first());
        let entry = stored.unwrap_or(entry);
        if entry.head().is_guess() {
            self.endings.noted.guess_written();
        }
        let validates = (since != entry.begun()).then_some(since);
        disk.put(key, entry, validates);
    }

    /// Puts a response of a tier beneath memory into memory, unless its fetch was voided. This ends the fetch, unless there is no room.
    fn loaded(&mut self, load: Load) -> PutOutcome {
        if self.fetch(&load.key, load.id).is_none() {
            return PutOutcome::Void;
        }
        let outcome = match self.usable(load.from, (&load.stored_key, load.entry), load.now) {
            Some(entry) if !self.tag_purges.concern(load.id, entry.head()) => {
                let order = entry.order();
                self.store.put(&load.stored_key, entry, (order, load.now))
            }
            _ => PutOutcome::Void,
        };
        if outcome != PutOutcome::NoRoom {
            self.forget(&load.key.resource, load.id);
        }
        outcome
    }
}

impl CacheActor {
    /// A response of a tier beneath memory, as it may be used; `None` if it has ended.
    fn usable(
        &self,
        from: LoadedFrom,
        (key, entry): (&Key, Arc<Entry>),
        now: Time,
    ) -> Option<Arc<Entry>> {
        match from {
            LoadedFrom::Disk { removals } => (removals == self.endings.removals).then_some(entry),
            LoadedFrom::SharedTier { stamp } => {
                let shared = self.shared.as_ref()?;
                shared.judged(stamp, (key, entry), (now, &self.budget))
            }
        }
    }
}

impl Handler<Load> for CacheActor {
    type Result = MessageResult<Load>;

    fn handle(&mut self, load: Load, context: &mut Self::Context) -> Self::Result {
        self.take_turns(context);
        MessageResult(self.loaded(load))
    }
}
