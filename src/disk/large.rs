//! Handles of bodies in files of their own.

use std::{fmt, sync::Arc};

use bytes::Bytes;
use futures_util::future::{BoxFuture, Either, TryFutureExt as _, ready};

use crate::disk::{
    large_file::OpenLargeFile, reservation::Reservation, segment::LargeName,
    unavailable::DiskUnavailable,
};

/// What the handles ask for. The threads of the disk do it.
pub(super) trait LargeFiles: Send + Sync {
    fn open(&self, name: LargeName) -> LargeFuture<OpenLargeFile>;
    fn read(&self, file: Arc<OpenLargeFile>, offset: u64) -> LargeFuture<Bytes>;
    /// Writes the next bytes. The result is the body so far.
    fn write(&self, write: LargeWrite) -> LargeFuture<OpenLargeFile>;
    fn finish(&self, number: u64) -> LargeFuture<LargeBody>;
    /// Removes a file whose writing was given up.
    fn abandon(&self, number: u64);
    /// Removes a finished file if no record names it.
    fn release(&self, number: u64);
}

/// The next bytes of a body that arrives.
pub(super) struct LargeWrite {
    pub(super) number: u64,
    pub(super) bytes: Bytes,
    /// The bytes that its file may take so far.
    pub(super) reserved: u64,
}

pub(super) type LargeFuture<T> = BoxFuture<'static, Result<T, DiskUnavailable>>;

/// A body in a file of its own. Two are equal if they name the same file.
#[derive(Clone)]
pub struct LargeBody {
    name: LargeName,
    files: Arc<dyn LargeFiles>,
    /// `None` if a record named the file when this was made.
    _unnamed: Option<Arc<UnnamedFile>>,
    /// The open file; `None` if each reader opens it.
    opened: Option<Arc<OpenLargeFile>>,
}

/// Removes a file that no record names when the last handle is dropped.
struct UnnamedFile {
    number: u64,
    files: Arc<dyn LargeFiles>,
}

impl Drop for UnnamedFile {
    fn drop(&mut self) {
        self.files.release(self.number);
    }
}

impl LargeBody {
    /// A body that a record names.
    pub(super) fn named(name: LargeName, files: Arc<dyn LargeFiles>) -> Self {
        Self {
            name,
            files,
            _unnamed: None,
            opened: None,
        }
    }

    /// A body that no record names yet.
    pub(super) fn unnamed(name: LargeName, files: Arc<dyn LargeFiles>) -> Self {
        let unnamed = UnnamedFile {
            number: name.number,
            files: files.clone(),
        };
        Self {
            name,
            files,
            _unnamed: Some(Arc::new(unnamed)),
            opened: None,
        }
    }

    pub(super) fn name(&self) -> LargeName {
        self.name
    }

    /// Its length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.name.body_len
    }

    /// Opens it for reading.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if it is not there any more, or the disk does not answer.
    pub fn open(
        &self,
    ) -> impl Future<Output = Result<LargeReader, DiskUnavailable>> + Send + 'static {
        let files = self.files.clone();
        let opened = match &self.opened {
            Some(file) => Either::Left(ready(Ok(file.clone()))),
            None => Either::Right(self.files.open(self.name).map_ok(Arc::new)),
        };
        async move {
            let file = opened.await?;
            Ok(LargeReader { file, files })
        }
    }

    /// The same body, whose file stays open: it can be read to its end, also if the file is removed meanwhile.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if it is not there any more, or the disk does not answer.
    pub async fn kept_open(self) -> Result<Self, DiskUnavailable> {
        let reader = self.open().await?;
        Ok(Self {
            opened: Some(reader.file),
            ..self
        })
    }
}

impl PartialEq for LargeBody {
    fn eq(&self, other: &Self) -> bool {
        self.name.number == other.name.number
    }
}

impl Eq for LargeBody {}

impl fmt::Debug for LargeBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let LargeName { number, body_len } = self.name;
        write!(formatter, "LargeBody({number:x}, {body_len} bytes)")
    }
}

/// An open [`LargeBody`]. What was opened can be read to its end, also if the file is removed meanwhile.
#[derive(Clone)]
pub struct LargeReader {
    file: Arc<OpenLargeFile>,
    files: Arc<dyn LargeFiles>,
}

impl LargeReader {
    /// The length of the body in bytes; of one that arrives, how much of it can be read.
    pub fn len_bytes(&self) -> u64 {
        self.file.name.body_len
    }

    /// The same file with all of `body`, which has arrived; `None` if it is the file of another body.
    pub fn grown_to(&self, body: &LargeBody) -> Option<Self> {
        Some(Self {
            file: Arc::new(self.file.grown_to(body.name)?),
            files: self.files.clone(),
        })
    }

    /// The checked bytes from an offset to the end of their block of 64 KiB. Empty at the end of the body.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if the bytes are not as they were written, or the disk does not answer.
    pub fn read(
        &self,
        offset: u64,
    ) -> impl Future<Output = Result<Bytes, DiskUnavailable>> + Send + 'static {
        match self.file.read_in_memory(offset) {
            Some(bytes) => Either::Left(ready(Ok(bytes))),
            None => Either::Right(self.files.read(self.file.clone(), offset)),
        }
    }
}

impl fmt::Debug for LargeReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "LargeReader({:x})", self.file.name.number)
    }
}

/// A body that is written while it arrives. Dropped before it is finished, it removes the file.
pub struct LargeWriter {
    number: u64,
    written: u64,
    max_bytes: u64,
    /// `None` before the first write.
    so_far: Option<LargeReader>,
    reservation: Reservation,
    files: Arc<dyn LargeFiles>,
    is_finished: bool,
}

impl LargeWriter {
    pub(super) fn new(
        number: u64,
        max_bytes: u64,
        reservation: Reservation,
        files: Arc<dyn LargeFiles>,
    ) -> Self {
        Self {
            number,
            written: 0,
            max_bytes,
            so_far: None,
            reservation,
            files,
            is_finished: false,
        }
    }

    /// The bytes written so far.
    pub fn written_bytes(&self) -> u64 {
        self.written
    }

    /// Reads the body so far, without the last bytes, which are not in the file yet. `None` before the first write.
    pub fn so_far(&self) -> Option<&LargeReader> {
        self.so_far.as_ref()
    }

    /// Writes the next bytes. The caller waits for it before it writes more.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if they could not be written, or the body is longer than a stored one may be, or too much arrives.
    /// Later writes fail too.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), DiskUnavailable> {
        self.written = self.written.saturating_add(bytes.len() as u64);
        if self.written > self.max_bytes || !self.reservation.grow_to(self.written) {
            // Nothing is written after what is missing.
            self.max_bytes = 0;
            return Err(DiskUnavailable::NotWritten);
        }
        let write = LargeWrite {
            number: self.number,
            bytes,
            reserved: self.reservation.bytes(),
        };
        let file = self.files.write(write).await?;
        self.so_far = Some(LargeReader {
            file: Arc::new(file),
            files: self.files.clone(),
        });
        Ok(())
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if not all could be written. The file is removed.
    pub async fn finish(mut self) -> Result<LargeBody, DiskUnavailable> {
        if self.written > self.max_bytes {
            return Err(DiskUnavailable::NotWritten);
        }
        self.is_finished = true;
        self.files.finish(self.number).await
    }
}

impl Drop for LargeWriter {
    fn drop(&mut self) {
        if !self.is_finished {
            self.files.abandon(self.number);
        }
    }
}

impl fmt::Debug for LargeWriter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            number, written, ..
        } = self;
        write!(formatter, "LargeWriter({number:x}, {written} bytes)")
    }
}
