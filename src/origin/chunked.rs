//! The chunked transfer coding (RFC 9112, 7.1): finding its end, and decoding it.

use bytes::{Buf as _, Bytes, BytesMut};

use super::malformed::Malformed;

/// Longest chunk-size line with its extensions, in bytes.
const MAX_SIZE_LINE_BYTES: u16 = 4096;
/// Longest trailer section, in bytes.
const MAX_TRAILER_BYTES: u16 = 16 * 1024;

/// A decoder of one chunked body. It is as strict as actix-http's or stricter: a request that is accepted here is decoded
/// there to the same end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chunked {
    position: ChunkedPosition,
    /// Size of the current chunk, then its bytes that are still to come.
    chunk_bytes: u64,
    /// Bytes so far of the current size line or of the trailers.
    line_bytes: u16,
}

/// What the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkedPosition {
    SizeStart,
    Size,
    SizeSpace,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    Done,
}

/// Bytes of framing, and the bytes of content after them.
struct ChunkedSpan {
    framing: usize,
    content: usize,
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Self {
            position: ChunkedPosition::SizeStart,
            chunk_bytes: 0,
            line_bytes: 0,
        }
    }

    /// True when the body has ended.
    pub(crate) fn is_done(&self) -> bool {
        self.position == ChunkedPosition::Done
    }

    /// Reads the next bytes without decoding them. Returns how many of them belong to the body.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let mut at = 0;
        while at < bytes.len() && !self.is_done() {
            let span = self.span(&bytes[at..])?;
            at += span.framing + span.content;
        }
        Ok(at)
    }

    /// Removes the body from the beginning of `bytes` and returns its content. Bytes after its end stay.
    pub(crate) fn decode(&mut self, bytes: &mut BytesMut) -> Result<Bytes, Malformed> {
        let mut at = 0;
        // The pieces of content are moved together, behind the first of them.
        let mut content = 0..0;
        while at < bytes.len() && !self.is_done() {
            let span = self.span(&bytes[at..])?;
            at += span.framing;
            if content.is_empty() {
                content = at..at;
            }
            if content.end < at {
                bytes.copy_within(at..at + span.content, content.end);
            }
            content.end += span.content;
            at += span.content;
        }
        bytes.advance(content.start);
        let taken = bytes.split_to(content.len()).freeze();
        bytes.advance(at - content.end);
        Ok(taken)
    }

    /// Reads up to the end of the next piece of content, of `bytes`, or of the body.
    fn span(&mut self, bytes: &[u8]) -> Result<ChunkedSpan, Malformed> {
        let mut framing = 0;
        while framing < bytes.len() && !self.is_done() && self.position != ChunkedPosition::Data {
            self.position = self.step(bytes[framing])?;
            framing += 1;
        }
        let left = bytes.len() - framing;
        let content = match self.position {
            ChunkedPosition::Data => {
                usize::try_from(self.chunk_bytes).map_or(left, |chunk| chunk.min(left))
            }
            _ => 0,
        };
        self.chunk_bytes -= content as u64;
        if self.position == ChunkedPosition::Data && self.chunk_bytes == 0 {
            self.position = ChunkedPosition::DataCr;
        }
        Ok(ChunkedSpan { framing, content })
    }

    fn step(&mut self, byte: u8) -> Result<ChunkedPosition, Malformed> {
        match self.position {
            ChunkedPosition::SizeStart => {
                self.chunk_bytes = 0;
                self.line_bytes = 0;
                self.size_digit(byte)
            }
            ChunkedPosition::Size | ChunkedPosition::SizeSpace | ChunkedPosition::Extension => {
                self.size_line(byte)
            }
            ChunkedPosition::SizeLf => {
                self.line_bytes = 0;
                let next = if self.chunk_bytes == 0 {
                    ChunkedPosition::TrailerStart
                } else {
                    ChunkedPosition::Data
                };
                expect(byte, b'\n', next)
            }
            ChunkedPosition::DataCr => expect(byte, b'\r', ChunkedPosition::DataLf),
            ChunkedPosition::DataLf => expect(byte, b'\n', ChunkedPosition::SizeStart),
            ChunkedPosition::TrailerStart | ChunkedPosition::Trailer => self.trailer(byte),
            ChunkedPosition::TrailerLf => expect(byte, b'\n', ChunkedPosition::TrailerStart),
            ChunkedPosition::EndLf => expect(byte, b'\n', ChunkedPosition::Done),
            ChunkedPosition::Data | ChunkedPosition::Done => Ok(self.position),
        }
    }

    fn size_digit(&mut self, byte: u8) -> Result<ChunkedPosition, Malformed> {
        let digit = char::from(byte).to_digit(16).ok_or(Malformed::Chunk)?;
        self.line_bytes += 1;
        if self.line_bytes > MAX_SIZE_LINE_BYTES {
            return Err(Malformed::TooLarge);
        }
        // Leading zeros do not count.
        let shifted = self.chunk_bytes.checked_mul(16);
        self.chunk_bytes = shifted.ok_or(Malformed::Chunk)? | u64::from(digit);
        Ok(ChunkedPosition::Size)
    }

    fn size_line(&mut self, byte: u8) -> Result<ChunkedPosition, Malformed> {
        match (self.position, byte) {
            (_, b'\r') => return Ok(ChunkedPosition::SizeLf),
            (ChunkedPosition::Size, byte) if byte.is_ascii_hexdigit() => {
                return self.size_digit(byte);
            }
            _ => {}
        }
        self.line_bytes += 1;
        if self.line_bytes > MAX_SIZE_LINE_BYTES {
            return Err(Malformed::TooLarge);
        }
        match (self.position, byte) {
            (ChunkedPosition::Size | ChunkedPosition::SizeSpace, b' ' | b'\t') => {
                Ok(ChunkedPosition::SizeSpace)
            }
            (ChunkedPosition::Size | ChunkedPosition::SizeSpace, b';') => {
                Ok(ChunkedPosition::Extension)
            }
            (ChunkedPosition::Extension, byte) if byte == b'\t' || !byte.is_ascii_control() => {
                Ok(ChunkedPosition::Extension)
            }
            _ => Err(Malformed::Chunk),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<ChunkedPosition, Malformed> {
        self.line_bytes += 1;
        match (self.position, byte) {
            _ if self.line_bytes > MAX_TRAILER_BYTES => Err(Malformed::TooLarge),
            (ChunkedPosition::TrailerStart, b'\r') => Ok(ChunkedPosition::EndLf),
            (_, b'\r') => Ok(ChunkedPosition::TrailerLf),
            (_, b'\n') => Err(Malformed::Chunk),
            _ => Ok(ChunkedPosition::Trailer),
        }
    }
}

fn expect(byte: u8, wanted: u8, next: ChunkedPosition) -> Result<ChunkedPosition, Malformed> {
    if byte == wanted {
        Ok(next)
    } else {
        Err(Malformed::Chunk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    /// Feeds pieces of the given size. Returns how many bytes belong to the body, and whether it ended.
    fn follow(bytes: &[u8], piece_bytes: usize) -> Result<(usize, bool), Malformed> {
        let mut chunked = Chunked::new();
        let mut used = 0;
        for piece in bytes.chunks(piece_bytes) {
            used += chunked.feed(piece)?;
        }
        Ok((used, chunked.is_done()))
    }

    #[test]
    fn the_end_is_found_however_the_body_is_split() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A;name=\"va;lue\"\r\n0123456789\r\n00\r\n\r\n",
            "5 \t;x\r\nhello\r\n1\r\n!\r\n0\r\nETag: \"x\"\r\nA: b\r\n\r\n",
            "0000000000000000000000000005\r\nhello\r\n00000000000000000000000\r\n\r\n",
        ] {
            for piece_bytes in 1..=body.len() + 4 {
                let surplus = [body.as_bytes(), b"HTTP"].concat();
                assert_eq!(
                    follow(&surplus, piece_bytes),
                    Ok((body.len(), true)),
                    "{body:?} by {piece_bytes}"
                );
                assert_eq!(
                    follow(&body.as_bytes()[..body.len() - 1], piece_bytes),
                    Ok((body.len() - 1, false))
                );
            }
        }
    }

    #[test]
    fn invalid_chunks_are_refused() {
        for body in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "5\nhello",
            "5\r\nhelloX",
            "5\r\nhello\rX",
            "5 5\r\n",
            "5;a\x01\r\n",
            "5;a\nhello",
            "11111111111111111\r\n",
            "00011111111111111111\r\n",
            "0\r\nA: b\nC: d\r\n\r\n",
        ] {
            assert_eq!(
                follow(body.as_bytes(), 1),
                Err(Malformed::Chunk),
                "{body:?}"
            );
        }
    }

    #[test]
    fn size_lines_and_trailers_are_bounded() {
        for line in [
            format!("5;{}\r\n", "x".repeat(5000)),
            format!("{}5\r\n", "0".repeat(5000)),
        ] {
            assert_eq!(follow(line.as_bytes(), 7), Err(Malformed::TooLarge));
        }
        let trailers = format!("0\r\n{}\r\n", "a: b\r\n".repeat(4000));
        assert_eq!(follow(trailers.as_bytes(), 7), Err(Malformed::TooLarge));
    }

    /// The pieces between the given places.
    fn cut<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
        let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        places.extend([0, bytes.len()]);
        places.sort_unstable();
        places
            .windows(2)
            .map(|pair| &bytes[pair[0]..pair[1]])
            .collect()
    }

    /// Feeds piece by piece; returns the same as [`follow`].
    fn follow_pieces(pieces: &[&[u8]]) -> Result<(usize, bool), Malformed> {
        let mut chunked = Chunked::new();
        let mut used = 0;
        for piece in pieces {
            used += chunked.feed(piece)?;
        }
        Ok((used, chunked.is_done()))
    }

    /// The content of the pieces as they arrive one after the other, and how many bytes are left after the body.
    fn decoded(pieces: &[&[u8]]) -> Result<(Vec<u8>, usize), Malformed> {
        let mut chunked = Chunked::new();
        let mut received = BytesMut::new();
        let mut content = Vec::new();
        for piece in pieces {
            received.extend_from_slice(piece);
            content.extend(chunked.decode(&mut received)?);
        }
        Ok((content, received.len()))
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_the_same_however_they_are_split(
            bytes: Vec<u8>,
            nearly in "([0-9a-fA-F]{1,3}[ \t;a]{0,2}\r\n[a-c]{0,5}\r?\n?){0,4}(0\r\n(A: b\r\n){0,2}\r\n)?G?",
            cuts: Vec<prop::sample::Index>,
        ) {
            for bytes in [bytes.as_slice(), nearly.as_bytes()] {
                let whole = follow(bytes, bytes.len().max(1));
                prop_assert!(whole.is_ok_and(|(used, _)| used <= bytes.len()) || whole.is_err());
                let pieces = cut(bytes, &cuts);
                prop_assert_eq!(follow_pieces(&pieces), whole);
                let decoded_whole = decoded(&[bytes]);
                prop_assert_eq!(decoded_whole.as_ref().err(), whole.as_ref().err());
                if let (Ok((_, left)), Ok((used, _))) = (&decoded_whole, &whole) {
                    prop_assert_eq!(used + left, bytes.len());
                }
                prop_assert_eq!(decoded(&pieces), decoded_whole);
            }
        }

        #[test]
        fn encoded_content_is_decoded(
            chunks in vec(vec(any::<u8>(), 1..40), 0..5),
            surplus: Vec<u8>,
            cuts: Vec<prop::sample::Index>,
        ) {
            let mut coded = Vec::new();
            for chunk in &chunks {
                coded.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                coded.extend([chunk, &b"\r\n"[..]].concat());
            }
            coded.extend(b"0\r\n\r\n");
            let length = coded.len();
            coded.extend(&surplus);
            let pieces = cut(&coded, &cuts);
            prop_assert_eq!(follow_pieces(&pieces), Ok((length, true)));
            prop_assert_eq!(decoded(&pieces), Ok((chunks.concat(), surplus.len())));
        }
    }
}
