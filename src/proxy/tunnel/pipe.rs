//! Bytes in one direction of a tunnel.

use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Most bytes that are read at once, and held for a side that does not take them.
pub(super) const BUFFER_BYTES: usize = 16 * 1024;

/// One direction of a tunnel. It reads only when everything that it has read is written, so a side that takes no bytes
/// stops the other one.
#[derive(Debug)]
pub(super) struct Pipe {
    /// Read and not yet written.
    held: BytesMut,
    stage: PipeStage,
    /// Bytes are written that a flush has to send: TLS may hold them back.
    is_unflushed: bool,
    passed_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PipeStage {
    /// The input may send more.
    Open,
    /// The input has ended, and the output does not know it yet.
    Ending,
    /// Nothing is read or written any more.
    Closed,
}

/// What went wrong in a [`Pipe`]. In both cases the pipe ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PipeFault {
    /// The input failed. What it had sent before is still written.
    Input,
    /// The output failed.
    Output,
}

impl Pipe {
    /// `held` was read before, and goes first.
    pub(super) fn new(held: BytesMut) -> Self {
        Self {
            held,
            stage: PipeStage::Open,
            is_unflushed: false,
            passed_bytes: 0,
        }
    }

    /// Adds bytes after those that are held.
    pub(super) fn hold(&mut self, bytes: BytesMut) {
        self.held.unsplit(bytes);
    }

    /// How many bytes were written.
    pub(super) fn passed_bytes(&self) -> u64 {
        self.passed_bytes
    }

    /// True if the input may still send.
    pub(super) fn is_open(&self) -> bool {
        self.stage == PipeStage::Open
    }

    /// Reads no more. What was read is written, and then the output ends.
    pub(super) fn end_input(&mut self) {
        if self.stage == PipeStage::Open {
            self.stage = PipeStage::Ending;
        }
    }

    /// Drops what is held, and neither reads nor writes any more.
    pub(super) fn close(&mut self) {
        self.stage = PipeStage::Closed;
        self.held = BytesMut::new();
    }

    /// Passes on as many bytes as possible. Ready when the output has everything, and its end.
    ///
    /// # Errors
    /// A side failed, which is reported once. The caller polls again to write what is held.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
        input: &mut (impl AsyncRead + Unpin),
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), PipeFault>> {
        loop {
            if let Err(error) = ready!(self.poll_write_held(context, output)) {
                log::debug!("a side of a tunnel takes no more bytes: {error}");
                self.close();
                return Poll::Ready(Err(PipeFault::Output));
            }
            match self.stage {
                PipeStage::Open => {
                    let Poll::Ready(read) = self.poll_read(context, &mut *input, &mut *output)
                    else {
                        return self.poll_flush(context, output);
                    };
                    if let Err(fault) = read {
                        return Poll::Ready(Err(fault));
                    }
                }
                PipeStage::Ending => {
                    // Where it cannot be told, it is gone.
                    let _ = ready!(Pin::new(&mut *output).poll_shutdown(context));
                    self.close();
                }
                PipeStage::Closed => return Poll::Ready(Ok(())),
            }
        }
    }

    fn poll_write_held(
        &mut self,
        context: &mut Context<'_>,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let written = ready!(Pin::new(&mut *output).poll_write(context, &self.held))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.held.advance(written);
            self.passed(written);
        }
        // A tunnel that is quiet holds no memory.
        self.held = BytesMut::new();
        Poll::Ready(Ok(()))
    }

    /// Reads once, and writes what it has read as far as that is possible at once.
    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        input: &mut (impl AsyncRead + Unpin),
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), PipeFault>> {
        let mut bytes = [const { MaybeUninit::uninit() }; BUFFER_BYTES];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        match ready!(Pin::new(input).poll_read(context, &mut buffer)) {
            Ok(()) => {}
            // TLS: the connection has ended without close_notify. The protocol in the tunnel has an end of its own.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => {
                log::debug!("a side of a tunnel failed: {error}");
                self.end_input();
                return Poll::Ready(Err(PipeFault::Input));
            }
        }
        let read = buffer.filled();
        if read.is_empty() {
            self.end_input();
            return Poll::Ready(Ok(()));
        }
        let written = match Pin::new(output).poll_write(context, read) {
            Poll::Ready(Ok(written)) => written,
            Poll::Pending => 0,
            Poll::Ready(Err(error)) => {
                log::debug!("a side of a tunnel takes no more bytes: {error}");
                self.close();
                return Poll::Ready(Err(PipeFault::Output));
            }
        };
        self.passed(written);
        self.held.extend_from_slice(&read[written..]);
        Poll::Ready(Ok(()))
    }

    fn passed(&mut self, bytes: usize) {
        self.passed_bytes += bytes as u64;
        self.is_unflushed |= bytes > 0;
    }

    /// Sends what is written. Always pending or failed: the pipe waits for its input.
    fn poll_flush(
        &mut self,
        context: &mut Context<'_>,
        output: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<Result<(), PipeFault>> {
        if self.is_unflushed {
            match ready!(Pin::new(output).poll_flush(context)) {
                Ok(()) => self.is_unflushed = false,
                Err(error) => {
                    log::debug!("a side of a tunnel takes no more bytes: {error}");
                    self.close();
                    return Poll::Ready(Err(PipeFault::Output));
                }
            }
        }
        Poll::Pending
    }
}
