//! A segment: a file of records, one behind the other, with a list of them at its end.
//!
//! ```text
//! header, 64 bytes: magic (8), version (4), id (4), first sequence number (8), mark of the log: id (8), count (8), 0 (16),
//!                   checksum (8)
//! records
//! footer:           for each record: hashes of the key (16), sequence number (8), offset (4), length (4, top bit: large)
//!                   for each of them that is large: number of its file (8), length of its body (8)
//! trailer, 56 bytes: magic (8), records (8), large ones (8), checksum of the footer (8), first and last sequence number
//!                   (16), checksum (8)
//! ```
//!
//! A segment without a whole footer, as a kill leaves it, is read record by record.

use std::{io, sync::Arc};

use crate::disk::{
    address::KeyHash,
    checksum::checksum,
    files::StoreFile,
    layout::{HEADER_BYTES, RecordHeader, u32_at, u64_at},
    place::ALIGNMENT,
};

/// The length of the header of a segment, in bytes.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 64;
/// The sequence number of the first record of all. An end up to 0 ends nothing.
pub(super) const FIRST_SEQ: u64 = 2;
const TRAILER_BYTES: usize = 56;
const ROW_BYTES: usize = 32;
const LARGE_ROW_BYTES: usize = 16;
const LARGE: u32 = 1 << 31;
const MAGIC: u64 = 0x3147_4553_5950_4343;
const FOOTER_MAGIC: u64 = 0x3154_4f46_5950_4343;
const VERSION: u32 = 1;
/// How much is read at once where records are read one by one.
const WINDOW_BYTES: usize = 1024 * 1024;

/// What the header of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) id: u32,
    pub(super) first_seq: u64,
    /// The log of what has ended, as it was when the segment was begun.
    pub(super) log_id: u64,
    pub(super) log_count: u64,
}

/// A record of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentRow {
    pub(super) key: KeyHash,
    pub(super) seq: u64,
    pub(super) offset: u64,
    /// The length of the record, in bytes.
    pub(super) len: u64,
    /// `None` if the body is in the record.
    pub(super) large: Option<LargeName>,
}

/// The file of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LargeName {
    pub(super) number: u64,
    /// The length of the body, in bytes.
    pub(super) body_len: u64,
}

/// What the trailer of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    pub(super) rows: u64,
    large_rows: u64,
    checksum: u64,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
}

/// The name of the file of a segment.
pub(super) fn segment_name(id: u32) -> String {
    format!("{id:08x}.seg")
}

/// The id in the name of a file. `None` if it is not the name of a segment.
pub(super) fn parse_segment_name(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".seg")?;
    let id = u32::from_str_radix(digits, 16).ok()?;
    (segment_name(id) == name).then_some(id)
}

impl SegmentHeader {
    pub(super) fn bytes(&self, seed: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&MAGIC.to_le_bytes());
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.id.to_le_bytes());
        push_words(
            &mut bytes,
            &[self.first_seq, self.log_id, self.log_count, 0, 0],
        );
        let checksum = checksum(&bytes, seed);
        push_words(&mut bytes, &[checksum]);
        bytes
    }

    /// `None` if it is not the header of this segment.
    pub(super) fn read(file: &dyn StoreFile, id: u32, seed: u64) -> Option<Self> {
        let mut bytes = [0; 64];
        file.read_exact_at(&mut bytes, 0).ok()?;
        let is_known = u64_at(&bytes, 0)? == MAGIC
            && u32_at(&bytes, 8)? == VERSION
            && u32_at(&bytes, 12)? == id
            && checksum(&bytes[..56], seed) == u64_at(&bytes, 56)?;
        let header = Self {
            id,
            first_seq: u64_at(&bytes, 16)?,
            log_id: u64_at(&bytes, 24)?,
            log_count: u64_at(&bytes, 32)?,
        };
        is_known.then_some(header)
    }
}

impl SegmentRow {
    /// The row for a record at an offset.
    pub(super) fn new(header: &RecordHeader, offset: u64) -> Self {
        Self {
            key: header.key,
            seq: header.seq,
            offset,
            len: header.record_len(),
            large: header.large.map(|number| LargeName {
                number,
                body_len: header.body_len,
            }),
        }
    }

