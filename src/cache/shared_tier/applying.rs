//! Applying the ends that other instances have told.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::sleep;

use crate::{
    cache::{
        handle::Cache,
        manage::purging::{PurgeAction, PurgeError},
        messages::Invalidate,
        shared_tier::{
            end::SharedEnd,
            messages::{BeginEnds, ClearHere, EndLease, NoteEnd},
        },
        successor::PassOn,
        unavailable::CacheUnavailable,
    },
    policy::Time,
    redis::{RedisEvents, RedisMessage, RedisMessageKind},
};

/// The pause before an end is applied again that the cache has not answered.
const PAUSE: Duration = Duration::from_millis(100);

impl Cache {
    /// Applies what the other instances tell, in its order, and confirms it. `now` is the clock. Ends when the tier is closed.
    pub async fn apply_ends(self, mut events: RedisEvents, now: fn() -> Time) {
        while let Some(message) = events.next().await {
            // Without a confirmation this instance loses its lease, and serves nothing from memory.
            while self.apply(&message, now()).await.is_err() {
                sleep(PAUSE).await;
            }
            // First the disk: what it does not note is applied again after a restart.
            if let (Some(disk), Some(stamp)) = (self.disk(), message.kind.newly_applied()) {
                disk.note_applied(stamp);
            }
            if let Some(tier) = self.shared() {
                tier.redis.confirm(&message);
            }
        }
    }

    /// Ends here what a process has ended from which this one has taken over, and at one that has taken over from this one. The
    /// bytes are of [`Cache::hand_over`]; others
    /// may end anything.
    ///
    /// # Errors
    /// The actor does not answer in time.
    pub async fn apply_end(&self, bytes: Bytes, now: Time) -> Result<(), CacheUnavailable> {
        self.end_here(&SharedEnd::read(&bytes), now).await?;
        // After that, for a process that takes over in between.
        self.send(PassOn(bytes)).await?.confirmed().await;
        Ok(())
    }

    async fn apply(&self, message: &RedisMessage, now: Time) -> Result<(), CacheUnavailable> {
        match &message.kind {
            RedisMessageKind::Begins {
                from,
                is_continuous,
                own_until,
            } => {
                let (from, own_until) = (*from, *own_until);
                self.send(BeginEnds { from, own_until }).await?;
                match is_continuous {
                    true => Ok(()),
                    false => self.clear_here().await,
                }
            }
            RedisMessageKind::Event {
                stamp,
                bytes,
                own,
                is_known,
            } => {
                let end = Arc::new(SharedEnd::read(bytes));
                let (stamp, own) = (*stamp, *own);
                let note = NoteEnd {
                    stamp,
                    end: Arc::clone(&end),
                    own,
                };
                self.send(note).await?;
                match own.is_some() || *is_known {
                    true => Ok(()),
                    false => self.end_here(&end, now).await,
                }
            }
            RedisMessageKind::LeaseEnded => {
                let _ = self.send(EndLease).await?.confirmed().await;
                Ok(())
            }
        }
    }

    /// Removes everything here.
    async fn clear_here(&self) -> Result<(), CacheUnavailable> {
        // A store on disk that fails says so itself, and is not read until it knows.
        let _ = self.send(ClearHere).await?.confirmed().await;
        Ok(())
    }

    /// Ends here what was ended at another instance.
    async fn end_here(&self, end: &SharedEnd, now: Time) -> Result<(), CacheUnavailable> {
        let (filter, action) = match end {
            SharedEnd::All => return self.clear_here().await,
            SharedEnd::Resources { resources, related } => {
                let related = related.clone().map(|resource| (resource, now));
                let invalidate = Invalidate::from_others(resources.clone(), related);
                let _ = self.send(invalidate).await?.confirmed().await;
                return Ok(());
            }
            SharedEnd::Purged(filter) => (filter, PurgeAction::Remove),
            SharedEnd::Expired(filter) => (filter, PurgeAction::Expire),
        };
        match self.purge_here(filter.clone(), action, now).await {
            Ok(_) | Err(PurgeError::NotDurable(_)) => Ok(()),
            Err(PurgeError::CacheUnavailable(error)) => Err(error),
        }
    }
}
