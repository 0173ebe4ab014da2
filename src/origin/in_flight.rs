//! One HTTP/1 request and its response on a connection to the origin.
//!
//! Head and body of the request go out in one write where possible. The upload continues whenever the response is polled,
//! so that an early response is read. The end of the connection ends the body only if the body is framed that way;
//! otherwise it is an error.

use std::{
    mem,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_http::{body::BoxBody, error::PayloadError};
use actix_web::http::{Method, StatusCode};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_core::Stream;
use tokio::{
    io::AsyncReadExt as _,
    time::{Sleep, sleep},
};

use crate::headers::is_live_stream;

use super::{
    body_decoder::BodyDecoder,
    error::{OriginError, Phase, WaitLimit},
    framing::{Persistence, ResponseHead},
    heads::HeadSearch,
    malformed::Malformed,
    pool::{PersistentConnection, Pool},
    transfer::{TransferRequest, TransferState, WaitLimits},
    upload::{Upload, UploadProgress, UploadStopped},
};

/// How long the body waits for the 100 that its client expects (RFC 9110, 10.1.1): as long as curl waits.
const CONTINUE_LIMIT: Duration = Duration::from_secs(1);
/// Buffer for the head and what arrives with it, in bytes.
const HEAD_ROOM_BYTES: usize = 8 * 1024;
/// Most bytes read of a body at once.
const BODY_ROOM_BYTES: usize = 64 * 1024;
/// The buffer grows if it has less room than this, in bytes.
const LEAST_ROOM_BYTES: usize = 2 * 1024;

/// A request as it is written, without its body.
pub(super) struct WireRequest {
    pub(super) method: Method,
    pub(super) head: Bytes,
    /// What the request allows; the response decides as well.
    pub(super) persistence: Persistence,
}

/// A request that is being sent, and the response to it.
pub(super) struct InFlight {
    /// `None` once the response is complete.
    connection: Option<PersistentConnection>,
    /// Takes the connection when the response is complete.
    pool: Rc<Pool>,
    limits: WaitLimits,
    state: TransferState,
    method: Method,
    upload: Upload,
    /// Runs while the upload waits for a 100.
    continue_timer: Option<Pin<Box<Sleep>>>,
    persistence: Persistence,
    search: HeadSearch,
    /// Read from the origin and not yet parsed.
    received: BytesMut,
    /// `received` has become larger than what a connection keeps.
    is_grown: bool,
    /// Bytes of a response have arrived.
    has_response: bool,
    /// Finds the end of the response's body.
    decoder: BodyDecoder,
    /// The longest silence within the body. `None`: it has no limit, for the body is a stream of events or records.
    body_limit: Option<WaitLimit>,
}

impl InFlight {
    /// Sends nothing: the first poll does.
    pub(super) fn new(
        mut connection: PersistentConnection,
        (pool, limits): (Rc<Pool>, WaitLimits),
        state: TransferState,
        request: &WireRequest,
        body: BoxBody,
    ) -> Self {
        connection.silence.restart();
        let mut received = mem::take(&mut connection.buffer);
        received.reserve(HEAD_ROOM_BYTES);
        let TransferRequest {
            expectation, offer, ..
        } = *state.request();
        Self {
            connection: Some(connection),
            pool,
            limits,
            method: request.method.clone(),
            upload: Upload::new(request.head.clone(), body, expectation),
            continue_timer: None,
            persistence: request.persistence,
            search: HeadSearch::new(expectation, offer),
            received,
            is_grown: false,
            has_response: false,
            decoder: BodyDecoder::Length(0),
            body_limit: None,
            state,
        }
    }

    /// True if any bytes of a response have arrived.
    pub(super) fn has_response(&self) -> bool {
        self.has_response
    }

    /// Waits for the head of the final response.
    pub(super) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<ResponseHead, OriginError>> {
        let polled = self.poll_arrival(cx);
        match polled.is_pending() {
            true => self.poll_silence(cx, Phase::FirstByte, self.limits.first_byte),
            false => polled,
        }
    }

    /// Ready with an error when the origin has been silent for too long.
    fn poll_silence<T>(
        &mut self,
        cx: &mut Context<'_>,
        phase: Phase,
        limit: WaitLimit,
    ) -> Poll<Result<T, OriginError>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Pending;
        };
        ready!(connection.silence.poll(cx, limit.time));
        Poll::Ready(Err(OriginError::Timeout {
            phase,
            limit,
            proxy: None,
        }))
    }

    /// Waits for the head without a limit.
    fn poll_arrival(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, OriginError>> {
        self.poll_continue_limit(cx);
        self.drive_upload(cx)?;
        loop {
            // Only the beginning of a head is progress, so a head that never ends runs into the time limit.
            let begins = self.received.is_empty();
            match ready!(self.poll_read(cx, HEAD_ROOM_BYTES, usize::MAX))? {
                0 => return Poll::Ready(Err(OriginError::cut())),
                _ => self.has_response = true,
            }
            if begins {
                self.restart_silence();
            }
            let interim = self.state.request().interim.as_ref();
            let found = (self.search).take(&mut self.received, &self.method, interim);
            let found = found.map_err(|source| OriginError::Malformed { source })?;
            if self.search.is_continued() {
                self.upload.release();
            }
            if let Some(head) = found {
                return Poll::Ready(match head.status {
                    StatusCode::SWITCHING_PROTOCOLS => self.switch().map(|()| head),
                    _ => {
                        self.accept(&head);
                        Ok(head)
                    }
                });
            }
            self.drive_upload(cx)?;
        }
    }

    /// The origin has sent bytes.
    fn restart_silence(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.silence.restart();
        }
    }

    /// Lets the upload go on if the origin has sent no 100 in time: it may be one that does not know Expect.
    fn poll_continue_limit(&mut self, cx: &mut Context<'_>) {
        if !self.upload.is_held() {
            return;
        }
        let timer = &mut self.continue_timer;
        let timer = timer.get_or_insert_with(|| Box::pin(sleep(CONTINUE_LIMIT)));
        if timer.as_mut().poll(cx).is_ready() {
            self.upload.release();
        }
    }

    /// Appends at most `limit` bytes to `received`. Returns how many were read; 0 at the end of the connection.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
        limit: usize,
    ) -> Poll<Result<usize, OriginError>> {
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(Ok(0));
        };
        if self.received.capacity() - self.received.len() < LEAST_ROOM_BYTES.min(room) {
            self.received.reserve(room);
            self.is_grown = true;
        }
        let mut limited = (&mut self.received).limit(limit);
        let read = pin!(connection.stream.read_buf(&mut limited)).poll(cx);
        read.map_err(|source| OriginError::Cut { source })
    }

    /// Prepares for the body of the final response.
    fn accept(&mut self, head: &ResponseHead) {
        if head.persistence == Persistence::Close {
            self.persistence = Persistence::Close;
        }
        // RFC 9110, 10.1.1 and RFC 9112, 9.5: an error response ends the upload, and so does any response in place of the
        // 100 that it waits for. An origin that responds while it reads, such as an echo server, gets the whole upload.
        let is_error = head.status.is_client_error() || head.status.is_server_error();
        if self.upload.is_held() || (is_error && !self.upload.is_done()) {
            self.abandon_upload();
        }
        self.decoder = BodyDecoder::new(head.framing);
        self.body_limit = match is_live_stream(&head.headers) {
            true => None,
            false => Some(self.limits.usual),
        };
        self.restart_silence();
        self.state.head_arrived(head.framing);
        if self.decoder.is_done() {
            self.complete();
        }
    }

    /// Takes the connection out of HTTP, with the bytes that came after the 101.
    fn switch(&mut self) -> Result<(), OriginError> {
        if !self.upload.is_done() {
            // The other protocol would begin with the rest of the request.
            let source = Malformed::Upgrade;
            return Err(OriginError::Malformed { source });
        }
        if let Some(connection) = self.connection.take() {
            let received = mem::take(&mut self.received);
            self.state.switched(connection.stream, received);
        }
        Ok(())
    }

    /// Continues the upload as far as possible without waiting.
    fn drive_upload(&mut self, cx: &mut Context<'_>) -> Result<(), OriginError> {
        let Some(PersistentConnection {
            stream, silence, ..
        }) = &mut self.connection
        else {
            return Ok(());
        };
        match self.upload.drive(cx, stream, || silence.restart()) {
            Ok(progress) => silence.set_awaits_client(progress == UploadProgress::AwaitsClient),
            Err(UploadStopped::Client(source)) => return Err(OriginError::Upload { source }),
            // The origin stopped reading. Its response may say why.
            Err(UploadStopped::Origin(error)) => {
                log::debug!("the origin stopped reading the request: {error}");
                self.abandon_upload();
            }
        }
        Ok(())
    }

    fn abandon_upload(&mut self) {
        self.upload.abandon();
        if let Some(connection) = &mut self.connection {
            connection.silence.set_awaits_client(false);
        }
        self.persistence = Persistence::Close;
    }

    /// The response is complete.
    fn complete(&mut self) {
        // The rest of an unfinished upload would be read as the next request, and surplus bytes as the response to it.
        let reusable = self.persistence == Persistence::Reusable
            && self.received.is_empty()
            && self.upload.is_done();
        self.upload.abandon();
        let buffer = mem::take(&mut self.received);
        self.state.set_whole();
        match self.connection.take() {
            Some(mut connection) if reusable => {
                if !self.is_grown {
                    connection.buffer = buffer;
                }
                self.pool.put(connection);
            }
            Some(connection) => connection.stream.close(),
            None => {}
        }
    }

    /// The next piece of the body; `None` when it is complete.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, OriginError>>> {
        self.drive_upload(cx)?;
        while self.connection.is_some() {
            if self.received.is_empty() {
                // Bytes after a body of known length stay unread: the check before the next request finds them.
                let limit = match self.decoder {
                    BodyDecoder::Length(left) => usize::try_from(left).unwrap_or(usize::MAX),
                    BodyDecoder::Chunked(_) | BodyDecoder::UntilClose => usize::MAX,
                };
                match ready!(self.poll_read(cx, limit.min(BODY_ROOM_BYTES), limit))? {
                    0 if self.decoder == BodyDecoder::UntilClose => {
                        self.complete();
                        return Poll::Ready(None);
                    }
                    0 => return Poll::Ready(Some(Err(OriginError::cut()))),
                    _ => self.restart_silence(),
                }
            }
            let piece = self.decoder.take(&mut self.received);
            let piece = piece.map_err(|source| OriginError::Malformed { source })?;
            if self.decoder.is_done() {
                self.complete();
            }
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(piece)));
            }
        }
        Poll::Ready(None)
    }
}

/// A response that is not complete is given up: the origin sees a reset, because it could take a mere end of the requests
/// for a half-closed connection that still waits for the response.
impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.stream.reset();
        }
    }
}

/// The response's body. An error is recorded in the [`TransferState`]; it is the last item.
impl Stream for InFlight {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let polled = this.poll_piece(cx);
        let piece = match this.body_limit {
            Some(limit) if polled.is_pending() => {
                ready!(this.poll_silence(cx, Phase::Body, limit).map(Some))
            }
            _ => ready!(polled),
        };
        Poll::Ready(piece.map(|piece| {
            piece.map_err(|failure| {
                this.state.fail(failure);
                PayloadError::Incomplete(None)
            })
        }))
    }
}
