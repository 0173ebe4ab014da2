//! Checks the head of a request before it is parsed, and rewrites what the parser refuses and clients send.
//!
//! The parser of targets refuses characters that browsers and scripts send, and says little about what it refuses. Here such
//! a target is encoded, an absolute-form target becomes path and Host, and what is refused is refused with a sentence.

mod parse;
mod scan;
mod upgrade;

use std::{borrow::Cow, sync::LazyLock};

use actix_http::{Request, StatusCode};
use bytes::Bytes;
use memchr::memmem::Finder;

pub(super) use self::{
    parse::{ConnectionFields, parse},
    scan::HeadScan,
};
use crate::{
    error::{ProxyError, refused_head_kind},
    policy::{encoded_target, is_valid_host},
};

/// Longest head of a request as it is passed on, in bytes. Many clients may send one at the same time.
pub(super) const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The head with which HTTP/2 begins (RFC 9113, 3.4). No request of HTTP/1.1 has it.
pub(super) const HTTP2_PREFACE_HEAD: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";
/// Most header lines in a request.
const MAX_HEADER_LINES: usize = 1000;

/// What becomes of a complete head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeadVerdict {
    /// It is passed on as it came.
    Unchanged,
    /// This is passed on in its place.
    Rewritten(Vec<u8>),
    /// It is not passed on.
    Refused(HeadRefusal),
}

/// Why a request is not passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeadRefusal {
    /// It did not arrive in time.
    #[error("the request headers did not arrive in time")]
    Late,
    /// It is longer than [`MAX_HEAD_BYTES`].
    #[error("the request line and headers are larger than 64 KiB")]
    TooLarge,
    /// It has more than [`MAX_HEADER_LINES`].
    #[error("the request has more than 1,000 header lines")]
    TooManyLines,
    /// It is of HTTP/2 or a later version, or of HTTP/0.
    #[error("the request is not in HTTP/1.0 or HTTP/1.1")]
    Version,
    /// The target is neither a path nor a URL.
    #[error("the request target is not a path or a URL")]
    Target,
    /// There is no Host (RFC 9112, 3.2).
    #[error("the request has no Host header")]
    NoHost,
    /// There is more than one Host (RFC 9112, 3.2).
    #[error("the request has more than one Host header")]
    SeveralHosts,
    /// The value of Host, or the authority of the target, is invalid.
    #[error("the host of the request is not a valid name or address")]
    Host,
    /// RFC 9112, 5.1: no whitespace may stand between a field name and its colon.
    #[error("the request has a space between the name of a header and its colon")]
    SpaceBeforeColon,
    /// A TLS ClientHello.
    #[error("the client speaks TLS, and this port takes plain HTTP: use http:// for it")]
    Tls,
    /// It came without TLS to a port for TLS.
    #[error("this port takes HTTPS: use https:// for it")]
    HttpsOnly,
    /// It is to be redirected to https, and does not say to which host.
    #[error(
        "requests without TLS are redirected to https, and this one has no Host header that says where"
    )]
    NoHostForRedirect,
    /// RFC 9110, 15.5.20: the URL in the request line is of another server.
    #[error(
        "this is no forward proxy: it serves its own origins, and not the host in the URL of the request; \
         to set the origin, start caching-proxy with --origin URL"
    )]
    OtherHost,
    /// CONNECT. Its connection would carry a tunnel, whatever Content-Length and Transfer-Encoding say (RFC 9110, 9.3.6).
    #[error("{}", ProxyError::Connect)]
    Connect,
    /// Anything else.
    #[error("not an HTTP/1.1 request")]
    Malformed,
}

impl HeadRefusal {
    /// The short name of its kind, one of [`ProxyError::KINDS`].
    pub(super) fn kind(self) -> &'static str {
        match self {
            Self::HttpsOnly => "https-only",
            Self::Tls => "tls",
            _ => refused_head_kind(self.status()),
        }
    }

    /// The status of the response.
    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::Late => StatusCode::REQUEST_TIMEOUT,
            Self::TooLarge | Self::TooManyLines => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::OtherHost => StatusCode::MISDIRECTED_REQUEST,
            Self::Connect => StatusCode::METHOD_NOT_ALLOWED,
            Self::Target
            | Self::NoHost
            | Self::SeveralHosts
            | Self::Host
            | Self::SpaceBeforeColon
            | Self::Tls
            | Self::HttpsOnly
            | Self::NoHostForRedirect
            | Self::Malformed => StatusCode::BAD_REQUEST,
        }
    }
}

