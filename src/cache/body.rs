//! Bodies: chains of immutable pieces.
//!
//! A body grows piece by piece while it is fetched. Whoever reads along holds the piece it has come to and finds the
//! next one through it, so that reading needs no lock and a slow reader delays nobody. A stored body is the list of
//! all its pieces.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::budget::{Budget, Charge};

/// What a piece costs beyond its bytes: the node, its share of the list, its allocations.
const PIECE_OVERHEAD_BYTES: u64 = 160;
/// Pieces smaller than this are worth joining when the body is complete.
const SMALL_PIECE_BYTES: usize = 16 * 1024;
/// Joined pieces grow up to this.
const JOINED_PIECE_BYTES: usize = 64 * 1024;

/// A part of a body, and the way to the next one.
#[derive(Debug)]
pub(super) struct Piece {
    bytes: Bytes,
    next: OnceLock<Arc<Piece>>,
    charge: Option<Charge>,
}

impl Piece {
    /// A piece without bytes that stands before the first one.
    pub(super) fn sentinel() -> Arc<Self> {
        Arc::new(Self {
            bytes: Bytes::new(),
            next: OnceLock::new(),
            charge: None,
        })
    }

    /// A piece that holds a copy of `bytes`, which therefore pins no read buffer.
    pub(super) fn copy_of(bytes: &[u8], budget: &Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            bytes: Bytes::copy_from_slice(bytes),
            next: OnceLock::new(),
            charge: Some(budget.charge(Self::cost_bytes(bytes.len()))),
        })
    }

    /// What a piece of `len` bytes counts against the budget.
    pub(super) fn cost_bytes(len: usize) -> u64 {
        len as u64 + PIECE_OVERHEAD_BYTES
    }

    /// Makes `next` the piece after this one; only the first call counts.
    pub(super) fn link(&self, next: Arc<Self>) {
        let _ = self.next.set(next);
    }

    pub(super) fn next(&self) -> Option<&Arc<Self>> {
        self.next.get()
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl Drop for Piece {
    /// Lets go of the chain behind this piece one by one: the derived way would recurse once a piece.
    fn drop(&mut self) {
        let mut next = self.next.take();
        while let Some(piece) = next {
            next = Arc::into_inner(piece).and_then(|mut piece| piece.next.take());
        }
    }
}

/// A complete body.
#[derive(Clone, Debug)]
pub struct Body {
    pieces: Arc<[Arc<Piece>]>,
    len_bytes: u64,
    weight_bytes: u64,
}

impl Body {
    /// The body made of `pieces`; many small ones are joined, for they cost more than they hold.
    pub(super) fn from_pieces(pieces: Vec<Arc<Piece>>, budget: &Arc<Budget>) -> Self {
        let len: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
        let pieces = if pieces.len() > 2 + len / SMALL_PIECE_BYTES {
            joined(&pieces, budget)
        } else {
            pieces
        };
        let weight_bytes = pieces
            .iter()
            .filter_map(|piece| piece.charge.as_ref())
            .map(Charge::bytes)
            .sum();
        Self {
            pieces: pieces.into(),
            len_bytes: len as u64,
            weight_bytes,
        }
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// What the body counts against the budget, in bytes.
    pub(super) fn weight_bytes(&self) -> u64 {
        self.weight_bytes
    }

    /// The bytes from `first` to `last`, both counted in, as slices of the stored pieces.
    pub fn slices(&self, first: u64, last: u64) -> Slices {
        let mut slices = Slices {
            pieces: Arc::clone(&self.pieces),
            index: 0,
            skip: first,
            left: last
                .saturating_add(1)
                .min(self.len_bytes)
                .saturating_sub(first),
        };
        while let Some(piece) = slices.pieces.get(slices.index) {
            let len = piece.bytes.len() as u64;
            if slices.skip < len {
                break;
            }
            slices.skip -= len;
            slices.index += 1;
        }
        slices
    }

    /// The whole body as slices.
    pub fn all(&self) -> Slices {
        self.slices(0, u64::MAX)
    }
}

fn joined(pieces: &[Arc<Piece>], budget: &Arc<Budget>) -> Vec<Arc<Piece>> {
    let mut joined = Vec::new();
    let mut buffer = Vec::new();
    for piece in pieces {
        if !buffer.is_empty() && buffer.len() + piece.bytes.len() > JOINED_PIECE_BYTES {
            joined.push(Piece::copy_of(&buffer, budget));
            buffer.clear();
        }
        buffer.extend_from_slice(&piece.bytes);
    }
    if !buffer.is_empty() {
        joined.push(Piece::copy_of(&buffer, budget));
    }
    joined
}

/// Slices of a stored body in order, none longer than [`Slices::MAX_BYTES`].
#[derive(Clone, Debug)]
pub struct Slices {
    pieces: Arc<[Arc<Piece>]>,
    index: usize,
    skip: u64,
    left: u64,
}

impl Slices {
    /// The longest slice: what a stalled client costs, for the server copies a slice into its write buffer.
    pub const MAX_BYTES: usize = 32 * 1024;

    /// How many bytes are still to come.
    pub fn left_bytes(&self) -> u64 {
        self.left
    }
}

impl Iterator for Slices {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let bytes = &self.pieces.get(self.index)?.bytes;
        let len = bytes.len() as u64;
        let end = len.min(self.skip + self.left.min(Self::MAX_BYTES as u64));
        let range = usize::try_from(self.skip).ok()?..usize::try_from(end).ok()?;
        let slice = bytes.slice(range);
        self.left -= end - self.skip;
        if end == len {
            self.index += 1;
            self.skip = 0;
        } else {
            self.skip = end;
        }
        Some(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(sizes: &[usize]) -> (Body, Vec<u8>, Arc<Budget>) {
        let budget = Budget::new(u64::MAX);
        let mut all = Vec::new();
        let pieces = sizes
            .iter()
            .map(|size| {
                let bytes: Vec<u8> = (0..=250).cycle().take(*size).collect();
                all.extend_from_slice(&bytes);
                Piece::copy_of(&bytes, &budget)
            })
            .collect();
        (Body::from_pieces(pieces, &budget), all, budget)
    }

    fn collect(slices: Slices) -> Vec<u8> {
        slices.flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn slices_give_every_range_byte_for_byte() {
        let (body, all, _) = body(&[40_000, 1, 70_000]);
        assert_eq!(collect(body.all()), all);
        for (first, last) in [
            (0, 0),
            (39_999, 40_001),
            (40_000, 40_000),
            (100_000, u64::MAX),
        ] {
            let bound = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(all.len());
            let end = bound(last.saturating_add(1));
            assert_eq!(collect(body.slices(first, last)), all[bound(first)..end]);
        }
        assert!(collect(body.slices(all.len() as u64, u64::MAX)).is_empty());
    }

    #[test]
    fn no_slice_is_longer_than_a_stalled_client_may_cost() {
        let (body, _, _) = body(&[200_000]);
        assert!(body.all().all(|slice| slice.len() <= Slices::MAX_BYTES));
    }

    #[test]
    fn many_small_pieces_are_joined_and_cost_no_more_than_their_bytes_deserve() {
        let (body, all, budget) = body(&[1; 100_000]);
        assert_eq!(collect(body.all()), all);
        assert!(body.weight_bytes() < 101_000, "{}", body.weight_bytes());
        assert_eq!(budget.used_bytes(), body.weight_bytes());
    }

    #[test]
    fn a_long_chain_is_dropped_without_recursion() {
        let budget = Budget::new(u64::MAX);
        let first = Piece::sentinel();
        let mut last = Arc::clone(&first);
        for _ in 0..1_000_000 {
            let piece = Piece::copy_of(b"x", &budget);
            last.link(Arc::clone(&piece));
            last = piece;
        }
        drop(last);
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
    }
}
