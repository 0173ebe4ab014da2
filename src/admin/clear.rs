//! `clear`: removes everything that is stored.

use bytesize::ByteSize;

use super::{AdminError, Caller};
use crate::{
    cache::{Clear, Cleared},
    disk::Ended,
    proxy::Shared,
};

/// Removes every stored response from memory and from disk, and lets no fetch in progress store one. Says what was removed
/// from both.
///
/// # Errors
/// The cache did not respond, or it could not be written to the disk.
pub async fn clear(shared: &Shared, caller: Caller) -> Result<(Cleared, Ended), AdminError> {
    let (cleared, on_disk) = shared.cache.send(Clear).await?.confirmed().await?;
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
    Ok((cleared, on_disk))
}
