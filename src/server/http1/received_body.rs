//! The body of a request, on its way from the connection to the application.

use std::{
    cell::RefCell,
    collections::VecDeque,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix_http::{BoxedPayloadStream, Payload, error::PayloadError};
use bytes::{Bytes, BytesMut};
use futures_core::Stream;

use crate::{origin::Chunked, proxy::RequestFraming};

/// How much memory a body that waits for the application may keep, in bytes. More is not read from the client.
const MAX_WAITING_BYTES: usize = 64 * 1024;
/// The memory of a piece at least, in bytes.
const MIN_PIECE_BYTES: usize = 64;

/// The body of a request as its connection sees it.
pub(in crate::server) struct ReceivedBody {
    rest: Remainder,
    /// `None` if there is no body: the application gets nothing.
    shared: Option<Rc<RefCell<Waiting>>>,
}

/// What is still to come of a body.
enum Remainder {
    Sized(u64),
    Chunked(Box<Chunked>),
    /// Nothing. The next bytes belong to the next request.
    Complete,
    /// It cannot be known: the chunked coding is invalid, or the client has sent its last byte.
    Lost,
}

/// What has arrived and was not taken yet.
#[derive(Default)]
struct Waiting {
    pieces: VecDeque<WaitingPiece>,
    /// The memory that `pieces` keep, in bytes.
    bytes: usize,
    /// How the body ended; `None` before that, and after the application was told.
    end: Option<Result<(), PayloadError>>,
    is_dropped: bool,
    /// The task that reads the body, while it waits for a piece.
    reader: Option<Waker>,
    /// The task of the connection, while it waits for the application to take a piece.
    connection: Option<Waker>,
}

/// A piece of a body.
struct WaitingPiece {
    content: Bytes,
    /// The memory that it keeps, in bytes: with `content` the framing that has arrived before it.
    bytes: usize,
}

impl ReceivedBody {
    /// A body with this framing, and what the application gets of it.
    pub(in crate::server) fn new(framing: RequestFraming) -> (Self, Payload) {
        let rest = match framing {
            RequestFraming::None | RequestFraming::Sized(0) => {
                let body = Self {
                    rest: Remainder::Complete,
                    shared: None,
                };
                return (body, Payload::None);
            }
            RequestFraming::Sized(bytes) => Remainder::Sized(bytes),
            RequestFraming::Chunked => Remainder::Chunked(Box::new(Chunked::new())),
        };
        let shared = Rc::new(RefCell::new(Waiting::default()));
        let payload: BoxedPayloadStream = Box::pin(ReceivedBodyStream(Rc::clone(&shared)));
        let body = Self {
            rest,
            shared: Some(shared),
        };
        (body, Payload::Stream { payload })
    }

    /// True if the whole body has arrived.
    pub(in crate::server) fn is_complete(&self) -> bool {
        matches!(self.rest, Remainder::Complete)
    }

    /// True if more of the body may arrive.
    pub(super) fn is_arriving(&self) -> bool {
        matches!(self.rest, Remainder::Sized(_) | Remainder::Chunked(_))
    }

    /// True if the application takes more now. Else the task is woken when it does.
    pub(super) fn takes_more(&self, context: &Context<'_>) -> bool {
        let Some(shared) = &self.shared else {
            return false;
        };
        let mut waiting = shared.borrow_mut();
        let takes_more = waiting.is_dropped || waiting.bytes < MAX_WAITING_BYTES;
        if !takes_more {
            waiting.connection = Some(context.waker().clone());
        }
        takes_more
    }

    /// Takes the body out of `input`, as far as it has arrived. What follows it stays.
    pub(in crate::server) fn feed(&mut self, input: &mut BytesMut) {
        if input.is_empty() {
            return;
        }
        let arrived = input.len();
        let piece = match &mut self.rest {
            Remainder::Sized(left) => {
                let taken =
                    usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                *left -= taken as u64;
                let is_last = *left == 0;
                if is_last {
                    self.rest = Remainder::Complete;
                }
                Ok(input.split_to(taken).freeze())
            }
            Remainder::Chunked(chunked) => {
                let piece = chunked.decode(input);
                if chunked.is_done() {
                    self.rest = Remainder::Complete;
                }
                piece.map_err(|_| PayloadError::EncodingCorrupted)
            }
            Remainder::Complete | Remainder::Lost => return,
        };
        match piece {
            Ok(content) => {
                let bytes = (arrived - input.len()).max(MIN_PIECE_BYTES);
                self.pass_on(WaitingPiece { content, bytes });
            }
            Err(error) => self.fail(error),
        }
    }

    fn pass_on(&mut self, piece: WaitingPiece) {
        let is_complete = self.is_complete();
        if let Some(shared) = &self.shared {
            let mut waiting = shared.borrow_mut();
            if !piece.content.is_empty() && !waiting.is_dropped {
                waiting.bytes += piece.bytes;
                waiting.pieces.push_back(piece);
            }
            if is_complete {
                waiting.end = Some(Ok(()));
            }
            waiting.wake_reader();
        }
    }

    /// The rest of the body does not arrive.
    pub(super) fn fail(&mut self, error: PayloadError) {
        self.rest = Remainder::Lost;
        if let Some(shared) = &self.shared {
            let mut waiting = shared.borrow_mut();
            waiting.end = Some(Err(error));
            waiting.wake_reader();
        }
    }
}

impl Drop for ReceivedBody {
    /// The application may read the body longer than the connection lasts.
    fn drop(&mut self) {
        if self.is_arriving() {
            self.fail(PayloadError::Incomplete(None));
        }
    }
}

impl Waiting {
    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

/// The body of a request as the application reads it.
struct ReceivedBodyStream(Rc<RefCell<Waiting>>);

impl Stream for ReceivedBodyStream {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut waiting = self.0.borrow_mut();
        if let Some(piece) = waiting.pieces.pop_front() {
            waiting.bytes -= piece.bytes;
            if let Some(connection) = waiting.connection.take() {
                connection.wake();
            }
            return Poll::Ready(Some(Ok(piece.content)));
        }
        match waiting.end.take() {
            Some(Ok(())) => {
                waiting.end = Some(Ok(()));
                Poll::Ready(None)
            }
            Some(Err(error)) => {
                waiting.end = Some(Ok(()));
                Poll::Ready(Some(Err(error)))
            }
            None => {
                waiting.reader = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Drop for ReceivedBodyStream {
    fn drop(&mut self) {
        let mut waiting = self.0.borrow_mut();
        waiting.is_dropped = true;
        waiting.pieces.clear();
        waiting.bytes = 0;
        if let Some(connection) = waiting.connection.take() {
            connection.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    /// What the application reads at once, and whether it found an end.
    fn read(payload: &mut Payload) -> (Vec<u8>, Option<Result<(), PayloadError>>) {
        let mut context = Context::from_waker(Waker::noop());
        let mut read = Vec::new();
        loop {
            match payload.poll_next_unpin(&mut context) {
                Poll::Ready(Some(Ok(piece))) => read.extend(piece),
                Poll::Ready(Some(Err(error))) => return (read, Some(Err(error))),
                Poll::Ready(None) => return (read, Some(Ok(()))),
                Poll::Pending => return (read, None),
            }
        }
    }

    #[test]
    fn a_body_is_read_up_to_its_end_and_what_follows_stays() {
        for (framing, sent) in [
            (RequestFraming::Sized(3), "abcGET"),
            (RequestFraming::Chunked, "2\r\nab\r\n1\r\nc\r\n0\r\n\r\nGET"),
        ] {
            let (mut body, mut payload) = ReceivedBody::new(framing);
            let mut input = BytesMut::new();
            let mut received = Vec::new();
            for byte in sent.bytes() {
                input.extend_from_slice(&[byte]);
                body.feed(&mut input);
                received.extend(read(&mut payload).0);
            }
            assert_eq!((&*received, &*input), (&b"abc"[..], &b"GET"[..]));
            assert!(body.is_complete());
            assert!(matches!(read(&mut payload), (_, Some(Ok(())))));
        }
    }

    #[test]
    fn a_body_that_is_not_read_is_bounded_until_it_is_dropped() {
        let (mut body, payload) = ReceivedBody::new(RequestFraming::Sized(u64::MAX));
        let context = Context::from_waker(Waker::noop());
        let mut fed = 0;
        while body.takes_more(&context) {
            body.feed(&mut BytesMut::from(&[b'x'; 1024][..]));
            fed += 1024;
        }
        assert_eq!(fed, MAX_WAITING_BYTES);
        drop(payload);
        assert!(body.takes_more(&context) && body.is_arriving());
    }

    #[test]
    fn framing_and_small_pieces_count_as_the_memory_that_they_keep() {
        let context = Context::from_waker(Waker::noop());
        let extension = "x".repeat(2000);
        for (framing, sent) in [
            (RequestFraming::Sized(u64::MAX), "a".to_owned()),
            (RequestFraming::Chunked, format!("1;{extension}\r\na\r\n")),
        ] {
            let (mut body, _payload) = ReceivedBody::new(framing);
            let mut pieces = 0;
            while body.takes_more(&context) {
                body.feed(&mut BytesMut::from(sent.as_str()));
                pieces += 1;
            }
            let most = MAX_WAITING_BYTES.div_ceil(sent.len().max(MIN_PIECE_BYTES));
            assert_eq!(pieces, most, "{framing:?}");
        }
    }

    #[test]
    fn a_body_whose_connection_has_ended_ends_with_an_error() {
        let (body, mut payload) = ReceivedBody::new(RequestFraming::Sized(2));
        assert!(matches!(read(&mut payload), (_, None)));
        drop(body);
        let (_, end) = read(&mut payload);
        assert!(matches!(end, Some(Err(PayloadError::Incomplete(None)))));
    }

    #[test]
    fn an_invalid_chunk_ends_the_body_with_an_error() {
        let (mut body, mut payload) = ReceivedBody::new(RequestFraming::Chunked);
        body.feed(&mut BytesMut::from("1\r\na\r\nzz"));
        assert!(!body.is_complete() && !body.is_arriving());
        let (_, end) = read(&mut payload);
        assert!(matches!(end, Some(Err(PayloadError::EncodingCorrupted))));
    }
}