    /// What the record takes on the disk, with its body.
    pub(super) fn stored_bytes(&self) -> u64 {
        let body = self.large.map_or(0, |large| large.body_len);
        self.len.saturating_add(body)
    }
}

/// The footer and the trailer for these records.
pub(super) fn footer_bytes(rows: &[SegmentRow], seed: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(rows.len() * ROW_BYTES + TRAILER_BYTES);
    for row in rows {
        let large = if row.large.is_some() { LARGE } else { 0 };
        let offset = u32::try_from(row.offset).unwrap_or(u32::MAX);
        let len = u32::try_from(row.len).unwrap_or(0);
        let [resource, rest] = row.key.words();
        push_words(&mut bytes, &[resource, rest, row.seq]);
        bytes.extend_from_slice(&offset.to_le_bytes());
        bytes.extend_from_slice(&(len | large).to_le_bytes());
    }
    let large = rows.iter().filter_map(|row| row.large);
    for large in large.clone() {
        push_words(&mut bytes, &[large.number, large.body_len]);
    }
    let sum = checksum(&bytes, seed);
    let begin = bytes.len();
    let first_seq = rows.first().map_or(0, |row| row.seq);
    let last_seq = rows.iter().map(|row| row.seq).max().unwrap_or(0);
    let counts = [rows.len() as u64, large.count() as u64];
    push_words(
        &mut bytes,
        &[FOOTER_MAGIC, counts[0], counts[1], sum, first_seq, last_seq],
    );
    let sum = checksum(&bytes[begin..], seed);
    push_words(&mut bytes, &[sum]);
    bytes
}

/// `None` if the segment has no whole trailer.
pub(super) fn read_trailer(file: &dyn StoreFile, seed: u64) -> Option<Trailer> {
    let begin = file.len().ok()?.checked_sub(TRAILER_BYTES as u64)?;
    let mut bytes = [0; TRAILER_BYTES];
    file.read_exact_at(&mut bytes, begin).ok()?;
    let is_whole =
        u64_at(&bytes, 0)? == FOOTER_MAGIC && checksum(&bytes[..48], seed) == u64_at(&bytes, 48)?;
    let trailer = Trailer {
        rows: u64_at(&bytes, 8)?,
        large_rows: u64_at(&bytes, 16)?,
        checksum: u64_at(&bytes, 24)?,
        first_seq: u64_at(&bytes, 32)?,
        last_seq: u64_at(&bytes, 40)?,
    };
    is_whole.then_some(trailer)
}

/// The records of a segment by its footer. `None` if it has no whole one.
pub(super) fn read_footer(file: &dyn StoreFile, seed: u64) -> Option<Vec<SegmentRow>> {
    let trailer = read_trailer(file, seed)?;
    let rows = usize::try_from(trailer.rows).ok()?.checked_mul(ROW_BYTES)?;
    let large = usize::try_from(trailer.large_rows).ok()?;
    let len = rows.checked_add(large.checked_mul(LARGE_ROW_BYTES)?)?;
    let end = file.len().ok()?.checked_sub(TRAILER_BYTES as u64)?;
    let begin = end.checked_sub(len as u64)?;
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, begin).ok()?;
    if checksum(&bytes, seed) != trailer.checksum {
        return None;
    }
    let (rows, large) = bytes.split_at(rows);
    let mut large = large.chunks_exact(LARGE_ROW_BYTES);
    rows.chunks_exact(ROW_BYTES)
        .map(|bytes| parse_row(bytes, &mut large))
        .collect()
}

fn parse_row<'a>(bytes: &[u8], large: &mut impl Iterator<Item = &'a [u8]>) -> Option<SegmentRow> {
    let len = u32_at(bytes, 28)?;
    let name = match len & LARGE != 0 {
        true => {
            let name = large.next()?;
            Some(LargeName {
                number: u64_at(name, 0)?,
                body_len: u64_at(name, 8)?,
            })
        }
        false => None,
    };
    Some(SegmentRow {
        key: KeyHash::from_words([u64_at(bytes, 0)?, u64_at(bytes, 8)?]),
        seq: u64_at(bytes, 16)?,
        offset: u64::from(u32_at(bytes, 24)?),
        len: u64::from(len & !LARGE),
        large: name,
    })
}

