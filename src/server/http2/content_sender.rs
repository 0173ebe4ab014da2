//! The body of a response, as the client takes it.

use std::{
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_rt::time::{Sleep, sleep};
use actix_web::body::MessageBody;
use bytes::Bytes;
use futures_util::future::select;
use h2::{Reason, SendStream};

use super::output_credit::{MAX_PIECE_BYTES, OutputCredit, OutputPiece};

/// How many bytes are asked for at a time of the windows of the client.
const MAX_RESERVED_BYTES: usize = 128 * 1024;

/// The client has reset the stream, or does not read its response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left;

/// Sends the body of one response.
pub(super) struct ContentSender {
    stream: SendStream<OutputPiece>,
    credit: OutputCredit,
    /// How long the client may take nothing.
    limit: Duration,
    /// Runs while it takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    /// Each piece that waits to be written holds it; `None` if that is not to be known.
    pieces: Option<Rc<()>>,
}

impl ContentSender {
    pub(super) fn new(
        stream: SendStream<OutputPiece>,
        credit: OutputCredit,
        limit: Duration,
    ) -> Self {
        Self {
            stream,
            credit,
            limit,
            stall: None,
            pieces: None,
        }
    }

    /// The same for a body that may be cut.
    pub(super) fn arriving(self) -> Self {
        let pieces = Some(Rc::new(()));
        Self { pieces, ..self }
    }

    /// What the application gives next; `None` at its end.
    ///
    /// # Errors
    /// The client has left.
    pub(super) async fn next<C: MessageBody>(
        &mut self,
        mut content: Pin<&mut C>,
    ) -> Result<Option<Result<Bytes, C::Error>>, Left> {
        poll_fn(|context| match content.as_mut().poll_next(context) {
            Poll::Ready(next) => Poll::Ready(Ok(next)),
            Poll::Pending => self.stream.poll_reset(context).map(|_| Err(Left)),
        })
        .await
    }

    /// Sends `bytes`, as far as the client takes them. With `is_last` they end the response.
    ///
    /// # Errors
    /// The client has left, or takes nothing for too long.
    pub(super) async fn send(&mut self, mut bytes: Bytes, is_last: bool) -> Result<(), Left> {
        if bytes.is_empty() {
            return match is_last {
                true => self.give(OutputPiece::empty(), true),
                false => Ok(()),
            };
        }
        poll_fn(|context| {
            while !bytes.is_empty() {
                let piece = ready!(self.poll_piece(context, &mut bytes))?;
                self.give(piece, is_last && bytes.is_empty())?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Ends the response before its end, so that the client does not mistake what it has for the whole. What was sent before
    /// is written first, because a reset drops it.
    pub(super) async fn cut(&mut self) {
        let limit = pin!(sleep(self.limit));
        let written = poll_fn(|context| {
            let pieces = self.pieces.as_ref().map_or(1, Rc::strong_count);
            if pieces == 1 {
                return Poll::Ready(());
            }
            self.credit.wake_later(context);
            self.stream.poll_reset(context).map(drop)
        });
        select(pin!(written), limit).await;
        self.stream.send_reset(Reason::INTERNAL_ERROR);
    }

    fn give(&mut self, piece: OutputPiece, is_last: bool) -> Result<(), Left> {
        self.stream.send_data(piece, is_last).map_err(|_| Left)
    }

    /// The next piece that the client takes. Fails if it takes nothing for too long.
    fn poll_piece(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut Bytes,
    ) -> Poll<Result<OutputPiece, Left>> {
        match self.poll_taken(context, bytes) {
            Poll::Ready(taken) => {
                self.stall = None;
                Poll::Ready(taken)
            }
            Poll::Pending => {
                let limit = self.limit;
                let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(limit)));
                ready!(stall.as_mut().poll(context));
                log::debug!("the client does not read its response");
                self.stream.send_reset(Reason::CANCEL);
                Poll::Ready(Err(Left))
            }
        }
    }

    fn poll_taken(
        &mut self,
        context: &mut Context<'_>,
        bytes: &mut Bytes,
    ) -> Poll<Result<OutputPiece, Left>> {
        if self.stream.capacity() == 0 {
            self.stream
                .reserve_capacity(bytes.len().min(MAX_RESERVED_BYTES));
        }
        let mut capacity = self.stream.capacity();
        while capacity == 0 {
            match ready!(self.stream.poll_capacity(context)) {
                Some(Ok(more)) => capacity = more,
                Some(Err(_)) | None => return Poll::Ready(Err(Left)),
            }
        }
        let length = capacity.min(bytes.len()).min(MAX_PIECE_BYTES);
        let pieces = self.pieces.as_ref();
        self.credit
            .poll_piece(context, bytes, length, pieces)
            .map(Ok)
    }
}
