//! The counters of the cache.

use actix::{Handler, MessageResult};

use crate::cache::{
    actor::CacheActor,
    messages::{CacheStats, GetStats},
};

impl Handler<GetStats> for CacheActor {
    type Result = MessageResult<GetStats>;

    fn handle(&mut self, _: GetStats, _: &mut Self::Context) -> Self::Result {
        MessageResult(CacheStats {
            entries: self.store.entries(),
            stored_bytes: self.store.stored_bytes(),
            used_bytes: self.budget.used_bytes(),
            limit_bytes: self.budget.limit_bytes(),
            evictions: self.store.evictions(),
            fetches: self
                .fetches
                .values()
                .map(|fetches| fetches.len() as u64)
                .sum(),
            followers: self
                .fetches
                .values()
                .flatten()
                .map(|fetch| fetch.followers)
                .sum(),
            declined: self.declined,
        })
    }
}
