//! How many bytes of responses may wait to be written to one client, over all its streams.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};

/// Most bytes that wait to be written to one client.
const MAX_WAITING_BYTES: usize = 1024 * 1024;
/// What a piece takes beside its bytes.
const PIECE_OVERHEAD_BYTES: usize = 256;
/// Longest piece, in bytes: the largest frame that every client accepts (RFC 9113, 4.2).
pub(super) const MAX_PIECE_BYTES: usize = 16 * 1024;

/// The credit of a connection. Clones are the same credit.
#[derive(Clone, Default)]
pub(super) struct OutputCredit(Rc<CreditState>);

#[derive(Default)]
struct CreditState {
    /// How many bytes wait to be written.
    used: Cell<usize>,
    /// How many pieces were written, or dropped.
    returned: Cell<u64>,
    /// The tasks that wait until fewer bytes wait, in their order.
    waiting: RefCell<VecDeque<Waker>>,
}

impl OutputCredit {
    /// Takes the first `length` bytes of `bytes` as a piece. Pending as long as too many bytes wait. The piece holds `of`
    /// until it is dropped.
    pub(super) fn poll_piece(
        &self,
        context: &mut Context<'_>,
        bytes: &mut Bytes,
        length: usize,
        of: Option<&Rc<()>>,
    ) -> Poll<OutputPiece> {
        let state = &self.0;
        let cost = length + PIECE_OVERHEAD_BYTES;
        if state.used.get() + cost > MAX_WAITING_BYTES {
            self.wake_later(context);
            return Poll::Pending;
        }
        state.used.set(state.used.get() + cost);
        Poll::Ready(OutputPiece {
            bytes: bytes.split_to(length),
            cost,
            credit: Some(Rc::clone(state)),
            _of: of.cloned(),
        })
    }

    /// How many pieces were written so far; `None` if none waits.
    pub(super) fn progress(&self) -> Option<u64> {
        (self.0.used.get() > 0).then(|| self.0.returned.get())
    }

    /// Wakes the task when a piece was dropped.
    pub(super) fn wake_later(&self, context: &Context<'_>) {
        let mut waiting = self.0.waiting.borrow_mut();
        if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
            waiting.push_back(context.waker().clone());
        }
    }
}

/// A piece of a response. It gives its credit back when it is dropped.
pub(super) struct OutputPiece {
    bytes: Bytes,
    cost: usize,
    /// `None` for an empty piece.
    credit: Option<Rc<CreditState>>,
    /// What knows by this whether pieces wait; `None` if nothing does.
    _of: Option<Rc<()>>,
}

impl OutputPiece {
    /// A piece without bytes, which ends a response.
    pub(super) const fn empty() -> Self {
        Self {
            bytes: Bytes::new(),
            cost: 0,
            credit: None,
            _of: None,
        }
    }
}

impl Buf for OutputPiece {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for OutputPiece {
    fn drop(&mut self) {
        if let Some(credit) = &self.credit {
            let used = credit.used.get() - self.cost;
            credit.used.set(used);
            credit.returned.set(credit.returned.get() + 1);
            let mut waiting = credit.waiting.borrow_mut();
            // One that was woken may not come back, so in the end all are woken.
            let woken = match used < MAX_WAITING_BYTES / 2 {
                true => waiting.len(),
                false => waiting.len().min(1),
            };
            waiting.drain(..woken).for_each(Waker::wake);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_bounded_until_they_are_dropped() {
        let credit = OutputCredit::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut bytes = Bytes::from(vec![0; 2 * MAX_WAITING_BYTES]);
        let mut pieces = Vec::new();
        while let Poll::Ready(piece) =
            credit.poll_piece(&mut context, &mut bytes, MAX_PIECE_BYTES, None)
        {
            pieces.push(piece);
        }
        assert_eq!(
            pieces.len(),
            MAX_WAITING_BYTES / (MAX_PIECE_BYTES + PIECE_OVERHEAD_BYTES)
        );
        let one = |bytes: &mut Bytes| {
            let mut context = Context::from_waker(Waker::noop());
            credit.poll_piece(&mut context, bytes, MAX_PIECE_BYTES, None)
        };
        assert!(one(&mut bytes).is_pending());
        pieces.pop();
        let piece = one(&mut bytes);
        assert!(piece.is_ready() && one(&mut bytes).is_pending());
        assert_eq!(credit.progress(), Some(1));
        drop((piece, pieces));
        assert_eq!((credit.0.used.get(), credit.progress()), (0, None));
    }

    #[test]
    fn many_small_pieces_are_bounded() {
        let credit = OutputCredit::default();
        let mut context = Context::from_waker(Waker::noop());
        let mut bytes = Bytes::from(vec![0; MAX_WAITING_BYTES]);
        let mut pieces = Vec::new();
        while let Poll::Ready(piece) = credit.poll_piece(&mut context, &mut bytes, 1, None) {
            pieces.push(piece);
        }
        assert_eq!(pieces.len(), MAX_WAITING_BYTES / (1 + PIECE_OVERHEAD_BYTES));
    }
}
