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
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_rt::time::{Instant, Sleep, sleep};
use bytes::Bytes;
use tokio::io::{AsyncRead as _, ReadBuf};

use super::{ClientIo, MAX_AHEAD_BYTES};

/// How often a client is checked whose reset a read does not show. The first check comes after this time.
const CHECK_INTERVAL: Duration = Duration::from_millis(250);
/// What makes the system of a client that has closed its connection respond with a reset.
const PROBE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

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

impl ClientIo {
    /// Fails when the client has left while its response is awaited or sent. Reads ahead of that response, up to a limit.
    pub(super) fn poll_departure(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let is_responding = self.connection.is_responding();
        let is_ready = self.stream.poll_read_ready(context).is_ready();
        if is_ready
            && is_responding
            && let Poll::Ready(Err(error)) = self.read_ahead(context)
        {
            return Poll::Ready(Err(error));
        }
        // New bytes from the client wake this task. Bytes that are already here wait for the handler to wake it.
        if is_ready || !self.ahead.is_empty() {
            self.connection.wake_on_progress(context.waker());
        }
        let is_full = self.ahead.len() >= MAX_AHEAD_BYTES;
        if !is_responding || !(self.departure.input_ended || is_full) {
            return Poll::Pending;
        }
        if self.connection.is_open_ended() {
            // Nothing else would end a response without a time limit.
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        self.poll_check(context)
    }

    /// Reads what the client sends before its response is complete. Ready when no more is to be read.
    fn read_ahead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.departure.input_ended && self.ahead.len() < MAX_AHEAD_BYTES {
            let mut bytes = [0; 1024];
            let mut buffer = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
            match buffer.filled() {
                [] => self.departure.input_ended = true,
                read => self.ahead.extend_from_slice(read),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Asks the system again and again whether the connection was reset.
    fn poll_check(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let check = &mut self.departure.check;
        let check = check.get_or_insert_with(|| Box::pin(sleep(CHECK_INTERVAL)));
        while check.as_mut().poll(context).is_ready() {
            if let Some(error) = self.stream.take_error()? {
                return Poll::Ready(Err(error));
            }
            check.as_mut().reset(Instant::now() + CHECK_INTERVAL);
            let may_probe = self.departure.input_ended
                && !self.departure.probed
                && self.interim.is_empty()
                && self.connection.takes_interim();
            if may_probe {
                self.departure.probed = true;
                self.interim = Bytes::from_static(PROBE);
            }
        }
        Poll::Pending
    }
}
