//! What ends stored responses: [`Clear`], [`Invalidate`] and [`Remove`], as the actor handles them. Purges are in
//! `manage::purging`.

use std::time::Duration;

use actix::{AsyncContext as _, Context, Handler, MessageResult};

use crate::{
    cache::{
        actor::CacheActor,
        disk_tier::{DiskTier, EndScope, Removal},
        fetches::{active::Fetch, reader::FetchId},
        found::Cleared,
        manage::tag_purges::TagPurges,
        messages::{Clear, Invalidate, RemovalReach, Remove},
        shared_tier::{SharedEnd, ToldOthers},
        store::{key::Resource, related::UnsafeRequest},
    },
    policy::Time,
};

/// How many invalidated keys are freed in one step, and the time between two steps.
const SWEEP_KEYS: usize = 48;
const SWEEP_PAUSE: Duration = Duration::from_millis(1);

impl CacheActor {
    /// Frees some invalidated keys now, and the others between later messages.
    fn sweep(&mut self, context: &mut Context<Self>) {
        self.is_sweeping = self.store.sweep(SWEEP_KEYS);
        if self.is_sweeping {
            context.run_later(SWEEP_PAUSE, Self::sweep);
        }
    }

    /// Voids the fetches of `resource`, except `spared`.
    fn void(&mut self, resource: &Resource, spared: Option<FetchId>) {
        if let Some(fetches) = self.fetches.remove(resource) {
            let is_spared = |fetch: &Fetch| Some(fetch.id) == spared;
            let (left, voided): (Vec<_>, Vec<_>) = fetches.into_iter().partition(is_spared);
            for fetch in voided {
                self.tag_purges.ended(fetch.id);
                fetch.voided();
            }
            if !left.is_empty() {
                self.fetches.insert(resource.clone(), left);
            }
        }
    }

    /// Removes everything here, and voids all fetches. The other instances are not told.
    pub(super) fn clear_here(&mut self, context: &mut Context<Self>) -> Removal {
        let fetches = std::mem::take(&mut self.fetches);
        self.tag_purges = TagPurges::default();
        self.hits_for_miss.clear();
        self.not_stored_paths.clear();
        let cleared = self.store.clear();
        fetches.values().flatten().for_each(Fetch::voided);
        self.store.free(fetches);
        Removal {
            cleared,
            confirmation: self.end_on_disk(EndScope::All, DiskTier::clear, context),
            told: ToldOthers::default(),
        }
    }
}

impl Handler<Remove> for CacheActor {
    type Result = MessageResult<Remove>;

    fn handle(
        &mut self,
        Remove { key, entry, reach }: Remove,
        context: &mut Self::Context,
    ) -> Self::Result {
        self.take_turns(context);
        self.store.remove(&key, &entry);
        self.store.remove(&key.shared(), &entry);
        self.endings.removals += 1;
        let resources = vec![key.resource.clone()];
        let scope = EndScope::Resources(resources.clone());
        MessageResult(Removal {
            cleared: Cleared::default(),
            confirmation: self.end_on_disk(scope, |disk| disk.remove(&key), context),
            told: match reach {
                RemovalReach::Here => ToldOthers::default(),
                RemovalReach::Everywhere => self.tell_others(|| SharedEnd::Resources {
                    resources,
                    related: None,
                }),
            },
        })
    }
}

impl Handler<Invalidate> for CacheActor {
    type Result = MessageResult<Invalidate>;

    fn handle(&mut self, invalidate: Invalidate, context: &mut Self::Context) -> Self::Result {
        self.take_turns(context);
        let before = FetchId(self.next_id);
        let request = |at: &Time| UnsafeRequest { before, at: *at };
        let related = invalidate
            .related
            .as_ref()
            .map(|(resource, at)| (resource, request(at)));
        if let Some((resource, request)) = related {
            self.store.note_unsafe(resource, request);
        }
        let mut cleared = Cleared::default();
        for resource in invalidate.resources.iter() {
            self.void(resource, invalidate.by);
            let removed = self.store.invalidate(resource);
            cleared.entries += removed.entries;
            cleared.bytes += removed.bytes;
        }
        if !self.is_sweeping {
            self.sweep(context);
        }
        let confirmation = self.invalidate_on_disk(&invalidate.resources, related, context);
        let told = match invalidate.is_from_others {
            true => ToldOthers::default(),
            false if invalidate.resources.is_empty() && invalidate.related.is_none() => {
                ToldOthers::default()
            }
            false => self.tell_others(|| SharedEnd::Resources {
                resources: invalidate.resources.to_vec(),
                related: invalidate.related.map(|(resource, _)| resource),
            }),
        };
        MessageResult(Removal {
            cleared,
            confirmation,
            told,
        })
    }
}

impl Handler<Clear> for CacheActor {
    type Result = MessageResult<Clear>;

    fn handle(&mut self, _: Clear, context: &mut Self::Context) -> Self::Result {
        MessageResult(Removal {
            told: self.tell_others(|| SharedEnd::All),
            ..self.clear_here(context)
        })
    }
}
