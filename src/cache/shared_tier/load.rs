//! Bringing a response of the shared tier into memory.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    cache::{
        disk_tier::Loaded,
        fetches::{messages::LoadedFrom, ticket::FetchTicket},
        found::PutOutcome,
        handle::Cache,
        shared_tier::{messages::JudgeHeads, record::InSharedTier},
        store::{even_pieces::even_body, key::Key},
    },
    policy::{StoredHead, Time},
    redis::{FetchTurn, SharedFetchEnd, SharedRecordBody},
};

/// A response that was received so much after the present time is from before the clock was set back.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(2);

/// Which instance fetches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// This one has the right for all.
    Taken,
    /// Another one had the right, and has ended: look again.
    Ended,
    /// Another one still fetches.
    OfAnother,
    /// Each for itself: there is no shared tier, or it does not answer in time.
    Alone,
}

impl Cache {
    /// The heads of what the shared tier has for `key` and has not ended. `None` if there is no such tier, or it does not answer in
    /// time.
    pub async fn heads_in_shared_tier(&self, key: &Key, now: Time) -> Option<Vec<StoredHead>> {
        let found = self.look_for_shared(key, now).await?;
        self.send(JudgeHeads { found, now }).await.ok()
    }

    async fn look_for_shared(&self, key: &Key, now: Time) -> Option<Vec<InSharedTier>> {
        let tier = self.shared().filter(|tier| tier.is_usable())?;
        let latest = now.saturating_add(CLOCK_TOLERANCE);
        let mut found = tier.find(key).await?;
        found.retain(|response| response.head().received() <= latest);
        Some(found)
    }

    /// What the shared tier has for the key of `ticket`. `None` if there is no such tier, or it does not answer in time.
    pub async fn find_shared(&self, ticket: &FetchTicket, now: Time) -> Option<Vec<InSharedTier>> {
        self.look_for_shared(ticket.key(), now).await
    }

    /// Brings `response` into memory. This ends the fetch of `ticket`.
    pub async fn load_shared(
        &self,
        mut ticket: FetchTicket,
        response: InSharedTier,
        now: Time,
    ) -> Loaded {
        let Some(tier) = self.shared() else {
            return Loaded::Not(ticket);
        };
        let bytes = response.record.body.len_bytes();
        if ticket.room(bytes, bytes).await.is_err() {
            return Loaded::Not(ticket);
        }
        let pieces = match &response.record.body {
            SharedRecordBody::Inline(bytes) => Ok(vec![bytes.clone()]),
            SharedRecordBody::Chunked(body) => tier.redis.body(body).await,
        };
        let Ok(pieces) = pieces else {
            return Loaded::Not(ticket);
        };
        let body = even_body(pieces.iter(), bytes, ticket.budget()).await;
        tier.renew(&response, now);
        let (key, stamp) = (response.key.clone(), response.record.stamp);
        let entry = response.with_body(body, ticket.id(), ticket.budget());
        match ticket
            .load(LoadedFrom::SharedTier { stamp }, (key, entry), now)
            .await
        {
            Ok(PutOutcome::NoRoom) | Err(_) => Loaded::Not(ticket),
            Ok(PutOutcome::Stored | PutOutcome::StoredStale) => Loaded::InMemory,
            Ok(PutOutcome::Void | PutOutcome::Outdated) => Loaded::LookAgain,
        }
    }

    /// Takes the right to fetch the key of `ticket` for all instances. If another instance has it, waits until `until`, or until
    /// that one has ended.
    pub async fn take_turn(&self, ticket: &mut FetchTicket, until: Instant) -> Turn {
        let Some(tier) = self.shared() else {
            return Turn::Alone;
        };
        match tier.begin_fetch(ticket.key()).await {
            Ok(FetchTurn::Leads(lease)) => {
                ticket.hold(lease);
                Turn::Taken
            }
            Ok(FetchTurn::Waits(other)) => {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Turn::OfAnother;
                }
                match other.ended(left).await {
                    SharedFetchEnd::Released | SharedFetchEnd::Lapsed => Turn::Ended,
                    SharedFetchEnd::Late => Turn::OfAnother,
                    SharedFetchEnd::Unavailable => Turn::Alone,
                }
            }
            Err(_) => Turn::Alone,
        }
    }
}
