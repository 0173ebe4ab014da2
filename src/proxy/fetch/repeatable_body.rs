//! The body of a request that may go to another origin if the first one cannot be reached.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix_http::error::PayloadError;
use bytes::Bytes;
use futures_core::Stream;

use crate::origin::{BodyStream, RequestBody};

/// A body that can be read again as long as no more than its first piece was read. No more is read before a connection to
/// an origin is made.
pub(crate) enum RepeatableBody {
    /// No body.
    Empty,
    /// A body of this length.
    Sized(u64, SharedBody),
    /// A body of unknown length.
    Chunked(SharedBody),
}

impl RepeatableBody {
    pub(crate) fn new(body: RequestBody) -> Self {
        match body {
            RequestBody::Empty => Self::Empty,
            RequestBody::Sized(bytes, stream) => Self::Sized(bytes, SharedBody::new(stream)),
            RequestBody::Chunked(stream) => Self::Chunked(SharedBody::new(stream)),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    /// True if [`RepeatableBody::whole`] gives the whole body.
    pub(crate) fn is_repeatable(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Sized(_, body) | Self::Chunked(body) => body.0.borrow().is_repeatable(),
        }
    }

    /// The body from its beginning. The one that was returned before must not be read any more.
    pub(crate) fn whole(&self) -> RequestBody {
        match self {
            Self::Empty => RequestBody::Empty,
            Self::Sized(bytes, body) => RequestBody::Sized(*bytes, body.whole()),
            Self::Chunked(body) => RequestBody::Chunked(body.whole()),
        }
    }
}

/// A body that several readers read, one after the other.
pub(crate) struct SharedBody(Rc<RefCell<ReadBody>>);

impl SharedBody {
    fn new(source: BodyStream) -> Self {
        Self(Rc::new(RefCell::new(ReadBody {
            source,
            pieces: PiecesRead::None,
            has_ended: false,
        })))
    }

    fn whole(&self) -> BodyStream {
        Box::pin(BodyFromStart {
            body: Rc::clone(&self.0),
            has_first: false,
        })
    }
}

/// A body, and what was read of it.
struct ReadBody {
    source: BodyStream,
    pieces: PiecesRead,
    /// The source has ended, or failed.
    has_ended: bool,
}

enum PiecesRead {
    None,
    First(Bytes),
    /// Several, or an error. They are gone.
    More,
}

impl ReadBody {
    fn is_repeatable(&self) -> bool {
        !matches!(self.pieces, PiecesRead::More)
    }

    /// The next piece of the source.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, PayloadError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let piece = ready!(self.source.as_mut().poll_next(cx));
        match (&piece, &self.pieces) {
            (None, _) => self.has_ended = true,
            (Some(Ok(first)), PiecesRead::None) => self.pieces = PiecesRead::First(first.clone()),
            (Some(Ok(_)), _) => self.pieces = PiecesRead::More,
            (Some(Err(_)), _) => {
                self.has_ended = true;
                self.pieces = PiecesRead::More;
            }
        }
        Poll::Ready(piece)
    }
}

/// Reads a body from its beginning.
struct BodyFromStart {
    body: Rc<RefCell<ReadBody>>,
    /// The first piece was read.
    has_first: bool,
}

impl Stream for BodyFromStart {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let body = Rc::clone(&self.body);
        let mut body = body.borrow_mut();
        if !self.has_first
            && let PiecesRead::First(first) = &body.pieces
        {
            self.has_first = true;
            return Poll::Ready(Some(Ok(first.clone())));
        }
        let piece = ready!(body.poll_source(cx));
        self.has_first = true;
        Poll::Ready(piece)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _, stream};

    use super::*;

    fn body(pieces: &'static [&'static str]) -> RepeatableBody {
        let pieces = pieces.iter().map(|piece| match *piece {
            "error" => Err(PayloadError::Incomplete(None)),
            piece => Ok(Bytes::from_static(piece.as_bytes())),
        });
        // A stream that must not be polled after its end.
        let pieces = stream::unfold(pieces, |mut pieces| async move {
            Some((pieces.next()?, pieces))
        });
        RepeatableBody::new(RequestBody::Chunked(Box::pin(pieces)))
    }

    /// What a new reader gets as its first pieces, so many at most; "error" for an error.
    fn read(body: &RepeatableBody, pieces: usize) -> Vec<String> {
        let RequestBody::Chunked(stream) = body.whole() else {
            panic!("the framing has changed");
        };
        let pieces = stream.take(pieces).map(|piece| match piece {
            Ok(bytes) => String::from_utf8(bytes.into()).unwrap(),
            Err(_) => "error".to_owned(),
        });
        pieces.collect::<Vec<_>>().now_or_never().unwrap()
    }

    #[test]
    fn a_body_of_which_one_piece_was_read_is_read_again_whole() {
        let body = body(&["a", "b", "c"]);
        for _ in 0..3 {
            assert!(body.is_repeatable());
            assert_eq!(read(&body, 1), ["a"]);
        }
        assert_eq!(read(&body, 9), ["a", "b", "c"]);
        assert!(!body.is_repeatable());
    }

    #[test]
    fn a_body_of_one_piece_is_repeatable_after_its_end() {
        let body = body(&["a"]);
        assert_eq!(read(&body, 9), ["a"]);
        assert!(body.is_repeatable());
        assert_eq!(read(&body, 9), ["a"]);
    }

    #[test]
    fn a_body_that_has_failed_is_not_repeatable() {
        for pieces in [&["error"][..], &["a", "error"]] {
            let body = body(pieces);
            assert_eq!(read(&body, 9), pieces);
            assert!(!body.is_repeatable());
            assert!(read(&body, 9).is_empty());
        }
    }

    #[test]
    fn a_request_without_a_body_is_repeatable() {
        let body = RepeatableBody::new(RequestBody::Empty);
        assert!(body.is_empty() && body.is_repeatable());
        assert!(matches!(body.whole(), RequestBody::Empty));
    }
}
