//! The response's body on its way from the origin.

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
    error::{OriginError, Phase},
    exchange::Exchange,
};

/// The body of a response as it arrives. It ends only when the body is whole: everything else is an error, the last
/// item. Dropped early, it closes the connection.
pub struct OriginBody {
    open: Option<Open>,
}

struct Open {
    payload: Payload,
    exchange: Exchange,
    pause: Pause,
    /// The connection counts as in use until the body ends.
    _permit: OwnedSemaphorePermit,
}

/// How long the origin may pause within the body.
pub(super) enum Pause {
    /// As long as it likes: an event stream.
    Unlimited,
    /// So long; the timer runs while a piece is awaited.
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
        exchange: Exchange,
        pause: Pause,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            open: Some(Open {
                payload,
                exchange,
                pause,
                _permit: permit,
            }),
        }
    }
}

impl Pause {
    fn stop(&mut self) {
        if let Self::Limited { timer, .. } = self {
            *timer = None;
        }
    }

    /// Ready when the origin paused for too long: when it neither sent anything nor took anything of the upload.
    fn poll(&mut self, cx: &mut Context<'_>, exchange: &Exchange) -> Poll<OriginError> {
        let Self::Limited { limit, timer } = self else {
            return Poll::Pending;
        };
        let limit = *limit;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(limit)));
        loop {
            ready!(timer.as_mut().poll(cx));
            let Some(until) = exchange.patience(limit) else {
                return Poll::Ready(OriginError::Timeout {
                    phase: Phase::Body,
                    limit,
                });
            };
            timer.as_mut().reset(until);
        }
    }
}

impl Open {
    /// The next piece; `None` when the body is whole.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, OriginError>>> {
        let polled = Pin::new(&mut self.payload).poll_next(cx);
        if polled.is_pending() {
            return self
                .pause
                .poll(cx, &self.exchange)
                .map(|silent| Some(Err(silent)));
        }
        self.pause.stop();
        polled.map(|item| match item {
            Some(Ok(bytes)) => Some(Ok(bytes)),
            None if self.exchange.is_whole() => None,
            // The connection knows better what happened.
            Some(Err(_)) | None => Some(Err(self
                .exchange
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
        // Who counts bytes asks no further than the last piece.
        if open.exchange.is_whole() || !matches!(item, Some(Ok(_))) {
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
