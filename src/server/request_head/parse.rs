//! A complete head as the application gets it.

use std::mem::MaybeUninit;

use actix_http::RequestHead;
use actix_web::http::{
    Method, Uri, Version,
    header::{self, HeaderName, HeaderValue},
};
use bytes::Bytes;

use super::{HeadRefusal, MAX_HEADER_LINES, upgrade::is_upgrade_option};
use crate::{
    policy::{encoded_target, is_valid_host},
    proxy::RequestFraming,
};

const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// What a head says to the connection that it came on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) struct ConnectionFields {
    /// How the body after it is framed.
    pub(in crate::server) framing: RequestFraming,
    /// The client awaits a 100 before it sends the body (RFC 9110, 10.1.1).
    pub(in crate::server) expects_continue: bool,
    /// The connection may be used again after the response (RFC 9112, 9.3).
    pub(in crate::server) keep_alive: bool,
}

/// A head that was parsed.
pub(in crate::server) struct ParsedHead {
    pub(in crate::server) fields: ConnectionFields,
    /// True if nothing of the head is to be rewritten or refused.
    pub(super) is_plain: bool,
}

/// Parses `head`, which is complete, into `parsed`, which has no headers yet. Values are not copied.
///
/// # Errors
/// It is no request, or the framing of its body is not certain.
pub(in crate::server) fn parse(
    head: &Bytes,
    parsed: &mut RequestHead,
) -> Result<ParsedHead, HeadRefusal> {
    let mut lines = [const { MaybeUninit::uninit() }; MAX_HEADER_LINES];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut lines) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(HeadRefusal::TooManyLines),
        Ok(httparse::Status::Partial) | Err(_) => return Err(HeadRefusal::Malformed),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(HeadRefusal::Malformed);
    };
    parsed.method = Method::from_bytes(method.as_bytes()).map_err(malformed)?;
    parsed.uri = Uri::from_maybe_shared(head.slice_ref(target.as_bytes())).map_err(malformed)?;
    parsed.version = match minor {
        0 => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    let mut fields = MessageFields::default();
    for line in request.headers.iter() {
        let name = HeaderName::from_bytes(line.name.as_bytes()).map_err(malformed)?;
        let value =
            HeaderValue::from_maybe_shared(head.slice_ref(line.value)).map_err(malformed)?;
        fields.read(&name, value.as_bytes(), parsed.version)?;
        parsed.headers.append(name, value);
    }
    let is_plain = fields.is_plain(&parsed.method)
        && target.starts_with('/')
        && encoded_target(target.as_bytes()).is_none();
    Ok(ParsedHead {
        fields: fields.judge(&parsed.method, parsed.version)?,
        is_plain,
    })
}

fn malformed<E>(_: E) -> HeadRefusal {
    HeadRefusal::Malformed
}

/// The fields of a head that concern its connection, as they are read.
#[derive(Default)]
struct MessageFields {
    content_length: Option<u64>,
    has_transfer_encoding: bool,
    is_chunked: bool,
    expects_continue: bool,
    says_close: bool,
    says_keep_alive: bool,
    offers_upgrade: bool,
    hosts: usize,
    has_invalid_host: bool,
}

impl MessageFields {
    fn read(
        &mut self,
        name: &HeaderName,
        value: &[u8],
        version: Version,
    ) -> Result<(), HeadRefusal> {
        match *name {
            header::CONTENT_LENGTH if self.content_length.is_some() => {
                return Err(HeadRefusal::Malformed);
            }
            header::CONTENT_LENGTH => self.content_length = Some(content_length(value)?),
            header::TRANSFER_ENCODING if self.has_transfer_encoding => {
                return Err(HeadRefusal::Malformed);
            }
            header::TRANSFER_ENCODING => {
                self.has_transfer_encoding = true;
                self.is_chunked = value.trim_ascii().eq_ignore_ascii_case(b"chunked");
            }
            header::CONNECTION => {
                for option in value.split(|byte| *byte == b',') {
                    let option = option.trim_ascii();
                    self.says_close |= option.eq_ignore_ascii_case(b"close");
                    self.says_keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
                    self.offers_upgrade |= is_upgrade_option(option);
                }
            }
            header::HOST => {
                self.hosts += 1;
                self.has_invalid_host |= !is_valid_host(value);
            }
            header::UPGRADE => self.offers_upgrade = true,
            _ if *name == HTTP2_SETTINGS => self.offers_upgrade = true,
            header::EXPECT if version >= Version::HTTP_11 => {
                self.expects_continue |= names_continue(value);
            }
            _ => {}
        }
        Ok(())
    }

    /// True if nothing of these fields is to be rewritten or refused.
    fn is_plain(&self, method: &Method) -> bool {
        !self.has_invalid_host && !self.offers_upgrade && *method != Method::CONNECT
    }

    /// RFC 9112, 6.3: what would leave the end of the body uncertain is refused.
    fn judge(&self, method: &Method, version: Version) -> Result<ConnectionFields, HeadRefusal> {
        let framing = match self.content_length {
            Some(_) if self.has_transfer_encoding => return Err(HeadRefusal::Malformed),
            _ if self.has_transfer_encoding && !self.is_chunked => {
                return Err(HeadRefusal::Malformed);
            }
            // RFC 9112, 6.1: a chunked request in HTTP/1.0 is a fault of framing.
            _ if self.is_chunked && version < Version::HTTP_11 => {
                return Err(HeadRefusal::Malformed);
            }
            // RFC 1945, 7.2.2: such a request needs a length.
            None if version < Version::HTTP_11 && *method == Method::POST => {
                return Err(HeadRefusal::Malformed);
            }
            None if self.is_chunked => RequestFraming::Chunked,
            Some(bytes) => RequestFraming::Sized(bytes),
            None => RequestFraming::None,
        };
        match self.hosts {
            0 if version >= Version::HTTP_11 => return Err(HeadRefusal::NoHost),
            0 | 1 => {}
            _ => return Err(HeadRefusal::SeveralHosts),
        }
        Ok(ConnectionFields {
            framing,
            expects_continue: self.expects_continue,
            keep_alive: !self.says_close && (version >= Version::HTTP_11 || self.says_keep_alive),
        })
    }
}

/// A length in bytes: digits, and nothing else.
fn content_length(value: &[u8]) -> Result<u64, HeadRefusal> {
    let value = value.trim_ascii();
    if !value.iter().all(u8::is_ascii_digit) {
        return Err(HeadRefusal::Malformed);
    }
    let digits = std::str::from_utf8(value).map_err(malformed)?;
    digits.parse().map_err(malformed)
}

/// True if one of the members is `100-continue`. A comma within a quoted string separates nothing.
fn names_continue(value: &[u8]) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    value
        .split(|&byte| {
            let was_escaped = std::mem::take(&mut is_escaped);
            match byte {
                _ if was_escaped => {}
                b'\\' if is_quoted => is_escaped = true,
                b'"' => is_quoted = !is_quoted,
                b',' => return !is_quoted,
                _ => {}
            }
            false
        })
        .any(|member| member.trim_ascii().eq_ignore_ascii_case(b"100-continue"))
}
