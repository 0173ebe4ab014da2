//! A record in bytes.
//!
//! ```text
//!  0  4  magic
//!  4  4  length of the head block
//!  8  8  length of the body
//! 16 16  hashes of the key
//! 32  8  sequence number
//! 40  8  number of the file of the body, 0 if it follows the head block
//! 48  8  id
//! 56  8  checksum of the head block
//! 64  8  checksum of the body, 0 if it does not follow
//! 72  8  checksum of bytes 0 to 71, with the seed of the segment
//! 80     head block: version (2), 0 (2), length of the resource (4), length of the partition (4), resource, partition, head
//!        body, and zeros up to a multiple of 16
//! ```
//!
//! All numbers are little endian.

use std::ops::Range;

use crate::disk::{
    address::{Address, KeyHash},
    checksum::checksum,
    place::{ALIGNMENT, MAX_RECORD_BYTES},
};

/// The length of the header of a record, in bytes.
pub(super) const HEADER_BYTES: usize = 80;
/// The longest body that follows its head, in bytes.
pub(super) const MAX_INLINE_BYTES: u64 = 64 * 1024;
const MAGIC: u32 = 0x3152_5043;
const HEAD_VERSION: u16 = 1;
/// The lengths at the beginning of a head block.
const HEAD_LENGTHS: usize = 12;

/// The header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) key: KeyHash,
    pub(super) seq: u64,
    /// The length of the head block.
    pub(super) head_len: u32,
    pub(super) body_len: u64,
    /// The file of the body. `None` if it follows the head block.
    pub(super) large: Option<u64>,
    pub(super) id: u64,
    pub(super) head_checksum: u64,
    /// 0 if the body does not follow the head block.
    pub(super) body_checksum: u64,
}

/// The checksum of a head block or of a body.
pub(super) fn content_checksum(content: &[u8]) -> u64 {
    checksum(content, 0)
}

/// What is in a head block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct HeadBlock {
    pub(super) address: Address,
    /// Where the head is, in the block.
    pub(super) head: Range<usize>,
}

impl RecordHeader {
    /// What follows the header, in bytes.
    pub(super) fn content_len(&self) -> u64 {
        let inline = if self.large.is_none() {
            self.body_len
        } else {
            0
        };
        u64::from(self.head_len).saturating_add(inline)
    }

    /// The whole record, in bytes.
    pub(super) fn record_len(&self) -> u64 {
        record_len(self.content_len())
    }

    /// What it takes on the disk, with its body.
    pub(super) fn stored_bytes(&self) -> u64 {
        let large = if self.large.is_some() {
            self.body_len
        } else {
            0
        };
        self.record_len().saturating_add(large)
    }

    /// The header in bytes.
    pub(super) fn bytes(&self, seed: u64) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let [resource, rest] = self.key.words();
        put(&mut bytes, 0, &MAGIC.to_le_bytes());
        put(&mut bytes, 4, &self.head_len.to_le_bytes());
        put(&mut bytes, 8, &self.body_len.to_le_bytes());
        put(&mut bytes, 16, &resource.to_le_bytes());
        put(&mut bytes, 24, &rest.to_le_bytes());
        put(&mut bytes, 32, &self.seq.to_le_bytes());
        put(&mut bytes, 40, &self.large.unwrap_or(0).to_le_bytes());
        put(&mut bytes, 48, &self.id.to_le_bytes());
        put(&mut bytes, 56, &self.head_checksum.to_le_bytes());
        put(&mut bytes, 64, &self.body_checksum.to_le_bytes());
        let checksum = checksum(&bytes[..72], seed);
        put(&mut bytes, 72, &checksum.to_le_bytes());
        bytes
    }

    /// `None` if these are not the bytes of a header in this segment.
    pub(super) fn parse(bytes: &[u8], seed: u64) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        if u32_at(bytes, 0)? != MAGIC || checksum(&bytes[..72], seed) != u64_at(bytes, 72)? {
            return None;
        }
        let header = Self {
            key: KeyHash::from_words([u64_at(bytes, 16)?, u64_at(bytes, 24)?]),
            seq: u64_at(bytes, 32)?,
            head_len: u32_at(bytes, 4)?,
            body_len: u64_at(bytes, 8)?,
            large: Some(u64_at(bytes, 40)?).filter(|number| *number != 0),
            id: u64_at(bytes, 48)?,
            head_checksum: u64_at(bytes, 56)?,
            body_checksum: u64_at(bytes, 64)?,
        };
        (header.record_len() <= MAX_RECORD_BYTES).then_some(header)
    }
}

/// The length of a record with so much behind its header, in bytes.
pub(super) fn record_len(content_len: u64) -> u64 {
    content_len
        .saturating_add(HEADER_BYTES as u64)
        .checked_next_multiple_of(ALIGNMENT)
        .unwrap_or(u64::MAX)
}

/// The length of a head block, in bytes.
pub(super) fn head_block_len(address: &Address, head: &[u8]) -> u64 {
    let lengths = [address.resource.len(), address.partition.len(), head.len()];
    let sum = lengths
        .iter()
        .fold(0_usize, |sum, len| sum.saturating_add(*len));
    sum.saturating_add(HEAD_LENGTHS) as u64
}

