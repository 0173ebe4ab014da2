//! Whether a client is still there while its response is awaited.
//!
//! A reset is an error of the next read. A client that ends its input has either closed the connection, or still reads:
//! TCP does not tell the two apart until something is written to it. So the client gets a 100 (Continue), which a client
//! that has not asked for it discards (RFC 9110, 15.2.1). The system of a client that has closed the connection responds
//! with a reset. HTTP/1.0 has no interim responses: such a client is noticed when its response is written.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use actix_rt::time::{Instant, Sleep, sleep};

use super::{Http1, head::HEAD_ROOM};

/// How often a client is checked whose reset a read does not show. The first check comes after this time.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// What makes the system of a client that has closed its connection respond with a reset.
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// Most bytes read ahead while a response is in progress.
const MAX_AHEAD_BYTES: usize = 16 * 1024;

/// What is known of a client while its response is awaited or sent.
#[derive(Default)]
pub(super) struct Departure {
    /// The client sends no more.
    input_ended: bool,
    /// The probe was written.
    probed: bool,
    /// Runs while reads do not show a reset: the input has ended, or is not read because too much has been read ahead.
    check: Option<Pin<Box<Sleep>>>,
}

impl Departure {
    /// The next response is awaited.
    pub(super) fn begin(&mut self) {
        self.probed = false;
        self.check = None;
    }
}

impl<S> Http1<S> {
    /// Ready when the client has left while its response is awaited or sent. Reads ahead of that response, up to a limit.
    pub(super) fn poll_departure(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        while !self.departure.input_ended && self.input.len() < MAX_AHEAD_BYTES {
            match self.poll_read(context, HEAD_ROOM) {
                Poll::Ready(Ok(0)) => self.departure.input_ended = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(error),
                Poll::Pending => return Poll::Pending,
            }
        }
        if self.connection.is_open_ended() {
            // Nothing else would end a response without a time limit.
            return Poll::Ready(io::ErrorKind::ConnectionAborted.into());
        }
        self.poll_reset(context)
    }

    /// Asks the system again and again whether the connection was reset. Ready when it was.
    pub(super) fn poll_reset(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let check = &mut self.departure.check;
            let check = check.get_or_insert_with(|| Box::pin(sleep(CHECK_INTERVAL)));
            if check.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
            check.as_mut().reset(Instant::now() + CHECK_INTERVAL);
            if let Ok(Some(error)) | Err(error) = self.stream.tcp().take_error() {
                return Poll::Ready(error);
            }
            let may_probe = self.departure.input_ended
                && !self.departure.probed
                && self.output.is_empty()
                && self.connection.takes_interim();
            if may_probe {
                self.departure.probed = true;
                self.output.extend(PROBE);
                if let Poll::Ready(Err(error)) = self.poll_write(context) {
                    return Poll::Ready(error);
                }
            }
        }
    }
}
