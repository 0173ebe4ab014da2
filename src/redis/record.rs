//! A record in bytes: its head with a small body, or the parts of a large body.

use bytes::Bytes;
use twox_hash::XxHash3_64;

use crate::redis::{
    address::SharedAddress,
    fetch_lease::FetchLease,
    stamp::{DataEpoch, Stamp},
};

/// The version of this format. Records of other versions are a miss.
const VERSION: u8 = 1;
/// The longest head of the caller, in bytes.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The longest resource and partition, in bytes.
pub(super) const MAX_ADDRESS_BYTES: usize = 64 * 1024;
/// The longest body that stands beside its head, in bytes.
pub(super) const MAX_INLINE_BYTES: usize = 16 * 1024;
/// The bytes of a body in one part.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// The fixed part: version, kind, epoch, position, nonce, and the lengths of body, resource, partition and head.
const FIXED_BYTES: usize = 2 + 16 + 8 + 16 + 8 + 4 + 4 + 4;
/// The checksum of a record, and of a part of a body.
pub(super) const CHECKSUM_BYTES: usize = 8;

/// A record to write.
#[derive(Debug)]
pub struct NewRecord {
    /// Where it is stored.
    pub address: SharedAddress,
    /// Equal for records at one address of which the newer replaces the older.
    pub variant: Vec<u8>,
    /// Its head, with a meaning for the caller alone. One longer than 64 KiB is not stored.
    pub head: Vec<u8>,
    /// Its body, in pieces.
    pub body: Vec<Bytes>,
    /// What was applied when the fetch of the record began.
    pub stamp: Stamp,
    /// How long it is stored. At most 30 days.
    pub ttl: std::time::Duration,
    /// The lease of its fetch. It is released after the record was written, or dropped.
    pub lease: Option<FetchLease>,
}

/// A record as it was found.
#[derive(Clone, Debug)]
pub struct SharedRecord {
    /// Which of the addresses asked for it is at.
    pub address_index: usize,
    /// What was applied when the fetch of the record began. An event after it may have ended the record.
    pub stamp: Stamp,
    /// Its head.
    pub head: Bytes,
    /// Its body.
    pub body: SharedRecordBody,
    pub(super) place: ChunkedBody,
}

/// The body of a [`SharedRecord`].
#[derive(Clone, Debug)]
pub enum SharedRecordBody {
    /// Read with its head, and checked.
    Inline(Bytes),
    /// In parts that are still to be read.
    Chunked(ChunkedBody),
}

impl SharedRecordBody {
    /// Its length in bytes.
    pub fn len_bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Chunked(body) => body.body_bytes,
        }
    }
}

/// Where a body is, and which parts it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkedBody {
    pub(super) address: SharedAddress,
    pub(super) nonce: u128,
    /// Its length in bytes.
    pub(super) body_bytes: u64,
    pub(super) chunks: u32,
}

/// A record in bytes, without the parts of its body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RecordBytes {
    pub(super) stamp: Stamp,
    pub(super) nonce: u128,
    pub(super) head: Bytes,
    /// `None` if the body is in parts.
    pub(super) inline: Option<Bytes>,
    pub(super) body_bytes: u64,
}

/// How many parts a body of this length has. `None` if there are too many.
pub(super) fn chunk_count(body_bytes: u64) -> Option<u32> {
    u32::try_from(body_bytes.div_ceil(CHUNK_BYTES as u64)).ok()
}

/// Whether a body of this length stands beside its head.
pub(super) fn is_inline(body_bytes: u64) -> bool {
    body_bytes <= MAX_INLINE_BYTES as u64
}

