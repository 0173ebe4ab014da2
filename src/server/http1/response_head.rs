//! The head of a response, as it is written to the client.

use std::cell::RefCell;

use actix_http::{ConnectionType, ResponseHead, body::BodySize};
use actix_web::http::{Method, StatusCode, Version, header};
use bytes::{BufMut as _, BytesMut};

use crate::{clock, policy, proxy::PreparedHeaders};

/// How a client finds the end of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseFraming {
    /// There is no body.
    None,
    /// It has so many bytes.
    Sized(u64),
    /// It is sent in chunks (RFC 9112, 7.1).
    Chunked,
    /// The connection ends after it: HTTP/1.0 knows no chunks.
    UntilClose,
}

impl ResponseFraming {
    /// The framing of the body of a response to a request with this method and version (RFC 9112, 6.3).
    pub(super) fn of(
        (method, version): (&Method, Version),
        status: StatusCode,
        size: BodySize,
    ) -> Self {
        let is_bodiless = *method == Method::HEAD
            || status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        match size {
            _ if is_bodiless => Self::None,
            BodySize::None | BodySize::Sized(0) => Self::None,
            BodySize::Sized(bytes) => Self::Sized(bytes),
            BodySize::Stream if version >= Version::HTTP_11 => Self::Chunked,
            BodySize::Stream => Self::UntilClose,
        }
    }
}

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
    // RFC 9110, 8.6: a 304 may say the length that the 200 would have.
    let keeps_length = status == StatusCode::NOT_MODIFIED;
    let mut has_date = prepared.is_some_and(PreparedHeaders::has_date);
    if let Some(prepared) = prepared {
        into.put_slice(prepared.lines());
    }
    for (name, value) in &head.headers {
        match *name {
            header::CONNECTION | header::TRANSFER_ENCODING => continue,
            header::CONTENT_LENGTH if !keeps_length => continue,
            header::DATE => has_date = true,
            _ => {}
        }
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
    // RFC 9112, 6.1 and 6.2: neither field in a response to which no body belongs in any case.
    let is_bodiless = status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    match (framing, size) {
        _ if is_bodiless => {}
        (ResponseFraming::Chunked, _) => into.put_slice(b"transfer-encoding: chunked\r\n"),
        // A response to HEAD says the length of the body that a GET would get.
        (_, BodySize::Sized(bytes)) => {
            let mut buffer = [0; MAX_DIGITS];
            for part in [b"content-length: ", decimal(bytes, &mut buffer), b"\r\n"] {
                into.put_slice(part);
            }
        }
        _ => {}
    }
}

/// The most digits of a number of 64 bits.
const MAX_DIGITS: usize = 20;

/// The decimal digits of `number`, at the end of `buffer`. The formatting machinery costs ten times as much.
fn decimal(mut number: u64, buffer: &mut [u8; MAX_DIGITS]) -> &[u8] {
    let mut start = MAX_DIGITS;
    for (index, digit) in buffer.iter_mut().enumerate().rev() {
        *digit = b'0' + u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
        start = index;
        if number == 0 {
            break;
        }
    }
    &buffer[start..]
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

thread_local! {
    /// A second since the epoch, and its Date.
    static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
}

/// Writes the Date of a response that has none (RFC 9110, 6.6.1).
fn write_date(into: &mut BytesMut) {
    let now = clock::now();
    DATE.with_borrow_mut(|(second, date)| {
        if *second != now.unix_seconds() || date.is_empty() {
            *second = now.unix_seconds();
            *date = policy::imf_fixdate(now);
        }
        for part in ["date: ", date, "\r\n"] {
            into.put_slice(part.as_bytes());
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_in_decimal() {
        for number in [0, 7, 10, 1024, 99_999, u64::MAX] {
            let mut buffer = [0; MAX_DIGITS];
            let digits = decimal(number, &mut buffer);
            assert_eq!(digits, number.to_string().as_bytes());
        }
    }
}
