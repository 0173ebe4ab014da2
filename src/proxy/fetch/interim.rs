//! Interim (1xx) responses: from the origin to the client whose request caused them.

use actix_web::{
    HttpRequest,
    http::{StatusCode, Version, header},
};

use crate::{
    headers::{OwnVia, ResponseHeaders},
    origin::{Expectation, InterimSink},
    proxy::connection::Connection,
};

/// The client that would receive interim responses. It costs nothing until a request is forwarded.
#[derive(Clone, Copy)]
pub(crate) struct InterimRelay<'a> {
    pub(crate) request: &'a HttpRequest,
    pub(crate) connection: &'a Connection,
    /// Our own member of Via.
    pub(crate) via: &'a OwnVia,
}

impl InterimRelay<'_> {
    /// What the client expects before it sends its body; nothing if it was told to send it.
    pub(crate) fn expectation(&self) -> Expectation {
        match self.connection.awaits_continue() {
            true => Expectation::Continue,
            false => Expectation::Nothing,
        }
    }

    /// Where the origin's interim responses go; `None` if the client does not understand them (RFC 9110, 15.2).
    pub(crate) fn sink(&self) -> Option<InterimSink> {
        if self.request.version() < Version::HTTP_11 {
            return None;
        }
        let sender = self.connection.interim_sender();
        // HTTP/1.0 has no interim responses.
        let via = self.via.of(Version::HTTP_11).clone();
        Some(InterimSink::new(move |status, mut headers| {
            crate::headers::remove_hop_by_hop(&mut headers);
            headers.append(&header::VIA, &via);
            sender.send(status, &head(status, &headers));
        }))
    }
}

/// Status line and headers as they are sent; values byte for byte.
fn head(status: StatusCode, headers: &ResponseHeaders) -> Vec<u8> {
    let reason = match status.as_u16() {
        103 => "Early Hints",
        _ => status.canonical_reason().unwrap_or_default(),
    };
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in headers.iter() {
        crate::headers::write_line(&mut head, name, value);
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_written_byte_for_byte() {
        let lines = [(&b"Link"[..], &b"</a>"[..]), (b"link", b"</\xfc>")];
        let headers = ResponseHeaders::from_iter(lines);
        for (code, line) in [
            (102, "102 Processing"),
            (103, "103 Early Hints"),
            (199, "199 "),
        ] {
            let status = StatusCode::from_u16(code).unwrap();
            let line = format!("HTTP/1.1 {line}\r\n");
            let rest = b"Link: </a>\r\nlink: </\xfc>\r\n\r\n";
            assert_eq!(head(status, &headers), [line.as_bytes(), rest].concat());
        }
    }
}
