//! Responses that wait to be written, and their bytes.

use std::{io, sync::Arc, time::Instant};

use bytes::Bytes;

use crate::disk::{
    address::{Address, KeyHash},
    large_file::{LargeFileWriter, large_file_bytes},
    layout::{
        HEADER_BYTES, MAX_INLINE_BYTES, RecordHeader, content_checksum, head_block_len,
        push_head_block, record_len,
    },
    place::{MAX_RECORD_BYTES, Place},
    record::{Record, RecordBody},
    segment::LargeName,
    shared::DiskNumbers,
    waiting_keys::WaitingKey,
    writer::DiskWriter,
};

/// Responses that wait are written when they are so long.
const BATCH_BYTES: u64 = 1024 * 1024;

/// The responses that wait, in the order in which they were put.
#[derive(Default)]
pub(super) struct Batch {
    items: Vec<BatchItem>,
    bytes: u64,
    /// When they are written at the latest.
    due: Option<Instant>,
}

struct BatchItem {
    record: Arc<dyn Record>,
    address: Address,
    waiting: WaitingKey,
    /// Its memory, as it was counted.
    bytes: u64,
}

/// Records in bytes, one behind the other. Their headers are filled in when it is known in which segment they are.
#[derive(Default)]
pub(super) struct EncodedRecords {
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<EncodedRecord>,
}

/// A record in [`EncodedRecords`].
#[derive(Clone, Copy, Debug)]
pub(super) struct EncodedRecord {
    pub(super) header: RecordHeader,
    /// Where it is copied from. `None` for a new one.
    pub(super) copied_from: Option<Place>,
}

/// Why a response is not stored.
#[derive(Debug)]
enum NotEncoded {
    /// Its head or its body is too long, or its body has gone.
    Refused,
    /// There is no room.
    NoRoom(String),
    /// The file of its body could not be written.
    Io(io::Error),
}

impl BatchItem {
    fn key(&self) -> KeyHash {
        self.waiting.key()
    }
}

impl EncodedRecord {
    /// The file of its body.
    pub(super) fn large(&self) -> Option<LargeName> {
        self.header.large.map(|number| LargeName {
            number,
            body_len: self.header.body_len,
        })
    }
}

impl EncodedRecords {
    /// Makes room for a header.
    fn begin(&mut self) -> usize {
        let begin = self.bytes.len();
        self.bytes.resize(begin + HEADER_BYTES, 0);
        begin
    }

    /// Adds zeros up to the end of the record.
    fn end(&mut self, begin: usize, record: EncodedRecord) {
        let len = usize::try_from(record.header.record_len()).unwrap_or(0);
        self.bytes.resize(begin + len, 0);
        self.records.push(record);
    }

    /// Adds a copy of a record.
    pub(super) fn push_copy(&mut self, record: &[u8], header: RecordHeader, from: Place) {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(record);
        let record = EncodedRecord {
            header,
            copied_from: Some(from),
        };
        self.end(begin, record);
    }
}

impl Batch {
    /// When it is written at the latest. `None` if it is empty.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    fn is_due(&self, now: Instant) -> bool {
        self.bytes >= BATCH_BYTES || self.due.is_some_and(|due| due <= now)
    }

    /// Takes the responses out that are chosen. Returns how many, and their memory.
    pub(super) fn remove(&mut self, chosen: impl Fn(KeyHash) -> bool) -> (u64, u64) {
        let mut removed = (0, 0);
        self.items.retain(|item| {
            let is_chosen = chosen(item.key());
            if is_chosen {
                removed = (removed.0 + 1, removed.1 + item.bytes);
            }
            !is_chosen
        });
        self.bytes = self.bytes.saturating_sub(removed.1);
        if self.items.is_empty() {
            self.due = None;
        }
        removed
    }
}

impl DiskWriter {
    /// Lets a response wait, and writes those that wait if it is time.
    pub(super) fn put(&mut self, record: Arc<dyn Record>, bytes: u64, waiting: WaitingKey) {
        let address = record.address();
        let now = Instant::now();
        let due = now + self.shared.timing.flush;
        self.batch.due.get_or_insert(due);
        self.batch.bytes = self.batch.bytes.saturating_add(bytes);
        self.batch.items.push(BatchItem {
            record,
            address,
            waiting,
            bytes,
        });
        if self.batch.is_due(now) {
            self.flush();
        }
    }

    /// Writes the responses that wait.
    pub(super) fn flush(&mut self) {
        let batch = std::mem::take(&mut self.batch);
        if batch.items.is_empty() {
            return;
        }
        if !self.may_store() {
            for item in &batch.items {
                self.drop_item(item);
            }
            return;
        }
        let mut encoded = EncodedRecords::default();
        for item in &batch.items {
            match self.encode(item, &mut encoded) {
                Ok(()) => self.let_go(item.bytes),
                Err(reason) => {
                    // Older ones of its key are in their place then, and go.
                    self.write(&mut encoded);
                    match reason {
                        NotEncoded::Refused => {}
                        NotEncoded::NoRoom(reason) => self.pause(reason),
                        NotEncoded::Io(error) => self.pause(error.to_string()),
                    }
                    self.drop_item(item);
                }
            }
            if encoded.bytes.len() as u64 >= BATCH_BYTES {
                self.write(&mut encoded);
            }
        }
        self.write(&mut encoded);
    }

