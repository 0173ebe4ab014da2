//! A response body as the server reads it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;
use futures_core::Stream as _;
use futures_util::future::LocalBoxFuture;

use crate::{
    cache::{BodyError, FetchEnd, FileBody, Slices},
    proxy::{
        hit::multipart::Multipart,
        response::{
            access_log::Fate, client_response::ResponseBody, counted_body::CountedBody,
            streamed_body::StreamedBody, transfer_log::TransferLog,
        },
    },
};

/// How much of a response is sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SentBody {
    /// Headers and body.
    Whole,
    /// The headers of a response to HEAD: they announce the length of a body that is not sent.
    HeadersOnly,
    /// The headers of a response whose status has no body.
    Bodiless,
}

/// The body of a response. It notes what becomes of it.
pub(crate) struct TrackedBody {
    source: BodySource,
    size: BodySize,
    log: TransferLog,
}

enum BodySource {
    Empty,
    Bytes(Bytes),
    Stored(Slices),
    Multipart(Multipart),
    Streamed(LocalBoxFuture<'static, (StreamStep, Box<StreamedBody>)>),
    InFile(Box<FileBody>),
    Forwarded(Box<CountedBody>),
}

type StreamStep = Option<Result<Bytes, BodyError>>;

async fn step(mut body: Box<StreamedBody>) -> (StreamStep, Box<StreamedBody>) {
    (body.next().await, body)
}

impl TrackedBody {
    pub(crate) fn new(body: ResponseBody, sent: SentBody, log: TransferLog) -> Self {
        let size = match (sent, body.size()) {
            (SentBody::Bodiless, _) | (SentBody::HeadersOnly, BodySize::Stream) => BodySize::None,
            (_, size) => size,
        };
        if sent != SentBody::Whole || matches!(size, BodySize::Sized(0)) {
            log.ended(Fate::Whole);
        }
        let source = match body {
            _ if sent != SentBody::Whole => BodySource::Empty,
            ResponseBody::Empty | ResponseBody::Announced(_) | ResponseBody::Tunnel(..) => {
                BodySource::Empty
            }
            ResponseBody::Sentence(text) => BodySource::Bytes(text.into()),
            ResponseBody::Generated(bytes) | ResponseBody::Prepared(bytes, _) => {
                BodySource::Bytes(bytes)
            }
            ResponseBody::Stored(slices) => BodySource::Stored(slices),
            ResponseBody::InFile(body) => BodySource::InFile(body),
            ResponseBody::Multipart(parts) => BodySource::Multipart(parts),
            ResponseBody::Streamed(body) => BodySource::Streamed(Box::pin(step(body))),
            ResponseBody::Forwarded(body, _) => BodySource::Forwarded(body),
        };
        Self { source, size, log }
    }

    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match &mut self.source {
            BodySource::Empty => Poll::Ready(None),
            BodySource::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
            }
            BodySource::Stored(slices) => Poll::Ready(slices.next().map(Ok)),
            BodySource::Multipart(parts) => Poll::Ready(parts.next().map(Ok)),
            BodySource::Streamed(next) => {
                let (next, body) = ready!(next.as_mut().poll(context));
                match (&next, body.end()) {
                    (None, Some(FetchEnd::NotStored(reason))) => self.log.not_stored(reason),
                    (Some(Err(BodyError::TooSlow)), _) => self.log.ended(Fate::TooSlow),
                    _ => {}
                }
                self.source = match next {
                    Some(Ok(_)) => BodySource::Streamed(Box::pin(step(body))),
                    _ => BodySource::Empty,
                };
                Poll::Ready(next.map(|bytes| bytes.map_err(io::Error::other)))
            }
            BodySource::InFile(body) => Pin::new(body.as_mut()).poll_next(context),
            BodySource::Forwarded(body) => {
                let bytes = ready!(Pin::new(body.as_mut()).poll_next(context));
                Poll::Ready(bytes.map(|bytes| bytes.map_err(io::Error::other)))
            }
        }
    }
}

impl MessageBody for TrackedBody {
    type Error = io::Error;

    /// All of a body that is in one piece: nothing can go wrong with it before it is written.
    fn try_into_bytes(self) -> Result<Bytes, Self> {
        match self.source {
            BodySource::Bytes(bytes) => {
                self.log.sent(bytes.len());
                self.log.ended(Fate::Whole);
                Ok(bytes)
            }
            source => Err(Self { source, ..self }),
        }
    }

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let this = self.get_mut();
        let polled = ready!(this.poll_source(context));
        match &polled {
            Some(Ok(bytes)) => this.log.sent(bytes.len()),
            Some(Err(_)) => this.log.cut(),
            None => this.log.ended(Fate::Whole),
        }
        Poll::Ready(polled)
    }
}
