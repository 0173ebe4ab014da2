//! The response's body, from the origin to the caller.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_http::Payload;
use bytes::Bytes;
use futures_core::Stream;
use tokio::sync::OwnedSemaphorePermit;

use super::{error::OriginError, transfer::TransferState};

/// The body of a response as it arrives. It ends when the body is complete; if it does not complete, its last item is an
/// error. Dropped early, it closes the connection.
pub struct OriginBody {
    /// `None` at the end of the body.
    open: Option<OpenBody>,
}

struct OpenBody {
    payload: Payload,
    state: TransferState,
    /// The connection counts as in use until the body ends.
    _permit: OwnedSemaphorePermit,
}

impl OriginBody {
    pub(super) fn empty() -> Self {
        Self { open: None }
    }

    pub(super) fn new(
        payload: Payload,
        state: TransferState,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            open: Some(OpenBody {
                payload,
                state,
                _permit: permit,
            }),
        }
    }
}

impl OpenBody {
    /// The next piece; `None` when the body is complete.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, OriginError>>> {
        let item = ready!(Pin::new(&mut self.payload).poll_next(cx));
        Poll::Ready(match item {
            Some(Ok(bytes)) => Some(Ok(bytes)),
            None if self.state.is_whole() => None,
            // The transport has recorded the cause.
            Some(Err(_)) | None => Some(Err(self
                .state
                .take_failure()
                .unwrap_or_else(OriginError::cut))),
        })
    }
}

impl Stream for OriginBody {
    type Item = Result<Bytes, OriginError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(open) = this.open.as_mut() else {
            return Poll::Ready(None);
        };
        let item = ready!(open.poll(cx));
        // A caller that counts bytes does not poll again after the last piece.
        if open.state.is_whole() || !matches!(item, Some(Ok(_))) {
            this.open = None;
        }
        Poll::Ready(item)
    }
}

impl fmt::Debug for OriginBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginBody")
            .field("open", &self.open.is_some())
            .finish_non_exhaustive()
    }
}
