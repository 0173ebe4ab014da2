//! The head of a response, as it is written to the client.

use actix_http::{ConnectionType, ResponseHead, body::BodySize};
use actix_web::http::{StatusCode, Version, header};
use bytes::{BufMut as _, BytesMut};

use crate::{
    proxy::PreparedHeaders,
    server::{
        content::{ResponseFraming, content_length, is_written_by_server},
        date::date,
    },
};

/// The status and the headers of a response.
pub(super) struct HeaderLines<'a> {
    /// Lines that precede the headers of `head`; `None` if there are none.
    pub(super) prepared: Option<&'a PreparedHeaders>,
    pub(super) head: &'a ResponseHead,
}

/// Writes the head of a response whose body has `size`. `keep_alive` is true if the connection is used again.
pub(super) fn write(
    into: &mut BytesMut,
    HeaderLines { prepared, head }: HeaderLines<'_>,
    version: Version,
    (size, framing): (BodySize, ResponseFraming),
    keep_alive: bool,
) {
    let status = head.status;
    into.put_slice(match version >= Version::HTTP_11 {
        true => b"HTTP/1.1 ",
        false => b"HTTP/1.0 ",
    });
    into.put_slice(status.as_str().as_bytes());
    into.put_u8(b' ');
    into.put_slice(status.canonical_reason().unwrap_or_default().as_bytes());
    into.put_slice(b"\r\n");
    let mut has_date = prepared.is_some_and(PreparedHeaders::has_date);
    if let Some(prepared) = prepared {
        into.put_slice(prepared.lines());
    }
    for (name, value) in &head.headers {
        if is_written_by_server(name, status) {
            continue;
        }
        has_date |= *name == header::DATE;
        for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
            into.put_slice(part);
        }
    }
    if !has_date {
        write_date(into);
    }
    write_length(into, status, size, framing);
    write_connection(into, head.connection_type(), version, keep_alive);
    into.put_slice(b"\r\n");
}

fn write_length(into: &mut BytesMut, status: StatusCode, size: BodySize, framing: ResponseFraming) {
    if framing == ResponseFraming::Chunked {
        into.put_slice(b"transfer-encoding: chunked\r\n");
    }
    if let Some(bytes) = content_length(status, size) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(bytes).as_bytes();
        for part in [b"content-length: ", digits, b"\r\n"] {
            into.put_slice(part);
        }
    }
}

fn write_connection(into: &mut BytesMut, kind: ConnectionType, version: Version, keep_alive: bool) {
    if kind == ConnectionType::Upgrade {
        into.put_slice(b"connection: upgrade\r\n");
    } else if !keep_alive && version >= Version::HTTP_11 {
        into.put_slice(b"connection: close\r\n");
    } else if keep_alive && version < Version::HTTP_11 {
        into.put_slice(b"connection: keep-alive\r\n");
    }
}

/// Writes the Date of a response that has none (RFC 9110, 6.6.1).
fn write_date(into: &mut BytesMut) {
    for part in [b"date: ", &*date(), b"\r\n"] {
        into.put_slice(part);
    }
}