/// The records of a segment by their headers, and where the last one ends. Damaged headers are passed over.
///
/// # Errors
///
/// The file cannot be read.
pub(super) fn scan_records(
    file: &Arc<dyn StoreFile>,
    seed: u64,
) -> io::Result<(Vec<SegmentRow>, u64)> {
    let len = file.len()?;
    let mut window = FileWindow {
        file: file.as_ref(),
        bytes: Vec::new(),
        begin: 0,
    };
    let (mut rows, mut end) = (Vec::new(), SEGMENT_HEADER_BYTES);
    let mut offset = SEGMENT_HEADER_BYTES;
    while offset.saturating_add(HEADER_BYTES as u64) <= len {
        let header = RecordHeader::parse(window.at(offset, len)?, seed);
        match header.filter(|header| header.record_len() <= len - offset) {
            Some(header) => {
                rows.push(SegmentRow::new(&header, offset));
                offset += header.record_len();
                end = offset;
            }
            None => offset += ALIGNMENT,
        }
    }
    Ok((rows, end))
}

/// A part of a file in memory, which moves forward.
struct FileWindow<'a> {
    file: &'a dyn StoreFile,
    bytes: Vec<u8>,
    begin: u64,
}

impl FileWindow<'_> {
    /// The bytes of a header at an offset.
    fn at(&mut self, offset: u64, len: u64) -> io::Result<&[u8]> {
        let has = self.begin + self.bytes.len() as u64;
        if offset < self.begin || offset + HEADER_BYTES as u64 > has {
            let wanted = usize::try_from(len - offset).unwrap_or(usize::MAX);
            self.bytes.resize(wanted.min(WINDOW_BYTES), 0);
            self.file.read_exact_at(&mut self.bytes, offset)?;
            self.begin = offset;
        }
        let at = usize::try_from(offset - self.begin).unwrap_or(usize::MAX);
        Ok(self.bytes.get(at..).unwrap_or_default())
    }
}

