//! The headers of a request to the origin.

use std::{cell::OnceCell, ops::Deref, rc::Rc};

use actix_web::http::header::{self, HeaderMap, HeaderValue};

use crate::headers::write_header_line;

/// The headers of a request. Clones are the same headers, until one is changed. They are written once for all requests that
/// have them.
#[derive(Clone, Debug, Default)]
pub struct RequestHeaders(Rc<Headers>);

#[derive(Debug, Default)]
struct Headers {
    map: HeaderMap,
    /// Unset before a request is written.
    lines: OnceCell<RequestLines>,
}

impl Clone for Headers {
    /// The lines are not copied: a copy is made to be changed.
    fn clone(&self) -> Self {
        Self {
            map: self.map.clone(),
            lines: OnceCell::new(),
        }
    }
}

/// The lines of headers as they are written.
#[derive(Debug, Default)]
pub(super) struct RequestLines {
    /// Each with its end. Those that frame the body, Connection and Expect are not among them.
    pub(super) bytes: Vec<u8>,
    /// Host is among them.
    pub(super) has_host: bool,
    /// Upgrade is among them.
    pub(super) has_upgrade: bool,
    /// They authenticate the connection, which must not be used for other requests.
    pub(super) binds_connection: bool,
}

impl RequestHeaders {
    /// The headers, to be changed. Clones stay as they are.
    pub fn make_mut(&mut self) -> &mut HeaderMap {
        let headers = Rc::make_mut(&mut self.0);
        headers.lines.take();
        &mut headers.map
    }

    /// Their lines.
    pub(super) fn lines(&self) -> &RequestLines {
        self.0.lines.get_or_init(|| RequestLines::of(&self.0.map))
    }
}

impl From<HeaderMap> for RequestHeaders {
    fn from(map: HeaderMap) -> Self {
        Self(Rc::new(Headers {
            map,
            lines: OnceCell::new(),
        }))
    }
}

impl Deref for RequestHeaders {
    type Target = HeaderMap;

    fn deref(&self) -> &HeaderMap {
        &self.0.map
    }
}

impl RequestLines {
    fn of(headers: &HeaderMap) -> Self {
        let mut lines = Self::default();
        for (name, value) in headers {
            match *name {
                header::CONNECTION
                | header::CONTENT_LENGTH
                | header::TRANSFER_ENCODING
                | header::EXPECT => continue,
                header::HOST => lines.has_host = true,
                header::UPGRADE => lines.has_upgrade = true,
                header::AUTHORIZATION => lines.binds_connection |= authenticates_connection(value),
                _ => {}
            }
            write_header_line(&mut lines.bytes, name, value);
        }
        lines
    }
}

/// True for the schemes that authenticate a connection and not a request (RFC 4559).
fn authenticates_connection(authorization: &HeaderValue) -> bool {
    let scheme = authorization.as_bytes().split(|byte| *byte == b' ').next();
    scheme.is_some_and(|scheme| {
        scheme.eq_ignore_ascii_case(b"ntlm") || scheme.eq_ignore_ascii_case(b"negotiate")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changed_headers_are_written_anew_and_their_clones_stay_as_they_are() {
        let mut headers = RequestHeaders::default();
        headers
            .make_mut()
            .insert(header::HOST, HeaderValue::from_static("one"));
        assert_eq!(headers.lines().bytes, b"host: one\r\n");
        headers
            .make_mut()
            .insert(header::HOST, HeaderValue::from_static("two"));
        assert_eq!(headers.lines().bytes, b"host: two\r\n");
        let same = headers.clone();
        assert!(std::ptr::eq(headers.lines(), same.lines()));
        headers.make_mut().clear();
        assert!(headers.lines().bytes.is_empty() && !headers.lines().has_host);
        assert_eq!(same.lines().bytes, b"host: two\r\n");
    }
}
