//! Long strings of a HAR file, such as the body of a large response: they stay in the file, and are read from there when
//! they are needed.

use std::{
    cell::RefCell,
    fs::File,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io::{self, Read},
    os::unix::fs::FileExt as _,
    rc::Rc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use memchr::{memchr, memchr2};
use serde_json::value::RawValue;

/// A string that is longer, in bytes as they are in the file, stays there.
const LONG_BYTES: usize = 1024 * 1024;
/// How much is read at a time, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

/// The long strings of a file. None if the file is not kept.
#[derive(Clone, Debug, Default)]
pub struct LongTexts(Option<Rc<TextsOfFile>>);

#[derive(Debug)]
struct TextsOfFile {
    file: File,
    /// What takes the place of a long string, before its number. Nobody can know it, so no file has it.
    name: String,
    places: RefCell<Vec<TextPlace>>,
    long_bytes: usize,
}

/// Where a string is in a file, without its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TextPlace {
    offset: u64,
    len: u64,
}

/// A long string, which is in its file.
#[derive(Clone, Debug)]
pub struct LongText {
    texts: Rc<TextsOfFile>,
    place: TextPlace,
}

/// A file without its long strings: each is replaced by a short one, by which [`LongTexts`] finds it.
#[derive(Debug)]
pub(super) struct ShortenedFile {
    texts: Rc<TextsOfFile>,
    /// Where the next bytes of the file are.
    offset: u64,
    raw: Vec<u8>,
    string: Option<OpenString>,
    /// What can be read, and how much of it was.
    ready: Vec<u8>,
    read: usize,
}

/// A string whose end was not found yet.
#[derive(Debug)]
struct OpenString {
    place: TextPlace,
    is_escaped: bool,
    /// Its text. Empty if it is long.
    text: Vec<u8>,
}

impl LongTexts {
    /// The long strings of `file`, and the file without them.
    pub(super) fn of(file: File) -> (Self, ShortenedFile) {
        Self::longer_than(LONG_BYTES, file)
    }

    fn longer_than(long_bytes: usize, file: File) -> (Self, ShortenedFile) {
        let random = || RandomState::new().build_hasher().finish();
        let texts = Rc::new(TextsOfFile {
            file,
            name: format!("long-{:016x}{:016x}-", random(), random()),
            places: RefCell::default(),
            long_bytes,
        });
        let shortened = ShortenedFile {
            texts: Rc::clone(&texts),
            offset: 0,
            raw: Vec::new(),
            string: None,
            ready: Vec::new(),
            read: 0,
        };
        (Self(Some(texts)), shortened)
    }

    /// The long string that `text` stands for, a string of JSON. `None` if it stands for itself.
    pub(super) fn find(&self, text: &RawValue) -> Option<LongText> {
        let texts = self.0.as_ref()?;
        let number = text.get().trim_matches('"').strip_prefix(&texts.name)?;
        let number: usize = number.parse().ok()?;
        let place = texts.places.borrow().get(number).copied()?;
        Some(LongText {
            texts: Rc::clone(texts),
            place,
        })
    }

    /// True if a part of `text` stands for a long string.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|it| text.contains(&it.name))
    }
}

impl Read for ShortenedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.read == self.ready.len() {
            self.ready.clear();
            self.read = 0;
            self.raw.resize(PIECE_BYTES, 0);
            let count = read_at(&self.texts.file, &mut self.raw, self.offset)?;
            if count == 0 {
                return Ok(0);
            }
            let raw = std::mem::take(&mut self.raw);
            self.shorten(&raw[..count]);
            self.raw = raw;
            self.offset += count as u64;
        }
        let count = buffer.len().min(self.ready.len() - self.read);
        buffer[..count].copy_from_slice(&self.ready[self.read..self.read + count]);
        self.read += count;
        Ok(count)
    }
}