    /// Writes encoded records, and takes them out. Where it cannot, nothing of their keys stays stored.
    fn write(&mut self, encoded: &mut EncodedRecords) {
        let mut encoded = std::mem::take(encoded);
        if encoded.records.is_empty() {
            return;
        }
        let written = match self.make_room(encoded.bytes.len() as u64) {
            Ok(()) => self.append(&mut encoded),
            Err(reason) => (0, Err(io::Error::other(reason))),
        };
        let (written, result) = written;
        match result {
            Ok(()) => self.resume(),
            Err(error) => self.pause(error.to_string()),
        }
        for record in &encoded.records[written..] {
            DiskNumbers::add(&self.shared.numbers.dropped, 1);
            self.supersede(record.header.key);
            if let Some(number) = record.header.large {
                self.release_file(number);
            }
        }
    }

    /// The memory of a response that does not wait any longer.
    pub(super) fn let_go(&self, bytes: u64) {
        DiskNumbers::subtract(&self.shared.numbers.waiting_bytes, bytes);
    }

    /// A response is not written. What it would have replaced is not the newest any more.
    fn drop_item(&mut self, item: &BatchItem) {
        self.let_go(item.bytes);
        DiskNumbers::add(&self.shared.numbers.dropped, 1);
        self.supersede(item.key());
    }

    fn encode(&mut self, item: &BatchItem, encoded: &mut EncodedRecords) -> Result<(), NotEncoded> {
        let head = item.record.head();
        let head_len = head_block_len(&item.address, &head);
        if record_len(head_len) > MAX_RECORD_BYTES {
            return Err(NotEncoded::Refused);
        }
        let mut pieces = Vec::new();
        let large = match self.present_body(item, encoded) {
            Some(large) => Some(large),
            None => match item.record.body() {
                RecordBody::Large(body) => Some(self.known_file(body.name())?),
                RecordBody::Memory(body) => {
                    pieces = body;
                    self.write_if_large(head_len, &pieces)?
                }
            },
        };
        let body_len = pieces.iter().map(|piece| piece.len() as u64).sum();
        let begin = encoded.begin();
        push_head_block(&mut encoded.bytes, &item.address, &head);
        let head_end = encoded.bytes.len();
        if large.is_none() {
            for piece in &pieces {
                encoded.bytes.extend_from_slice(piece);
            }
        }
        let head_block = &encoded.bytes[begin + HEADER_BYTES..head_end];
        let body = &encoded.bytes[head_end..];
        let header = RecordHeader {
            key: item.key(),
            // Given when it is written.
            seq: 0,
            head_len: u32::try_from(head_len).map_err(|_| NotEncoded::Refused)?,
            body_len: large.map_or(body_len, |large| large.body_len),
            large: large.map(|large| large.number),
            id: item.record.id(),
            head_checksum: content_checksum(head_block),
            body_checksum: if large.is_none() {
                content_checksum(body)
            } else {
                0
            },
        };
        let record = EncodedRecord {
            header,
            copied_from: None,
        };
        encoded.end(begin, record);
        Ok(())
    }

    /// The file of the body of the record that is there already, if the new one has the same body.
    fn present_body(&self, item: &BatchItem, encoded: &EncodedRecords) -> Option<LargeName> {
        let id = item.record.body_from()?;
        let same = |record: &&EncodedRecord| record.header.key == item.key();
        if let Some(waiting) = encoded.records.iter().rev().find(same) {
            return waiting.large().filter(|_| waiting.header.id == id);
        }
        let place = self.shared.index.get(item.key())?;
        let large = self.shared.contents().file_at(place)?;
        let segment = self.shared.segments.get(place.segment())?;
        let mut header = [0; HEADER_BYTES];
        segment
            .file
            .read_exact_at(&mut header, place.offset())
            .ok()?;
        let header = RecordHeader::parse(&header, segment.seed)?;
        (header.id == id && header.large == Some(large.number)).then_some(large)
    }

    /// The file of a body, if it is there.
    fn known_file(&self, name: LargeName) -> Result<LargeName, NotEncoded> {
        let is_there = self.shared.contents().has_file(name.number);
        is_there.then_some(name).ok_or(NotEncoded::Refused)
    }

    /// Writes a body into a file of its own if it is too long for its record.
    fn write_if_large(
        &mut self,
        head_len: u64,
        pieces: &[Bytes],
    ) -> Result<Option<LargeName>, NotEncoded> {
        let body_len: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if body_len > self.shared.limits.max_object_bytes {
            return Err(NotEncoded::Refused);
        }
        let fits = record_len(head_len.saturating_add(body_len)) <= MAX_RECORD_BYTES;
        if body_len <= MAX_INLINE_BYTES && fits {
            return Ok(None);
        }
        let bytes = large_file_bytes(body_len);
        self.make_room(bytes).map_err(NotEncoded::NoRoom)?;
        let name = self.write_large(pieces).map_err(NotEncoded::Io)?;
        let numbers = &self.shared.numbers;
        DiskNumbers::add(&numbers.bytes, bytes);
        DiskNumbers::add(&numbers.written_bytes, bytes);
        self.shared.contents().add_file(name);
        Ok(Some(name))
    }

    fn write_large(&self, pieces: &[Bytes]) -> io::Result<LargeName> {
        self.shared.keep_directory()?;
        let number = self.shared.take_file_number();
        let mut writer = LargeFileWriter::create(&self.shared.files, number)?;
        for piece in pieces {
            if let Err(error) = writer.write(piece) {
                writer.remove();
                return Err(error);
            }
        }
        writer.finish()
    }
}