/// Appends a head block. Its lengths were checked before ([`head_block_len`]).
pub(super) fn push_head_block(out: &mut Vec<u8>, address: &Address, head: &[u8]) {
    let len = |part: &[u8]| u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&HEAD_VERSION.to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&len(&address.resource));
    out.extend_from_slice(&len(&address.partition));
    out.extend_from_slice(&address.resource);
    out.extend_from_slice(&address.partition);
    out.extend_from_slice(head);
}

/// Takes a head block apart. `None` if it is of another version, or its lengths do not fit.
pub(super) fn parse_head_block(block: &[u8]) -> Option<HeadBlock> {
    if u16::from_le_bytes(block.get(..2)?.try_into().ok()?) != HEAD_VERSION {
        return None;
    }
    let resource_len = usize::try_from(u32_at(block, 4)?).ok()?;
    let partition_len = usize::try_from(u32_at(block, 8)?).ok()?;
    let partition = HEAD_LENGTHS.checked_add(resource_len)?;
    let head = partition.checked_add(partition_len)?;
    Some(HeadBlock {
        address: Address {
            resource: block.get(HEAD_LENGTHS..partition)?.into(),
            partition: block.get(partition..head)?.into(),
        },
        head: (head <= block.len()).then_some(head..block.len())?,
    })
}

/// The head block of a record, if it is as it was written.
pub(super) fn checked_head<'a>(header: &RecordHeader, record: &'a [u8]) -> Option<&'a [u8]> {
    let len = usize::try_from(header.head_len).ok()?;
    let block = record.get(HEADER_BYTES..)?.get(..len)?;
    (checksum(block, 0) == header.head_checksum).then_some(block)
}

/// Where the body is in a record, if it is there and as it was written.
pub(super) fn checked_body(header: &RecordHeader, record: &[u8]) -> Option<Range<usize>> {
    let begin = HEADER_BYTES + usize::try_from(header.head_len).ok()?;
    let end = begin.checked_add(usize::try_from(header.body_len).ok()?)?;
    is_body(header, record.get(begin..end)?).then_some(begin..end)
}

/// True if this is the body that follows the head block, as it was written.
fn is_body(header: &RecordHeader, body: &[u8]) -> bool {
    header.large.is_none()
        && header.body_len == body.len() as u64
        && header.body_checksum == checksum(body, 0)
}

/// The number at an offset. `None` beyond the end.
pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let bytes = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The number at an offset. `None` beyond the end.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::address::AddressHash;

    fn header() -> RecordHeader {
        RecordHeader {
            key: KeyHash {
                address: AddressHash {
                    resource: 1 << 60 | 5,
                    partition: 6,
                },
                variant: 7,
            },
            seq: 8,
            head_len: 100,
            body_len: 1000,
            large: None,
            id: 9,
            head_checksum: 10,
            body_checksum: 11,
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let large = RecordHeader {
            large: Some(77),
            body_len: 1 << 40,
            ..header()
        };
        for header in [header(), large] {
            assert_eq!(RecordHeader::parse(&header.bytes(3), 3), Some(header));
        }
        assert_eq!(header().record_len(), 1184);
        assert_eq!(large.record_len(), 192);
        assert_eq!(large.stored_bytes(), (1 << 40) + 192);
    }

    #[test]
    fn a_header_with_any_flipped_bit_is_refused() {
        let bytes = header().bytes(3);
        assert_eq!(RecordHeader::parse(&bytes, 4), None);
        assert_eq!(RecordHeader::parse(&bytes[..79], 3), None);
        for bit in 0..HEADER_BYTES * 8 {
            let mut bytes = bytes;
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::parse(&bytes, 3), None, "bit {bit}");
        }
    }

    #[test]
    fn a_header_of_more_than_a_record_may_have_is_refused() {
        for body_len in [MAX_RECORD_BYTES, u64::MAX] {
            let header = RecordHeader {
                body_len,
                ..header()
            };
            assert_eq!(RecordHeader::parse(&header.bytes(1), 1), None);
        }
    }

    #[test]
    fn a_head_block_is_taken_apart_as_it_was_put_together() {
        let address = Address {
            resource: b"/a"[..].into(),
            partition: b"bob"[..].into(),
        };
        let mut block = Vec::new();
        push_head_block(&mut block, &address, b"head");
        assert_eq!(block.len() as u64, head_block_len(&address, b"head"));
        let parsed = parse_head_block(&block).unwrap();
        assert_eq!(parsed.address, address);
        assert_eq!(&block[parsed.head], b"head");
    }

    #[test]
    fn a_head_block_whose_lengths_do_not_fit_is_refused() {
        let address = Address {
            resource: b"/a"[..].into(),
            partition: b""[..].into(),
        };
        let mut block = Vec::new();
        push_head_block(&mut block, &address, b"");
        for len in 0..block.len() {
            assert_eq!(parse_head_block(&block[..len]), None, "{len}");
        }
        for at in [4, 8] {
            let mut block = block.clone();
            block[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            assert_eq!(parse_head_block(&block), None);
        }
        block[0] = 2;
        assert_eq!(parse_head_block(&block), None);
    }
}
