//! Heads: the one written to the origin, and the final one among those it sends.

use actix_http::{RequestHead, body::BodySize};
use actix_web::http::{
    Method, StatusCode,
    header::{self, HeaderValue},
};
use bytes::{Buf, Bytes, BytesMut};

use crate::headers::write_header_line;

use super::{
    Expectation, OriginUrl,
    framing::{self, MAX_HEAD_BYTES, MAX_INTERIM_RESPONSES, Parsed, ResponseHead, UpgradeOffer},
    malformed::Malformed,
    transfer::{InterimSink, TransferRequest},
    upload::write_body_header,
};

/// Initial capacity for the head of a request, in bytes.
const USUAL_REQUEST_HEAD_BYTES: usize = 768;

/// Finds the head of the final response in the bytes received.
#[derive(Default)]
pub(super) struct HeadSearch {
    /// Bytes of the current head that were searched without finding its end.
    searched_bytes: usize,
    interim_responses: u16,
    interim_bytes: usize,
    expectation: Expectation,
    offer: UpgradeOffer,
    /// A 100 has come.
    is_continued: bool,
}

impl HeadSearch {
    /// A search for the response to a request whose client expects this, and which has this offer.
    pub(super) fn new(expectation: Expectation, offer: UpgradeOffer) -> Self {
        Self {
            expectation,
            offer,
            ..Self::default()
        }
    }

    /// Removes the final head, and the interim responses before it, from the beginning of `received`; `None` while the head
    /// is not complete. The interim responses go to `interim`, a 100 only if it is expected. A 101 is final if the request
    /// offers its protocol, and an error otherwise.
    pub(super) fn take(
        &mut self,
        received: &mut BytesMut,
        method: &Method,
        interim: Option<&InterimSink>,
    ) -> Result<Option<ResponseHead>, Malformed> {
        loop {
            match framing::parse_head(received, self.searched_bytes, method)? {
                Parsed::Partial => {
                    self.searched_bytes = received.len();
                    return self.check_bounds(received.len()).map(|()| None);
                }
                // Interim responses are seen only here. They are never stored.
                Parsed::Interim {
                    status,
                    headers,
                    head_bytes,
                } => {
                    received.advance(head_bytes);
                    self.searched_bytes = 0;
                    self.interim_bytes += head_bytes;
                    self.interim_responses += 1;
                    self.check_bounds(0)?;
                    let is_continue = status == StatusCode::CONTINUE;
                    self.is_continued |= is_continue;
                    // RFC 9110, 15.2: a proxy MUST forward 1xx, unless it requested them itself.
                    if (!is_continue || self.expectation == Expectation::Continue)
                        && let Some(interim) = interim
                    {
                        interim.send(status, headers);
                    }
                }
                Parsed::Switching {
                    headers,
                    head_bytes,
                } => {
                    received.advance(head_bytes);
                    return self.offer.accepted(headers).map(Some);
                }
                Parsed::Final { head, head_bytes } => {
                    received.advance(head_bytes);
                    return Ok(Some(head));
                }
            }
        }
    }

    /// True if a 100 has come.
    pub(super) fn is_continued(&self) -> bool {
        self.is_continued
    }

    fn check_bounds(&self, waiting_bytes: usize) -> Result<(), Malformed> {
        if self.interim_responses > MAX_INTERIM_RESPONSES
            || self.interim_bytes + waiting_bytes > MAX_HEAD_BYTES
        {
            return Err(Malformed::TooLarge);
        }
        Ok(())
    }
}

/// How requests are written for a forward proxy that reads them (RFC 9112, 3.2.2).
pub(super) struct ProxiedRequests<'a> {
    /// The origin's host, with its port unless that is the default.
    pub(super) authority: String,
    /// The value of Proxy-Authorization; `None` without credentials.
    pub(super) authorization: Option<&'a HeaderValue>,
}

/// The head of a request as it is written.
pub(super) struct WrittenHead {
    pub(super) bytes: Bytes,
    /// The request authenticates its connection, which must not be used for other requests.
    pub(super) binds_connection: bool,
}

