//! Why the client's body could not be forwarded.

use actix_http::error::PayloadError;

/// Why the client's body could not be forwarded completely.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Reading it failed.
    #[error("{0}")]
    Client(#[source] PayloadError),
    /// Its chunked coding is invalid.
    #[error("its chunked coding is invalid")]
    Malformed,
    /// It ended before its Content-Length.
    #[error("{missing_bytes} bytes of its Content-Length are missing")]
    Short {
        /// How many bytes are missing.
        missing_bytes: u64,
    },
    /// It is longer than its Content-Length.
    #[error("it is longer than its Content-Length")]
    Long,
}

impl From<PayloadError> for UploadError {
    /// [`PayloadError::EncodingCorrupted`] is what a body with an invalid chunked coding ends with.
    fn from(error: PayloadError) -> Self {
        match error {
            PayloadError::EncodingCorrupted => Self::Malformed,
            error => Self::Client(error),
        }
    }
}
