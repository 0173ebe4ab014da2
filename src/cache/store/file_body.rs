//! A body in a file, which is read while it is sent.

use std::{
    io,
    ops::RangeInclusive,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, stream, stream::LocalBoxStream};

use crate::disk::{DiskUnavailable, LargeBody, LargeReader};

/// A body in a file, or a part of one.
pub struct FileBody {
    length: u64,
    bytes: LocalBoxStream<'static, Result<Bytes, DiskUnavailable>>,
}

/// Where a body is read next.
struct FilePlace {
    body: LargeBody,
    /// `None` before the first read.
    reader: Option<LargeReader>,
    next: u64,
    end: u64,
}

impl FileBody {
    /// The bytes of `body` at these offsets, as far as it has them.
    pub(super) fn part(body: &LargeBody, offsets: RangeInclusive<u64>) -> Self {
        let end = offsets.end().saturating_add(1).min(body.len_bytes());
        let next = (*offsets.start()).min(end);
        let place = FilePlace {
            body: body.clone(),
            reader: None,
            next,
            end,
        };
        Self {
            length: end - next,
            bytes: stream::try_unfold(place, read).boxed_local(),
        }
    }

    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl Stream for FileBody {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let bytes = ready!(self.get_mut().bytes.poll_next_unpin(context));
        if let Some(Err(error)) = &bytes {
            log::warn!("a response is cut off: {error}");
        }
        Poll::Ready(bytes.map(|bytes| bytes.map_err(io::Error::other)))
    }
}

async fn read(mut place: FilePlace) -> Result<Option<(Bytes, FilePlace)>, DiskUnavailable> {
    if place.next >= place.end {
        return Ok(None);
    }
    let reader = match place.reader.take() {
        Some(reader) => reader,
        None => place.body.clone().open().await?,
    };
    let mut bytes = reader.read(place.next).await?;
    let left = usize::try_from(place.end - place.next).unwrap_or(usize::MAX);
    bytes.truncate(left);
    if bytes.is_empty() {
        return Err(DiskUnavailable::Corrupt);
    }
    place.next += bytes.len() as u64;
    place.reader = Some(reader);
    Ok(Some((bytes, place)))
}
