//! Looking at one key, in memory and on disk.

use std::sync::Arc;

use actix::{Handler, Message, MessageResult};

use crate::{
    cache::{
        actor::CacheActor,
        handle::Cache,
        manage::on_disk::BesideMemory,
        store::{entry::Entry, key::Key},
        unavailable::CacheUnavailable,
    },
    policy::{Audience, Reason, Time},
};

impl Cache {
    /// What is known about `key`, in memory and on disk. Nothing counts as used.
    ///
    /// # Errors
    /// The cache does not answer.
    pub async fn inspect(&self, key: Key) -> Result<KeyState, CacheUnavailable> {
        let mut state = self.send(Inspect { key: key.clone() }).await?;
        if let Some(disk) = self.disk() {
            let on_disk = disk.heads_for(&key, &self.budget).await;
            let rows = self.send(BesideMemory(on_disk)).await?;
            let on_disk = rows.iter().flat_map(|row| row.variants.iter().cloned());
            state.variants.extend(on_disk);
            // Stable: what is in memory stays before what is on disk.
            let is_shared = |entry: &Arc<Entry>| entry.head().audience() == Audience::Everyone;
            state.variants.sort_by_key(is_shared);
        }
        Ok(state)
    }
}

/// Returns what is known about a key. Nothing counts as used.
#[derive(Message, Debug)]
#[rtype(result = "KeyState")]
pub struct Inspect {
    /// The key.
    pub key: Key,
}

/// What is known about a key.
#[derive(Clone, Debug, Default)]
pub struct KeyState {
    /// What is stored, that of the identity first. The bodies of what is on disk alone are not here.
    pub variants: Vec<Arc<Entry>>,
    /// Why the last response was not stored, and when it was requested; `None` if that is not known.
    pub refused: Option<(Reason, Time)>,
    /// Whether a fetch is under way that a request would join.
    pub is_fetching: bool,
    /// Until when requests for it do not wait for each other; `None` if they do.
    pub hit_for_miss_until: Option<Time>,
}

impl Handler<Inspect> for CacheActor {
    type Result = MessageResult<Inspect>;

    fn handle(&mut self, Inspect { key }: Inspect, _: &mut Self::Context) -> Self::Result {
        let hit_for_miss = self.hits_for_miss.get(&key, None);
        MessageResult(KeyState {
            variants: self.store.peek_found(&key).variants().cloned().collect(),
            refused: hit_for_miss.and_then(|hit_for_miss| hit_for_miss.refused),
            is_fetching: self.has_joinable(&key),
            hit_for_miss_until: hit_for_miss.map(|hit_for_miss| hit_for_miss.hit_for_miss_until),
        })
    }
}
