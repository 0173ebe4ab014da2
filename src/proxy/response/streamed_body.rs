//! A body that is being stored, as one client gets it: all of it or a part, after stored bytes or without.

use std::{
    hash::{DefaultHasher, Hasher as _},
    ops::RangeInclusive,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::LocalBoxFuture, stream::LocalBoxStream};

use crate::{
    cache::{BodyError, BodyReader, FetchEnd, Slices},
    policy::ByteRange,
};

/// The rest of a body from a fetch of its client's own.
pub(crate) type RestOfBody = LocalBoxStream<'static, Result<Bytes, BodyError>>;

/// Fetches what follows after the bytes that have arrived; the result is `None` if it cannot be fetched.
pub(crate) type FetchRest =
    Box<dyn FnOnce(ArrivedBytes) -> LocalBoxFuture<'static, Option<RestOfBody>>>;

/// What has arrived of a body so far.
#[derive(Clone, Default)]
pub(crate) struct ArrivedBytes {
    /// How many.
    pub(crate) count: u64,
    /// A hash of them, however they were split into pieces; `None` if they are only counted.
    hasher: Option<DefaultHasher>,
}

impl ArrivedBytes {
    /// None yet. They will be hashed.
    pub(crate) fn hashed() -> Self {
        Self {
            count: 0,
            hasher: Some(DefaultHasher::new()),
        }
    }

    /// Adds `bytes` after the others.
    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.count += bytes.len() as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.write(bytes);
        }
    }

    /// True if both are hashed and most likely the same bytes.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        let hash = |arrived: &Self| arrived.hasher.as_ref().map(DefaultHasher::finish);
        self.count == other.count && hash(self).is_some() && hash(self) == hash(other)
    }
}

enum ArrivingBody {
    /// The fetch that this client began, or follows.
    Shared(BodyReader),
    /// A fetch of its own, after it fell behind the shared one.
    Own(RestOfBody),
}

/// A body that is read while it arrives.
pub(crate) struct StreamedBody {
    /// Stored bytes that come first.
    before: Slices,
    source: ArrivingBody,
    arrived: ArrivedBytes,
    /// How the client goes on after it fell behind; `None` if it cannot.
    fetch_rest: Option<FetchRest>,
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
            source: ArrivingBody::Shared(reader),
            arrived: ArrivedBytes::default(),
            fetch_rest: None,
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
            source: ArrivingBody::Shared(reader),
            arrived: ArrivedBytes::default(),
            fetch_rest: None,
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

    /// Its client goes on with `fetch_rest` when it falls behind the fetch. `arrived` is empty, and counts what arrives
    /// until then.
    pub(crate) fn go_on_with(&mut self, arrived: ArrivedBytes, fetch_rest: FetchRest) {
        self.arrived = arrived;
        self.fetch_rest = Some(fetch_rest);
    }

    /// Its length in bytes; `None` if it is unknown.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// How the shared fetch ended; `None` if it has not, or if its end is not that of this body.
    pub(crate) fn end(&self) -> Option<FetchEnd> {
        match &self.source {
            ArrivingBody::Shared(reader) => reader.end(),
            ArrivingBody::Own(_) => None,
        }
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
            let bytes = match self.arriving().await {
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

    /// The next bytes that arrive. A client that fell behind the shared fetch goes on with one of its own.
    async fn arriving(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let next = match &mut self.source {
                ArrivingBody::Own(rest) => return rest.next().await,
                ArrivingBody::Shared(reader) => reader.next().await,
            };
            match (next, self.fetch_rest.take()) {
                (Some(Err(BodyError::TooSlow)), Some(fetch_rest)) => {
                    let arrived = std::mem::take(&mut self.arrived);
                    match fetch_rest(arrived).await {
                        Some(rest) => self.source = ArrivingBody::Own(rest),
                        None => return Some(Err(BodyError::TooSlow)),
                    }
                }
                (Some(Ok(bytes)), Some(fetch_rest)) => {
                    self.arrived.extend(&bytes);
                    self.fetch_rest = Some(fetch_rest);
                    return Some(Ok(bytes));
                }
                (next, _) => return next,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_what_has_arrived_does_not_depend_on_its_pieces() {
        let bytes: Vec<u8> = (0..=255).cycle().take(3000).collect();
        let in_pieces = |len: usize| {
            let mut arrived = ArrivedBytes::hashed();
            bytes.chunks(len).for_each(|piece| arrived.extend(piece));
            arrived
        };
        let whole = in_pieces(3000);
        for len in [1, 2, 3, 5, 7, 8, 9, 64, 1000, 2999] {
            assert!(in_pieces(len).equals(&whole), "{len}");
        }
        let mut other = in_pieces(1000);
        other.extend(b"x");
        assert!(!other.equals(&whole));
    }
}
