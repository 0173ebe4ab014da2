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
/// Most bytes of pieces in one write. A segment on the loopback device has 65,483 bytes: a write of 64 or 128 KiB ends with one of
/// few bytes, which costs as much as a whole one.
const MAX_WRITE_BYTES: usize = 120 * 1024;

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
                let (slices, count) = self.slices();
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

    /// What comes next, for one write, and how many of the slices it takes.
    fn slices(&self) -> ([IoSlice<'_>; MAX_PIECES], usize) {
        let mut slices = [IoSlice::new(&[]); MAX_PIECES];
        let first = (!self.first.is_empty()).then_some(&self.first[..]);
        let pieces = first
            .into_iter()
            .chain(self.pieces.iter().map(|piece| &piece[..]));
        let (mut count, mut left) = (0, MAX_WRITE_BYTES);
        for (slice, piece) in slices.iter_mut().zip(pieces) {
            if left == 0 {
                break;
            }
            let length = piece.len().min(left);
            *slice = IoSlice::new(&piece[..length]);
            left -= length;
            count += 1;
        }
        (slices, count)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_body_is_written_in_the_same_steps_whatever_its_pieces_are() {
        const BODY_BYTES: usize = 1024 * 1024;
        let steps = |piece_bytes: usize| {
            let mut output = Output::new(Rc::default());
            output.extend(b"head");
            let mut body = Bytes::from(vec![b'x'; BODY_BYTES]);
            while !body.is_empty() {
                output.push(body.split_to(piece_bytes.min(body.len())));
            }
            let mut steps = Vec::new();
            while !output.is_written() {
                let (slices, count) = output.slices();
                let step = slices[..count].iter().map(|slice| slice.len()).sum();
                output.advance(step);
                steps.push(step);
            }
            steps
        };
        let whole = steps(BODY_BYTES);
        assert_eq!(whole.iter().sum::<usize>(), BODY_BYTES + 4);
        assert!(whole.iter().all(|step| *step <= MAX_WRITE_BYTES));
        for piece_bytes in [16, 64, 100, 128, 256] {
            assert_eq!(steps(piece_bytes * 1024), whole, "{piece_bytes} KiB");
        }
    }
}
