//! Permits for connections to the origin: how many are in use at a time, and how many of them carry a client's body.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::error::PayloadError;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    BodyStream, Expectation, RequestBody,
    error::{OriginError, UploadError},
};

/// How long a body of known length waits for its first bytes before it takes a permit. The origin may refuse it without them.
const FIRST_BYTES_LIMIT: Duration = Duration::from_secs(2);
/// Longest wait for a permit.
const PERMIT_LIMIT: Duration = Duration::from_secs(10);

/// The permits of one worker.
pub(super) struct Permits {
    connections: Limited,
    /// Half as many: the bodies of slow clients leave the other half to requests without a body.
    uploads: Limited,
    wait: Duration,
}

struct Limited {
    permits: Arc<Semaphore>,
    max: usize,
}

impl Limited {
    fn new(max: usize) -> Self {
        let permits = max.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            max,
        }
    }

    /// A permit; `None` if none is free within `wait`.
    async fn acquire(&self, wait: Duration) -> Option<OwnedSemaphorePermit> {
        let permit = Arc::clone(&self.permits).acquire_owned();
        timeout(wait, permit).await.ok()?.ok()
    }
}

impl Permits {
    /// Permits for `max_connections`. Nobody waits for one longer than `timeout`.
    pub(super) fn new(max_connections: usize, timeout: Duration) -> Self {
        Self {
            connections: Limited::new(max_connections),
            uploads: Limited::new((max_connections / 2).max(1)),
            wait: timeout.min(PERMIT_LIMIT),
        }
    }

    /// A permit for a connection.
    ///
    /// # Errors
    /// All are in use.
    pub(super) async fn connection(&self) -> Result<OwnedSemaphorePermit, OriginError> {
        let permit = self.connections.acquire(self.wait).await;
        permit.ok_or(OriginError::Busy {
            max_connections: self.connections.max,
        })
    }

    /// The body with a permit, which it holds until its last byte is read. A body of known length gets one when its first
    /// bytes have come, or after a while; at once if its client waits for a 100. A chunked one may be a dialogue that the
    /// origin begins.
    ///
    /// # Errors
    /// All are in use, or the body failed before its first byte.
    pub(super) async fn upload(
        &self,
        body: RequestBody,
        expectation: Expectation,
    ) -> Result<RequestBody, OriginError> {
        Ok(match body {
            RequestBody::Empty | RequestBody::Sized(0, _) => body,
            RequestBody::Sized(length, mut stream) => {
                let first = match expectation {
                    Expectation::Nothing => first_bytes(&mut stream).await?,
                    Expectation::Continue => FirstBytes::Unread,
                };
                let stream = match first {
                    FirstBytes::Unread => self.permitted(None, stream, Some(length)).await?,
                    FirstBytes::Read(first) => {
                        self.permitted(Some(first), stream, Some(length)).await?
                    }
                    FirstBytes::None => Box::pin(stream::empty()),
                };
                RequestBody::Sized(length, stream)
            }
            RequestBody::Chunked(stream) => {
                RequestBody::Chunked(self.permitted(None, stream, None).await?)
            }
        })
    }

    async fn permitted(
        &self,
        first: Option<Bytes>,
        rest: BodyStream,
        left_bytes: Option<u64>,
    ) -> Result<BodyStream, OriginError> {
        let permit = self.uploads.acquire(self.wait).await;
        let permit = permit.ok_or(OriginError::BusyUploading {
            max_uploads: self.uploads.max,
        })?;
        Ok(Box::pin(PermittedBody {
            first,
            rest,
            left_bytes,
            permit: Some(permit),
        }))
    }
}

/// The first bytes of a body.
enum FirstBytes {
    /// They have not come yet, or were not waited for.
    Unread,
    Read(Bytes),
    /// It has ended without any.
    None,
}

async fn first_bytes(body: &mut BodyStream) -> Result<FirstBytes, OriginError> {
    match timeout(FIRST_BYTES_LIMIT, body.next()).await {
        Err(_) => Ok(FirstBytes::Unread),
        Ok(Some(Ok(first))) => Ok(FirstBytes::Read(first)),
        Ok(None) => Ok(FirstBytes::None),
        Ok(Some(Err(error))) => Err(OriginError::Upload {
            source: UploadError::from(error),
        }),
    }
}

/// A client's body, and the permit to send it, until its last byte is read.
struct PermittedBody {
    /// Read before the permit was there.
    first: Option<Bytes>,
    rest: BodyStream,
    /// `None` if the length is unknown.
    left_bytes: Option<u64>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Stream for PermittedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => ready!(self.rest.as_mut().poll_next(cx)),
        };
        if let (Some(left), Some(Ok(bytes))) = (&mut self.left_bytes, &piece) {
            *left = left.saturating_sub(bytes.len() as u64);
        }
        if self.left_bytes == Some(0) || !matches!(piece, Some(Ok(_))) {
            self.permit = None;
        }
        Poll::Ready(piece)
    }
}
