//! Where a record is, in one word.

/// The length of what a record is a multiple of, in bytes.
pub(super) const ALIGNMENT: u64 = 16;
/// The longest record, in bytes.
pub(super) const MAX_RECORD_BYTES: u64 = 0x3fff * ALIGNMENT;
/// The largest number of segments at a time.
pub(super) const MAX_SEGMENTS: usize = 1 << 16;
/// The longest segment, in bytes.
pub(super) const MAX_SEGMENT_BYTES: u64 = (1 << 26) * ALIGNMENT;

const USED: u64 = 1;
const PRESENT: u64 = 1 << 1;

/// Where a record is: the slot of its segment (16 bits), its offset (26) and its length (14) in units of 16 bytes, and
/// marks (8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place(u64);

impl Place {
    /// `None` if the numbers are too large, or not aligned.
    pub(super) fn new(segment: u16, offset: u64, len: u64) -> Option<Self> {
        let fits = offset.is_multiple_of(ALIGNMENT)
            && len.is_multiple_of(ALIGNMENT)
            && (1..=MAX_RECORD_BYTES).contains(&len)
            && offset < MAX_SEGMENT_BYTES;
        let word = u64::from(segment) << 48
            | (offset / ALIGNMENT) << 22
            | (len / ALIGNMENT) << 8
            | PRESENT;
        fits.then_some(Self(word))
    }

    /// `None` if the word has no place: its slot is empty, or its record has gone.
    pub(super) fn from_word(word: u64) -> Option<Self> {
        (word & PRESENT != 0).then_some(Self(word))
    }

    pub(super) fn word(self) -> u64 {
        self.0
    }

    /// Which of the open segments.
    #[allow(clippy::cast_possible_truncation, reason = "16 bits are left")]
    pub(super) fn segment(self) -> u16 {
        (self.0 >> 48) as u16
    }

    /// In bytes from the beginning of the segment.
    pub(super) fn offset(self) -> u64 {
        (self.0 >> 22 & 0x3ff_ffff) * ALIGNMENT
    }

    /// In bytes.
    pub(super) fn len(self) -> u64 {
        (self.0 >> 8 & 0x3fff) * ALIGNMENT
    }

    /// Whether it was read since it was written.
    pub(super) fn is_used(self) -> bool {
        self.0 & USED != 0
    }

    /// The same place, marked as read.
    pub(super) fn used(self) -> Self {
        Self(self.0 | USED)
    }

    /// The same place, not marked as read.
    pub(super) fn unused(self) -> Self {
        Self(self.0 & !USED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_keeps_its_parts() {
        let place = Place::new(u16::MAX, MAX_SEGMENT_BYTES - 16, MAX_RECORD_BYTES).unwrap();
        assert_eq!(place.segment(), u16::MAX);
        assert_eq!(place.offset(), MAX_SEGMENT_BYTES - 16);
        assert_eq!(place.len(), MAX_RECORD_BYTES);
        assert!(!place.is_used() && place.used().is_used());
        assert_eq!(place.used().unused(), place);
        assert_eq!(Place::from_word(place.word()), Some(place));
        let place = Place::new(0, 0, 16).unwrap();
        assert_eq!((place.segment(), place.offset(), place.len()), (0, 0, 16));
    }

    #[test]
    fn a_place_that_does_not_fit_is_none() {
        assert_eq!(Place::new(0, 8, 16), None);
        assert_eq!(Place::new(0, 0, 0), None);
        assert_eq!(Place::new(0, 0, MAX_RECORD_BYTES + 16), None);
        assert_eq!(Place::new(0, MAX_SEGMENT_BYTES, 16), None);
        assert_eq!(Place::from_word(0), None);
    }
}
