//! The head of a response, as it is written to the client.

use actix_http::{ConnectionType, ResponseHead, body::BodySize};
use actix_web::http::{StatusCode, Version, header};
use bytes::{BufMut as _, BytesMut};

use crate::{
    proxy::SentHeaders,
    server::{
        content::{ResponseFraming, content_length, is_written_by_server},
        date::date,
    },
};

/// Writes the head of a response whose body has `size`: with `sent`, and the headers of `head` after them. `keep_alive` is true
/// if the connection is used again.
pub(super) fn write(
    into: &mut BytesMut,
    (sent, head): (&SentHeaders, &ResponseHead),
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
    let mut has_date = sent.own.contains(&header::DATE) || head.headers.contains_key(header::DATE);
    if let Some(prepared) = &sent.prepared {
        has_date |= prepared.has_date();
        into.put_slice(prepared.lines());
    }
    let own = sent.own.written(|name| is_written_by_server(name, status));
    own.for_each(|lines| into.put_slice(lines));
    for (name, value) in &head.headers {
        if !is_written_by_server(name.as_str().as_bytes(), status) {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                into.put_slice(part);
            }
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
        into.put_slice(b"Transfer-Encoding: chunked\r\n");
    }
    if let Some(bytes) = content_length(status, size) {
        let mut digits = itoa::Buffer::new();
        let digits = digits.format(bytes).as_bytes();
        for part in [b"Content-Length: ", digits, b"\r\n"] {
            into.put_slice(part);
        }
    }
}

fn write_connection(into: &mut BytesMut, kind: ConnectionType, version: Version, keep_alive: bool) {
    if kind == ConnectionType::Upgrade {
        into.put_slice(b"Connection: upgrade\r\n");
    } else if !keep_alive && version >= Version::HTTP_11 {
        into.put_slice(b"Connection: close\r\n");
    } else if keep_alive && version < Version::HTTP_11 {
        into.put_slice(b"Connection: keep-alive\r\n");
    }
}

/// Writes the Date of a response that has none (RFC 9110, 6.6.1).
fn write_date(into: &mut BytesMut) {
    for part in [b"Date: ", &*date(), b"\r\n"] {
        into.put_slice(part);
    }
}