/// Writes what stands in the field of a variant.
pub(super) fn write_record(record: &NewRecord, nonce: u128) -> Option<Vec<u8>> {
    let body_bytes: u64 = record.body.iter().map(|part| part.len() as u64).sum();
    let inline = is_inline(body_bytes);
    let SharedAddress {
        resource,
        partition,
    } = &record.address;
    if record.head.len() > MAX_HEAD_BYTES || resource.len() + partition.len() > MAX_ADDRESS_BYTES {
        return None;
    }
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).ok().map(u32::to_be_bytes);
    let mut bytes = Vec::with_capacity(FIXED_BYTES + record.head.len() + MAX_INLINE_BYTES);
    bytes.extend([VERSION, u8::from(inline)]);
    bytes.extend(record.stamp.epoch.0.to_be_bytes());
    bytes.extend(record.stamp.position.to_be_bytes());
    bytes.extend(nonce.to_be_bytes());
    bytes.extend(body_bytes.to_be_bytes());
    bytes.extend(length(resource)?);
    bytes.extend(length(partition)?);
    bytes.extend(length(&record.head)?);
    bytes.extend_from_slice(resource);
    bytes.extend_from_slice(partition);
    bytes.extend_from_slice(&record.head);
    if inline {
        record
            .body
            .iter()
            .for_each(|part| bytes.extend_from_slice(part));
    }
    bytes.extend(XxHash3_64::oneshot(&bytes).to_be_bytes());
    Some(bytes)
}

/// Takes bytes from the front.
struct Reader<'b>(&'b [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }

    fn length(&mut self) -> Option<usize> {
        usize::try_from(u32::from_be_bytes(self.take()?)).ok()
    }
}

/// Reads what stands in the field of a variant. `None` if it is not as it was written, of another version, or another
/// address.
pub(super) fn read_record(bytes: &Bytes, address: &SharedAddress) -> Option<RecordBytes> {
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    if XxHash3_64::oneshot(content) != u64::from_be_bytes(*checksum) {
        return None;
    }
    let mut reader = Reader(content);
    let [version, kind] = reader.take()?;
    if version != VERSION || kind > 1 {
        return None;
    }
    let stamp = Stamp {
        epoch: DataEpoch(u128::from_be_bytes(reader.take()?)),
        position: u64::from_be_bytes(reader.take()?),
    };
    let nonce = u128::from_be_bytes(reader.take()?);
    let body_bytes = u64::from_be_bytes(reader.take()?);
    let resource = reader.length()?;
    let partition = reader.length()?;
    let head = reader.length()?;
    let (found_resource, rest) = reader.0.split_at_checked(resource)?;
    let (found_partition, rest) = rest.split_at_checked(partition)?;
    let (head, body) = rest.split_at_checked(head)?;
    let is_here = *found_resource == *address.resource && *found_partition == *address.partition;
    let is_inline = kind == 1;
    let is_whole = match is_inline {
        true => body.len() as u64 == body_bytes,
        false => body.is_empty(),
    };
    (is_here && is_whole).then(|| RecordBytes {
        stamp,
        nonce,
        head: bytes.slice_ref(head),
        inline: is_inline.then(|| bytes.slice_ref(body)),
        body_bytes,
    })
}

/// The nonce and the number of parts of a record, of which the beginning is there. `None` if it has no parts.
pub(super) fn parts_of(beginning: &[u8]) -> Option<(u128, u32)> {
    let mut reader = Reader(beginning);
    let [version, kind] = reader.take()?;
    let _: [u8; 24] = reader.take()?;
    let nonce = u128::from_be_bytes(reader.take()?);
    let body_bytes = u64::from_be_bytes(reader.take()?);
    let has_parts = version == VERSION && kind == 0;
    has_parts.then(|| Some((nonce, chunk_count(body_bytes)?)))?
}

/// A part of a body with its checksum.
pub(super) fn write_chunk(mut bytes: Vec<u8>, nonce: u128, index: u32) -> Vec<u8> {
    let checksum = chunk_checksum(&bytes, nonce, index);
    bytes.extend(checksum.to_be_bytes());
    bytes
}

/// The inverse of [`write_chunk`]. `None` if it is not as it was written, or has another length.
pub(super) fn read_chunk(bytes: Bytes, nonce: u128, index: u32, length: usize) -> Option<Bytes> {
    let (content, checksum) = bytes.split_last_chunk::<CHECKSUM_BYTES>()?;
    let is_whole = content.len() == length
        && chunk_checksum(content, nonce, index) == u64::from_be_bytes(*checksum);
    is_whole.then(|| bytes.slice_ref(content))
}

