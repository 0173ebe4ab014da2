//! The response's body, from the origin to the caller.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::Payload;
use bytes::Bytes;
use futures_core::Stream;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Sleep, sleep},
};

use super::{
    error::{OriginError, Phase, WaitLimit},
    transfer::TransferState,
};

/// The body of a response as it arrives. It ends when the body is complete; if it does not complete, its last item is an
/// error. Dropped early, it closes the connection.
pub struct OriginBody {
    /// `None` at the end of the body.
    open: Option<OpenBody>,
}

struct OpenBody {
    payload: Payload,
    state: TransferState,
    silence_limit: SilenceLimit,
    /// The connection counts as in use until the body ends.
    _permit: OwnedSemaphorePermit,
}

/// How long the origin may be silent within the body.
pub(super) enum SilenceLimit {
    /// No limit: a stream of events or records.
    Unlimited,
    /// A limit; the timer runs while the next piece is awaited, else it is `None`.
    Limited {
        limit: Duration,
        timer: Option<Pin<Box<Sleep>>>,
    },
}

impl OriginBody {
    pub(super) fn empty() -> Self {
        Self { open: None }
    }

    pub(super) fn new(
        payload: Payload,
        state: TransferState,
        silence_limit: SilenceLimit,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            open: Some(OpenBody {
                payload,
                state,
                silence_limit,
                _permit: permit,
            }),
        }
    }
}

impl SilenceLimit {
    fn stop(&mut self) {
        if let Self::Limited { timer, .. } = self {
            *timer = None;
        }
    }

    /// Ready when the origin has neither sent a byte nor read a byte of the upload for too long.
    fn poll(&mut self, cx: &mut Context<'_>, state: &TransferState) -> Poll<OriginError> {
        let Self::Limited { limit, timer } = self else {
            return Poll::Pending;
        };
        let limit = *limit;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let Some(until) = state.deadline(limit) else {
                return Poll::Ready(OriginError::Timeout {
                    phase: Phase::Body,
                    limit: WaitLimit::timeout(limit),
                    proxy: None,
                });
            };
            timer.as_mut().reset(until);
        }
    }
}

impl OpenBody {
    /// The next piece; `None` when the body is complete.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, OriginError>>> {
        let polled = Pin::new(&mut self.payload).poll_next(cx);
        if polled.is_pending() {
            return self
                .silence_limit
                .poll(cx, &self.state)
                .map(|timeout| Some(Err(timeout)));
        }
        self.silence_limit.stop();
        polled.map(|item| match item {
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
