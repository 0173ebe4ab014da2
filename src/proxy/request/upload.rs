//! The client's body: streamed to the origin, or read whole because it is part of the key.

use std::{cell::Cell, io, rc::Rc, time::Duration};

use actix_http::error::PayloadError;
use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::time::{Instant, timeout};

use crate::{
    origin::{BodyStream, MILLIS_PER_BYTE, OriginError, RequestBody, UploadError},
    proxy::request::framing::RequestFraming,
};

/// Memory for bodies that are read whole, in bytes for each worker. Bodies beyond it pass through.
const MAX_BUFFERED_BYTES: u64 = 16 * 1024 * 1024;

/// The client's body. Some of it may have been read already.
pub(crate) struct UploadBody {
    read: BytesMut,
    /// What is still to be read; `None` if nothing is.
    rest: Option<web::Payload>,
    pace: UploadPace,
    /// The memory for `read`; `None` if nothing was read.
    permit: Option<BufferPermit>,
    /// The client waits for a 100 before it sends the body; `None` if it does not.
    awaited: Option<SendContinue>,
}

/// Tells the client to send its body.
pub(crate) type SendContinue = Box<dyn FnOnce()>;

/// A body that was read up to a limit.
pub(crate) enum BodyRead {
    /// All of it.
    Whole(Bytes, BufferPermit),
    /// It is larger than the limit.
    Larger(UploadBody),
}

impl UploadBody {
    /// `pause` is how long the client may pause.
    pub(crate) fn new(payload: web::Payload, pause: Duration) -> Self {
        Self {
            read: BytesMut::new(),
            rest: Some(payload),
            pace: UploadPace::new(pause),
            permit: None,
            awaited: None,
        }
    }

    /// The same body, whose client waits for a 100, which `awaited` sends; `None` if it does not wait.
    pub(crate) fn awaited_by(self, awaited: Option<SendContinue>) -> Self {
        Self { awaited, ..self }
    }

    /// A body that was read whole.
    pub(crate) fn of(bytes: Bytes, permit: BufferPermit) -> Self {
        Self {
            read: bytes.into(),
            rest: None,
            pace: UploadPace::new(Duration::ZERO),
            permit: Some(permit),
            awaited: None,
        }
    }

    /// A body of which nothing is left.
    pub(crate) fn empty() -> Self {
        Self {
            read: BytesMut::new(),
            rest: None,
            pace: UploadPace::new(Duration::ZERO),
            permit: None,
            awaited: None,
        }
    }

    /// The body as it is sent to the origin.
    pub(crate) fn into_request(self, framing: RequestFraming) -> RequestBody {
        match framing {
            RequestFraming::None => RequestBody::Empty,
            RequestFraming::Sized(length) => RequestBody::Sized(length, self.into_stream()),
            RequestFraming::Chunked => RequestBody::Chunked(self.into_stream()),
        }
    }

    /// Reads the body, but not far beyond the size of its permit.
    ///
    /// # Errors
    /// The client cut the body, or paused for too long.
    pub(crate) async fn read(mut self, permit: BufferPermit) -> Result<BodyRead, OriginError> {
        while let Some(piece) = self.receive().await {
            let piece = piece.map_err(|error| OriginError::Upload {
                source: UploadError::from(error),
            })?;
            self.read.extend_from_slice(&piece);
            if self.read.len() as u64 > permit.bytes {
                self.permit = Some(permit);
                return Ok(BodyRead::Larger(self));
            }
        }
        Ok(BodyRead::Whole(self.read.freeze(), permit))
    }

    /// The next piece from the client; an error if the client pauses for too long, or is too slow.
    async fn receive(&mut self) -> Option<Result<Bytes, PayloadError>> {
        let rest = self.rest.as_mut()?;
        if let Some(awaited) = self.awaited.take() {
            awaited();
        }
        // A short body is mostly there: then no timer is needed.
        let (received, waited) = match rest.next().now_or_never() {
            Some(received) => (received, Duration::ZERO),
            None => {
                let since = Instant::now();
                let received = timeout(self.pace.next_limit(), rest.next()).await;
                let late = |_| Some(Err(PayloadError::Io(io::ErrorKind::TimedOut.into())));
                (received.unwrap_or_else(late), since.elapsed())
            }
        };
        if let Some(Ok(bytes)) = &received {
            self.pace.received(bytes.len(), waited);
            return received;
        }
        self.rest = None;
        received
    }

