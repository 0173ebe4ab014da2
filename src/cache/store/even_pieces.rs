//! Making a body of pieces of one length.

use std::{mem, sync::Arc};

use tokio::task::yield_now;

use crate::cache::store::{
    body::{Body, JOINED_PIECE_BYTES},
    budget::Budget,
    piece::Piece,
};

/// After so many bytes were copied, other tasks run.
const COPIED_BYTES: usize = 256 * 1024;

/// Collects a body in pieces of the same length, so that it does not matter in which parts it comes.
pub(in crate::cache) struct EvenPieces<'a> {
    pieces: Vec<Arc<Piece>>,
    /// The beginning of the next piece.
    begun: Vec<u8>,
    /// How much of the body is expected after `begun`, in bytes.
    left_bytes: u64,
    budget: &'a Arc<Budget>,
}

impl<'a> EvenPieces<'a> {
    /// For a body of `len_bytes` bytes, whose memory counts against `budget`.
    pub(in crate::cache) fn new(len_bytes: u64, budget: &'a Arc<Budget>) -> Self {
        Self {
            pieces: Vec::new(),
            begun: Vec::new(),
            left_bytes: len_bytes,
            budget,
        }
    }

    /// Copies the next bytes.
    pub(in crate::cache) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.begun.capacity() == 0 {
                let left = usize::try_from(self.left_bytes).unwrap_or(usize::MAX);
                self.begun.reserve_exact(left.min(JOINED_PIECE_BYTES));
            }
            let room = JOINED_PIECE_BYTES - self.begun.len();
            let (fitting, others) = bytes.split_at(bytes.len().min(room));
            self.begun.extend_from_slice(fitting);
            self.left_bytes = self.left_bytes.saturating_sub(fitting.len() as u64);
            if self.begun.len() == JOINED_PIECE_BYTES {
                self.end_piece();
            }
            bytes = others;
        }
    }

    fn end_piece(&mut self) {
        let bytes = mem::take(&mut self.begun).into_boxed_slice();
        self.pieces.push(Piece::of(bytes, self.budget));
    }

    /// The body of what was pushed.
    pub(in crate::cache) fn into_body(mut self) -> Body {
        if !self.begun.is_empty() {
            self.end_piece();
        }
        Body::new(self.pieces)
    }
}

/// A body of these parts in even pieces. It is copied in steps, between which other tasks run. `len_bytes` is the length of all
/// parts together.
pub(in crate::cache) async fn even_body(
    parts: impl Iterator<Item = impl AsRef<[u8]>>,
    len_bytes: u64,
    budget: &Arc<Budget>,
) -> Body {
    let mut pieces = EvenPieces::new(len_bytes, budget);
    let mut copied_bytes = 0;
    for part in parts {
        if copied_bytes >= COPIED_BYTES {
            copied_bytes = 0;
            yield_now().await;
        }
        pieces.push(part.as_ref());
        copied_bytes += part.as_ref().len();
    }
    pieces.into_body()
}

/// The same body in even pieces.
pub(in crate::cache) async fn joined(body: &Body, budget: &Arc<Budget>) -> Body {
    even_body(body.parts(), body.len_bytes(), budget).await
}

#[cfg(test)]
mod tests {
    use actix_web::rt::System;
    use futures_util::FutureExt as _;

    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..=250).cycle().take(length).collect()
    }

    /// A body of pieces of this length.
    fn body(bytes: &[u8], piece_bytes: usize, budget: &Arc<Budget>) -> Body {
        let pieces = bytes.chunks(piece_bytes);
        let pieces = pieces.map(|piece| Piece::copy_of(piece, budget));
        Body::new(pieces.collect::<Vec<_>>())
    }

    #[test]
    fn a_body_has_the_same_pieces_whatever_parts_it_came_in() {
        let bytes = bytes(300_000);
        let budget = Budget::new(u64::MAX);
        let whole = JOINED_PIECE_BYTES;
        for part in [1, 1_000, 8 * 1024, whole, 256 * 1024, bytes.len()] {
            // The length is a hint.
            for expected in [bytes.len(), 0, 1_000_000] {
                let mut pieces = EvenPieces::new(expected as u64, &budget);
                bytes.chunks(part).for_each(|part| pieces.push(part));
                let body = pieces.into_body();
                let lengths: Vec<usize> = body.pieces().map(|piece| piece.len()).collect();
                assert_eq!(lengths, [whole, whole, bytes.len() - 2 * whole]);
                assert_eq!(body.pieces().collect::<Vec<_>>().concat(), bytes);
                assert!(!body.is_scattered());
                assert_eq!(budget.used_bytes(), body.weight_bytes());
            }
        }
        let empty = EvenPieces::new(0, &budget).into_body();
        assert_eq!((empty.pieces().count(), budget.used_bytes()), (0, 0));
    }

    #[test]
    fn many_small_pieces_are_joined_to_save_overhead() {
        let (bytes, budget) = (bytes(100_000), Budget::new(u64::MAX));
        let body = body(&bytes, 1, &budget);
        assert!(body.is_scattered());
        let joined = System::new().block_on(joined(&body, &budget));
        drop(body);
        assert_eq!(joined.parts().collect::<Vec<_>>().concat(), bytes);
        assert!(!joined.is_scattered());
        assert!(joined.weight_bytes() < 101_000, "{}", joined.weight_bytes());
        assert_eq!(budget.used_bytes(), joined.weight_bytes());
    }

    #[test]
    fn other_tasks_run_while_a_large_body_is_joined() {
        let (bytes, budget) = (bytes(1024 * 1000), Budget::new(u64::MAX));
        let body = body(&bytes, 1024, &budget);
        let mut joining = Box::pin(joined(&body, &budget));
        let mut turns = 1;
        let joined = loop {
            match (&mut joining).now_or_never() {
                Some(joined) => break joined,
                None => turns += 1,
            }
        };
        assert_eq!(turns, bytes.len().div_ceil(COPIED_BYTES));
        assert_eq!(joined.parts().collect::<Vec<_>>().concat(), bytes);
    }
}
