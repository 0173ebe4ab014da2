//! Several ranges of a stored body in one answer (RFC 9110, 14.6).

use std::{
    collections::VecDeque,
    fmt::Write as _,
    hash::{BuildHasher as _, RandomState},
};

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use bytes::Bytes;

use crate::{
    cache::{Body, Slices},
    policy::{ByteRange, ContentRange},
};

/// The body of a `multipart/byteranges` answer.
pub(crate) struct Multipart {
    sections: VecDeque<MultipartPiece>,
    length: u64,
}

enum MultipartPiece {
    Text(Bytes),
    Slices(Slices),
}

impl Multipart {
    /// Makes one part of each of `extents`, places in a representation of which `body` holds the bytes from `base` on.
    /// `fields` are those of the whole answer: their Content-Type goes into the parts, and one that names the boundary
    /// takes its place.
    pub(crate) fn new(
        body: &Body,
        base: u64,
        complete_bytes: Option<u64>,
        extents: &[ByteRange],
        fields: &mut HeaderMap,
    ) -> Self {
        let boundary = boundary();
        let content_type = fields.get(header::CONTENT_TYPE).cloned();
        if let Ok(value) =
            HeaderValue::try_from(format!("multipart/byteranges; boundary={boundary}"))
        {
            fields.insert(header::CONTENT_TYPE, value);
        }
        let mut sections = VecDeque::with_capacity(extents.len() * 2 + 1);
        for extent in extents {
            let part = ContentRange {
                range: *extent,
                complete_bytes,
            };
            let lead = lead(&boundary, content_type.as_ref(), &part);
            let slices = body.slices(extent.first - base, extent.last - base);
            sections.extend([MultipartPiece::Text(lead), MultipartPiece::Slices(slices)]);
        }
        let end = format!("\r\n--{boundary}--\r\n");
        sections.push_back(MultipartPiece::Text(end.into()));
        let length = sections.iter().map(MultipartPiece::length).sum();
        Self { sections, length }
    }

    /// How many bytes it has.
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
            match self.sections.front_mut()? {
                MultipartPiece::Text(text) => {
                    let text = std::mem::take(text);
                    self.sections.pop_front();
                    return Some(text);
                }
                MultipartPiece::Slices(slices) => match slices.next() {
                    Some(bytes) => return Some(bytes),
                    None => {
                        self.sections.pop_front();
                    }
                },
            }
        }
    }
}

/// What stands before the bytes of a part. The type goes in as it came, whatever bytes it is made of.
fn lead(boundary: &str, content_type: Option<&HeaderValue>, part: &ContentRange) -> Bytes {
    let mut lead = format!("\r\n--{boundary}\r\n").into_bytes();
    if let Some(content_type) = content_type {
        lead.extend_from_slice(b"content-type: ");
        lead.extend_from_slice(content_type.as_bytes());
        lead.extend_from_slice(b"\r\n");
    }
    let place = format!("content-range: {}\r\n\r\n", part.to_field_value());
    lead.extend_from_slice(place.as_bytes());
    lead.into()
}

/// A delimiter that no stored body can have been made to contain: it is random.
fn boundary() -> String {
    let random = || RandomState::new().hash_one(0);
    let mut boundary = String::with_capacity(32);
    for _ in 0..2 {
        let _ = write!(boundary, "{:016x}", random());
    }
    boundary
}
