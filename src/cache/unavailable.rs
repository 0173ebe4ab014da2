//! Waiting for the actor, for a limited time.

use std::time::Duration;

use actix::MailboxError;

/// How long a response of the actor is waited for. The actor needs microseconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// The cache did not respond: its mailbox is full, or it is gone. The request goes on without it.
#[derive(Debug, thiserror::Error)]
#[error("the cache does not respond")]
pub struct CacheUnavailable;

/// Waits for the response to a message, for a limited time.
///
/// # Errors
/// The cache did not respond, which is logged here.
pub(super) async fn in_time<T>(
    sent: impl Future<Output = Result<T, MailboxError>>,
) -> Result<T, CacheUnavailable> {
    match tokio::time::timeout(PATIENCE, sent).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(_)) | Err(_) => {
            log::error!("the cache does not respond; requests are forwarded without it");
            Err(CacheUnavailable)
        }
    }
}