/// Writes the head of a request to `origin`. The headers stay as they are, but those that frame the body come from `size`,
/// Expect from the expectation, and Upgrade gets the connection option that belongs to it (RFC 9110, 7.8). Host is the
/// origin's own if it is missing.
pub(super) fn request_head(
    line: &RequestHead,
    request: &TransferRequest,
    size: BodySize,
    origin: &OriginUrl,
    proxied: Option<&ProxiedRequests<'_>>,
) -> WrittenHead {
    let mut head = Vec::with_capacity(USUAL_REQUEST_HEAD_BYTES);
    write_request_line(line, proxied, &mut head);
    let lines = request.headers.lines();
    head.extend_from_slice(&lines.bytes);
    if !lines.has_host {
        head.extend_from_slice(b"host: ");
        head.extend_from_slice(origin.authority().as_bytes());
        head.extend_from_slice(b"\r\n");
    }
    if lines.has_upgrade {
        head.extend_from_slice(b"connection: Upgrade\r\n");
    }
    if request.expectation == Expectation::Continue {
        head.extend_from_slice(b"expect: 100-continue\r\n");
    }
    if let Some(authorization) = proxied.and_then(|proxied| proxied.authorization) {
        write_header_line(&mut head, &header::PROXY_AUTHORIZATION, authorization);
    }
    write_body_header(size, &mut head);
    head.extend_from_slice(b"\r\n");
    WrittenHead {
        bytes: head.into(),
        binds_connection: lines.binds_connection,
    }
}

fn write_request_line(
    line: &RequestHead,
    proxied: Option<&ProxiedRequests<'_>>,
    head: &mut Vec<u8>,
) {
    let target = line
        .uri
        .path_and_query()
        .map_or("/", |target| target.as_str());
    head.extend_from_slice(line.method.as_str().as_bytes());
    head.extend_from_slice(b" ");
    if let Some(proxied) = proxied {
        head.extend_from_slice(b"http://");
        head.extend_from_slice(proxied.authority.as_bytes());
    }
    // RFC 9112, 3.2.4: for a proxy, `*` is a URL without a path.
    if proxied.is_none() || target != "*" {
        head.extend_from_slice(target.as_bytes());
    }
    head.extend_from_slice(b" HTTP/1.1\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_final_head_is_found_after_interim_ones_however_it_is_split() {
        let text =
            b"HTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 100 \r\n\r\nHTTP/1.1 299 \r\n\r\nbody";
        let whole = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut search = HeadSearch::default();
            let mut received = BytesMut::new();
            let mut head = None;
            for piece in pieces {
                received.extend_from_slice(piece);
                if head.is_none() {
                    head = search.take(&mut received, &Method::GET, None).unwrap();
                }
            }
            assert_eq!(head.unwrap().status, 299);
            assert_eq!(received, "body");
        };
        whole(&mut text.chunks(1));
        for split in 0..text.len() {
            whole(&mut [&text[..split], &text[split..]].into_iter());
        }
    }

    #[test]
    fn interim_responses_are_bounded_in_bytes_too() {
        let long = format!("HTTP/1.1 103 Early\r\nA: {}\r\n\r\n", "x".repeat(40_000));
        let mut received = BytesMut::from(long.repeat(2).as_bytes());
        let outcome = HeadSearch::default().take(&mut received, &Method::GET, None);
        assert_eq!(outcome.unwrap_err(), Malformed::TooLarge);
    }

    /// The status of the final head in `pieces`, and the bytes after it.
    fn found<'p>(
        pieces: impl Iterator<Item = &'p [u8]>,
    ) -> Result<Option<(u16, BytesMut)>, Malformed> {
        let mut search = HeadSearch::default();
        let mut received = BytesMut::new();
        let mut status = None;
        for piece in pieces {
            received.extend_from_slice(piece);
            if status.is_none() {
                let head = search.take(&mut received, &Method::GET, None)?;
                status = head.map(|head| head.status.as_u16());
            }
        }
        Ok(status.map(|status| (status, received)))
    }

    proptest! {
        #[test]
        fn any_bytes_are_searched_the_same_however_they_are_split(
            bytes: Vec<u8>,
            nearly in "(HTTP/1.1 (103|100|200|204|1|x) ?\r?\n(([aA]|content-length):? ?[0-9a]{0,3}\r?\n){0,2}\r?\n){0,4}[ab]{0,3}",
            piece_bytes in 1_usize..9,
        ) {
            for bytes in [bytes.as_slice(), nearly.as_bytes()] {
                prop_assert_eq!(found(bytes.chunks(piece_bytes)), found([bytes].into_iter()));
            }
        }
    }
}
