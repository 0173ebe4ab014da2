//! Parses the heads of responses, and finds how their bodies are framed (RFC 9112, 4 to 6). No I/O.

use std::{borrow::Cow, mem::MaybeUninit, sync::LazyLock};

use actix_web::http::{
    Method, StatusCode, Version,
    header::{self, HeaderName, HeaderValue},
};

use memchr::memmem::Finder;

use super::malformed::Malformed;
use crate::headers::{ResponseHeaders, is_name};

/// Longest head of a response, interim responses before it included, in bytes.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Most header lines in one head.
const MAX_HEADERS: usize = 1000;
/// Room for what the proxy adds to the headers of a response: X-Cache, Cache-Status, Via, Age. The second is in bytes.
const MAX_ADDED_HEADERS: usize = 4;
const MAX_ADDED_BYTES: usize = 160;
/// Most interim (1xx) responses before the final one.
pub(super) const MAX_INTERIM_RESPONSES: u16 = 32;

/// How a response's body is framed (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFraming {
    /// No body: HEAD, 204, 304.
    None,
    /// By its length in bytes.
    Length(u64),
    /// By the chunked transfer coding.
    Chunked,
    /// By the end of the connection.
    UntilClose,
}

/// Whether the connection may carry another request after this one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    Reusable,
    Close,
}

/// The head of a final response.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub(super) version: Version,
    pub(super) headers: ResponseHeaders,
    pub(super) framing: BodyFraming,
    pub(super) persistence: Persistence,
}

impl ResponseHead {
    /// The head of a 101, after which HTTP ends on the connection.
    fn switching(headers: ResponseHeaders) -> Self {
        Self {
            status: StatusCode::SWITCHING_PROTOCOLS,
            version: Version::HTTP_11,
            headers,
            framing: BodyFraming::None,
            persistence: Persistence::Close,
        }
    }
}

/// Which other protocol a request offers (RFC 9110, 7.8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum UpgradeOffer {
    /// None.
    #[default]
    Nothing,
    /// WebSocket (RFC 6455).
    WebSocket,
}

impl UpgradeOffer {
    /// The head of a 101 with these headers, to a request with this offer.
    ///
    /// # Errors
    /// The offer does not have the protocol that the 101 switches to.
    pub(super) fn accepted(self, headers: ResponseHeaders) -> Result<ResponseHead, Malformed> {
        if self == Self::Nothing {
            return Err(Malformed::Upgrade);
        }
        let mut protocols = members(&headers, &header::UPGRADE);
        match (protocols.next(), protocols.next()) {
            (Some(protocol), None) if protocol.eq_ignore_ascii_case(b"websocket") => {
                drop(protocols);
                Ok(ResponseHead::switching(headers))
            }
            _ => Err(Malformed::OtherProtocol),
        }
    }
}

/// The head at the beginning of a buffer.
#[derive(Debug)]
pub(super) enum Parsed {
    /// It is not complete.
    Partial,
    /// An interim response (RFC 9110, 15.2), `head_bytes` long.
    Interim {
        status: StatusCode,
        headers: ResponseHeaders,
        head_bytes: usize,
    },
    /// A 101 (Switching Protocols); the other protocol begins after `head_bytes`.
    Switching {
        headers: ResponseHeaders,
        head_bytes: usize,
    },
    /// The final response; its body begins after `head_bytes`.
    Final {
        head: ResponseHead,
        head_bytes: usize,
    },
}

/// The end of a line, and an empty line after it.
static EMPTY_LINE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\r\n"));
static EMPTY_LINE_WITHOUT_CR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\n\n"));

/// Where the first head in `bytes` ends. An earlier search of the first `searched_bytes` did not find the end.
pub(super) fn head_end(bytes: &[u8], searched_bytes: usize) -> Option<usize> {
    let start = searched_bytes.saturating_sub(3);
    let bytes = bytes.get(start..)?;
    let end = EMPTY_LINE.find(bytes).map(|at| at + 3);
    // RFC 9112, 2.2: a line may end without CR.
    let without_cr = EMPTY_LINE_WITHOUT_CR.find(&bytes[..end.unwrap_or(bytes.len())]);
    let end = without_cr.map(|at| at + 2).or(end);
    end.map(|end| start + end)
}

/// RFC 8446, 5.1: an alert record of any version.
fn is_tls_alert(bytes: &[u8]) -> bool {
    matches!(bytes, [0x15, 3, 0..=4, ..])
}

