//! A window of a body that is not stored, for readers of different speed.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::time::timeout;

use crate::cache::{
    fetches::progress::ReadProgress,
    store::{budget::Budget, piece::Piece, shared_list::SharedList},
};

/// How far the fetch may be ahead of its fastest reader, in bytes of memory.
const AHEAD_BYTES: u64 = 64 * 1024;
/// How much is held for slower readers, in bytes of memory. One who is further behind goes on with a fetch of its own.
const BEHIND_BYTES: u64 = 1024 * 1024;
/// How long the fetch waits for a notification of a reader before it checks the readers itself.
const CHECK_AFTER: Duration = Duration::from_millis(500);

/// The last pieces of a body, and those that slower readers have not reached yet.
#[derive(Debug)]
pub(in crate::cache) struct Window {
    pieces: VecDeque<Arc<Piece>>,
    /// The cost of all pieces before the window.
    start: u64,
    /// The cost of those and the ones in it: the position of the last one.
    end: u64,
}

impl Window {
    pub(in crate::cache) fn new(pieces: impl Iterator<Item = Arc<Piece>>) -> Self {
        let mut window = Self {
            pieces: VecDeque::new(),
            start: 0,
            end: 0,
        };
        window.extend(pieces);
        window
    }

    pub(in crate::cache) fn extend(&mut self, pieces: impl Iterator<Item = Arc<Piece>>) {
        for piece in pieces {
            self.end += piece.cost();
            self.pieces.push_back(piece);
        }
    }

    pub(in crate::cache) fn into_pieces(self) -> SharedList<Piece> {
        Vec::from(self.pieces).into()
    }

    /// Waits for a reader to move on, for a limited time.
    pub(in crate::cache) async fn wait(&self, pace: &ReadProgress) {
        let _ = timeout(CHECK_AFTER, pace.moved()).await;
    }

    /// Drops what all readers have read, and what only slow readers have not. Returns whether more may be fetched, which
    /// the fastest reader alone decides.
    pub(in crate::cache) fn has_room(&mut self, pace: &ReadProgress, budget: &Arc<Budget>) -> bool {
        let furthest = pace.furthest();
        self.drop_while(|piece, position| position <= furthest && !is_read(piece));
        self.drop_before(furthest, budget);
        self.end.saturating_sub(furthest) <= AHEAD_BYTES
    }

    /// Drops what has arrived long ago, even if nobody has read it yet: it is in a file as well.
    pub(in crate::cache) fn shorten(&mut self, budget: &Arc<Budget>) {
        self.drop_before(self.end, budget);
    }

    /// Drops what is further before `position` than is held for slow readers.
    fn drop_before(&mut self, position: u64, budget: &Arc<Budget>) {
        let held = match budget.has_room(0) {
            true => BEHIND_BYTES,
            false => AHEAD_BYTES,
        };
        self.drop_while(|_, end| position.saturating_sub(end) > held);
    }

    /// Drops the first pieces as long as one `is_over`, which is shown with its position: the cost of it and all before it.
    fn drop_while(&mut self, is_over: impl Fn(&Arc<Piece>, u64) -> bool) {
        while let Some(first) = self.pieces.front() {
            let position = self.start + first.cost();
            if !is_over(first, position) {
                return;
            }
            self.start = position;
            self.pieces.pop_front();
        }
    }
}

/// True if a reader is at this piece: it needs the ones after it.
fn is_read(piece: &Arc<Piece>) -> bool {
    Arc::strong_count(piece) > 1
}