/// A part that stands in the place of another has another checksum.
fn chunk_checksum(bytes: &[u8], nonce: u128, index: u32) -> u64 {
    let [high, low] = [nonce >> 64, nonce & u128::from(u64::MAX)];
    let seed = u64::try_from(high ^ low).unwrap_or_default();
    XxHash3_64::oneshot_with_seed(seed.wrapping_add(u64::from(index)), bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record(body: &[u8]) -> NewRecord {
        NewRecord {
            address: SharedAddress {
                resource: b"/a".as_slice().into(),
                partition: b"bob".as_slice().into(),
            },
            variant: b"gzip".to_vec(),
            head: b"head".to_vec(),
            body: body.chunks(3).map(Bytes::copy_from_slice).collect(),
            stamp: Stamp {
                epoch: DataEpoch(5),
                position: 9,
            },
            ttl: Duration::from_secs(1),
            lease: None,
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let new = record(b"small body");
        let bytes = Bytes::from(write_record(&new, 77).unwrap());
        let found = read_record(&bytes, &new.address).unwrap();
        assert_eq!(found.inline.as_deref(), Some(b"small body".as_slice()));
        assert_eq!(
            (&found.head[..], found.stamp, found.nonce),
            (&b"head"[..], new.stamp, 77)
        );
        assert_eq!(parts_of(&bytes), None);
    }

    #[test]
    fn a_large_body_is_in_parts() {
        let new = record(&vec![b'x'; MAX_INLINE_BYTES + 1]);
        let bytes = Bytes::from(write_record(&new, 77).unwrap());
        let found = read_record(&bytes, &new.address).unwrap();
        assert_eq!((found.inline, found.body_bytes), (None, 16_385));
        assert_eq!(parts_of(&bytes[..60]), Some((77, 1)));
        assert_eq!(chunk_count(CHUNK_BYTES as u64 + 1), Some(2));
        assert_eq!(chunk_count(u64::MAX), None);
    }

    #[test]
    fn a_changed_byte_and_every_truncation_is_a_miss() {
        let new = record(b"body");
        let bytes = write_record(&new, 77).unwrap();
        for index in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[index] ^= 1;
            assert_eq!(read_record(&Bytes::from(changed), &new.address), None);
            let short = Bytes::copy_from_slice(&bytes[..index]);
            assert_eq!(read_record(&short, &new.address), None);
        }
    }

    #[test]
    fn a_record_of_another_address_or_version_is_a_miss() {
        let new = record(b"body");
        let bytes = write_record(&new, 77).unwrap();
        let mut other = new.address.clone();
        other.partition = b"ann".as_slice().into();
        assert_eq!(read_record(&Bytes::from(bytes.clone()), &other), None);
        let mut newer = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
        newer[0] = VERSION + 1;
        newer.extend(XxHash3_64::oneshot(&newer).to_be_bytes());
        assert_eq!(read_record(&Bytes::from(newer), &new.address), None);
    }

    #[test]
    fn lengths_beyond_the_record_are_a_miss() {
        let new = record(b"body");
        let bytes = write_record(&new, 77).unwrap();
        for at in [50, 54, 58] {
            let mut long = bytes[..bytes.len() - CHECKSUM_BYTES].to_vec();
            long[at..at + 4].copy_from_slice(&u32::MAX.to_be_bytes());
            long.extend(XxHash3_64::oneshot(&long).to_be_bytes());
            assert_eq!(read_record(&Bytes::from(long), &new.address), None);
        }
    }

    #[test]
    fn a_part_of_another_place_is_not_read() {
        let part = Bytes::from(write_chunk(b"part".to_vec(), 5, 1));
        assert_eq!(
            read_chunk(part.clone(), 5, 1, 4).as_deref(),
            Some(&b"part"[..])
        );
        assert_eq!(read_chunk(part.clone(), 5, 2, 4), None);
        assert_eq!(read_chunk(part.clone(), 6, 1, 4), None);
        assert_eq!(read_chunk(part.clone(), 5, 1, 5), None);
        assert_eq!(read_chunk(part.slice(..part.len() - 1), 5, 1, 3), None);
        assert_eq!(read_chunk(Bytes::new(), 5, 1, 0), None);
    }

    #[test]
    fn a_head_that_is_too_long_is_not_written() {
        let mut new = record(b"body");
        new.head = vec![0; MAX_HEAD_BYTES + 1];
        assert_eq!(write_record(&new, 77), None);
    }
}