/// True if `bytes` begin a TLS connection (RFC 8446, 5.1): a handshake record of any version.
pub(super) fn is_tls(mut bytes: impl Iterator<Item = u8>) -> bool {
    bytes.next() == Some(0x16) && bytes.next() == Some(3) && bytes.next().is_some_and(|it| it <= 4)
}

/// The request with this head, which is complete: with the empty lines before it, and the one that ends it. `is_own` is true
/// for the scheme and authority of a URL of this proxy. Also returns the header lines; none if the head was rewritten.
///
/// # Errors
/// The head is refused.
pub(super) fn request(
    head: &Bytes,
    is_own: impl Fn(&[u8], &[u8]) -> bool,
) -> Result<(Request, ConnectionFields, &[u8]), HeadRefusal> {
    let mut request = Request::new();
    let parsed = parse(head, request.head_mut());
    let (_, lines) = split_line(head.trim_ascii_start());
    if let Ok(parsed) = &parsed
        && parsed.is_plain
    {
        return Ok((request, parsed.fields, lines));
    }
    match check(head, is_own) {
        HeadVerdict::Unchanged => parsed.map(|parsed| (request, parsed.fields, lines)),
        HeadVerdict::Rewritten(head) => {
            let mut request = Request::new();
            let parsed = parse(&head.into(), request.head_mut())?;
            Ok((request, parsed.fields, &[]))
        }
        HeadVerdict::Refused(refusal) => Err(refusal),
    }
}

/// Checks a complete head, with the empty lines before it and the one that ends it. `is_own` is true for the scheme and
/// authority of a URL of this proxy.
pub(super) fn check(head: &[u8], is_own: impl Fn(&[u8], &[u8]) -> bool) -> HeadVerdict {
    match checked(head, is_own) {
        Ok(None) => HeadVerdict::Unchanged,
        Ok(Some(rewritten)) => HeadVerdict::Rewritten(rewritten),
        Err(refusal) => HeadVerdict::Refused(refusal),
    }
}

/// The method and target of a complete head, for the log; `None` if they cannot be read.
pub(super) fn method_and_target(head: &[u8]) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
    let (line, _) = split_line(head.trim_ascii_start());
    let line = RequestLine::parse(line).ok()?;
    let text = String::from_utf8_lossy;
    Some((text(line.method), text(line.target)))
}

/// The head to pass on in the place of `head`; `None` if `head` itself is passed on.
fn checked(
    head: &[u8],
    is_own: impl Fn(&[u8], &[u8]) -> bool,
) -> Result<Option<Vec<u8>>, HeadRefusal> {
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let head = &head[start.unwrap_or(head.len())..];
    let (line, fields) = split_line(head);
    let request_line = RequestLine::parse(line)?;
    let scan = FieldScan::of(fields)?;
    let target = request_line.target()?;
    match (scan.host, target) {
        (None, _) if request_line.minor > b'0' => Err(HeadRefusal::NoHost),
        (Some(host), _) if !is_valid_host(host) => Err(HeadRefusal::Host),
        _ if request_line.method == b"CONNECT" => Err(HeadRefusal::Connect),
        // The Host that is added would be one line too many.
        (None, TargetForm::Absolute { .. }) if scan.lines == MAX_HEADER_LINES => {
            Err(HeadRefusal::TooManyLines)
        }
        (_, TargetForm::Absolute { authority, .. })
            if authority.is_empty() || !is_valid_host(authority) =>
        {
            Err(HeadRefusal::Host)
        }
        (
            _,
            TargetForm::Absolute {
                scheme, authority, ..
            },
        ) if !is_own(scheme, authority) => Err(HeadRefusal::OtherHost),
        (_, TargetForm::AsSent) if request_line.minor <= b'1' && !scan.offers_upgrade => Ok(None),
        (_, target) => {
            let fields = match scan.offers_upgrade {
                true => upgrade::without_offers(fields, request_line.minor).into(),
                false => Cow::Borrowed(fields),
            };
            request_line.rewritten(target, &fields).map(Some)
        }
    }
}

/// The first line, without its end, and what follows it.
fn split_line(head: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', head);
    let (line, rest) = match end {
        Some(end) => (&head[..end], &head[end + 1..]),
        None => (head, &head[head.len()..]),
    };
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

static SPACE_COLON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b" :"));
static TAB_COLON: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\t:"));

/// What the header lines say.
struct FieldScan<'h> {
    /// The value of Host; `None` if there is none.
    host: Option<&'h [u8]>,
    offers_upgrade: bool,
    lines: usize,
}

