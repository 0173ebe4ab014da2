//! Stored bodies that leave as they lie in memory.
//!
//! The server copies what it writes of a body, which for large ones costs more than all else that is done for a hit. So
//! the server is given a body without bytes, and the stream of the connection, which lies beneath it, writes the stored
//! pieces behind the head. Then the length is ours to say, for the server believes that it does not know it.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::{Buf as _, Bytes};

use crate::{
    cache::Slices,
    proxy::{
        connection::{ActiveRequest, Connection},
        response::{access_log::Fate, client_response::TransferLog},
    },
};

/// Bodies below this leave with their head in the server's buffer: to copy them costs less than to hand them over.
pub(crate) const MIN_BYTES: u64 = 32 * 1024;

/// A body that the stream of a connection writes by itself.
pub struct ZeroCopyBody {
    source: ZeroCopySource,
    books: TransferLog,
    /// The answer is under way as long as this body is; None: as long as the server says.
    busy: Option<ActiveRequest>,
}

/// Where its bytes are.
pub(crate) enum ZeroCopySource {
    One(Bytes),
    Slices(Slices),
}

impl ZeroCopySource {
    /// How many bytes are still to come.
    pub(crate) fn left_bytes(&self) -> u64 {
        match self {
            Self::One(bytes) => bytes.len() as u64,
            Self::Slices(slices) => slices.left_bytes(),
        }
    }
}

impl ZeroCopyBody {
    /// Lends the bytes that come next, a piece in each place, and says how many places it has filled.
    pub fn fill_io_slices<'a>(&'a self, places: &mut [IoSlice<'a>]) -> usize {
        match (&self.source, places) {
            (ZeroCopySource::One(bytes), [place, ..]) if !bytes.is_empty() => {
                *place = IoSlice::new(bytes);
                1
            }
            (ZeroCopySource::One(_), _) => 0,
            (ZeroCopySource::Slices(slices), places) => slices.fill_io_slices(places),
        }
    }

    /// Notes that so many of them were written.
    pub fn written(&mut self, bytes: usize) {
        match &mut self.source {
            ZeroCopySource::One(all) => all.advance(bytes.min(all.len())),
            ZeroCopySource::Slices(slices) => slices.advance(bytes as u64),
        }
        self.books.sent(bytes);
        if self.is_over() {
            self.books.ended(Fate::Whole);
        }
    }

    /// True when the server waits for its end.
    pub fn is_awaited(&self) -> bool {
        self.busy.is_none()
    }

    /// True when all of it was written.
    pub fn is_over(&self) -> bool {
        self.source.left_bytes() == 0
    }
}

impl fmt::Debug for ZeroCopyBody {
    /// Without the connection, which knows this in turn.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let left_bytes = self.source.left_bytes();
        formatter
            .debug_struct("ZeroCopyBody")
            .field("left_bytes", &left_bytes)
            .finish_non_exhaustive()
    }
}

/// What the server gets in the place of such a body.
pub(crate) struct ZeroCopyPlaceholder {
    connection: Connection,
    /// Until its turn comes.
    outgoing: Option<Box<ZeroCopyBody>>,
    busy: Option<ActiveRequest>,
}

impl ZeroCopyPlaceholder {
    pub(crate) fn new(
        connection: Connection,
        source: ZeroCopySource,
        books: TransferLog,
        busy: ActiveRequest,
    ) -> Self {
        Self {
            connection,
            outgoing: Some(Box::new(ZeroCopyBody {
                source,
                books,
                busy: None,
            })),
            busy: Some(busy),
        }
    }
}

impl MessageBody for ZeroCopyPlaceholder {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    /// The first call says that the head stands in the server's buffer. Behind a short body the server waits as it would
    /// if it had copied it; a long one it has to know to be under way, or it would think the connection idle.
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = self.get_mut();
        if let Some(mut outgoing) = this.outgoing.take() {
            let is_short = outgoing.source.left_bytes() <= Slices::MAX_BYTES as u64;
            if is_short {
                outgoing.busy = this.busy.take();
            }
            this.connection.hand_over(outgoing);
            return match is_short {
                true => Poll::Ready(None),
                false => Poll::Pending,
            };
        }
        match this.connection.is_sending() {
            // The stream wakes its task, which is this one, when all has left.
            true => Poll::Pending,
            false => Poll::Ready(None),
        }
    }
}
