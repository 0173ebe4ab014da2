//! `purge`: removes stored responses, or makes them stale, by path, pattern or tag.

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{AdminError, Caller, OTHERS_WAIT, filter, other_instances, others_wait};
use crate::{
    cache::{FilterSpec, PurgeAction, Purged},
    policy::Time,
    proxy::Shared,
};

/// Which responses to purge, and how.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {
    /// Which responses.
    pub names: FilterSpec,
    /// Whether to remove them, make them stale, or only report them.
    #[serde(default)]
    pub how: PurgeAction,
    /// How long to wait for other instances that share a cache with this one, in milliseconds.
    #[serde(default = "usual_wait")]
    pub wait_millis: u64,
}

fn usual_wait() -> u64 {
    OTHERS_WAIT
}

impl Default for PurgeRequest {
    /// Names nothing, which is refused.
    fn default() -> Self {
        Self {
            names: FilterSpec::default(),
            how: PurgeAction::default(),
            wait_millis: OTHERS_WAIT,
        }
    }
}

/// Purges stored responses. It holds for every worker when this returns.
///
/// # Errors
/// A path, pattern or tag is not valid, or the cache did not respond.
pub async fn purge(
    shared: &Shared,
    request: &PurgeRequest,
    caller: Caller,
    now: Time,
) -> Result<Purged, AdminError> {
    let wanted = filter(&request.names, shared)?;
    let (mut purged, told) = shared.cache.purge(wanted, request.how, now).await?;
    let action = match request.how {
        PurgeAction::DryRun => return Ok(purged),
        PurgeAction::Expire => "marked as stale",
        PurgeAction::Remove => "purged",
    };
    log::info!(
        "{action}{}: responses {}, {}",
        caller.log_suffix(),
        purged.responses,
        ByteSize(purged.bytes)
    );
    purged.unconfirmed = told.applied(others_wait(request.wait_millis)).await;
    if !purged.unconfirmed.is_empty() {
        log::warn!(
            "not {action} at all instances. {}",
            other_instances(&purged.unconfirmed)
        );
    }
    Ok(purged)
}
