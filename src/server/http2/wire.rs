//! The connection beneath the frames: reads what the client sends, and collects what is written to it.
//!
//! `h2` writes each frame of a response as soon as it has it. Here the frames are collected until the task of the connection
//! has nothing more to do, and are written together.

use std::{
    cell::RefCell,
    future::{Future as _, poll_fn},
    io::{self, IoSlice},
    mem,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use actix_rt::time::{Instant, Sleep, sleep};
use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{frame_filter::FrameFilter, frame_watch::FrameWatch};
use crate::server::buffers::SpareBuffers;

/// Most bytes that are collected. They are copied, which costs less than more writes to the system.
const MAX_COLLECTED_BYTES: usize = 64 * 1024;
/// How much is read at a time of what is dropped.
const DISCARDED_AT_ONCE_BYTES: usize = 1024;

/// A connection to a client. Clones are the same connection.
pub(super) struct Wire<T>(Rc<RefCell<WireState<T>>>);

struct WireState<T> {
    stream: T,
    filter: FrameFilter,
    /// What is to be written.
    output: BytesMut,
    buffers: Rc<SpareBuffers>,
    watch: FrameWatch,
    /// How long the client may take nothing of what is written.
    stall_limit: Duration,
    /// Runs while it takes nothing.
    stall: Option<Pin<Box<Sleep>>>,
    /// The stream holds bytes that were written to it.
    is_unflushed: bool,
    /// Frames wait because there was no room for them.
    is_full: bool,
}

impl<T> Clone for Wire<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    /// The connection `stream`, of which `read` was read already.
    pub(super) fn new(
        stream: T,
        read: BytesMut,
        buffers: Rc<SpareBuffers>,
        stall_limit: Duration,
    ) -> Self {
        let mut watch = FrameWatch::new(Instant::now());
        watch.received(&read, Instant::now);
        Self(Rc::new(RefCell::new(WireState {
            stream,
            filter: FrameFilter::new(read),
            output: BytesMut::new(),
            buffers,
            watch,
            stall_limit,
            stall: None,
            is_unflushed: false,
            is_full: false,
        })))
    }

    /// The name of the frames of which the client has sent too many; `None` if it has not.
    pub(super) fn flood(&self) -> Option<&'static str> {
        self.0.borrow().watch.flood()
    }

    /// True if bytes wait to be written.
    pub(super) fn has_collected(&self) -> bool {
        let state = self.0.borrow();
        state.is_unflushed || !state.output.is_empty()
    }

    /// Drops what the client still sends after this side has ended, until it ends its side. A connection that is closed with
    /// bytes that were not read is reset, and the client may lose the end of its last response.
    pub(super) async fn discard_rest(&self) -> io::Result<()> {
        let mut dropped = [0; DISCARDED_AT_ONCE_BYTES];
        poll_fn(|context| {
            let mut state = self.0.borrow_mut();
            loop {
                let mut buffer = ReadBuf::new(&mut dropped);
                ready!(Pin::new(&mut state.stream).poll_read(context, &mut buffer))?;
                if buffer.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
            }
        })
        .await
    }

    /// Writes what was collected, as far as the client takes it. Fails if it takes nothing for too long.
    pub(super) fn poll_write_collected(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        ready!(state.poll_write_collected(context))?;
        // TLS takes bytes, and holds them back while the client reads too slowly.
        let flushed = Pin::new(&mut state.stream).poll_flush(context);
        state.is_unflushed = flushed.is_pending();
        match flushed {
            Poll::Ready(flushed) => {
                state.stall = None;
                Poll::Ready(flushed)
            }
            Poll::Pending => state.poll_stall(context, Poll::Pending).map_ok(drop),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> WireState<T> {
    fn poll_write_collected(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.output.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.output);
            let written = ready!(self.poll_stall(context, written))?;
            self.advance(written);
        }
        if mem::take(&mut self.is_full) {
            context.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }

    /// The result of a write. Fails if the client takes nothing for too long.
    fn poll_stall(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(written) => {
                self.stall = None;
                if let Ok(bytes) = written {
                    self.watch.sent(bytes);
                }
                Poll::Ready(written)
            }
            Poll::Pending => {
                let limit = self.stall_limit;
                let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(limit)));
                ready!(stall.as_mut().poll(context));
                let problem = "the client does not read its responses";
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, problem)))
            }
        }
    }

    fn advance(&mut self, written: usize) {
        match written >= self.output.len() {
            true => self.buffers.give(mem::take(&mut self.output)),
            false => self.output.advance(written),
        }
    }

    fn collect(&mut self, bytes: &[u8]) {
        if self.output.capacity() == 0 {
            self.output = self.buffers.take();
        }
        self.output.extend_from_slice(bytes);
    }

    /// Collects `slices` if there is room, or writes them after what was collected before.
    fn poll_collect(
        &mut self,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        loop {
            let collected = self.output.len();
            if collected + length <= MAX_COLLECTED_BYTES {
                slices.iter().for_each(|slice| self.collect(slice));
                return Poll::Ready(Ok(length));
            }
            let all: Vec<IoSlice<'_>> = [IoSlice::new(&self.output)]
                .into_iter()
                .chain(slices.iter().map(|slice| IoSlice::new(slice)))
                .filter(|slice| !slice.is_empty())
                .collect();
            let written = Pin::new(&mut self.stream).poll_write_vectored(context, &all);
            drop(all);
            self.is_full = written.is_pending();
            let written = ready!(self.poll_stall(context, written))?;
            self.advance(written.min(collected));
            if written > collected {
                return Poll::Ready(Ok(written - collected));
            }
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let state = &mut *self.0.borrow_mut();
        state
            .filter
            .poll_read(&mut state.stream, &mut state.watch, context, buffer)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.0.borrow_mut();
        state.poll_collect(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.borrow_mut().poll_collect(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: the task of the connection writes what was collected.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        ready!(state.poll_write_collected(context))?;
        Pin::new(&mut state.stream).poll_shutdown(context)
    }
}
