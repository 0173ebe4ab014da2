//! A body that is on its way into the cache, as one client gets it: all of it or a part, perhaps with stored bytes before.

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::{
    cache::{BodyError, BodyReader, FetchEnd, Slices},
    policy::ByteRange,
};

/// A body that is read while it comes.
pub(crate) struct StreamedBody {
    /// Stored bytes that go before what comes.
    before: Slices,
    reader: BodyReader,
    /// Bytes of what comes that are not wanted.
    skip: u64,
    /// Bytes that are; None: all there are.
    left: Option<u64>,
    /// How many bytes it has, where that is known.
    length: Option<u64>,
}

impl StreamedBody {
    /// All that comes, which may be of a known length in bytes.
    pub(crate) fn whole(reader: BodyReader, length: Option<u64>) -> Self {
        Self {
            before: Slices::default(),
            reader,
            skip: 0,
            left: None,
            length,
        }
    }

    /// What lies at `extent` of a representation, when what comes begins at `base` of it.
    pub(crate) fn part(reader: BodyReader, base: u64, extent: ByteRange) -> Self {
        let left = (extent.last + 1).saturating_sub(extent.first.max(base));
        Self {
            before: Slices::default(),
            reader,
            skip: extent.first.saturating_sub(base),
            left: Some(left),
            length: Some(left),
        }
    }

    /// The same behind stored bytes.
    pub(crate) fn behind(mut self, before: Slices) -> Self {
        self.length = self
            .length
            .map(|length| length.saturating_add(before.left_bytes()));
        self.before = before;
        self
    }

    /// How many bytes it has, where that is known.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// How the fetch ended, once it has.
    pub(crate) fn end(&self) -> Option<FetchEnd> {
        self.reader.end()
    }

    /// The next bytes; `None` once all that is wanted has come, an error when it was cut short.
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
                // What is wanted has not come, though the fetch is over.
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
        let kept = (len - skipped).min(self.left.unwrap_or(u64::MAX));
        self.left = self.left.map(|left| left - kept);
        // Both lie within the piece, whose length is a usize.
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
        let (start, end) = (place(skipped), place(skipped + kept));
        bytes.truncate(end);
        bytes.split_off(start)
    }
}

/// Where `extent` of a representation lies in a body that begins at `base` of it.
pub(crate) fn span(extent: ByteRange, base: u64) -> RangeInclusive<u64> {
    extent.first.saturating_sub(base)..=extent.last.saturating_sub(base)
}
