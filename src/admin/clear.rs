//! `clear`: removes everything that is stored.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{AdminError, Caller, OTHERS_WAIT, other_instances, others_wait};
use crate::{
    cache::{Clear, Cleared, Unconfirmed},
    disk::Ended,
    proxy::Shared,
};

/// How to clear.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClearRequest {
    /// How long to wait for other instances that share a cache with this one, in milliseconds.
    pub wait_millis: u64,
}

impl Default for ClearRequest {
    fn default() -> Self {
        Self {
            wait_millis: OTHERS_WAIT,
        }
    }
}

impl ClearRequest {
    /// To wait so long for other instances.
    pub fn waiting(wait: Duration) -> Self {
        Self {
            wait_millis: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// How long to wait for other instances.
    pub fn wait(self) -> Duration {
        others_wait(self.wait_millis)
    }
}

/// What was removed.
#[derive(Clone, Debug, Default)]
pub struct ClearedEverywhere {
    /// From memory.
    pub in_memory: Cleared,
    /// From disk.
    pub on_disk: Ended,
    /// Where it does not hold.
    pub unconfirmed: Unconfirmed,
}

/// Removes every stored response from memory and from disk, and lets no fetch in progress store one. Waits until other
/// instances that share a cache with this one have done the same.
///
/// # Errors
/// The cache did not respond, or it could not be written to the disk.
pub async fn clear(
    shared: &Shared,
    request: ClearRequest,
    caller: Caller,
) -> Result<ClearedEverywhere, AdminError> {
    let mut removal = shared.cache.send(Clear).await?;
    let told = std::mem::take(&mut removal.told);
    let (cleared, on_disk) = removal.confirmed().await?;
    let of_disk = match shared.cache.disk() {
        None => String::new(),
        Some(_) => format!("; on disk: entries {}", on_disk.responses),
    };
    log::info!(
        "cache cleared{}: entries {}, {}{of_disk}",
        caller.log_suffix(),
        cleared.entries,
        ByteSize(cleared.bytes)
    );
    let unconfirmed = told.applied(request.wait()).await;
    if !unconfirmed.is_empty() {
        log::warn!(
            "not cleared at all instances. {}",
            other_instances(&unconfirmed)
        );
    }
    Ok(ClearedEverywhere {
        in_memory: cleared,
        on_disk,
        unconfirmed,
    })
}
