//! Large stored bodies: they are written from where they lie in memory.
//!
//! actix-http copies a body into its write buffer. For a large body that costs more than everything else in a hit. So
//! actix-http gets a placeholder without bytes, and the stream of the connection beneath it writes the stored pieces
//! after the headers. The proxy then writes Content-Length itself: to actix-http the length is unknown.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use crate::{
    cache::Slices,
    proxy::{
        connection::{ActiveRequest, Connection, ZeroCopyBody, ZeroCopySource},
        response::transfer_log::TransferLog,
    },
};

/// Smaller bodies are copied into the write buffer, in bytes: that costs less for them.
pub(crate) const MIN_BYTES: u64 = 32 * 1024;

/// What actix-http gets in place of a large stored body.
pub(crate) struct ZeroCopyPlaceholder {
    connection: Connection,
    /// The body; `None` once the connection has it.
    body: Option<Box<ZeroCopyBody>>,
    active: Option<ActiveRequest>,
}

impl ZeroCopyPlaceholder {
    pub(crate) fn new(
        connection: Connection,
        source: ZeroCopySource,
        log: TransferLog,
        active: ActiveRequest,
    ) -> Self {
        Self {
            connection,
            body: Some(Box::new(ZeroCopyBody::new(source, log))),
            active: Some(active),
        }
    }
}

impl MessageBody for ZeroCopyPlaceholder {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Stream
    }

    /// The first call means that the headers are in actix-http's write buffer. A short body ends here for actix-http, as
    /// if it had copied it. A long one must remain under way, or actix-http would take the connection for idle.
    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let this = self.get_mut();
        if let Some(mut body) = this.body.take() {
            let is_short = body.left_bytes() <= Slices::MAX_BYTES as u64;
            if is_short && let Some(active) = this.active.take() {
                body.keep_active(active);
            }
            this.connection.start_zero_copy(body);
            return match is_short {
                true => Poll::Ready(None),
                false => Poll::Pending,
            };
        }
        match this.connection.is_sending_zero_copy() {
            // The stream wakes its task, which is this one, when everything is sent.
            true => Poll::Pending,
            false => Poll::Ready(None),
        }
    }
}