impl ShortenedFile {
    /// Adds the next bytes of the file, which begin at `self.offset`, to what can be read.
    fn shorten(&mut self, raw: &[u8]) {
        let mut at = 0;
        while at < raw.len() {
            let rest = &raw[at..];
            let Some(string) = &mut self.string else {
                let begin = memchr(b'"', rest).map_or(rest.len(), |quote| quote + 1);
                self.ready.extend_from_slice(&rest[..begin]);
                at += begin;
                if self.ready.last() == Some(&b'"') {
                    self.string = Some(OpenString {
                        place: TextPlace {
                            offset: self.offset + at as u64,
                            len: 0,
                        },
                        is_escaped: false,
                        text: Vec::new(),
                    });
                }
                continue;
            };
            if string.is_escaped {
                string.is_escaped = false;
                string.push(&rest[..1], self.texts.long_bytes);
                at += 1;
                continue;
            }
            let end = memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            string.push(&rest[..end], self.texts.long_bytes);
            at += end;
            match raw.get(at) {
                Some(b'\\') => {
                    string.is_escaped = true;
                    string.push(b"\\", self.texts.long_bytes);
                    at += 1;
                }
                Some(_) => {
                    self.end_string();
                    at += 1;
                }
                None => {}
            }
        }
    }

    fn end_string(&mut self) {
        let Some(string) = self.string.take() else {
            return;
        };
        if string.is_long(self.texts.long_bytes) {
            let mut places = self.texts.places.borrow_mut();
            let name = format!("{}{}", self.texts.name, places.len());
            self.ready.extend_from_slice(name.as_bytes());
            places.push(string.place);
        } else {
            self.ready.extend_from_slice(&string.text);
        }
        self.ready.push(b'"');
    }
}

impl OpenString {
    fn is_long(&self, long_bytes: usize) -> bool {
        self.place.len > long_bytes as u64
    }

    fn push(&mut self, bytes: &[u8], long_bytes: usize) {
        self.place.len += bytes.len() as u64;
        match self.is_long(long_bytes) {
            true => self.text = Vec::new(),
            false => self.text.extend_from_slice(bytes),
        }
    }
}