impl<'h> FieldScan<'h> {
    fn of(mut fields: &'h [u8]) -> Result<Self, HeadRefusal> {
        let mut scan = Self {
            host: None,
            offers_upgrade: false,
            lines: 0,
        };
        // Most heads have neither, and need not be searched line by line.
        let may_have_space = SPACE_COLON.find(fields).is_some() || TAB_COLON.find(fields).is_some();
        loop {
            let (line, rest) = split_line(fields);
            if line.is_empty() {
                return match scan.lines > MAX_HEADER_LINES {
                    true => Err(HeadRefusal::TooManyLines),
                    false => Ok(scan),
                };
            }
            if may_have_space && has_space_before_colon(line) {
                return Err(HeadRefusal::SpaceBeforeColon);
            }
            if is_host(line) && scan.host.replace(line[5..].trim_ascii()).is_some() {
                return Err(HeadRefusal::SeveralHosts);
            }
            scan.offers_upgrade |= upgrade::is_offer(line);
            scan.lines += 1;
            fields = rest;
        }
    }
}

/// RFC 9112, 5.1. A line that begins with whitespace goes on with the one before (5.2).
fn has_space_before_colon(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else {
        return false;
    };
    let name = &line[..colon];
    let is_bare = !name
        .trim_ascii_end()
        .iter()
        .any(|byte| b" \t".contains(byte));
    matches!(name, [.., b' ' | b'\t']) && is_bare
}

fn is_host(line: &[u8]) -> bool {
    matches!(
        line,
        [b'h' | b'H', b'o' | b'O', b's' | b'S', b't' | b'T', b':', ..]
    )
}

/// The first line of a request.
struct RequestLine<'h> {
    method: &'h [u8],
    target: &'h [u8],
    /// The digit after `HTTP/1.`.
    minor: u8,
}

/// What becomes of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TargetForm<'h> {
    /// It is passed on as it came.
    AsSent,
    /// Some of its characters are encoded.
    Encoded(String),
    /// RFC 9112, 3.2.2: a URL. Its authority becomes the Host. `path` may be empty, and may have characters to encode.
    Absolute {
        scheme: &'h [u8],
        authority: &'h [u8],
        path: &'h [u8],
    },
}

impl<'h> RequestLine<'h> {
    fn parse(line: &'h [u8]) -> Result<Self, HeadRefusal> {
        // Methods are too short for memchr.
        let method_end = line.iter().position(|byte| *byte == b' ');
        let method_end = method_end.ok_or(HeadRefusal::Malformed)?;
        let (method, rest) = (&line[..method_end], &line[method_end + 1..]);
        let target_end = memchr::memchr(b' ', rest).ok_or(HeadRefusal::Malformed)?;
        let (target, version) = (&rest[..target_end], &rest[target_end + 1..]);
        let minor = match version.strip_prefix(b"HTTP/").unwrap_or_default() {
            [b'1', b'.', minor @ b'0'..=b'9'] => *minor,
            [b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(HeadRefusal::Version),
            _ => return Err(HeadRefusal::Malformed),
        };
        Ok(Self {
            method,
            target,
            minor,
        })
    }

    fn target(&self) -> Result<TargetForm<'h>, HeadRefusal> {
        let target = self.target;
        match target.first() {
            Some(b'/') => {
                Ok(encoded_target(target).map_or(TargetForm::AsSent, TargetForm::Encoded))
            }
            // CONNECT is refused, whatever its target is.
            _ if target == b"*" || self.method == b"CONNECT" => Ok(TargetForm::AsSent),
            _ => absolute(target).ok_or(HeadRefusal::Target),
        }
    }

    /// The head with another target, as HTTP/1.1 if its version is higher than that.
    ///
    /// # Errors
    /// It is too large.
    fn rewritten(&self, target: TargetForm<'_>, fields: &[u8]) -> Result<Vec<u8>, HeadRefusal> {
        let mut head = Vec::with_capacity(self.target.len() + fields.len() + 64);
        head.extend_from_slice(self.method);
        head.push(b' ');
        match &target {
            TargetForm::AsSent => head.extend_from_slice(self.target),
            TargetForm::Encoded(target) => head.extend_from_slice(target.as_bytes()),
            // RFC 9112, 3.2.4.
            TargetForm::Absolute { path: [], .. } if self.method == b"OPTIONS" => head.push(b'*'),
            TargetForm::Absolute { path, .. } => {
                if !path.starts_with(b"/") {
                    head.push(b'/');
                }
                write_encoded(path, &mut head);
            }
        }
        head.extend_from_slice(b" HTTP/1.");
        head.push(self.minor.min(b'1'));
        head.extend_from_slice(b"\r\n");
        match target {
            TargetForm::Absolute { authority, .. } => write_fields(authority, fields, &mut head),
            _ => head.extend_from_slice(fields),
        }
        match head.len() > MAX_HEAD_BYTES {
            true => Err(HeadRefusal::TooLarge),
            false => Ok(head),
        }
    }
}

