//! The file of a large body.
//!
//! ```text
//! header, 64 bytes: magic (8), version (4), 0 (4), number (8), length of the body (8), 0 (24), checksum (8)
//! blocks of 64 KiB, the last one shorter, and behind each its checksum (8)
//! ```
//!
//! The seed of the checksum of a block follows from the number of the file and the offset of the block. The header is
//! written last, and then the file gets its name.

use std::{io, sync::Arc};

use bytes::Bytes;

use crate::disk::{
    checksum::checksum,
    files::{Files, OpenMode, ReadFrom, StoreFile},
    layout::{u32_at, u64_at},
    read_buffer::ReadBuffer,
    segment::LargeName,
};

/// The bytes of a body in a block.
pub(super) const BLOCK_BYTES: u64 = 64 * 1024;
const BLOCK_CHECKSUM_BYTES: u64 = 8;
const HEADER_BYTES: u64 = 64;
const MAGIC: u64 = 0x3145_4752_4c59_4343;
const VERSION: u32 = 1;
/// How much is written at once.
const WRITE_BYTES: usize = 256 * 1024;

/// A file of a body as it is written.
pub(super) struct LargeFileWriter {
    files: Arc<dyn Files>,
    file: Arc<dyn StoreFile>,
    number: u64,
    body_len: u64,
    /// The end of what is written.
    offset: u64,
    /// Whole blocks with their checksums, not written yet.
    blocks: Vec<u8>,
    /// The begin of a block.
    block: Vec<u8>,
}

/// A file of a body, open for reading.
#[derive(Clone)]
pub(super) struct OpenLargeFile {
    file: Arc<dyn StoreFile>,
    pub(super) name: LargeName,
}

/// Why a block cannot be read.
#[derive(Debug)]
pub(super) enum BlockError {
    /// It is not as it was written.
    Corrupt,
    /// The disk refuses it.
    Io(io::Error),
}

/// The name of the directory of a file.
pub(super) fn large_dir(number: u64) -> String {
    format!("large/{:02x}", number & 0xff)
}

/// The name of a file.
pub(super) fn large_file_name(number: u64) -> String {
    format!("{}/{number:016x}", large_dir(number))
}

/// The name of a file as long as it is written.
fn unfinished_name(number: u64) -> String {
    format!("{}.t", large_file_name(number))
}

/// The number in the name of a file, finished or not. `None` if it is no such name.
pub(super) fn parse_large_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".t").unwrap_or(name);
    let number = u64::from_str_radix(digits, 16).ok()?;
    (format!("{number:016x}") == digits).then_some(number)
}

/// The length of the file of a body, in bytes.
pub(super) fn large_file_bytes(body_len: u64) -> u64 {
    let checksums = body_len.div_ceil(BLOCK_BYTES) * BLOCK_CHECKSUM_BYTES;
    body_len.saturating_add(checksums + HEADER_BYTES)
}

impl LargeFileWriter {
    /// Makes the file.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(super) fn create(files: &Arc<dyn Files>, number: u64) -> io::Result<Self> {
        let name = unfinished_name(number);
        let open = || files.open(&name, OpenMode::CreateNew);
        let file = open().or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                files.create_dir("large")?;
                files.create_dir(&large_dir(number))?;
                open()
            }
            _ => Err(error),
        })?;
        Ok(Self {
            files: files.clone(),
            file,
            number,
            body_len: 0,
            offset: HEADER_BYTES,
            blocks: Vec::new(),
            block: Vec::new(),
        })
    }

    /// The bytes of the file so far.
    pub(super) fn file_bytes(&self) -> u64 {
        self.offset
    }

    /// The file for reading, with the whole blocks that are written: the body so far.
    pub(super) fn so_far(&self) -> OpenLargeFile {
        let blocks = (self.offset - HEADER_BYTES) / (BLOCK_BYTES + BLOCK_CHECKSUM_BYTES);
        OpenLargeFile {
            file: self.file.clone(),
            name: LargeName {
                number: self.number,
                body_len: blocks * BLOCK_BYTES,
            },
        }
    }

    /// Adds bytes.
    ///
    /// # Errors
    ///
    /// They cannot be written.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let block_bytes = usize::try_from(BLOCK_BYTES).unwrap_or(usize::MAX);
        while !bytes.is_empty() {
            let room = block_bytes - self.block.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.block.extend_from_slice(now);
            self.body_len += now.len() as u64;
            bytes = later;
            if self.block.len() == block_bytes {
                self.end_block();
            }
            if self.blocks.len() >= WRITE_BYTES {
                self.write_blocks()?;
            }
        }
        Ok(())
    }

    /// Writes the rest, and gives the file its name. The file is removed if that fails.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn finish(mut self) -> io::Result<LargeName> {
        match self.write_end() {
            Ok(()) => Ok(LargeName {
                number: self.number,
                body_len: self.body_len,
            }),
            Err(error) => {
                self.remove();
                Err(error)
            }
        }
    }

    /// Removes the file.
    pub(super) fn remove(self) {
        if let Err(error) = self.files.remove(&unfinished_name(self.number)) {
            log::debug!("cannot remove an unfinished file of the store: {error}");
        }
    }

    fn write_end(&mut self) -> io::Result<()> {
        if !self.block.is_empty() {
            self.end_block();
        }
        self.write_blocks()?;
        let mut header = Vec::new();
        header.extend_from_slice(&MAGIC.to_le_bytes());
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&[0; 4]);
        header.extend_from_slice(&self.number.to_le_bytes());
        header.extend_from_slice(&self.body_len.to_le_bytes());
        header.extend_from_slice(&[0; 24]);
        header.extend_from_slice(&checksum(&header, 0).to_le_bytes());
        self.file.write_all_at(&header, 0)?;
        let name = large_file_name(self.number);
        self.files.rename(&unfinished_name(self.number), &name)
    }

    fn end_block(&mut self) {
        let offset = self.body_len - self.block.len() as u64;
        let checksum = block_checksum(&self.block, self.number, offset);
        self.blocks.append(&mut self.block);
        self.blocks.extend_from_slice(&checksum.to_le_bytes());
    }

    fn write_blocks(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.blocks, self.offset)?;
        self.offset += self.blocks.len() as u64;
        self.blocks.clear();
        Ok(())
    }
}

