//! Interim (1xx) responses on their way from the origin to the client whose request brought them about.

use actix_web::{
    HttpRequest,
    http::{
        StatusCode, Version,
        header::{HeaderMap, HeaderValue},
    },
};

use crate::{headers, origin::InterimSink, proxy::connection::ActiveRequest};

/// Who would be told of interim responses. Costs nothing until a request goes forward.
#[derive(Clone, Copy)]
pub(crate) struct InterimRelay<'a> {
    pub(crate) request: &'a HttpRequest,
    pub(crate) busy: &'a ActiveRequest,
    /// Our own member of Via.
    pub(crate) via: &'a HeaderValue,
}

impl InterimRelay<'_> {
    /// What the origin's interim responses are handed to. None: the client would not understand them (RFC 9110, 15.2).
    pub(crate) fn sink(&self) -> Option<InterimSink> {
        if self.request.version() < Version::HTTP_11 {
            return None;
        }
        let listener = self.busy.listen()?;
        let via = self.via.clone();
        Some(InterimSink::new(move |status, mut fields| {
            headers::remove_hop_by_hop(&mut fields);
            headers::append_via(&mut fields, &via);
            listener.tell(&head(status, &fields));
        }))
    }
}

/// The head as it is written; values byte for byte.
fn head(status: StatusCode, fields: &HeaderMap) -> Vec<u8> {
    let reason = match status.as_u16() {
        103 => "Early Hints",
        _ => status.canonical_reason().unwrap_or_default(),
    };
    let mut head = format!("HTTP/1.1 {} {reason}\r\n", status.as_u16()).into_bytes();
    for (name, value) in fields {
        headers::write_header_line(&mut head, name, value);
    }
    head.extend_from_slice(b"\r\n");
    head
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;

    use super::*;

    #[test]
    fn a_head_is_written_byte_for_byte() {
        let mut fields = HeaderMap::new();
        for value in [&b"</a>"[..], b"</\xfc>"] {
            let value = HeaderValue::from_bytes(value).unwrap();
            fields.append(HeaderName::from_static("link"), value);
        }
        for (code, line) in [
            (102, "102 Processing"),
            (103, "103 Early Hints"),
            (199, "199 "),
        ] {
            let status = StatusCode::from_u16(code).unwrap();
            let line = format!("HTTP/1.1 {line}\r\n");
            let rest = b"link: </a>\r\nlink: </\xfc>\r\n\r\n";
            assert_eq!(head(status, &fields), [line.as_bytes(), rest].concat());
        }
    }
}
