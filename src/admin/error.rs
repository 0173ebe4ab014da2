//! Why an administrative action is refused or fails.

use actix_web::{ResponseError, http::StatusCode};

use crate::{
    cache::{CacheUnavailable, FilterError, MAX_LISTED, MAX_OFFSET, PurgeError},
    disk::NotDurable,
};

/// Why an action is refused or fails. Every variant but the last two says what is wrong with the
/// request, and how to write it.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// The request is not the JSON that the action takes.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A path, pattern or tag is not valid.
    #[error(transparent)]
    Name(#[from] FilterError),
    /// More keys are requested than one list may have.
    #[error("the limit is at most {MAX_LISTED}")]
    Limit,
    /// More keys are to be skipped than a list may have.
    #[error(
        "the offset is at most {MAX_OFFSET}; a pattern such as \"/products/*\" narrows the list"
    )]
    Offset,
    /// A described request has too many headers.
    #[error("a request has at most {limit} headers")]
    TooManyHeaders {
        /// How many it may have.
        limit: usize,
    },
    /// A described request has a method that HTTP does not allow.
    #[error("{0:?} is not a method: a method is a word such as GET")]
    Method(String),
    /// A described request has a path that a request cannot have.
    #[error("{0:?} is not a path that a request can have")]
    Path(String),
    /// A header is not written as `Name: value`.
    #[error("{0:?} is not a header: write it as 'Accept: text/html'")]
    Header(String),
    /// A header contains a line end, which would begin another header, or another control character.
    #[error(
        "{0:?} contains a line end or another control character, which a header cannot; \
         give each header with a -H of its own"
    )]
    ControlCharacter(String),
    /// More other names of the origin are given than are allowed.
    #[error("at most {limit} other names of the origin can be given")]
    TooManySites {
        /// How many are allowed.
        limit: usize,
    },
    /// A name of the origin is not valid.
    #[error("{0:?} is not a site: write a host such as www.shop.test, or a URL without a path")]
    Site(String),
    /// What is to be imported is not framed as it has to be.
    #[error("the request is not valid: its length and its description come first, then the body")]
    ImportFrame,
    /// The cache did not respond.
    #[error(transparent)]
    CacheUnavailable(#[from] CacheUnavailable),
    /// It could not be written to the disk.
    #[error(
        "it holds in memory, but could not be written to the store on disk, which is not used until that succeeds"
    )]
    NotDurable(#[from] NotDurable),
}

impl From<PurgeError> for AdminError {
    fn from(error: PurgeError) -> Self {
        match error {
            PurgeError::CacheUnavailable(error) => error.into(),
            PurgeError::NotDurable(error) => error.into(),
        }
    }
}

/// The response that carries the error: its text, with status 400 for a wrong request and 503 if the cache failed.
impl ResponseError for AdminError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::CacheUnavailable(_) | Self::NotDurable(_) => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}