/// Parses the head at the beginning of `bytes`, of a response to a request with `method`.
pub(super) fn parse_head(
    bytes: &[u8],
    searched_bytes: usize,
    method: &Method,
) -> Result<Parsed, Malformed> {
    let Some(end) = head_end(bytes, searched_bytes) else {
        return if bytes.len() > MAX_HEAD_BYTES {
            Err(Malformed::TooLarge)
        } else if is_tls_alert(bytes) {
            Err(Malformed::Tls)
        } else {
            Ok(Parsed::Partial)
        };
    };
    if end > MAX_HEAD_BYTES {
        return Err(Malformed::TooLarge);
    }
    let head = as_known_version(&bytes[..end]);
    let mut fields = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut []);
    let parsed = parser().parse_response_with_uninit_headers(&mut response, &head, &mut fields);
    let head_bytes = match parsed {
        Ok(httparse::Status::Complete(head_bytes)) => head_bytes,
        Err(httparse::Error::TooManyHeaders) => return Err(Malformed::TooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Malformed::Head),
    };
    let code = response.code.ok_or(Malformed::Head)?;
    let status = StatusCode::from_u16(code).map_err(|_| Malformed::Head)?;
    let (headers, framing) = received_headers(response.headers, head.len())?;
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Parsed::Switching {
            headers,
            head_bytes,
        });
    }
    if status.is_informational() {
        return Ok(Parsed::Interim {
            status,
            headers,
            head_bytes,
        });
    }
    let minor = response.version.unwrap_or(0);
    let head = final_head((status, minor), headers, framing, method)?;
    Ok(Parsed::Final { head, head_bytes })
}

/// RFC 9110, 2.5: a later minor version is treated as the highest one that is known, HTTP/1.1.
fn as_known_version(head: &[u8]) -> Cow<'_, [u8]> {
    let minor = b"HTTP/1.".len();
    if !head.starts_with(b"HTTP/1.") || !matches!(head.get(minor), Some(b'2'..=b'9')) {
        return Cow::Borrowed(head);
    }
    let mut head = head.to_owned();
    head[minor] = b'1';
    Cow::Owned(head)
}

fn parser() -> httparse::ParserConfig {
    let mut config = httparse::ParserConfig::default();
    // RFC 9112, 5.1: a proxy MUST remove any such whitespace from a response message.
    config.allow_spaces_after_header_name_in_responses(true);
    // RFC 9112, 5.2: a proxy MUST either discard the message or replace each received obs-fold with spaces.
    config.allow_obsolete_multiline_headers_in_responses(true);
    config
}

/// The fields that say how a message is framed, and whether its connection persists.
#[derive(Clone, Copy, Default)]
struct FramingFields {
    has_connection: bool,
    has_transfer_encoding: bool,
    length: DeclaredLength,
}

impl FramingFields {
    fn note(&mut self, name: &[u8], value: &[u8]) {
        if is_name(name, &header::CONTENT_LENGTH) {
            self.length = self.length.with_line(value);
        }
        self.has_connection |= is_name(name, &header::CONNECTION);
        self.has_transfer_encoding |= is_name(name, &header::TRANSFER_ENCODING);
    }
}

