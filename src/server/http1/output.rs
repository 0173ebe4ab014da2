//! What is to be written to a client, in pieces that are written from where they lie in memory.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::AsyncWrite as _;

use crate::server::{buffers::SpareBuffers, client_stream::ClientStream};

/// A smaller piece is copied behind what precedes it, in bytes: that costs less than a piece of its own.
const MIN_PIECE_BYTES: usize = 4 * 1024;
/// Most pieces in one write.
const MAX_PIECES: usize = 16;

/// Bytes that wait to be written.
pub(super) struct Output {
    /// Where `first` comes from, and where it goes when it is written.
    buffers: Rc<SpareBuffers>,
    /// Heads and small pieces. They precede `pieces`.
    first: BytesMut,
    pieces: VecDeque<Bytes>,
    /// The length of `pieces` in bytes.
    piece_bytes: usize,
    /// The stream holds bytes that were written: they have to be flushed.
    is_unflushed: bool,
}

impl Output {
    /// Nothing yet.
    pub(super) fn new(buffers: Rc<SpareBuffers>) -> Self {
        Self {
            buffers,
            first: BytesMut::new(),
            pieces: VecDeque::new(),
            piece_bytes: 0,
            is_unflushed: false,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.is_unflushed && self.is_written()
    }

    /// True if the stream has taken everything.
    fn is_written(&self) -> bool {
        self.first.is_empty() && self.pieces.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.first.len() + self.piece_bytes
    }

    /// The buffer for the next head; there must be no pieces before it.
    pub(super) fn head(&mut self) -> &mut BytesMut {
        debug_assert!(self.pieces.is_empty());
        if self.first.capacity() == 0 {
            self.first = self.buffers.take();
        }
        &mut self.first
    }

    /// Adds bytes that are not worth a piece.
    pub(super) fn extend(&mut self, bytes: &[u8]) {
        match self.pieces.is_empty() {
            true => self.head().extend_from_slice(bytes),
            false => self.push_piece(Bytes::copy_from_slice(bytes)),
        }
    }

    pub(super) fn push(&mut self, bytes: Bytes) {
        match self.pieces.is_empty() && bytes.len() < MIN_PIECE_BYTES {
            true => self.head().extend_from_slice(&bytes),
            false => self.push_piece(bytes),
        }
    }

    fn push_piece(&mut self, bytes: Bytes) {
        self.piece_bytes += bytes.len();
        self.pieces.push_back(bytes);
    }

    /// Writes as much as one write takes, or flushes if everything was written.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut ClientStream,
    ) -> Poll<io::Result<()>> {
        let mut pinned = Pin::new(&mut *stream);
        if self.is_written() {
            ready!(pinned.poll_flush(context))?;
            self.is_unflushed = false;
            return Poll::Ready(Ok(()));
        }
        let written = match self.pieces.is_empty() {
            true => ready!(pinned.as_mut().poll_write(context, &self.first))?,
            false => {
                let mut slices = [IoSlice::new(&[]); MAX_PIECES];
                let first = (!self.first.is_empty()).then_some(&self.first[..]);
                let pieces = first
                    .into_iter()
                    .chain(self.pieces.iter().map(|piece| &piece[..]));
                let mut count = 0;
                for (slice, piece) in slices.iter_mut().zip(pieces) {
                    *slice = IoSlice::new(piece);
                    count += 1;
                }
                ready!(pinned.poll_write_vectored(context, &slices[..count]))?
            }
        };
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.advance(written);
        self.is_unflushed = stream.holds_written();
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut written: usize) {
        let of_first = written.min(self.first.len());
        written -= of_first;
        match of_first == self.first.len() {
            true => self.buffers.give(mem::take(&mut self.first)),
            false => self.first.advance(of_first),
        }
        self.piece_bytes -= written;
        while let Some(piece) = self.pieces.front_mut()
            && written > 0
        {
            let of_piece = written.min(piece.len());
            piece.advance(of_piece);
            written -= of_piece;
            if piece.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}