impl OpenLargeFile {
    /// Opens the file of a body. `None` if it is damaged.
    ///
    /// # Errors
    ///
    /// It is not there, or cannot be read.
    pub(super) fn open(files: &dyn Files, name: LargeName) -> io::Result<Option<Self>> {
        let file = files.open(&large_file_name(name.number), OpenMode::ReadOnly)?;
        let mut header = [0; 64];
        match file.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            result => result?,
        }
        let is_right = u64_at(&header, 0) == Some(MAGIC)
            && u32_at(&header, 8) == Some(VERSION)
            && u64_at(&header, 16) == Some(name.number)
            && u64_at(&header, 24) == Some(name.body_len)
            && u64_at(&header, 56) == Some(checksum(&header[..56], 0));
        Ok(is_right.then_some(Self { file, name }))
    }

    /// The same file, when all of a body of this name is written; `None` if it is the file of another body.
    pub(super) fn grown_to(&self, name: LargeName) -> Option<Self> {
        let is_same = self.name.number == name.number;
        is_same.then(|| Self {
            file: self.file.clone(),
            name,
        })
    }

    /// The bytes from an offset to the end of their block. Empty at the end of the body.
    ///
    /// # Errors
    ///
    /// [`BlockError`].
    pub(super) fn read(&self, offset: u64) -> Result<Bytes, BlockError> {
        self.read_from(ReadFrom::Disk, offset)
    }

    /// The same without waiting for the disk. `None` if a thread of the disk has to read.
    pub(super) fn read_in_memory(&self, offset: u64) -> Option<Bytes> {
        self.read_from(ReadFrom::Memory, offset).ok()
    }

    fn read_from(&self, from: ReadFrom, offset: u64) -> Result<Bytes, BlockError> {
        if offset >= self.name.body_len {
            return Ok(Bytes::new());
        }
        let begin = offset - offset % BLOCK_BYTES;
        let len = (self.name.body_len - begin).min(BLOCK_BYTES);
        let corrupt = |_| BlockError::Corrupt;
        let len = usize::try_from(len).map_err(corrupt)?;
        let mut block = ReadBuffer::new(len + 8);
        let at = begin / BLOCK_BYTES * (BLOCK_BYTES + BLOCK_CHECKSUM_BYTES) + HEADER_BYTES;
        self.file
            .read_exact_from(from, block.bytes_mut(), at)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof => BlockError::Corrupt,
                _ => BlockError::Io(error),
            })?;
        let expected = u64_at(block.as_ref(), len).ok_or(BlockError::Corrupt)?;
        block.truncate(len);
        if block_checksum(block.as_ref(), self.name.number, begin) != expected {
            return Err(BlockError::Corrupt);
        }
        let skipped = usize::try_from(offset - begin).map_err(corrupt)?;
        Ok(block.into_bytes().slice(skipped..))
    }
}

