//! Where one request of a client ends and the next begins.
//!
//! actix-http decodes as many pipelined requests as it gets, and frames the current response by the method of the request
//! decoded last: the response to a GET before a HEAD loses its body. So it gets one request at a time.

use crate::{origin::Chunked, proxy::RequestFraming};

/// What the next bytes of a connection belong to.
#[derive(Debug)]
pub(super) enum RequestBounds {
    /// A head, or empty lines before it.
    Head(HeadScan),
    /// Not known yet: the head is complete, and the handler has not seen it.
    Decoding,
    /// A body with so many bytes still to come.
    Sized(u64),
    /// A chunked body.
    Chunked(Box<Chunked>),
    /// The next request, which waits until this one is answered.
    Complete,
    /// Nothing: the chunked coding is invalid, so the next request cannot be found.
    Lost,
}

impl RequestBounds {
    pub(super) fn head() -> Self {
        Self::Head(HeadScan::default())
    }

    /// The state after a head that the handler has seen.
    pub(super) fn after_head(upload: RequestFraming) -> Self {
        match upload {
            RequestFraming::None | RequestFraming::Sized(0) => Self::Complete,
            RequestFraming::Sized(length) => Self::Sized(length),
            RequestFraming::Chunked => Self::Chunked(Box::new(Chunked::new())),
        }
    }

    /// Reads the next bytes. Returns how many of them may be passed to actix-http now.
    pub(super) fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Self::Head(scan) => match scan.end(bytes) {
                Some(end) => {
                    *self = Self::Decoding;
                    end
                }
                None => bytes.len(),
            },
            Self::Sized(left) => {
                let taken =
                    usize::try_from(*left).map_or(bytes.len(), |left| left.min(bytes.len()));
                *left -= taken as u64;
                if *left == 0 {
                    *self = Self::Complete;
                }
                taken
            }
            Self::Chunked(body) => match body.feed(bytes) {
                Ok(taken) => {
                    if body.is_done() {
                        *self = Self::Complete;
                    }
                    taken
                }
                Err(_) => {
                    *self = Self::Lost;
                    0
                }
            },
            Self::Decoding | Self::Complete | Self::Lost => 0,
        }
    }
}

/// Finds the empty line that ends a head. Like the parser, it accepts a bare LF as the end of a line, and skips empty
/// lines before the head (RFC 9112, 2.2).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct HeadScan {
    line: LinePosition,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LinePosition {
    /// Before the first byte of the head.
    #[default]
    Before,
    Within,
    /// At the beginning of a line.
    Start,
    /// After a CR at the beginning of a line.
    Cr,
}

impl HeadScan {
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            self.line = match (self.line, byte) {
                (LinePosition::Before, b'\r' | b'\n') => LinePosition::Before,
                (LinePosition::Start | LinePosition::Cr, b'\n') => return Some(at + 1),
                (LinePosition::Start, b'\r') => LinePosition::Cr,
                (_, b'\n') => LinePosition::Start,
                _ => {
                    // The rest of this line does not matter.
                    at += memchr::memchr(b'\n', &bytes[at..]).unwrap_or(bytes.len() - at);
                    self.line = LinePosition::Within;
                    continue;
                }
            };
            at += 1;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    /// Where the head in `bytes` ends, given at once and byte by byte.
    fn head_end(bytes: &[u8]) -> Option<usize> {
        let whole = HeadScan::default().end(bytes);
        let mut scan = HeadScan::default();
        let bitwise = (0..bytes.len()).find(|at| scan.end(&bytes[*at..=*at]).is_some());
        assert_eq!(whole, bitwise.map(|at| at + 1));
        whole
    }

    #[test]
    fn a_head_ends_with_the_first_empty_line_after_its_first_byte() {
        let length = HEAD.len();
        assert_eq!(head_end(HEAD), Some(length));
        assert_eq!(head_end(&HEAD[..length - 1]), None);
        assert_eq!(head_end(&[HEAD, HEAD].concat()), Some(length));
        assert_eq!(head_end(&[b"\r\n\r\n\n", HEAD].concat()), Some(length + 5));
        assert_eq!(head_end(b"GET / HTTP/1.1\nHost: a\n\nx"), Some(24));
        assert_eq!(head_end(b"GET / HTTP/1.1\nHost: a\n\r\nx"), Some(25));
        assert_eq!(head_end(b"GET / HTTP/1.1\r\nA: \r \r\n b\r\n\r\r"), None);
    }

    #[test]
    fn a_request_is_passed_on_up_to_its_end_and_no_further() {
        let mut bounds = RequestBounds::head();
        assert_eq!(bounds.take(&[HEAD, b"more"].concat()), HEAD.len());
        assert_eq!(bounds.take(b"more"), 0);
        for (upload, body, length) in [
            (RequestFraming::None, &b"GET"[..], 0),
            (RequestFraming::Sized(0), b"GET", 0),
            (RequestFraming::Sized(3), b"abcGET", 3),
            (RequestFraming::Chunked, b"3\r\nabc\r\n0\r\n\r\nGET", 13),
            (RequestFraming::Chunked, b"zz\r\nwhatever", 0),
        ] {
            let mut bounds = RequestBounds::after_head(upload);
            assert_eq!(bounds.take(body), length, "{upload:?}");
        }
    }

    /// How many bytes are passed on, given piece by piece until a piece is not passed on completely.
    fn passed_on(mut bounds: RequestBounds, bytes: &[u8], piece_bytes: usize) -> usize {
        let mut passed_on = 0;
        for piece in bytes.chunks(piece_bytes) {
            let taken = bounds.take(piece);
            assert!(taken <= piece.len());
            passed_on += taken;
            if taken < piece.len() {
                break;
            }
        }
        passed_on
    }

    proptest! {
        #[test]
        fn any_head_ends_at_the_same_place_however_it_is_split(
            bytes: Vec<u8>,
            nearly in "[\r\n]{0,3}[A: ]{0,3}([\rA:]{0,2}\r?\n){0,4}[\r\n]{0,3}B?",
            piece_bytes in 1_usize..9,
        ) {
            for bytes in [bytes.as_slice(), nearly.as_bytes()] {
                head_end(bytes);
                let whole = passed_on(RequestBounds::head(), bytes, bytes.len().max(1));
                prop_assert_eq!(passed_on(RequestBounds::head(), bytes, piece_bytes), whole);
            }
        }

        #[test]
        fn any_sized_body_is_passed_on_to_its_length(
            bytes: Vec<u8>,
            length: u64,
            short in 0_u64..40,
            piece_bytes in 1_usize..9,
        ) {
            for length in [length, short] {
                let bounds = RequestBounds::after_head(RequestFraming::Sized(length));
                let expected = usize::try_from(length).map_or(bytes.len(), |length| length.min(bytes.len()));
                prop_assert_eq!(passed_on(bounds, &bytes, piece_bytes), expected);
            }
        }

        #[test]
        fn a_chunked_body_is_passed_on_to_its_end(
            bytes: Vec<u8>,
            piece_bytes in 1_usize..9,
        ) {
            let body = [b"3\r\nabc\r\n0\r\n\r\n", bytes.as_slice()].concat();
            let bounds = || RequestBounds::after_head(RequestFraming::Chunked);
            prop_assert_eq!(passed_on(bounds(), &body, piece_bytes), 13);
            passed_on(bounds(), &bytes, piece_bytes);
        }
    }
}
