//! `purge`: removes stored responses, or makes them stale, by path, pattern or tag.

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use super::{AdminError, Caller, filter};
use crate::{
    cache::{FilterSpec, PurgeAction, Purged},
    policy::Time,
    proxy::Shared,
};

/// Which responses to purge, and how.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurgeRequest {
    /// Which responses.
    pub names: FilterSpec,
    /// Whether to remove them, make them stale, or only report them.
    #[serde(default)]
    pub how: PurgeAction,
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
    let purged = shared.cache.purge(wanted, request.how, now).await?;
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
    Ok(purged)
}
