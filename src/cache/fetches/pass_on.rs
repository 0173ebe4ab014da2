//! What becomes of a body that does not fit in memory: it goes to the present readers, and to disk if it fits there.

use std::{pin::Pin, time::Duration};

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::timeout;

use crate::{
    cache::{
        fetches::{
            reader::FetchEnd,
            window::Window,
            writer::{BodyWriter, Chunk},
        },
        store::body::{Body, Piece},
    },
    disk::LargeWriter,
    policy::Reason,
};

/// How long a write may take. Beyond that the body is not stored: its readers wait for it.
const PATIENCE: Duration = Duration::from_secs(2);

impl BodyWriter {
    /// Continues for the present readers alone, with a window of the body, which cannot be stored in memory for this reason.
    /// Nobody can join.
    pub(super) async fn pass_on<S, E>(&mut self, mut body: Pin<&mut S>, reason: Reason) -> FetchEnd
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        self.state.progress().abandon();
        let mut file = self.begin_file(reason).await;
        let first = std::mem::replace(&mut self.first, Piece::sentinel());
        let pieces = std::mem::take(&mut self.pieces);
        let mut window = Window::new(std::iter::once(first).chain(pieces));
        match file {
            Some(_) => self.ticket.release(),
            None => self.ticket.give_up(reason),
        }
        loop {
            if self.readers() > 0 && !window.has_room(self.state.progress(), self.ticket.budget()) {
                window.wait(self.state.progress()).await;
                continue;
            }
            if self.readers() == 0 && file.is_none() {
                return FetchEnd::Cut;
            }
            match self.next(body.as_mut()).await {
                Chunk::Bytes(chunk) => {
                    self.add(&chunk);
                    window.extend(self.pieces.drain(..));
                    if let Some(open) = file.take() {
                        file = self.written(open, chunk).await;
                        if file.is_none() {
                            self.ticket.give_up(reason);
                        }
                    }
                }
                Chunk::End if self.is_short() => return FetchEnd::Cut,
                Chunk::End => break,
                Chunk::Cut => return FetchEnd::Cut,
            }
        }
        self.state.keep(window.into_pieces());
        let Some(file) = file else {
            return FetchEnd::NotStored(reason);
        };
        match file.finish().await {
            Ok(body) => self.put(Body::on_disk(body)).await,
            Err(error) => {
                log::debug!("a body is not stored on disk: {error}");
                FetchEnd::NotStored(Reason::NoRoom)
            }
        }
    }

    /// A file with what has arrived of the body. `None` if it cannot be stored on disk either.
    async fn begin_file(&self, reason: Reason) -> Option<LargeWriter> {
        let is_whole = self.before.is_none() && self.after.is_none() && self.errors.is_none();
        if !matches!(reason, Reason::TooLarge | Reason::NoRoom) || !is_whole {
            return None;
        }
        let disk = self.ticket.file_store()?;
        let least = self.length.unwrap_or(self.received_bytes);
        if least > disk.max_object_bytes() {
            return None;
        }
        let mut file = disk.large_writer()?;
        for piece in self.pieces.iter().map(Piece::bytes) {
            file.write(piece).await.ok()?;
        }
        Some(file)
    }

    /// The file with `chunk` as well. `None` if it becomes too large, or cannot be written.
    async fn written(&self, mut file: LargeWriter, chunk: Bytes) -> Option<LargeWriter> {
        if self.received_bytes > self.ticket.disk()?.max_object_bytes() {
            return None;
        }
        timeout(PATIENCE, file.write(chunk)).await.ok()?.ok()?;
        Some(file)
    }
}