impl LongText {
    /// Calls `each` with the pieces of the text, decoded from base64 if it `is_base64`.
    ///
    /// # Errors
    /// The text is no string of JSON or no base64, the file cannot be read, or an error of `each`.
    pub(super) fn pieces(
        &self,
        is_base64: bool,
        each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut base64 = Base64Pieces::default();
        self.plain_pieces(&mut |piece| match is_base64 {
            true => base64.push(piece, each),
            false => each(piece),
        })?;
        match base64.left.is_empty() {
            true => Ok(()),
            false => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Calls `each` with the pieces of the text, without the escapes of JSON.
    fn plain_pieces(&self, each: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
        let (mut offset, end) = (self.place.offset, self.place.offset + self.place.len);
        let mut piece = Vec::new();
        while offset < end {
            let left = usize::try_from(end - offset).unwrap_or(usize::MAX);
            let begin = piece.len();
            piece.resize(begin + left.min(PIECE_BYTES), 0);
            let count = read_at(&self.texts.file, &mut piece[begin..], offset)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            piece.truncate(begin + count);
            offset += count as u64;
            let whole = match offset == end {
                true => piece.len(),
                false => whole_characters(&piece),
            };
            let rest = piece.split_off(whole);
            let quoted = [b"\"", &piece[..], b"\""].concat();
            let text: String = serde_json::from_slice(&quoted)?;
            each(text.as_bytes())?;
            piece = rest;
        }
        Ok(())
    }
}

/// How many bytes of a part of a string of JSON are whole characters, written as themselves or as escapes.
fn whole_characters(part: &[u8]) -> usize {
    let mut at = 0;
    while let Some(backslash) = memchr(b'\\', &part[at..]) {
        let escape = at + backslash;
        let is_high = || {
            matches!(
                part.get(escape + 2..escape + 4),
                Some([b'd' | b'D', b'8'..=b'9' | b'a'..=b'b' | b'A'..=b'B'])
            )
        };
        let len = match part.get(escape + 1) {
            Some(b'u') if is_high() => 12,
            Some(b'u') => 6,
            _ => 2,
        };
        if escape + len > part.len() {
            return escape;
        }
        at = escape + len;
    }
    // At most three bytes of a character follow its first one.
    let last = part.len().saturating_sub(3).max(at);
    match (last..part.len()).rev().find(|at| part[*at] >= 0xc0) {
        Some(first) if part.len() - first < utf_8_len(part[first]) => first,
        _ => part.len(),
    }
}

/// The length of a character in UTF-8 that begins with this byte.
fn utf_8_len(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    }
}

/// Decodes base64 that comes in pieces.
#[derive(Default)]
struct Base64Pieces {
    /// Less than four letters that are not decoded yet.
    left: Vec<u8>,
    has_ended: bool,
}

impl Base64Pieces {
    fn push(
        &mut self,
        piece: &[u8],
        each: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        self.left.extend_from_slice(piece);
        let rest = self.left.split_off(self.left.len() / 4 * 4);
        if self.has_ended && !self.left.is_empty() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.has_ended |= self.left.last() == Some(&b'=');
        let bytes = STANDARD.decode(&self.left).map_err(io::Error::other)?;
        self.left = rest;
        each(&bytes)
    }
}

/// Reads at an offset. 0 at the end of the file.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A file in which strings of more than 8 bytes are long.
    fn shortened(text: &[u8]) -> (LongTexts, ShortenedFile) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file.rewind().unwrap();
        LongTexts::longer_than(8, file)
    }

    /// The strings of a list of strings, read by the way of a shortened file.
    fn strings(text: &str, is_base64: bool) -> io::Result<Vec<Vec<u8>>> {
        let (texts, mut file) = shortened(text.as_bytes());
        let mut short = String::new();
        file.read_to_string(&mut short)?;
        let list: Vec<&RawValue> = serde_json::from_str(&short)?;
        let string = |raw: &&RawValue| {
            let mut read = Vec::new();
            match texts.find(raw) {
                None => read.extend(serde_json::from_str::<String>(raw.get())?.into_bytes()),
                Some(long) => {
                    assert!(texts.are_in(raw.get()));
                    long.pieces(is_base64, &mut |piece| {
                        read.extend_from_slice(piece);
                        Ok(())
                    })?;
                }
            }
            Ok(read)
        };
        list.iter().map(string).collect()
    }

    #[test]
    fn a_long_string_is_left_in_the_file_and_read_from_there() {
        let long = format!("a\u{fc}\u{1f600}\"\\\n{}", "\u{20ac}".repeat(100_000));
        let all = vec![
            "short".to_owned(),
            long,
            String::new(),
            "12345678".to_owned(),
        ];
        let written = serde_json::to_string(&all).unwrap();
        let (texts, mut file) = shortened(written.as_bytes());
        let mut short = String::new();
        file.read_to_string(&mut short).unwrap();
        assert!(short.len() < 200 && short.starts_with("[\"short\",\"long-"));
        assert_eq!(texts.0.as_ref().unwrap().places.borrow().len(), 1);
        let expected: Vec<_> = all.into_iter().map(String::into_bytes).collect();
        assert_eq!(strings(&written, false).unwrap(), expected);
    }

    #[test]
    fn base64_is_decoded_across_pieces_and_nothing_follows_its_end() {
        let bytes: Vec<u8> = (0..=255).cycle().take(200_001).collect();
        let written = STANDARD.encode(&bytes).replace('/', "\\/");
        let read = strings(&format!("[\"{written}\"]"), true).unwrap();
        assert_eq!(read, [bytes]);
        for broken in ["AAAAAAAAAA", "AA==AAAAAAAA", "AAAA%%%%AAAA"] {
            assert!(
                strings(&format!("[\"{broken}\"]"), true).is_err(),
                "{broken}"
            );
        }
    }

    #[test]
    fn a_long_string_that_is_none_of_json_is_refused() {
        for broken in [
            "123456789\\x",
            "123456789\\ud83d",
            "123456789\n",
            "123456789\\ud83dx",
        ] {
            assert!(
                strings(&format!("[\"{broken}\"]"), false).is_err(),
                "{broken}"
            );
        }
    }

    proptest! {
        #[test]
        fn strings_are_the_same_as_those_of_the_parser(
            all in vec(any::<String>(), 0..5),
            at in 0..100_000_usize,
        ) {
            // Escapes of all kinds, at any place in a piece.
            let filled: Vec<String> = all.iter().map(|it| format!("{}{it}{it}", "x".repeat(at))).collect();
            let plain = serde_json::to_string(&filled).unwrap();
            let escaped: String = plain
                .chars()
                .map(|letter| match letter.is_ascii() {
                    true => letter.to_string(),
                    false => {
                        let mut units = [0; 2];
                        let units = letter.encode_utf16(&mut units).iter();
                        units.map(|unit| format!("\\u{unit:04x}")).collect()
                    }
                })
                .collect();
            let expected: Vec<_> = filled.into_iter().map(String::into_bytes).collect();
            prop_assert_eq!(strings(&plain, false).unwrap(), expected.clone());
            prop_assert_eq!(strings(&escaped, false).unwrap(), expected);
        }
    }
}
