//! Bodies in files of their own.

use bytes::Bytes;

use crate::disk::results::DiskUnavailable;

/// A body in a file of its own. Two are equal if they name the same file.
#[derive(Clone, Debug)]
pub struct LargeBody {
    number: u64,
    len: u64,
}

impl PartialEq for LargeBody {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for LargeBody {}

impl LargeBody {
    /// Its length in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// Opens it for reading.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if it is not there any more, or the disk does not answer.
    #[allow(clippy::unused_async, reason = "the readers are not there yet")]
    pub async fn open(self) -> Result<LargeReader, DiskUnavailable> {
        Err(DiskUnavailable::Bypassed)
    }
}

/// An open [`LargeBody`]. What was opened can be read to its end, also if the file is removed meanwhile.
#[derive(Clone, Debug)]
pub struct LargeReader {
    len: u64,
}

impl LargeReader {
    /// The length of the body in bytes.
    pub fn len_bytes(&self) -> u64 {
        self.len
    }

    /// The checked bytes from an offset to the end of their block of 64 KiB. Empty at the end of the body.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if the bytes are not as they were written, or the disk does not answer.
    pub fn read(
        &self,
        _offset: u64,
    ) -> impl Future<Output = Result<Bytes, DiskUnavailable>> + Send + 'static {
        std::future::ready(Err(DiskUnavailable::Bypassed))
    }
}

/// A body that is written while it arrives. Dropped before it is finished, it removes the file.
#[derive(Debug)]
pub struct LargeWriter {
    written: u64,
}

impl LargeWriter {
    /// The bytes written so far.
    pub fn written_bytes(&self) -> u64 {
        self.written
    }

    /// Writes the next bytes. Only one write is under way at a time.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if they could not be written. The file is removed, and later writes fail too.
    #[allow(clippy::unused_async, reason = "the writer is not there yet")]
    pub async fn write(&mut self, _bytes: Bytes) -> Result<(), DiskUnavailable> {
        Err(DiskUnavailable::Bypassed)
    }

    /// Ends the body.
    ///
    /// # Errors
    ///
    /// [`DiskUnavailable`] if the rest could not be written.
    #[allow(clippy::unused_async, reason = "the writer is not there yet")]
    pub async fn finish(self) -> Result<LargeBody, DiskUnavailable> {
        Err(DiskUnavailable::Bypassed)
    }
}
