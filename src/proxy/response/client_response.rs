//! The response to a client, before it is sent.

use std::{cell::OnceCell, rc::Rc, time::Duration};

use actix_web::{body::BodySize, http::StatusCode};
use bytes::Bytes;

use crate::{
    cache::{FileBody, Slices},
    headers::{CacheStatus, ResponseHeaders},
    origin::SwitchedConnection,
    proxy::{
        hit::multipart::Multipart,
        response::{counted_body::CountedBody, streamed_body::StreamedBody},
    },
};

/// The response to a client.
pub(crate) struct ClientResponse {
    pub(crate) status: StatusCode,
    /// Its end-to-end headers, after those of [`ResponseBody::Prepared`] if it has that body.
    pub(crate) headers: ResponseHeaders,
    pub(crate) body: ResponseBody,
    pub(crate) cache_status: CacheStatus,
    /// What went wrong, for the log; `None` if nothing did.
    pub(crate) problem: Option<String>,
}

impl ClientResponse {
    /// Makes it a response for a HEAD. What the body would be made of is let go at once.
    pub(crate) fn remove_body(&mut self) {
        self.body = ResponseBody::Announced(self.body.size());
    }
}

/// Header lines that many responses share, as they are sent.
#[derive(Debug)]
pub struct PreparedHeaders {
    lines: Vec<u8>,
    has_date: bool,
    /// The same for HTTP/2; unset before it is asked for.
    fields: OnceCell<http::HeaderMap>,
}

impl PreparedHeaders {
    /// These lines, each with its end. `has_date` is true if Date is among them.
    pub(crate) fn new(lines: Vec<u8>, has_date: bool) -> Self {
        Self {
            lines,
            has_date,
            fields: OnceCell::new(),
        }
    }

    /// The lines, each with its end.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// What `make` makes of the lines. It is called once.
    pub fn fields(&self, make: impl FnOnce(&[u8]) -> http::HeaderMap) -> &http::HeaderMap {
        self.fields.get_or_init(|| make(&self.lines))
    }

    /// True if Date is among them.
    pub fn has_date(&self) -> bool {
        self.has_date
    }
}

/// The headers of a response as the server sends them.
#[derive(Default)]
pub struct SentHeaders {
    /// Lines that precede the others; `None` if there are none.
    pub prepared: Option<Rc<PreparedHeaders>>,
    /// The others.
    pub own: ResponseHeaders,
}

/// Where the bytes of a response come from.
pub(crate) enum ResponseBody {
    /// There are none.
    Empty,
    /// A sentence of the proxy's own.
    Sentence(String),
    /// Another body of the proxy's own. The headers describe it.
    Generated(Bytes),
    /// The body of the response to a GET, of this size, which a HEAD does not get.
    Announced(BodySize),
    /// A stored body in one piece, with the complete headers.
    Prepared(Bytes, Rc<PreparedHeaders>),
    /// A stored body, or a part of one.
    Stored(Slices),
    /// A stored body in a file, or a part of one.
    InFile(Box<FileBody>),
    /// Several ranges of a stored body.
    Multipart(Multipart),
    /// A body that is being stored while it arrives.
    Streamed(Box<StreamedBody>),
    /// A body of the origin that is not stored.
    Forwarded(Box<CountedBody>, BodySize),
    /// A tunnel, and how long it may be quiet.
    Tunnel(Box<SwitchedConnection>, Duration),
}

impl ResponseBody {
    /// The size of the body.
    pub(crate) fn size(&self) -> BodySize {
        match self {
            Self::Empty => BodySize::Sized(0),
            Self::Sentence(text) => BodySize::Sized(text.len() as u64),
            Self::Generated(bytes) | Self::Prepared(bytes, _) => {
                BodySize::Sized(bytes.len() as u64)
            }
            Self::Stored(slices) => BodySize::Sized(slices.left_bytes()),
            Self::InFile(body) => BodySize::Sized(body.length()),
            Self::Multipart(parts) => BodySize::Sized(parts.length()),
            Self::Streamed(body) => body.length().map_or(BodySize::Stream, BodySize::Sized),
            Self::Forwarded(_, size) | Self::Announced(size) => *size,
            Self::Tunnel(..) => BodySize::Stream,
        }
    }
}
