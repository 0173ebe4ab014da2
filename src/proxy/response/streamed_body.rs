//! A body that is being stored, as one client gets it: all of it or a part, after stored bytes or without.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{
    cache::{BodyError, BodyReader, FetchEnd, Slices},
    policy::ByteRange,
};

/// A body that is read while it arrives.
pub(crate) struct StreamedBody {
    /// Stored bytes that come first.
    before: Slices,
    reader: BodyReader,
    /// How many arriving bytes are skipped.
    skip: u64,
    /// How many bytes are wanted after those; `None` if all are.
    left: Option<u64>,
    /// Its length in bytes; `None` if it is unknown.
    length: Option<u64>,
}

impl StreamedBody {
    /// All that arrives: `length` bytes, or `None` if the length is unknown.
    pub(crate) fn whole(reader: BodyReader, length: Option<u64>) -> Self {
        Self {
            before: Slices::default(),
            reader,
            skip: 0,
            left: None,
            length,
        }
    }

    /// The bytes at `range` of a representation. The bytes that arrive begin at `base` of it.
    pub(crate) fn part(reader: BodyReader, base: u64, range: ByteRange) -> Self {
        let left = (range.last + 1).saturating_sub(range.first.max(base));
        Self {
            before: Slices::default(),
            reader,
            skip: range.first.saturating_sub(base),
            left: Some(left),
            length: Some(left),
        }
    }

    /// The same body after stored bytes.
    pub(crate) fn after(mut self, before: Slices) -> Self {
        self.length = self
            .length
            .map(|length| length.saturating_add(before.left_bytes()));
        self.before = before;
        self
    }

    /// Its length in bytes; `None` if it is unknown.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// How the fetch ended; `None` if it has not.
    pub(crate) fn end(&self) -> Option<FetchEnd> {
        self.reader.end()
    }

    /// The next bytes; `None` at the end of what is wanted, an error if the body was cut.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        if let Some(slice) = self.before.next() {
            return Some(Ok(slice));
        }
        loop {
            if self.left == Some(0) {
                return None;
            }
            let bytes = match self.reader.next().await {
                Some(Ok(bytes)) => bytes,
                // The fetch has ended before all wanted bytes arrived.
                None if self.left.is_some() => return Some(Err(BodyError::Truncated)),
                end => return end,
            };
            let wanted = self.wanted(bytes);
            if !wanted.is_empty() {
                return Some(Ok(wanted));
            }
        }
    }

    fn wanted(&mut self, mut bytes: Bytes) -> Bytes {
        let len = bytes.len() as u64;
        let skipped = self.skip.min(len);
        self.skip -= skipped;
        let taken = (len - skipped).min(self.left.unwrap_or(u64::MAX));
        self.left = self.left.map(|left| left - taken);
        // Both are within the piece, whose length is a usize.
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let (start, end) = (place(skipped), place(skipped + taken));
        bytes.truncate(end);
        bytes.split_off(start)
    }
}

/// The offsets of `range` of a representation in a body that begins at `base` of it, both inclusive.
pub(crate) fn offsets(range: ByteRange, base: u64) -> RangeInclusive<u64> {
    range.first.saturating_sub(base)..=range.last.saturating_sub(base)
}
