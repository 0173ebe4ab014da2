//! `clear`: removes everything that is stored.

use bytesize::ByteSize;

use super::{AdminError, Caller};
use crate::{
    cache::{Clear, Cleared},
    proxy::Shared,
};

/// Removes every stored response, and lets no fetch in progress store one.
///
/// # Errors
/// The cache did not respond.
pub async fn clear(shared: &Shared, caller: Caller) -> Result<Cleared, AdminError> {
    let cleared = shared.cache.send(Clear).await?;
    log::info!(
        "cache cleared{}: entries {}, {}",
        caller.log_suffix(),
        cleared.entries,
        ByteSize(cleared.bytes)
    );
    Ok(cleared)
}
