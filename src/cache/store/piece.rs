//! Pieces of bodies, in chains.
//!
//! A body grows piece by piece while it is fetched. A reader holds its current piece and finds the next one through it,
//! so that reading needs no lock. The links are weak: the owner of the pieces decides what a slow reader can still find.
//! A stored body is the list of all its pieces.

use std::{
    ops::Deref,
    sync::{Arc, OnceLock, Weak, atomic::AtomicU64},
};

use bytes::Bytes;

use crate::{cache::store::budget::Budget, disk::LargeBody};

/// The memory of a piece beyond its bytes: the node, its share of the list, allocations.
pub(super) const PIECE_OVERHEAD_BYTES: u64 = 88;

/// A piece of a body, with a link to the next one.
#[derive(Debug)]
pub(in crate::cache) struct Piece {
    pub(super) bytes: PieceBytes,
    next: OnceLock<Weak<Piece>>,
    /// The budget that its cost counts against; `None` for the sentinel.
    pub(super) budget: Option<Arc<Budget>>,
    /// Which stored responses count its cost, by the number of their change; 0 if none do.
    pub(super) counted_by: AtomicU64,
}

/// What a piece consists of.
#[derive(Debug)]
pub(super) enum PieceBytes {
    Memory(Box<[u8]>),
    Other(Box<OtherBytes>),
}

/// What a piece of a body consists of that memory does not keep.
#[derive(Debug)]
pub(super) enum OtherBytes {
    /// All of a body, which is on disk. No bytes are in memory.
    File(LargeBody),
    /// Part of a buffer, which is used again when the piece is dropped.
    Buffer(Bytes),
}

impl Deref for PieceBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes,
            Self::Other(other) => match &**other {
                OtherBytes::File(_) => &[],
                OtherBytes::Buffer(bytes) => bytes,
            },
        }
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(budget) = &self.budget {
            budget.give_back(self.cost());
        }
    }
}

/// The piece after another one.
pub(in crate::cache) enum Next {
    /// It has not arrived yet.
    Coming,
    /// It has arrived.
    Here(Arc<Piece>),
    /// It was dropped before its reader reached it.
    Gone,
}

impl Piece {
    /// A piece without bytes, before the first one.
    pub(in crate::cache) fn sentinel() -> Arc<Self> {
        Arc::new(Self {
            bytes: PieceBytes::Memory(Box::default()),
            next: OnceLock::new(),
            budget: None,
            counted_by: AtomicU64::new(0),
        })
    }

    /// The only piece of a body on disk. It counts against no budget.
    pub(super) fn of_file(body: LargeBody) -> Arc<Self> {
        Arc::new(Self {
            bytes: PieceBytes::Other(OtherBytes::File(body).into()),
            next: OnceLock::new(),
            budget: None,
            counted_by: AtomicU64::new(0),
        })
    }

    /// A piece with a copy of `bytes`. The copy keeps no read buffer alive.
    pub(in crate::cache) fn copy_of(bytes: &[u8], budget: &Arc<Budget>) -> Arc<Self> {
        Self::of(bytes.into(), budget)
    }

    /// A piece of these bytes.
    pub(in crate::cache) fn of(bytes: Box<[u8]>, budget: &Arc<Budget>) -> Arc<Self> {
        Self::with(PieceBytes::Memory(bytes), budget)
    }

    /// The only piece of a body in a buffer. It is for one response, not to be stored.
    pub(super) fn of_buffer(bytes: Bytes, budget: &Arc<Budget>) -> Arc<Self> {
        let bytes = OtherBytes::Buffer(bytes).into();
        Self::with(PieceBytes::Other(bytes), budget)
    }

    fn with(bytes: PieceBytes, budget: &Arc<Budget>) -> Arc<Self> {
        budget.take(Self::cost_bytes(bytes.len()));
        Arc::new(Self {
            bytes,
            next: OnceLock::new(),
            budget: Some(Arc::clone(budget)),
            counted_by: AtomicU64::new(0),
        })
    }

    /// The memory that a piece of `len` bytes uses of the budget.
    pub(in crate::cache) fn cost_bytes(len: usize) -> u64 {
        len as u64 + PIECE_OVERHEAD_BYTES
    }

    /// Makes `next` the piece after this one. Only the first call has an effect.
    pub(in crate::cache) fn link(&self, next: &Arc<Self>) {
        let _ = self.next.set(Arc::downgrade(next));
    }

    pub(in crate::cache) fn next(&self) -> Next {
        match self.next.get() {
            None => Next::Coming,
            Some(next) => next.upgrade().map_or(Next::Gone, Next::Here),
        }
    }

    /// Its bytes, which keep the piece alive. They have a reference count of their own, so that two threads that send
    /// the same body do not contend for one.
    pub(in crate::cache) fn bytes(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(PieceOwner(Arc::clone(self)))
    }

    /// Its length, also if it is on disk.
    pub(super) fn len_bytes(&self) -> u64 {
        self.file()
            .map_or(self.bytes.len() as u64, LargeBody::len_bytes)
    }

    /// The body on disk that it is; `None` if it is none.
    pub(super) fn file(&self) -> Option<&LargeBody> {
        match &self.bytes {
            PieceBytes::Other(other) => match &**other {
                OtherBytes::File(body) => Some(body),
                OtherBytes::Buffer(_) => None,
            },
            PieceBytes::Memory(_) => None,
        }
    }

    /// The memory that it uses of the budget, in bytes.
    pub(in crate::cache) fn cost(&self) -> u64 {
        let budget = self.budget.as_ref();
        budget.map_or(0, |_| Self::cost_bytes(self.bytes.len()))
    }
}

/// Keeps a piece alive as long as its bytes.
struct PieceOwner(Arc<Piece>);

impl AsRef<[u8]> for PieceOwner {
    fn as_ref(&self) -> &[u8] {
        &self.0.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_takes_little_memory_beside_its_bytes() {
        assert_eq!(size_of::<PieceBytes>(), size_of::<Box<[u8]>>());
        // With the counters of its Arc it is in the allocator's class of 64 bytes.
        assert!(size_of::<Piece>() + 2 * size_of::<usize>() <= 64);
    }

    #[test]
    fn a_link_does_not_keep_the_next_piece_alive() {
        let budget = Budget::new(u64::MAX);
        let first = Piece::sentinel();
        assert!(matches!(first.next(), Next::Coming));
        let second = Piece::copy_of(b"x", &budget);
        first.link(&second);
        assert!(matches!(first.next(), Next::Here(next) if next.bytes() == "x"));
        drop(second);
        assert!(matches!(first.next(), Next::Gone));
        assert_eq!(budget.used_bytes(), 0);
    }
}
