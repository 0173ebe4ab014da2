//! Storing again what the origin has confirmed.

use std::sync::Arc;

use crate::{
    cache::{
        fetches::{reader::FetchEvent, ticket::FetchTicket},
        found::PutOutcome,
        store::entry::Entry,
        unavailable::CacheUnavailable,
    },
    policy::{Reason, StoredHead},
};

impl FetchTicket {
    /// Stores `head` with the body of `entry`, which the origin has confirmed with a 304. The result is the entry, which may
    /// be used, and why it is not stored if there is no room for it.
    ///
    /// # Errors
    /// The entry must not be used any more, because of a Clear, an invalidation or a newer entry since the claim; or the actor
    /// did not answer.
    pub async fn freshen(
        mut self,
        entry: &Entry,
        head: StoredHead,
    ) -> Result<(Arc<Entry>, Result<(), Reason>), Reason> {
        let since = entry.order();
        self.uses_bytes_of(entry);
        let entry = Arc::new(Entry::new(
            Arc::new(head),
            entry.body().clone(),
            (self.id(), entry.fetch_millis()),
            self.budget(),
        ));
        let outcome = self.put(Arc::clone(&entry), since, self.age()).await;
        self.state().happened(FetchEvent::LookAgain);
        match outcome {
            Ok(PutOutcome::Stored | PutOutcome::StoredStale) => Ok((entry, Ok(()))),
            Ok(PutOutcome::NoRoom) => Ok((entry, Err(Reason::NoRoom))),
            Ok(PutOutcome::Void) => Err(Reason::Cleared),
            Ok(PutOutcome::Outdated) => Err(Reason::Outdated),
            Err(CacheUnavailable) => Err(Reason::CacheUnavailable),
        }
    }
}