fn push_words(bytes: &mut Vec<u8>, words: &[u64]) {
    for word in words {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{
        address::AddressHash,
        files::{Files as _, OpenMode, faulty::FaultyFiles},
        layout::record_len,
    };

    const SEED: u64 = 99;

    fn header(seq: u64, large: Option<u64>) -> RecordHeader {
        let address = AddressHash {
            resource: seq * 7,
            partition: 1,
        };
        RecordHeader {
            key: KeyHash {
                address,
                variant: 2,
            },
            seq,
            head_len: 40,
            body_len: 1000 + seq,
            large,
            id: seq,
            head_checksum: 0,
            body_checksum: 0,
        }
    }

    /// A segment with three records, its rows, and where the last one ends.
    fn segment() -> (Arc<FaultyFiles>, Arc<dyn StoreFile>, Vec<SegmentRow>, u64) {
        let files = FaultyFiles::new();
        let file = files.open("s", OpenMode::CreateNew).unwrap();
        let begin = SegmentHeader {
            id: 5,
            first_seq: 1,
            log_id: 3,
            log_count: 4,
        };
        file.write_all_at(&begin.bytes(SEED), 0).unwrap();
        let (mut rows, mut end) = (Vec::new(), SEGMENT_HEADER_BYTES);
        for header in [header(1, None), header(2, Some(77)), header(3, None)] {
            let mut bytes = header.bytes(SEED).to_vec();
            bytes.resize(usize::try_from(header.record_len()).unwrap(), 0);
            file.write_all_at(&bytes, end).unwrap();
            rows.push(SegmentRow::new(&header, end));
            end += header.record_len();
        }
        (files, file, rows, end)
    }

    #[test]
    fn names_of_segments_are_read_as_they_are_written() {
        assert_eq!(parse_segment_name(&segment_name(0xabc)), Some(0xabc));
        for name in [
            "abc.seg",
            "0000ABCD.seg",
            "+0000001.seg",
            "00000001",
            "00000001.sega",
        ] {
            assert_eq!(parse_segment_name(name), None, "{name}");
        }
    }

    #[test]
    fn the_header_is_read_as_it_was_written() {
        let (files, file, ..) = segment();
        let header = SegmentHeader::read(file.as_ref(), 5, SEED).unwrap();
        assert_eq!(
            (header.first_seq, header.log_id, header.log_count),
            (1, 3, 4)
        );
        assert_eq!(SegmentHeader::read(file.as_ref(), 6, SEED), None);
        assert_eq!(SegmentHeader::read(file.as_ref(), 5, SEED + 1), None);
        files.flip_bit("s", 20, 1);
        assert_eq!(SegmentHeader::read(file.as_ref(), 5, SEED), None);
    }

    #[test]
    fn the_footer_lists_the_records() {
        let (_files, file, rows, end) = segment();
        assert_eq!(read_footer(file.as_ref(), SEED), None);
        let footer = footer_bytes(&rows, SEED);
        file.write_all_at(&footer, end).unwrap();
        let trailer = read_trailer(file.as_ref(), SEED).unwrap();
        assert_eq!(
            (trailer.rows, trailer.first_seq, trailer.last_seq),
            (3, 1, 3)
        );
        assert_eq!(read_footer(file.as_ref(), SEED), Some(rows));
    }

    #[test]
    fn a_footer_with_any_flipped_bit_is_refused() {
        let (files, file, rows, end) = segment();
        let footer = footer_bytes(&rows, SEED);
        file.write_all_at(&footer, end).unwrap();
        for at in 0..footer.len() {
            let at = usize::try_from(end).unwrap() + at;
            files.flip_bit("s", at, 3);
            assert_eq!(read_footer(file.as_ref(), SEED), None, "byte {at}");
            files.flip_bit("s", at, 3);
        }
    }

    #[test]
    fn an_empty_footer_is_whole() {
        let files = FaultyFiles::new();
        let file = files.open("s", OpenMode::CreateNew).unwrap();
        file.write_all_at(&footer_bytes(&[], SEED), 0).unwrap();
        assert_eq!(read_footer(file.as_ref(), SEED), Some(Vec::new()));
    }

    #[test]
    fn records_are_found_without_a_footer_to_the_last_whole_one() {
        let (_files, file, rows, end) = segment();
        assert_eq!(scan_records(&file, SEED).unwrap(), (rows.clone(), end));
        file.set_len(end - 1).unwrap();
        let (found, found_end) = scan_records(&file, SEED).unwrap();
        assert_eq!(found, rows[..2]);
        assert_eq!(found_end, rows[2].offset);
        file.set_len(10).unwrap();
        assert_eq!(
            scan_records(&file, SEED).unwrap(),
            (Vec::new(), SEGMENT_HEADER_BYTES)
        );
    }

    #[test]
    fn records_behind_a_damaged_header_are_found() {
        let (files, file, rows, end) = segment();
        files.flip_bit("s", usize::try_from(rows[1].offset).unwrap() + 9, 0);
        let (found, found_end) = scan_records(&file, SEED).unwrap();
        assert_eq!(found, [rows[0], rows[2]]);
        assert_eq!(found_end, end);
    }

    #[test]
    fn records_are_found_beyond_one_window() {
        let files = FaultyFiles::new();
        let file = files.open("s", OpenMode::CreateNew).unwrap();
        let (mut rows, mut end) = (Vec::new(), SEGMENT_HEADER_BYTES);
        for seq in 1..=3000 {
            let header = header(seq, None);
            assert_eq!(header.record_len(), record_len(1040 + seq));
            let mut bytes = header.bytes(SEED).to_vec();
            bytes.resize(usize::try_from(header.record_len()).unwrap(), 0);
            file.write_all_at(&bytes, end).unwrap();
            rows.push(SegmentRow::new(&header, end));
            end += header.record_len();
        }
        assert_eq!(scan_records(&file, SEED).unwrap(), (rows, end));
    }
}
