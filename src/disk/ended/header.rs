//! The first two sectors of a log: its identity, and what is overwritten in place.
//!
//! The first sector is written once: magic 8, layout 4, zero 4, id 8, tag of the secret 8, number of the first row 8, checksum
//! 8. The second one is overwritten as a whole, so an end of everything needs no new space: magic 8, everything ended up to 8,
//! runs 8, overwritten 8, rows 8, largest sequence number 8, checksum 8. Numbers are little endian.

use ring::hmac;

use crate::disk::checksum::checksum;

pub(super) const SECTOR: usize = 512;
/// Where the rows begin.
pub(super) const ROWS_AT: usize = 2 * SECTOR;

const LOG_MAGIC: u64 = 0x676f_6c64_6564_6e65;
const SLOT_MAGIC: u64 = 0x746f_6c73_6465_6e65;
const LAYOUT: u64 = 1;

/// A log at a moment. A segment keeps the mark of the time when it was made: if the log has another id later, or counts less,
/// something is lost of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::disk) struct LogMark {
    /// Which log it is.
    pub(in crate::disk) id: u64,
    /// It grows with each change.
    pub(in crate::disk) count: u64,
}

/// The first sector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogHeader {
    pub(super) id: u64,
    /// Follows from the secret of the store. With another secret no hash of the rows is found.
    pub(super) secret_tag: u64,
    /// The number of the first row.
    pub(super) first_number: u64,
}

/// The second sector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct LogSlot {
    /// Everything up to this sequence number has ended.
    pub(super) all: u64,
    /// How often the store was opened.
    pub(super) runs: u64,
    /// How often this sector was overwritten.
    pub(super) overwritten: u64,
    /// The number of the last row at that time.
    pub(super) rows: u64,
    /// The largest sequence number of the log at that time, of forgotten rows too.
    pub(super) last_seq: u64,
}

/// What the header has of the secret of the store.
pub(super) fn tag_of(secret: &[u8; 32]) -> u64 {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    u64_at(hmac::sign(&key, b"ended.log").as_ref(), 0)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let number = bytes
        .get(at..at + 8)
        .and_then(|bytes| bytes.try_into().ok());
    number.map_or(0, u64::from_le_bytes)
}

fn sector(words: &[u64], seed: u64) -> [u8; SECTOR] {
    let mut sector = [0; SECTOR];
    let mut bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend_from_slice(&checksum(&bytes, seed).to_le_bytes());
    sector[..bytes.len()].copy_from_slice(&bytes);
    sector
}

/// The words of a sector, if its checksum is right and the rest of it is zero.
fn words<const N: usize>(sector: &[u8], seed: u64) -> Option<[u64; N]> {
    let content = sector.get(..N * 8)?;
    let rest = sector.get(N * 8 + 8..SECTOR)?;
    let is_whole = checksum(content, seed) == u64_at(sector, N * 8);
    if !is_whole || rest.iter().any(|byte| *byte != 0) {
        return None;
    }
    Some(std::array::from_fn(|word| u64_at(content, word * 8)))
}

impl LogHeader {
    pub(super) fn to_sector(self) -> [u8; SECTOR] {
        let words = [
            LOG_MAGIC,
            LAYOUT,
            self.id,
            self.secret_tag,
            self.first_number,
        ];
        sector(&words, 0)
    }

    /// `None` if it is damaged.
    pub(super) fn from_log(log: &[u8]) -> Option<Self> {
        let [magic, layout, id, secret_tag, first_number] = words(log.get(..SECTOR)?, 0)?;
        (magic == LOG_MAGIC && layout == LAYOUT).then_some(Self {
            id,
            secret_tag,
            first_number,
        })
    }
}

impl LogSlot {
    /// `id` is that of the log.
    pub(super) fn to_sector(self, id: u64) -> [u8; SECTOR] {
        let Self {
            all,
            runs,
            overwritten,
            rows,
            last_seq,
        } = self;
        sector(&[SLOT_MAGIC, all, runs, overwritten, rows, last_seq], id)
    }

    /// `None` if it is damaged.
    pub(super) fn from_log(log: &[u8], id: u64) -> Option<Self> {
        let [magic, all, runs, overwritten, rows, last_seq] = words(log.get(SECTOR..ROWS_AT)?, id)?;
        (magic == SLOT_MAGIC).then_some(Self {
            all,
            runs,
            overwritten,
            rows,
            last_seq,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sectors_are_read_as_they_were_written_and_any_flipped_bit_is_noticed() {
        let header = LogHeader {
            id: 1,
            secret_tag: 2,
            first_number: 3,
        };
        let slot = LogSlot {
            all: 4,
            runs: 5,
            overwritten: 6,
            rows: 7,
            last_seq: 8,
        };
        let mut log = [header.to_sector(), slot.to_sector(1)].concat();
        assert_eq!(LogHeader::from_log(&log), Some(header));
        assert_eq!(LogSlot::from_log(&log, 1), Some(slot));
        assert_eq!(LogSlot::from_log(&log, 2), None);
        for bit in 0..log.len() * 8 {
            log[bit / 8] ^= 1 << (bit % 8);
            let read = (LogHeader::from_log(&log), LogSlot::from_log(&log, 1));
            assert!(matches!(read, (None, _) | (_, None)), "bit {bit}");
            log[bit / 8] ^= 1 << (bit % 8);
        }
        assert_eq!(LogHeader::from_log(&log[..100]), None);
        assert_eq!(LogSlot::from_log(&log[..600], 1), None);
    }
}