    fn into_stream(self) -> BodyStream {
        Box::pin(stream::unfold(self, |mut body| async move {
            let next = match body.read.is_empty() {
                true => body.receive().await?,
                false => Ok(body.read.split().freeze()),
            };
            Some((next, body))
        }))
    }
}

/// How slow a client may be with its body: it ends when it is slower than the minimum rate, and has used up the time for one
/// pause.
#[derive(Clone, Copy, Debug)]
struct UploadPace {
    /// For each pause.
    pause: Duration,
    /// For all pauses to come. It grows with the bytes that arrive.
    left: Duration,
}

impl UploadPace {
    fn new(pause: Duration) -> Self {
        Self { pause, left: pause }
    }

    /// How long the next piece may take.
    fn next_limit(self) -> Duration {
        self.pause.min(self.left)
    }

    /// So many bytes have come after this time.
    fn received(&mut self, bytes: usize, waited: Duration) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let earned = bytes.saturating_mul(MILLIS_PER_BYTE);
        let left = self.left.saturating_sub(waited);
        self.left = left.saturating_add(Duration::from_millis(earned.into()));
    }
}

/// A body that was read whole, and the permit for its memory.
#[derive(Clone, Debug)]
pub(crate) struct BufferedBody {
    bytes: Bytes,
    framing: RequestFraming,
    _permit: Rc<BufferPermit>,
}

impl BufferedBody {
    pub(crate) fn new(bytes: Bytes, framing: RequestFraming, permit: BufferPermit) -> Self {
        Self {
            bytes,
            framing,
            _permit: Rc::new(permit),
        }
    }

    /// The body as it is sent to the origin, byte for byte.
    pub(crate) fn to_request(&self) -> RequestBody {
        if self.framing == RequestFraming::None {
            return RequestBody::Empty;
        }
        let piece = (!self.bytes.is_empty()).then(|| Ok(self.bytes.clone()));
        RequestBody::Sized(self.bytes.len() as u64, Box::pin(stream::iter(piece)))
    }
}

/// The memory of one worker for bodies that are read whole. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyBuffers(Rc<Cell<u64>>);

impl BodyBuffers {
    /// A permit for a body of at most `bytes`; `None` if there is no room for it.
    pub(crate) fn permit(&self, bytes: u64) -> Option<BufferPermit> {
        let used = self.0.get().checked_add(bytes)?;
        (used <= MAX_BUFFERED_BYTES).then(|| {
            self.0.set(used);
            BufferPermit {
                buffers: self.clone(),
                bytes,
            }
        })
    }
}

/// Memory for one body, until it is dropped.
#[derive(Debug)]
pub(crate) struct BufferPermit {
    buffers: BodyBuffers,
    bytes: u64,
}

impl Drop for BufferPermit {
    fn drop(&mut self) {
        let used = &self.buffers.0;
        used.set(used.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_run_out_and_are_returned() {
        let buffers = BodyBuffers::default();
        let first = buffers.permit(MAX_BUFFERED_BYTES - 1).unwrap();
        let second = buffers.permit(1).unwrap();
        assert!(buffers.permit(1).is_none());
        assert!(buffers.permit(0).is_some());
        drop(first);
        assert!(buffers.permit(MAX_BUFFERED_BYTES).is_none());
        drop(second);
        assert!(buffers.permit(MAX_BUFFERED_BYTES).is_some());
        assert!(buffers.permit(u64::MAX).is_none());
    }

    #[test]
    fn a_client_may_pause_once_and_then_keeps_the_minimum_rate() {
        const SECOND: Duration = Duration::from_secs(1);
        let mut slow = UploadPace::new(30 * SECOND);
        let mut steady = slow;
        let mut fast = slow;
        for _ in 0..29 {
            assert!(slow.next_limit() > SECOND);
            slow.received(1, SECOND);
            steady.received(100, SECOND);
            fast.received(1_000_000, SECOND);
        }
        // 29 s are used, and 29 bytes give 290 ms.
        assert_eq!(slow.next_limit(), Duration::from_millis(1_290));
        assert_eq!(steady.next_limit(), 30 * SECOND);
        // However much has come, each pause has its limit.
        assert_eq!(fast.next_limit(), 30 * SECOND);
        slow.received(0, 2 * SECOND);
        assert_eq!(slow.next_limit(), Duration::ZERO);
    }
}