/// The headers of a head that has so many bytes.
fn received_headers(
    fields: &[httparse::Header<'_>],
    head_bytes: usize,
) -> Result<(ResponseHeaders, FramingFields), Malformed> {
    let mut headers = ResponseHeaders::with_capacity(
        fields.len() + MAX_ADDED_HEADERS,
        head_bytes + MAX_ADDED_BYTES,
    );
    let mut framing = FramingFields::default();
    for field in fields {
        let name = field.name.as_bytes();
        let mut value = Cow::Borrowed(field.value);
        if headers.append_parsed(name, &value).is_none() {
            value = unfolded(&value).into();
            let added = headers.append_parsed(name, &value);
            added.ok_or(Malformed::Head)?;
        }
        framing.note(name, &value);
    }
    Ok((headers, framing))
}

/// The lines of a folded value, with spaces in place of the line breaks.
fn unfolded(value: &[u8]) -> Vec<u8> {
    let lines = value.split(|&byte| byte == b'\n').map(<[u8]>::trim_ascii);
    let lines = lines.filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(&b' ')
}

/// RFC 9112, 6.3, in its order.
fn final_head(
    (status, minor): (StatusCode, u8),
    mut headers: ResponseHeaders,
    fields: FramingFields,
    method: &Method,
) -> Result<ResponseHead, Malformed> {
    let is_closed = fields.has_connection && has_token(&headers, &header::CONNECTION, "close");
    // RFC 9112, 9.3: HTTP/1.0 persists only on request, and we do not request it.
    let mut persistence = match minor == 0 || is_closed {
        true => Persistence::Close,
        false => Persistence::Reusable,
    };
    // 1. HEAD, 1xx, 204 and 304 end with their head. Their headers describe another message.
    let bodiless = matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let framing = if bodiless || method == Method::HEAD {
        BodyFraming::None
    } else if fields.has_transfer_encoding {
        // 3. Transfer-Encoding overrides Content-Length. A message with both can be an attempt at request smuggling:
        // the length is removed, and the connection is not used again.
        let coding = transfer_coding(&headers)?;
        if !matches!(fields.length, DeclaredLength::None) || minor == 0 {
            persistence = Persistence::Close;
        }
        match coding {
            BodyFraming::None => framing_by_length(fields.length, &mut headers)?,
            coding => {
                headers.remove(&header::CONTENT_LENGTH);
                coding
            }
        }
    } else {
        // 5. and 6.; 8. without either the body ends with the connection.
        framing_by_length(fields.length, &mut headers)?
    };
    if framing == BodyFraming::UntilClose {
        persistence = Persistence::Close;
    }
    let version = match minor {
        0 => Version::HTTP_10,
        _ => Version::HTTP_11,
    };
    Ok(ResponseHead {
        status,
        version,
        headers,
        framing,
        persistence,
    })
}

/// The framing of a body by its length, which becomes one number in the headers.
fn framing_by_length(
    length: DeclaredLength,
    headers: &mut ResponseHeaders,
) -> Result<BodyFraming, Malformed> {
    match length {
        DeclaredLength::None => Ok(BodyFraming::UntilClose),
        DeclaredLength::Invalid => Err(Malformed::ContentLength),
        DeclaredLength::Bytes { bytes, is_plain } => {
            if !is_plain {
                headers.insert(&header::CONTENT_LENGTH, &HeaderValue::from(bytes));
            }
            Ok(BodyFraming::Length(bytes))
        }
    }
}

/// The framing that Transfer-Encoding names; [`BodyFraming::None`] if it names none (or `identity`, which is obsolete).
fn transfer_coding(headers: &ResponseHeaders) -> Result<BodyFraming, Malformed> {
    let codings: Vec<&[u8]> = members(headers, &header::TRANSFER_ENCODING).collect();
    match codings.as_slice() {
        [] => Ok(BodyFraming::None),
        [only] if only.eq_ignore_ascii_case(b"identity") => Ok(BodyFraming::None),
        [only] if only.eq_ignore_ascii_case(b"chunked") => Ok(BodyFraming::Chunked),
        // RFC 9112, 7: the request names no other coding in TE. The client would get coded bytes as if they were content.
        _ => Err(Malformed::TransferEncoding),
    }
}

/// What Content-Length says.
#[derive(Clone, Copy, Default)]
enum DeclaredLength {
    /// It is not there.
    #[default]
    None,
    Bytes {
        bytes: u64,
        /// It is one number as it is usually written, and no list.
        is_plain: bool,
    },
    Invalid,
}

impl DeclaredLength {
    /// The same with one more line. RFC 9112, 6.3: a list of equal decimal values counts as one; any other list is an
    /// unrecoverable error.
    fn with_line(self, line: &[u8]) -> Self {
        let mut members = line.split(|&byte| byte == b',');
        members
            .try_fold(self, |length, member| {
                let bytes = decimal(member.trim_ascii())?;
                match length {
                    Self::None => Some(Self::Bytes {
                        bytes,
                        is_plain: is_plain_number(line),
                    }),
                    Self::Bytes { bytes: earlier, .. } => {
                        (earlier == bytes).then_some(Self::Bytes {
                            bytes,
                            is_plain: false,
                        })
                    }
                    Self::Invalid => None,
                }
            })
            .unwrap_or(Self::Invalid)
    }
}

/// True for digits without zeros before them.
fn is_plain_number(text: &[u8]) -> bool {
    text == b"0" || (!text.starts_with(b"0") && text.iter().all(u8::is_ascii_digit))
}

/// Digits only: no sign, no space.
fn decimal(text: &[u8]) -> Option<u64> {
    let (first, rest) = text.split_first()?;
    let digit = |byte: u8| byte.is_ascii_digit().then(|| u64::from(byte - b'0'));
    rest.iter().try_fold(digit(*first)?, |number, byte| {
        number.checked_mul(10)?.checked_add(digit(*byte)?)
    })
}

fn members<'a>(
    headers: &'a ResponseHeaders,
    name: &'a HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    headers
        .get_all(name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|member| !member.is_empty())
}

fn has_token(headers: &ResponseHeaders, name: &HeaderName, token: &str) -> bool {
    members(headers, name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
}
