//! Bodies: lists of pieces ([`Piece`]).

use std::{
    io::IoSlice,
    ops::RangeInclusive,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;

use crate::{
    cache::store::{
        budget::Budget,
        file_body::FileBody,
        piece::{PIECE_OVERHEAD_BYTES, Piece},
        shared_list::SharedList,
    },
    disk::LargeBody,
};

/// Pieces with a mean length below this are joined when the body is complete.
const SMALL_PIECE_BYTES: usize = 1280;
/// The length of the pieces that joining makes, in bytes.
pub(in crate::cache) const JOINED_PIECE_BYTES: usize = Slices::MAX_BYTES;
/// Bodies up to this size are joined whenever that makes fewer slices.
const JOINED_BODY_BYTES: u64 = 8 * 1024 * 1024;

/// A complete body. One of a single piece needs no memory for a list.
#[derive(Clone, Debug)]
pub struct Body(Content);

#[derive(Clone, Debug)]
enum Content {
    Piece(Arc<Piece>),
    List(Arc<PieceList>),
}

/// Several pieces or none, and the length of the body, which may be elsewhere.
#[derive(Debug)]
struct PieceList {
    pieces: SharedList<Piece>,
    len_bytes: u64,
}

impl Body {
    pub(in crate::cache) fn new(pieces: impl Into<SharedList<Piece>>) -> Self {
        let pieces = pieces.into();
        if let [only] = &*pieces {
            return Self(Content::Piece(Arc::clone(only)));
        }
        let len: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
        Self::of_list(pieces, len as u64)
    }

    fn of_list(pieces: SharedList<Piece>, len_bytes: u64) -> Self {
        Self(Content::List(Arc::new(PieceList { pieces, len_bytes })))
    }

    /// A body on disk.
    pub(in crate::cache) fn on_disk(body: LargeBody) -> Self {
        Self(Content::Piece(Piece::of_file(body)))
    }

    /// A body in a buffer, for one response.
    pub(in crate::cache) fn in_buffer(bytes: Bytes, budget: &Arc<Budget>) -> Self {
        match bytes.is_empty() {
            true => Self::new(Vec::new()),
            false => Self(Content::Piece(Piece::of_buffer(bytes, budget))),
        }
    }

    fn list(&self) -> &[Arc<Piece>] {
        match &self.0 {
            Content::Piece(only) => std::slice::from_ref(only),
            Content::List(list) => &list.pieces,
        }
    }

    /// True if it is in a file.
    pub fn is_in_file(&self) -> bool {
        self.in_file().is_some()
    }

    /// The bytes at these offsets. `None` if it is in memory.
    pub fn file_part(&self, offsets: RangeInclusive<u64>) -> Option<FileBody> {
        Some(FileBody::part(self.in_file()?, offsets))
    }

    /// The same body, whose file stays open. `None` if the file cannot be opened.
    pub(in crate::cache) async fn kept_open(&self) -> Option<Self> {
        match self.in_file() {
            None => Some(self.clone()),
            Some(file) => file.clone().kept_open().await.ok().map(Self::on_disk),
        }
    }

    /// The body on disk. `None` if it is in memory.
    pub(in crate::cache) fn in_file(&self) -> Option<&LargeBody> {
        match &self.0 {
            Content::Piece(only) => only.file(),
            Content::List(_) => None,
        }
    }

    /// A body of `len_bytes` bytes that is not in memory. It cannot be served.
    pub(in crate::cache) fn elsewhere(len_bytes: u64) -> Self {
        Self::of_list(SharedList::default(), len_bytes)
    }

    /// Length in bytes.
    pub fn len_bytes(&self) -> u64 {
        match &self.0 {
            Content::Piece(only) => only.len_bytes(),
            Content::List(list) => list.len_bytes,
        }
    }

    /// The memory that the body uses of the budget, in bytes. 0 if it is on disk.
    pub(in crate::cache) fn weight_bytes(&self) -> u64 {
        match self.is_in_file() {
            false => self.len_bytes() + self.list().len() as u64 * PIECE_OVERHEAD_BYTES,
            true => 0,
        }
    }

    /// The bytes of its pieces, in order.
    pub(in crate::cache) fn pieces(&self) -> impl Iterator<Item = Bytes> {
        self.list().iter().map(Piece::bytes)
    }

    /// What its pieces consist of, in order.
    pub(in crate::cache) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.list().iter().map(|piece| &*piece.bytes)
    }

    /// Counts the pieces that nothing stored counts for the stored responses of this change. Returns their memory in bytes.
    pub(in crate::cache) fn count_for(&self, change: u64) -> u64 {
        let is_counted = |piece: &&Arc<Piece>| {
            let counted_by = &piece.counted_by;
            let counted =
                counted_by.compare_exchange(0, change, Ordering::Relaxed, Ordering::Relaxed);
            piece.budget.is_some() && counted.is_ok()
        };
        let counted = self.list().iter().filter(is_counted);
        counted
            .map(|piece| Piece::cost_bytes(piece.bytes.len()))
            .sum()
    }

    /// The pieces that the responses of this change count may be counted for others.
    pub(in crate::cache) fn release(&self, change: u64) {
        for piece in self.list().iter() {
            let counted_by = &piece.counted_by;
            let _ = counted_by.compare_exchange(change, 0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// True if its pieces are so small that their overhead is large, or that fewer pieces could hold it.
    pub(in crate::cache) fn is_scattered(&self) -> bool {
        let (pieces, len_bytes) = (self.list().len() as u64, self.len_bytes());
        let fewest = len_bytes.div_ceil(JOINED_PIECE_BYTES as u64);
        pieces > 2 + len_bytes / SMALL_PIECE_BYTES as u64
            || pieces > fewest && len_bytes <= JOINED_BODY_BYTES
    }

    /// All bytes of a body of one piece; `None` if it has more, or is on disk.
    pub fn single(&self) -> Option<Bytes> {
        match &self.0 {
            Content::Piece(only) if only.file().is_none() => Some(only.bytes()),
            Content::List(list) if list.len_bytes == 0 => Some(Bytes::new()),
            Content::Piece(_) | Content::List(_) => None,
        }
    }

    /// The bytes from `first` to `last`, both inclusive, as a body that shares pieces with this one.
    pub(in crate::cache) fn part(&self, first: u64, last: u64, budget: &Arc<Budget>) -> Self {
        let end = last.saturating_add(1);
        let mut start = 0;
        let mut pieces = Vec::new();
        for piece in self.list().iter() {
            let len = piece.bytes.len() as u64;
            let from = first.clamp(start, start + len) - start;
            let to = end.clamp(start, start + len) - start;
            start += len;
            if to <= from {
                continue;
            }
            if to - from == len {
                pieces.push(Arc::clone(piece));
            } else if let (Ok(from), Ok(to)) = (usize::try_from(from), usize::try_from(to)) {
                pieces.push(Piece::copy_of(&piece.bytes[from..to], budget));
            }
        }
        Self::new(pieces)
    }

    /// These bodies one after the other, as a body that shares their pieces.
    pub(in crate::cache) fn chain<'a>(bodies: impl IntoIterator<Item = &'a Self>) -> Self {
        let pieces = bodies.into_iter().flat_map(|body| body.list().iter());
        Self::new(pieces.cloned().collect::<Vec<_>>())
    }

    /// The bytes from `first` to `last`, both inclusive, as slices of the stored pieces.
    pub fn slices(&self, first: u64, last: u64) -> Slices {
        let mut slices = Slices {
            pieces: match &self.0 {
                Content::Piece(only) => Arc::clone(only).into(),
                Content::List(list) => list.pieces.clone(),
            },
            index: 0,
            skip: first,
            left: last
                .saturating_add(1)
                .min(self.len_bytes())
                .saturating_sub(first),
        };
        slices.advance(0);
        slices
    }

    /// The whole body as slices.
    pub fn all(&self) -> Slices {
        self.slices(0, u64::MAX)
    }
}

/// Slices of a stored body in order, none longer than [`Slices::MAX_BYTES`].
#[derive(Clone, Debug, Default)]
pub struct Slices {
    pieces: SharedList<Piece>,
    index: usize,
    skip: u64,
    left: u64,
}

impl Slices {
    /// The longest slice, in bytes. The server copies a slice into its write buffer, so a stalled client costs as much.
    /// Shorter slices need more system calls.
    pub const MAX_BYTES: usize = 128 * 1024;

    /// How many bytes are still to come.
    pub fn left_bytes(&self) -> u64 {
        self.left
    }

    /// Fills `places` with the bytes that come next, a piece in each, and returns how many it has filled.
    pub fn fill_io_slices<'a>(&'a self, places: &mut [IoSlice<'a>]) -> usize {
        let (mut skip, mut left, mut filled) = (self.skip, self.left, 0);
        let pieces = self.pieces.get(self.index..).unwrap_or_default();
        for (place, piece) in places.iter_mut().zip(pieces) {
            let end = (piece.bytes.len() as u64).min(skip.saturating_add(left));
            let (Ok(from), Ok(to)) = (usize::try_from(skip), usize::try_from(end)) else {
                break;
            };
            if to <= from {
                break;
            }
            *place = IoSlice::new(&piece.bytes[from..to]);
            left -= end - skip;
            skip = 0;
            filled += 1;
        }
        filled
    }

    /// Skips `bytes` that were used.
    pub fn advance(&mut self, bytes: u64) {
        let bytes = bytes.min(self.left);
        self.left -= bytes;
        self.skip += bytes;
        while let Some(piece) = self.pieces.get(self.index) {
            let len = piece.bytes.len() as u64;
            if self.skip < len {
                break;
            }
            self.skip -= len;
            self.index += 1;
        }
    }
}

impl Iterator for Slices {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        if self.left == 0 {
            return None;
        }
        let piece = self.pieces.get(self.index)?;
        let len = piece.bytes.len() as u64;
        let end = len.min(self.skip + self.left.min(Self::MAX_BYTES as u64));
        let range = usize::try_from(self.skip).ok()?..usize::try_from(end).ok()?;
        let slice = piece.bytes().slice(range);
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
        let pieces: Arc<[_]> = sizes
            .iter()
            .map(|size| {
                let bytes: Vec<u8> = (0..=250).cycle().take(*size).collect();
                all.extend_from_slice(&bytes);
                Piece::copy_of(&bytes, &budget)
            })
            .collect();
        (Body::new(pieces), all, budget)
    }

    fn collect(slices: Slices) -> Vec<u8> {
        slices.flat_map(|slice| slice.to_vec()).collect()
    }

    #[test]
    fn a_body_takes_little_memory_in_each_entry() {
        assert_eq!(size_of::<Body>(), 2 * size_of::<usize>());
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
    fn io_slices_hold_the_same_bytes_in_steps_of_any_size() {
        let (body, all, _) = body(&[400, 1, 700]);
        for (first, end) in [(0, 1101), (0, 400), (399, 402), (400, 401), (401, 1100)] {
            for step in [1, 3, 400, 401, 5000] {
                let mut slices = body.slices(first, end - 1);
                let mut taken = Vec::new();
                while slices.left_bytes() > 0 {
                    let mut places = [IoSlice::new(&[]); 2];
                    let filled = slices.fill_io_slices(&mut places);
                    let lent: Vec<u8> = places[..filled]
                        .iter()
                        .flat_map(|place| place.to_vec())
                        .collect();
                    assert!(!lent.is_empty());
                    let used = lent.len().min(step);
                    taken.extend_from_slice(&lent[..used]);
                    slices.advance(used as u64);
                }
                let bound = |at: u64| usize::try_from(at).unwrap();
                assert_eq!(taken, all[bound(first)..bound(end)], "{first} {end} {step}");
                assert_eq!(slices.fill_io_slices(&mut [IoSlice::new(&[]); 2]), 0);
            }
        }
    }

    #[test]
    fn parts_and_chains_of_bodies_share_whole_pieces_and_give_the_same_bytes() {
        let (body, all, budget) = body(&[40, 1, 70]);
        let used = budget.used_bytes();
        let (before, after) = (body.part(0, 40, &budget), body.part(41, 110, &budget));
        assert_eq!(budget.used_bytes(), used, "nothing was copied");
        assert_eq!(collect(Body::chain([&before, &after]).all()), all);
        let inner = body.part(39, 41, &budget);
        assert_eq!(collect(inner.all()), all[39..=41]);
        assert_eq!(inner.len_bytes(), 3);
        assert_eq!(collect(body.part(110, 500, &budget).all()), all[110..]);
        assert_eq!(body.part(111, 500, &budget).len_bytes(), 0);
    }

    #[test]
    fn no_slice_is_longer_than_the_limit() {
        let (body, _, _) = body(&[200_000]);
        assert!(body.all().all(|slice| slice.len() <= Slices::MAX_BYTES));
    }
}
