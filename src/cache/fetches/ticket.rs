//! The right to store what one fetch brings.

use std::sync::Arc;

use actix::{Actor, Addr, Handler, Recipient, dev::ToEnvelope};
use tokio::{sync::watch, time::Instant};

use crate::{
    cache::{
        fetches::{
            messages::{EndFetch, FetchResult, MakeRoom, Put},
            reader::{FetchEvent, FetchId, FetchState, SharedFetch},
        },
        found::PutOutcome,
        store::{budget::Budget, entry::Entry, key::Key},
        unavailable::{CacheUnavailable, in_time},
    },
    policy::{Reason, StoredHead, Time},
};

/// The right to store what one fetch brings. Dropped unused, it lets the followers go.
///
/// The actor hands it out with a claim and takes it back by forgetting it: after a Clear or an invalidation the ticket
/// is void, so what was fetched before can never come back. When the head has come and may be stored, the ticket
/// becomes a [`BodyWriter`].
#[derive(Debug)]
pub struct FetchTicket {
    id: FetchId,
    key: Key,
    recipients: TicketRecipients,
    budget: Arc<Budget>,
    max_object_bytes: u64,
    state: watch::Sender<FetchState>,
    released: FetchResult,
    /// When the fetch was about to begin.
    begun: Instant,
    /// Why what it brought is not stored.
    refused: Option<Reason>,
}

/// What a ticket may ask of the actor.
#[derive(Debug)]
pub(in crate::cache) struct TicketRecipients {
    put: Recipient<Put>,
    make_room: Recipient<MakeRoom>,
    end_fetch: Recipient<EndFetch>,
}

impl TicketRecipients {
    /// Those of the actor that grants the ticket.
    pub(in crate::cache) fn of<A>(actor: &Addr<A>) -> Self
    where
        A: Actor + Handler<Put> + Handler<MakeRoom> + Handler<EndFetch>,
        A::Context: ToEnvelope<A, Put> + ToEnvelope<A, MakeRoom> + ToEnvelope<A, EndFetch>,
    {
        Self {
            put: actor.clone().recipient(),
            make_room: actor.clone().recipient(),
            end_fetch: actor.clone().recipient(),
        }
    }
}

impl FetchTicket {
    pub(in crate::cache) fn new(
        id: FetchId,
        key: Key,
        recipients: TicketRecipients,
        budget: Arc<Budget>,
        max_object_bytes: u64,
        released: FetchResult,
    ) -> (Self, SharedFetch) {
        let (sender, state) = watch::channel(FetchState::default());
        let ticket = Self {
            id,
            key,
            recipients,
            budget,
            max_object_bytes,
            state: sender,
            released,
            begun: Instant::now(),
            refused: None,
        };
        (ticket, SharedFetch::new(state))
    }

    pub(in crate::cache) fn id(&self) -> FetchId {
        self.id
    }

    /// The largest body that is stored, in bytes.
    pub fn max_object_bytes(&self) -> u64 {
        self.max_object_bytes
    }

    /// The answer is not stored: the followers fetch for themselves, and when the reason will last, so do those who come
    /// soon.
    pub fn not_stored(mut self, reason: Reason) {
        self.refused = Some(reason);
        if reason.is_lasting() {
            self.released = FetchResult::NotShareable;
        }
    }

    /// Stores `head` over the body of `entry`, which the origin called current.
    ///
    /// # Errors
    /// The entry may not be used any more: a Clear or an invalidation came since the claim, or a newer one is stored.
    pub async fn freshen(mut self, entry: &Entry, head: StoredHead) -> Result<Arc<Entry>, Reason> {
        let since = entry.head().received();
        let entry = Arc::new(Entry::new(
            Arc::new(head),
            entry.body().clone(),
            entry.fetch_millis(),
            &self.budget,
        ));
        let outcome = self.put(Arc::clone(&entry), since).await;
        self.tell(|state| state.event = Some(FetchEvent::LookAgain));
        match outcome {
            Ok(PutOutcome::Stored | PutOutcome::NoRoom) => Ok(entry),
            Ok(PutOutcome::Void) => Err(Reason::Cleared),
            Ok(PutOutcome::Outdated) => Err(Reason::Outdated),
            Err(CacheUnavailable) => Err(Reason::CacheUnavailable),
        }
    }

    /// How long the fetch has been going on, in milliseconds.
    pub(in crate::cache) fn age_millis(&self) -> u32 {
        u32::try_from(self.begun.elapsed().as_millis()).unwrap_or(u32::MAX)
    }

    pub(in crate::cache) fn budget(&self) -> &Arc<Budget> {
        &self.budget
    }

    /// Changes what the followers see.
    pub(in crate::cache) fn tell(&self, change: impl FnOnce(&mut FetchState)) {
        self.state.send_modify(change);
    }

    pub(in crate::cache) fn subscribe(&self) -> watch::Receiver<FetchState> {
        self.state.subscribe()
    }

    pub(in crate::cache) fn has_opened(&self) -> bool {
        matches!(self.state.borrow().event, Some(FetchEvent::Head(_)))
    }

    /// May a body that has come to `received_bytes` take `more_bytes` of memory?
    pub(in crate::cache) async fn room(
        &self,
        received_bytes: u64,
        more_bytes: u64,
    ) -> Result<(), Reason> {
        if received_bytes > self.max_object_bytes {
            return Err(Reason::TooLarge);
        }
        if self.budget.has_room(more_bytes) {
            return Ok(());
        }
        match in_time(
            self.recipients
                .make_room
                .send(MakeRoom { bytes: more_bytes }),
        )
        .await
        {
            Ok(true) => Ok(()),
            Ok(false) => Err(Reason::NoRoom),
            Err(_) => Err(Reason::CacheUnavailable),
        }
    }

    /// Nothing will be stored: nobody joins any more, while those who did read on.
    pub(in crate::cache) fn give_up(&self, reason: Reason) {
        self.tell(|state| state.event = Some(FetchEvent::Released));
        let released = match reason.is_lasting() {
            true => FetchResult::NotShareable,
            false => FetchResult::Failed,
        };
        self.release(released, Some(reason));
    }

    fn release(&self, released: FetchResult, refused: Option<Reason>) {
        // At most two messages a fetch, so the mailbox's limit is not needed here.
        self.recipients.end_fetch.do_send(EndFetch {
            key: self.key.clone(),
            id: self.id,
            released,
            refused,
        });
    }

    /// Stores `entry`, which goes back to a head that came at `since`.
    pub(in crate::cache) async fn put(
        &mut self,
        entry: Arc<Entry>,
        since: Time,
    ) -> Result<PutOutcome, CacheUnavailable> {
        let put = Put {
            key: self.key.clone(),
            id: self.id,
            entry,
            since,
        };
        let outcome = in_time(self.recipients.put.send(put)).await;
        if matches!(outcome, Ok(PutOutcome::Stored)) {
            self.released = FetchResult::Stored;
        }
        outcome
    }
}

impl Drop for FetchTicket {
    fn drop(&mut self) {
        self.state.send_if_modified(|state| {
            let open = state.event.is_none();
            if open {
                state.event = Some(FetchEvent::Released);
            }
            open
        });
        // What was stored was released with it.
        if self.released != FetchResult::Stored {
            self.release(self.released, self.refused);
        }
    }
}
