//! What becomes of a body that does not fit in memory: it goes to its readers, and to disk if it fits there.
//!
//! Without a file a window of it is in memory, its fastest reader sets the pace, and nobody can join. With a file it arrives
//! as fast as the origin sends it. Its readers read in the window, or in the file, each at its own pace, and others join. Only
//! a body of unknown length, which may have no end, waits for its readers.

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
        store::{body::Body, piece::Piece},
    },
    disk::{LargeReader, LargeWriter},
    policy::Reason,
};

/// How long a write may take. Beyond that the body is not stored: its readers wait for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// How far a body of unknown length may be ahead of the fastest of those who read in its file, in bytes. The last 320 KiB are
/// not in the file yet.
const AHEAD_OF_FILE_BYTES: u64 = 1024 * 1024;

impl BodyWriter {
    /// Goes on with a body that cannot be stored in memory for this reason.
    pub(super) async fn pass_on<S, E>(&mut self, mut body: Pin<&mut S>, reason: Reason) -> FetchEnd
    where
        S: Stream<Item = Result<Bytes, E>>,
    {
        self.state.progress().abandon();
        let (mut file, mut reason) = match self.begin_file(reason).await {
            Ok(file) => (Some(file), reason),
            Err(reason) => (None, reason),
        };
        let mut window = self.window(file.is_some());
        if file.is_none() {
            self.ticket.give_up(reason);
        }
        loop {
            if self.readers() > 0 && !self.has_room(&mut window, file.is_some()) {
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
                        match self.written(open, chunk).await {
                            Ok(written) => file = Some(written),
                            Err(why) => {
                                reason = why;
                                self.state.in_file(None);
                                self.ticket.give_up(reason);
                            }
                        }
                    }
                }
                Chunk::End if self.is_short() => return FetchEnd::Cut,
                Chunk::End => break,
                Chunk::Cut => return FetchEnd::Cut,
            }
        }
        self.state.keep(window.into_pieces());
        match file {
            Some(file) => self.store_file(file).await,
            None => FetchEnd::NotStored(reason),
        }
    }

    /// The window of the body. Without a file it has the beginning of the body only as long as readers need it; with one
    /// readers may begin at any time.
    fn window(&mut self, has_file: bool) -> Window {
        let first = match has_file {
            true => None,
            false => Some(std::mem::replace(&mut self.first, Piece::sentinel())),
        };
        let pieces = std::mem::take(&mut self.pieces);
        Window::new(first.into_iter().chain(pieces))
    }

    /// Drops what the window need not hold. Returns whether more may be fetched.
    fn has_room(&self, window: &mut Window, has_file: bool) -> bool {
        let (progress, budget) = (self.state.progress(), self.ticket.budget());
        let has_room = window.has_room(progress, budget);
        if !has_file {
            return has_room;
        }
        window.shorten(budget);
        let ahead = self
            .received_bytes
            .saturating_sub(progress.furthest_in_file());
        has_room || self.length.is_some() || ahead <= AHEAD_OF_FILE_BYTES
    }

    /// A file with what has arrived of the body, which its readers see.
    ///
    /// # Errors
    /// Why it cannot be stored on disk either. `reason` is why it cannot be stored in memory.
    async fn begin_file(&self, reason: Reason) -> Result<LargeWriter, Reason> {
        let is_whole = self.before.is_none() && self.after.is_none() && self.errors.is_none();
        if !matches!(reason, Reason::TooLarge | Reason::NoRoom) || !is_whole {
            return Err(reason);
        }
        let disk = self.ticket.file_store().ok_or(reason)?;
        let least = self.length.unwrap_or(self.received_bytes);
        if least > disk.max_object_bytes() {
            return Err(Reason::TooLarge);
        }
        let mut file = disk.large_writer(self.length).ok_or(Reason::NoRoom)?;
        // The file is there before anything of the body is dropped from memory.
        write(&mut file, Bytes::new()).await?;
        for piece in &self.pieces {
            write(&mut file, piece.bytes()).await?;
        }
        self.state.in_file(file.so_far().cloned());
        Ok(file)
    }

    /// The file with `chunk` as well.
    ///
    /// # Errors
    /// It becomes too large, or cannot be written.
    async fn written(&self, mut file: LargeWriter, chunk: Bytes) -> Result<LargeWriter, Reason> {
        if self.received_bytes > self.ticket.max_stored_bytes() {
            return Err(Reason::TooLarge);
        }
        let before = file.so_far().map(LargeReader::len_bytes);
        write(&mut file, chunk).await?;
        // The last byte is withheld until the body is stored.
        if self.length != Some(self.received_bytes)
            && file.so_far().map(LargeReader::len_bytes) != before
        {
            self.state.in_file(file.so_far().cloned());
        }
        Ok(file)
    }

    /// Stores the whole body, which is in `file`.
    async fn store_file(&mut self, file: LargeWriter) -> FetchEnd {
        let so_far = file.so_far().cloned();
        match file.finish().await {
            Ok(body) => {
                let whole = so_far.and_then(|so_far| so_far.grown_to(&body));
                let end = self.put(Body::on_disk(body)).await;
                self.state.in_file(whole);
                end
            }
            Err(error) => {
                log::debug!("a body is not stored on disk: {error}");
                self.state.in_file(None);
                FetchEnd::NotStored(Reason::NoRoom)
            }
        }
    }
}

/// Writes the next bytes in time.
///
/// # Errors
/// That fails.
async fn write(file: &mut LargeWriter, bytes: Bytes) -> Result<(), Reason> {
    let written = timeout(PATIENCE, file.write(bytes)).await;
    written.ok().and_then(Result::ok).ok_or(Reason::NoRoom)
}