/// RFC 9112, 3.2.2: the parts of a URL; `None` if `target` is none.
fn absolute(target: &[u8]) -> Option<TargetForm<'_>> {
    let scheme_end = memchr::memmem::find(target, b"://")?;
    let (scheme, rest) = (&target[..scheme_end], &target[scheme_end + 3..]);
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    let authority_end = memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(authority_end);
    is_scheme.then_some(TargetForm::Absolute {
        scheme,
        authority,
        path,
    })
}

/// Writes a target with the characters encoded that it must not have.
fn write_encoded(target: &[u8], into: &mut Vec<u8>) {
    match encoded_target(target) {
        Some(encoded) => into.extend_from_slice(encoded.as_bytes()),
        None => into.extend_from_slice(target),
    }
}

/// Writes the header lines, with `host` as Host.
fn write_fields(host: &[u8], mut fields: &[u8], into: &mut Vec<u8>) {
    into.extend_from_slice(b"Host: ");
    into.extend_from_slice(host);
    into.extend_from_slice(b"\r\n");
    loop {
        let (line, rest) = split_line(fields);
        if !is_host(line) {
            into.extend_from_slice(&fields[..fields.len() - rest.len()]);
        }
        if line.is_empty() {
            return;
        }
        fields = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As [`super::check`], with every URL ours.
    fn check(head: &[u8]) -> HeadVerdict {
        super::check(head, |_, _| true)
    }

    /// What `head` becomes, as text.
    fn rewritten(head: &str) -> String {
        match check(head.as_bytes()) {
            HeadVerdict::Rewritten(rewritten) => String::from_utf8(rewritten).unwrap(),
            HeadVerdict::Unchanged => head.to_owned(),
            HeadVerdict::Refused(refusal) => panic!("{head:?} is refused: {refusal}"),
        }
    }

    #[test]
    fn a_url_becomes_its_path_and_its_host() {
        for (line, expected) in [
            ("GET http://b/c?d HTTP/1.1", "GET /c?d HTTP/1.1\r\nHost: b"),
            ("GET HTTPS://b:8 HTTP/1.1", "GET / HTTP/1.1\r\nHost: b:8"),
            (
                "GET http://b?\"c HTTP/1.1",
                "GET /?%22c HTTP/1.1\r\nHost: b",
            ),
            ("OPTIONS http://b HTTP/1.1", "OPTIONS * HTTP/1.1\r\nHost: b"),
            (
                "OPTIONS http://b/ HTTP/1.1",
                "OPTIONS / HTTP/1.1\r\nHost: b",
            ),
        ] {
            let sent = format!("{line}\r\nX: 1\r\nHOST: a\r\nY: 2\r\n\r\n");
            assert_eq!(
                rewritten(&sent),
                format!("{expected}\r\nX: 1\r\nY: 2\r\n\r\n")
            );
        }
        let without_host = rewritten("GET http://b/ HTTP/1.0\r\nX: 1\r\n\r\n");
        assert_eq!(without_host, "GET / HTTP/1.0\r\nHost: b\r\nX: 1\r\n\r\n");
    }

    #[test]
    fn a_later_minor_version_is_treated_as_http_1_1() {
        let sent = "\r\nGET /a HTTP/1.2\r\nHost: a\r\n\r\n";
        assert_eq!(rewritten(sent), "GET /a HTTP/1.1\r\nHost: a\r\n\r\n");
    }

    #[test]
    fn a_url_of_another_server_is_refused() {
        for (url, is_own) in [
            ("http://a", true),
            ("http://b", false),
            ("https://a", false),
        ] {
            let head = format!("GET {url}/x HTTP/1.1\r\nHost: a\r\n\r\n");
            let verdict = super::check(head.as_bytes(), |scheme, authority| {
                scheme == b"http" && authority == b"a"
            });
            let refused = HeadVerdict::Refused(HeadRefusal::OtherHost);
            assert_eq!(verdict != refused, is_own, "{url}");
        }
    }

    #[test]
    fn a_head_may_have_the_largest_number_of_lines() {
        let most = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "A: b\r\n".repeat(999)
        );
        assert_eq!(check(most.as_bytes()), HeadVerdict::Unchanged);
    }

    #[test]
    fn what_is_not_passed_on_is_refused_for_its_reason() {
        let many = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            "A: b\r\n".repeat(1000)
        );
        let no_room_for_host = format!("GET http://a/ HTTP/1.0\r\n{}\r\n", "A: b\r\n".repeat(1000));
        let grows = format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "\"".repeat(30_000));
        for (head, refusal) in [
            ("GET / HTTP/1.1\r\n\r\n", HeadRefusal::NoHost),
            ("GET http://a/ HTTP/1.1\r\n\r\n", HeadRefusal::NoHost),
            (&no_room_for_host, HeadRefusal::TooManyLines),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
                HeadRefusal::SeveralHosts,
            ),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", HeadRefusal::Host),
            (
                "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n",
                HeadRefusal::Host,
            ),
            (
                "GET http:///b HTTP/1.1\r\nHost: a\r\n\r\n",
                HeadRefusal::Host,
            ),
            (
                "GET http://a/ HTTP/1.1\r\nHost: u@a\r\n\r\n",
                HeadRefusal::Host,
            ),
            ("GET a/b HTTP/1.1\r\nHost: a\r\n\r\n", HeadRefusal::Target),
            ("GET 1://a HTTP/1.1\r\nHost: a\r\n\r\n", HeadRefusal::Target),
            ("PRI * HTTP/2.0\r\n\r\n", HeadRefusal::Version),
            (
                "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
                HeadRefusal::Malformed,
            ),
            (
                "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
                HeadRefusal::SpaceBeforeColon,
            ),
            (
                "GET / HTTP/1.1\r\nHost: a\r\nX\t: b\r\n\r\n",
                HeadRefusal::SpaceBeforeColon,
            ),
            ("GET / HTTP/1.1\r\nb a : a\r\n\r\n", HeadRefusal::NoHost),
            ("GET / HTTP/1.1\r\n b : a\r\n\r\n", HeadRefusal::NoHost),
            (
                "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
                HeadRefusal::Connect,
            ),
            ("CONNECT a:443 HTTP/1.1\r\n\r\n", HeadRefusal::NoHost),
            ("GET /\r\n\r\n", HeadRefusal::Malformed),
            ("\r\n", HeadRefusal::Malformed),
            (&many, HeadRefusal::TooManyLines),
            (&grows, HeadRefusal::TooLarge),
        ] {
            assert_eq!(
                check(head.as_bytes()),
                HeadVerdict::Refused(refusal),
                "{head:.60}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_plain_head_is_neither_rewritten_nor_refused(
            line in "(GET|POST|CONNECT) (http://[a-b:@]{0,4})?/?[a\"<`\u{fc}?*{]{0,5} HTTP/1.[0-2]",
            host in "(H|h)ost: ?[ab:@\\[ ]{0,4}\r\n",
            fields in "((Host|Connection|Upgrade|HTTP2-Settings|Content-Length|A):? ?(upgrade|close|4|,|a|\r| ){0,3}\r?\n){0,3}",
        ) {
            let head = format!("{line}\r\n{host}{fields}\r\n").into_bytes();
            let end = HeadScan::default().end(&head).unwrap();
            let head = Bytes::copy_from_slice(&head[..end]);
            let mut request = Request::new();
            if parse(&head, request.head_mut()).is_ok_and(|parsed| parsed.is_plain) {
                prop_assert_eq!(check(&head), HeadVerdict::Unchanged);
            }
        }

        #[test]
        fn a_rewritten_head_is_one_head_and_is_not_rewritten_again(
            target in "(http://[a-b:@]{0,4})?/?[a\"<`\u{fc}\r ?*]{0,5}",
            version in "HTTP/1.[0-3]|HTTP/2.0",
            fields in "((Host|Connection|Upgrade|A|):? ?(upgrade|h2c|websocket|close|,|a|\r| ){0,4}\r?\n){0,4}",
            before in "[\r\n]{0,2}",
        ) {
            let head = format!("{before}GET {target} {version}\r\nHost: a\r\n{fields}\r\n");
            // The fields may have an empty line among them.
            let end = HeadScan::default().end(head.as_bytes()).unwrap();
            if let HeadVerdict::Rewritten(rewritten) = check(&head.as_bytes()[..end]) {
                prop_assert_eq!(HeadScan::default().end(&rewritten), Some(rewritten.len()));
                match check(&rewritten) {
                    HeadVerdict::Unchanged => {}
                    // An Upgrade that is left.
                    HeadVerdict::Rewritten(_) => {
                        let text = String::from_utf8_lossy(&rewritten).to_ascii_lowercase();
                        prop_assert!(text.contains("upgrade: "), "{text}");
                    }
                    HeadVerdict::Refused(refusal) => prop_assert!(false, "{refusal}"),
                }
            }
        }
    }
}
