//! Where the head of a request ends.

/// Finds the empty line that ends a head. Like the parser, it accepts a bare LF as the end of a line, and skips empty
/// lines before the head (RFC 9112, 2.2).
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server) struct HeadScan {
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
    pub(in crate::server) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
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

    proptest! {
        #[test]
        fn any_head_ends_at_the_same_place_however_it_is_split(
            bytes: Vec<u8>,
            nearly in "[\r\n]{0,3}[A: ]{0,3}([\rA:]{0,2}\r?\n){0,4}[\r\n]{0,3}B?",
            piece_bytes in 1_usize..9,
        ) {
            for bytes in [bytes.as_slice(), nearly.as_bytes()] {
                let whole = head_end(bytes);
                let mut scan = HeadScan::default();
                let mut before = 0;
                let end = bytes.chunks(piece_bytes).find_map(|piece| {
                    let end = scan.end(piece).map(|end| before + end);
                    before += piece.len();
                    end
                });
                prop_assert_eq!(end, whole);
            }
        }
    }
}
