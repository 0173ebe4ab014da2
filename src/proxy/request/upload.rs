//! The client's body: on its way to the origin, or read whole because it is part of the key.

use std::{cell::Cell, io, rc::Rc, time::Duration};

use actix_http::error::PayloadError;
use actix_web::web;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, stream};

use crate::{
    origin::{BodyStream, OriginError, RequestBody, UploadError},
    proxy::connection::RequestFraming,
};

/// Bodies that are read whole take at most so much memory in one worker; those beyond pass through.
const MAX_HELD_BYTES: u64 = 16 * 1024 * 1024;

/// The client's body, some of which may have been read already.
pub(crate) struct UploadBody {
    begun: BytesMut,
    rest: Option<web::Payload>,
    /// The longest silence of the client.
    pause: Duration,
    /// For what was read.
    place: Option<BufferPermit>,
}

/// What came of reading a body up to a limit.
pub(crate) enum BodyRead {
    /// All of it.
    Whole(Bytes, BufferPermit),
    /// It is larger.
    Larger(UploadBody),
}

impl UploadBody {
    pub(crate) fn new(payload: web::Payload, pause: Duration) -> Self {
        Self {
            begun: BytesMut::new(),
            rest: Some(payload),
            pause,
            place: None,
        }
    }

    /// One that has been read whole already.
    pub(crate) fn of(bytes: Bytes, place: BufferPermit) -> Self {
        Self {
            begun: bytes.into(),
            rest: None,
            pause: Duration::ZERO,
            place: Some(place),
        }
    }

    /// One of which nothing is left.
    pub(crate) fn nothing() -> Self {
        Self {
            begun: BytesMut::new(),
            rest: None,
            pause: Duration::ZERO,
            place: None,
        }
    }

    /// The body as it goes to the origin.
    pub(crate) fn into_request(self, upload: RequestFraming) -> RequestBody {
        match upload {
            RequestFraming::None => RequestBody::Empty,
            RequestFraming::Sized(length) => RequestBody::Sized(length, self.into_stream()),
            RequestFraming::Chunked => RequestBody::Chunked(self.into_stream()),
        }
    }

    /// Reads the body, but not far beyond the size of its `place`.
    pub(crate) async fn read(mut self, place: BufferPermit) -> Result<BodyRead, OriginError> {
        while let Some(piece) = self.receive().await {
            let piece = piece.map_err(|error| OriginError::Upload {
                source: UploadError::Client(error),
            })?;
            self.begun.extend_from_slice(&piece);
            if self.begun.len() as u64 > place.bytes {
                self.place = Some(place);
                return Ok(BodyRead::Larger(self));
            }
        }
        Ok(BodyRead::Whole(self.begun.freeze(), place))
    }

    /// What comes next from the client; it fails when nothing does for too long.
    async fn receive(&mut self) -> Option<Result<Bytes, PayloadError>> {
        let rest = self.rest.as_mut()?;
        let received = match tokio::time::timeout(self.pause, rest.next()).await {
            Ok(received) => received,
            Err(_) => Some(Err(PayloadError::Io(io::ErrorKind::TimedOut.into()))),
        };
        if !matches!(received, Some(Ok(_))) {
            self.rest = None;
        }
        received
    }

    fn into_stream(self) -> BodyStream {
        Box::pin(stream::unfold(self, |mut body| async move {
            let next = match body.begun.is_empty() {
                true => body.receive().await?,
                false => Ok(body.begun.split().freeze()),
            };
            Some((next, body))
        }))
    }
}

/// A body that was read whole, and its place in the memory for such bodies.
#[derive(Clone, Debug)]
pub(crate) struct BufferedBody {
    bytes: Bytes,
    upload: RequestFraming,
    _place: Rc<BufferPermit>,
}

impl BufferedBody {
    pub(crate) fn new(bytes: Bytes, upload: RequestFraming, place: BufferPermit) -> Self {
        Self {
            bytes,
            upload,
            _place: Rc::new(place),
        }
    }

    /// The body as it goes to the origin, byte for byte.
    pub(crate) fn to_request(&self) -> RequestBody {
        if self.upload == RequestFraming::None {
            return RequestBody::Empty;
        }
        let piece = (!self.bytes.is_empty()).then(|| Ok(self.bytes.clone()));
        RequestBody::Sized(self.bytes.len() as u64, Box::pin(stream::iter(piece)))
    }
}

/// How much of a worker's memory bodies take that are read whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct BodyBuffers(Rc<Cell<u64>>);

impl BodyBuffers {
    /// A place for a body, if there is room for it.
    pub(crate) fn place(&self, bytes: u64) -> Option<BufferPermit> {
        let held = self.0.get().checked_add(bytes)?;
        (held <= MAX_HELD_BYTES).then(|| {
            self.0.set(held);
            BufferPermit {
                held: self.clone(),
                bytes,
            }
        })
    }
}

/// Memory for one body, until it is dropped.
#[derive(Debug)]
pub(crate) struct BufferPermit {
    held: BodyBuffers,
    bytes: u64,
}

impl Drop for BufferPermit {
    fn drop(&mut self) {
        self.held.0.set(self.held.0.get() - self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_for_bodies_run_out_and_come_back() {
        let held = BodyBuffers::default();
        let first = held.place(MAX_HELD_BYTES - 1).unwrap();
        let second = held.place(1).unwrap();
        assert!(held.place(1).is_none());
        assert!(held.place(0).is_some());
        drop(first);
        assert!(held.place(MAX_HELD_BYTES).is_none());
        drop(second);
        assert!(held.place(MAX_HELD_BYTES).is_some());
        assert!(held.place(u64::MAX).is_none());
    }
}
