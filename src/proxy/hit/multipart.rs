//! Several ranges of a stored body in one response (RFC 9110, 14.6).

use std::{
    collections::VecDeque,
    fmt::Write as _,
    hash::{BuildHasher as _, RandomState},
};

use actix_web::http::header::{self, HeaderValue};
use bytes::Bytes;

use crate::{
    cache::{Body, Slices},
    headers::ResponseHeaders,
    policy::{ByteRange, ContentRange},
};

/// The body of a `multipart/byteranges` response.
pub(crate) struct Multipart {
    pieces: VecDeque<MultipartPiece>,
    length: u64,
}

enum MultipartPiece {
    Text(Bytes),
    Slices(Slices),
}

impl Multipart {
    /// Makes a part from each of `ranges` of a representation. `body` holds its bytes from `base` on. `headers` are those
    /// of the response: the parts get its Content-Type, and the response gets one that names the boundary.
    pub(crate) fn new(
        body: &Body,
        base: u64,
        complete_bytes: Option<u64>,
        ranges: &[ByteRange],
        headers: &mut ResponseHeaders,
    ) -> Self {
        let boundary = boundary();
        let content_type = headers.get(&header::CONTENT_TYPE).map(<[u8]>::to_vec);
        // RFC 9110, 15.3.7.2: only the parts have one. The stored 200 may have one that means nothing.
        headers.remove(&header::CONTENT_RANGE);
        if let Ok(value) =
            HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}"))
        {
            headers.insert(&header::CONTENT_TYPE, &value);
        }
        let mut pieces = VecDeque::with_capacity(ranges.len() * 2 + 1);
        for range in ranges {
            let part = ContentRange {
                range: *range,
                complete_bytes,
            };
            let head = part_head(&boundary, content_type.as_deref(), &part);
            let slices = body.slices(range.first - base, range.last - base);
            pieces.extend([MultipartPiece::Text(head), MultipartPiece::Slices(slices)]);
        }
        let end = format!("\r\n--{boundary}--\r\n");
        pieces.push_back(MultipartPiece::Text(end.into()));
        let length = pieces.iter().map(MultipartPiece::length).sum();
        Self { pieces, length }
    }

    /// Its length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }
}

impl MultipartPiece {
    fn length(&self) -> u64 {
        match self {
            Self::Text(text) => text.len() as u64,
            Self::Slices(slices) => slices.left_bytes(),
        }
    }
}

impl Iterator for Multipart {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            match self.pieces.front_mut()? {
                MultipartPiece::Text(text) => {
                    let text = std::mem::take(text);
                    self.pieces.pop_front();
                    return Some(text);
                }
                MultipartPiece::Slices(slices) => match slices.next() {
                    Some(bytes) => return Some(bytes),
                    None => {
                        self.pieces.pop_front();
                    }
                },
            }
        }
    }
}

/// The headers of a part, after the delimiter. Content-Type is copied byte for byte.
fn part_head(boundary: &str, content_type: Option<&[u8]>, part: &ContentRange) -> Bytes {
    let mut head = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(content_type) = content_type {
        head.extend_from_slice(b"Content-Type: ");
        head.extend_from_slice(content_type);
        head.extend_from_slice(b"\r\n");
    }
    let range = format!("Content-Range: {}\r\n\r\n", part.to_field_value());
    head.extend_from_slice(range.as_bytes());
    head.into()
}

/// A random delimiter, so that no stored body can be made to contain it.
fn boundary() -> String {
    let random = || RandomState::new().hash_one(0);
    let mut boundary = String::with_capacity(32);
    for _ in 0..2 {
        let _ = write!(boundary, "{:016x}", random());
    }
    boundary
}