fn block_checksum(block: &[u8], number: u64, offset: u64) -> u64 {
    checksum(block, number.rotate_left(32) ^ offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::files::faulty::{Failure, Fault, FaultyFiles, Operation};

    fn body(len: usize) -> Vec<u8> {
        (0..len)
            .map(|at| u8::try_from(at * 7 % 251).unwrap())
            .collect()
    }

    fn written(files: &Arc<FaultyFiles>, number: u64, body: &[u8], piece: usize) -> LargeName {
        let files: Arc<dyn Files> = files.clone();
        let mut writer = LargeFileWriter::create(&files, number).unwrap();
        for piece in body.chunks(piece) {
            writer.write(piece).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(files: &FaultyFiles, name: LargeName) -> Result<Vec<u8>, BlockError> {
        let file = OpenLargeFile::open(files, name).map_err(BlockError::Io)?;
        let file = file.ok_or(BlockError::Corrupt)?;
        let mut body = Vec::new();
        loop {
            let bytes = file.read(body.len() as u64)?;
            match bytes.is_empty() {
                true => return Ok(body),
                false => body.extend_from_slice(&bytes),
            }
        }
    }

    #[test]
    fn a_body_is_read_as_it_was_written_from_any_offset() {
        let files = FaultyFiles::new();
        for (number, len) in [(1, 0), (2, 1), (3, 65_536), (4, 65_537), (5, 1_000_000)] {
            let body = body(len);
            let name = written(&files, number, &body, 10_000);
            assert_eq!(name.body_len, len as u64);
            assert_eq!(read(&files, name).unwrap(), body);
            let stored = files.bytes(&large_file_name(number)).unwrap();
            assert_eq!(stored.len() as u64, large_file_bytes(len as u64));
        }
        let name = LargeName {
            number: 5,
            body_len: 1_000_000,
        };
        let file = OpenLargeFile::open(files.as_ref(), name).unwrap().unwrap();
        let bytes = file.read(70_000).unwrap();
        assert_eq!(bytes, body(1_000_000)[70_000..131_072]);
        assert!(file.read(1_000_000).unwrap().is_empty());
        assert!(file.read(u64::MAX).unwrap().is_empty());
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let files = FaultyFiles::new();
        let name = written(&files, 9, &body(70_000), 70_000);
        let file_name = large_file_name(9);
        let len = files.bytes(&file_name).unwrap().len();
        for byte in (0..64).chain((64..len).step_by(997)).chain(len - 8..len) {
            files.flip_bit(&file_name, byte, 2);
            assert!(read(&files, name).is_err(), "byte {byte}");
            files.flip_bit(&file_name, byte, 2);
        }
        assert!(read(&files, name).is_ok());
    }

    #[test]
    fn blocks_of_another_file_or_place_are_refused() {
        let files = FaultyFiles::new();
        let body = vec![0; 3 * 65_536];
        let name = written(&files, 1, &body, 65_536);
        written(&files, 2, &body, 65_536);
        let stored = files.bytes(&large_file_name(2)).unwrap();
        files.overwrite(&large_file_name(1), 64, &stored[64..64 + 65_544]);
        assert!(matches!(read(&files, name), Err(BlockError::Corrupt)));
        let own = files.bytes(&large_file_name(1)).unwrap();
        files.overwrite(&large_file_name(1), 64, &own[64 + 65_544..64 + 2 * 65_544]);
        assert!(matches!(read(&files, name), Err(BlockError::Corrupt)));
    }

    #[test]
    fn a_shorter_file_is_refused() {
        let files = FaultyFiles::new();
        let name = written(&files, 1, &body(100_000), 65_536);
        let file = files.open(&large_file_name(1), OpenMode::Existing).unwrap();
        file.set_len(90_000).unwrap();
        assert!(matches!(read(&files, name), Err(BlockError::Corrupt)));
        file.set_len(3).unwrap();
        assert!(matches!(read(&files, name), Err(BlockError::Corrupt)));
    }

    #[test]
    fn a_file_that_cannot_be_written_whole_is_removed() {
        for nth in 0..3 {
            let files = FaultyFiles::new();
            let shared: Arc<dyn Files> = files.clone();
            let mut writer = LargeFileWriter::create(&shared, 1).unwrap();
            files.fail(Fault {
                operation: if nth == 2 {
                    Operation::Rename
                } else {
                    Operation::Write
                },
                nth: nth % 2,
                times: 1,
                failure: Failure::NoSpace,
            });
            writer.write(&body(1000)).unwrap();
            writer.finish().unwrap_err();
            assert_eq!(files.names(), Vec::<String>::new());
        }
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        let name = large_file_name(0x1234);
        assert_eq!(name, "large/34/0000000000001234");
        assert_eq!(parse_large_name("0000000000001234"), Some(0x1234));
        assert_eq!(parse_large_name("0000000000001234.t"), Some(0x1234));
        assert_eq!(parse_large_name("1234"), None);
        assert_eq!(parse_large_name("x"), None);
    }
}
