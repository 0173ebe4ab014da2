//! The headers of a response, in one block of memory, with the order and the names that they came with.

use std::{collections::HashSet, ops::Range};

use actix_web::http::header::{HeaderName, HeaderValue};
use memchr::memchr3;

/// Between a name and its value.
const SEPARATOR: &[u8] = b": ";
/// The end of a line.
const LINE_END: &[u8] = b"\r\n";

/// The headers of a response: field lines (RFC 9110, 5) in their order, each with its name as it was written.
///
/// A name that is given as a [`HeaderName`] is written in title case.
#[derive(Clone, Debug, Default)]
pub struct ResponseHeaders {
    /// Lines as HTTP/1 writes them. What is removed stays here until all is dropped.
    block: Vec<u8>,
    lines: Vec<FieldLine>,
}

/// Where a field line is in the block.
#[derive(Clone, Copy, Debug)]
struct FieldLine {
    start: usize,
    name_end: usize,
    value_end: usize,
}

impl FieldLine {
    fn name(self) -> Range<usize> {
        self.start..self.name_end
    }

    fn value(self) -> Range<usize> {
        self.name_end + SEPARATOR.len()..self.value_end
    }

    fn end(self) -> usize {
        self.value_end + LINE_END.len()
    }
}

impl ResponseHeaders {
    /// No headers.
    pub fn new() -> Self {
        Self::default()
    }

    /// No headers, with room for `lines` of them that take `bytes` in all.
    pub fn with_capacity(lines: usize, bytes: usize) -> Self {
        Self {
            block: Vec::with_capacity(bytes),
            lines: Vec::with_capacity(lines),
        }
    }

    /// The number of lines.
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// All lines: names as they were written, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
        let lines = self.lines.iter();
        lines.map(|line| (&self.block[line.name()], &self.block[line.value()]))
    }

    /// The lines as HTTP/1 writes them, each with its end. Those for whose name `is_left_out` is true are not among them.
    pub fn written(&self, is_left_out: impl Fn(&[u8]) -> bool) -> impl Iterator<Item = &[u8]> {
        let lines = self.lines.iter().copied();
        let mut lines = lines.filter(move |line| !is_left_out(&self.block[line.name()]));
        let mut next = lines.next();
        // Lines that follow each other in the block are one piece.
        std::iter::from_fn(move || {
            let first = next?;
            let mut end = first.end();
            next = lines.find(|line| {
                let follows = line.start == end;
                if follows {
                    end = line.end();
                }
                !follows
            });
            Some(&self.block[first.start..end])
        })
    }

    /// The first value of this name. `None` if there is none.
    pub fn get(&self, name: &HeaderName) -> Option<&[u8]> {
        let at = self.position(name.as_str().as_bytes(), 0)?;
        Some(&self.block[self.lines[at].value()])
    }

    /// All values of this name.
    pub fn get_all<'h>(&'h self, name: &'h HeaderName) -> ValuesOfName<'h> {
        ValuesOfName {
            headers: self,
            name: name.as_str().as_bytes(),
            next: 0,
        }
    }

    /// True if there is a line of this name.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.position(name.as_str().as_bytes(), 0).is_some()
    }

    /// Where the first line of this name is, from the line at `from` on.
    fn position(&self, name: &[u8], from: usize) -> Option<usize> {
        let lines = self.lines.get(from..)?.iter();
        // Most names differ in length, which costs least to compare.
        let is_of_name = |line: &FieldLine| {
            line.name_end - line.start == name.len()
                && self.block[line.name()].eq_ignore_ascii_case(name)
        };
        let mut lines = lines.enumerate();
        let (at, _) = lines.find(|(_, line)| is_of_name(line))?;
        Some(from + at)
    }

    /// Adds a line at the end.
    pub fn append(&mut self, name: &HeaderName, value: &HeaderValue) {
        let start = self.block.len();
        self.block.extend(title_case(name.as_str()));
        self.push_value(start, value.as_bytes());
    }

    /// The same, with its name as it is written here.
    pub fn append_as(&mut self, name: &'static str, value: &HeaderValue) {
        self.push(name.as_bytes(), value.as_bytes());
    }

    /// Adds a line at the end, with its name as it is written here. `None`: it is no valid line, and was not added.
    #[must_use]
    pub fn append_line(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        let is_name = !name.is_empty() && memchr3(b':', b'\r', b'\n', name).is_none();
        is_name.then(|| self.append_parsed(name, value)).flatten()
    }

    /// The same for a name that a parser of HTTP has found.
    #[must_use]
    pub fn append_parsed(&mut self, name: &[u8], value: &[u8]) -> Option<()> {
        is_valid_value(value).then(|| self.push(name, value))
    }

    /// Puts a line in the place of the first one of its name, and removes the others of this name. Adds it at the end if there
    /// are none.
    pub fn insert(&mut self, name: &HeaderName, value: &HeaderValue) {
        let Some(at) = self.position(name.as_str().as_bytes(), 0) else {
            return self.append(name, value);
        };
        let line = self.with_other_value(self.lines[at], value.as_bytes());
        self.remove(name);
        self.lines.insert(at, line);
    }

    /// Adds lines at the end in the place of all lines of their names. Those that are not valid are left out.
    pub fn replace<'h>(&mut self, lines: impl Iterator<Item = (&'h [u8], &'h [u8])> + Clone) {
        self.remove_names_of(lines.clone());
        self.extend(lines);
    }

    /// Removes all lines that have the name of one of these lines. Both can be a thousand.
    pub fn remove_names_of<'h>(&mut self, lines: impl Iterator<Item = (&'h [u8], &'h [u8])>) {
        let names = lines.map(|(name, _)| HeaderName::from_bytes(name));
        let names: HashSet<HeaderName> = names.flatten().collect();
        self.retain(|name, _| {
            !HeaderName::from_bytes(name).is_ok_and(|name| names.contains(&name))
        });
    }

    /// Gives the lines of this name other values, where `other` returns some. One that is not valid is not taken.
    pub fn change(&mut self, name: &HeaderName, other: impl Fn(&[u8]) -> Option<Vec<u8>>) {
        let name = name.as_str().as_bytes();
        let mut next = 0;
        while let Some(at) = self.position(name, next) {
            let line = self.lines[at];
            if let Some(value) = other(&self.block[line.value()])
                && is_valid_value(&value)
            {
                self.lines[at] = self.with_other_value(line, &value);
            }
            next = at + 1;
        }
    }

    /// Removes all lines of this name. True if there were some.
    pub fn remove(&mut self, name: &HeaderName) -> bool {
        let is_there = self.contains(name);
        if is_there {
            self.retain(|line, _| !is_name(line, name));
        }
        is_there
    }

    /// Removes the lines for whose name and value `is_kept` is false.
    pub fn retain(&mut self, mut is_kept: impl FnMut(&[u8], &[u8]) -> bool) {
        let block = &self.block;
        self.lines
            .retain(|line| is_kept(&block[line.name()], &block[line.value()]));
    }

    fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.block.len();
        self.block.extend_from_slice(name);
        self.push_value(start, value);
    }

    /// Adds the line whose name is in the block from `start` on.
    fn push_value(&mut self, start: usize, value: &[u8]) {
        let line = self.with_value(start, value);
        self.lines.push(line);
    }

    /// The line whose name is in the block from `start` on. Its value is added to the block.
    fn with_value(&mut self, start: usize, value: &[u8]) -> FieldLine {
        let name_end = self.block.len();
        self.block.extend_from_slice(SEPARATOR);
        self.block.extend_from_slice(value);
        let value_end = self.block.len();
        self.block.extend_from_slice(LINE_END);
        FieldLine {
            start,
            name_end,
            value_end,
        }
    }

    /// The same line with another value.
    fn with_other_value(&mut self, line: FieldLine, value: &[u8]) -> FieldLine {
        let start = self.block.len();
        self.block.extend_from_within(line.name());
        self.with_value(start, value)
    }
}

/// The values of one name.
#[derive(Clone)]
pub struct ValuesOfName<'h> {
    headers: &'h ResponseHeaders,
    name: &'h [u8],
    /// From which line on they are looked for.
    next: usize,
}

impl<'h> Iterator for ValuesOfName<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        let at = self.headers.position(self.name, self.next)?;
        self.next = at + 1;
        Some(&self.headers.block[self.headers.lines[at].value()])
    }
}

/// Adds lines at the end, with their names as they are written here. Those that are not valid are left out.
impl<'h> Extend<(&'h [u8], &'h [u8])> for ResponseHeaders {
    fn extend<T: IntoIterator<Item = (&'h [u8], &'h [u8])>>(&mut self, lines: T) {
        for (name, value) in lines {
            let _ = self.append_line(name, value);
        }
    }
}

/// These lines, as [`Extend`] adds them.
impl<'h> FromIterator<(&'h [u8], &'h [u8])> for ResponseHeaders {
    fn from_iter<T: IntoIterator<Item = (&'h [u8], &'h [u8])>>(lines: T) -> Self {
        let mut headers = Self::new();
        headers.extend(lines);
        headers
    }
}

/// True if a name as it was written is `name`: case does not matter (RFC 9110, 5.1).
#[inline]
pub fn is_name(written: &[u8], name: &HeaderName) -> bool {
    let name = name.as_str().as_bytes();
    written.len() == name.len() && written.eq_ignore_ascii_case(name)
}

/// RFC 9110, 5.5: CR, LF and NUL are dangerous in a value.
fn is_valid_value(value: &[u8]) -> bool {
    memchr3(b'\r', b'\n', b'\0', value).is_none()
}

/// A name as people write it: `Content-Type`.
pub fn title_case(name: &str) -> impl Iterator<Item = u8> {
    let mut begins = true;
    name.bytes().map(move |byte| {
        let written = match begins {
            true => byte.to_ascii_uppercase(),
            false => byte,
        };
        begins = byte == b'-';
        written
    })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{CONTENT_TYPE, ETAG, SET_COOKIE, VIA};

    use super::*;

    fn headers(lines: &[(&str, &str)]) -> ResponseHeaders {
        let mut headers = ResponseHeaders::new();
        for (name, value) in lines {
            let added = headers.append_line(name.as_bytes(), value.as_bytes());
            assert!(added.is_some(), "{name}");
        }
        headers
    }

    fn lines(headers: &ResponseHeaders) -> Vec<String> {
        let text = |bytes| String::from_utf8(Vec::from(bytes)).unwrap();
        let lines = headers.iter();
        lines
            .map(|(name, value)| format!("{}: {}", text(name), text(value)))
            .collect()
    }

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn lines_keep_their_order_and_are_found_in_any_case() {
        let headers = headers(&[
            ("Set-Cookie", "a=1"),
            ("ETag", "\"x\""),
            ("SET-COOKIE", "b=2"),
            ("x-empty", ""),
        ]);
        assert_eq!(headers.get(&ETAG), Some(&b"\"x\""[..]));
        assert!(headers.get_all(&SET_COOKIE).eq([b"a=1", b"b=2"]));
        assert_eq!(
            headers.get(&HeaderName::from_static("x-empty")),
            Some(&b""[..])
        );
        assert!(!headers.contains(&VIA));
        assert_eq!(
            lines(&headers),
            [
                "Set-Cookie: a=1",
                "ETag: \"x\"",
                "SET-COOKIE: b=2",
                "x-empty: "
            ]
        );
    }

    #[test]
    fn an_inserted_line_takes_the_place_and_the_written_name_of_the_first_one() {
        let mut headers = headers(&[("ETAG", "1"), ("b", "2"), ("etag", "3"), ("c", "4")]);
        headers.insert(&ETAG, &value("new"));
        assert_eq!(lines(&headers), ["ETAG: new", "b: 2", "c: 4"]);
        headers.insert(&CONTENT_TYPE, &value("text/plain"));
        headers.append(&VIA, &value("1.1 a"));
        assert_eq!(
            lines(&headers)[3..],
            ["Content-Type: text/plain", "Via: 1.1 a"]
        );
        assert!(headers.remove(&ETAG));
        assert!(!headers.remove(&ETAG));
        headers.retain(|name, value| name != b"b" && value != b"4");
        assert_eq!(headers.len(), 2);
        assert!(!headers.is_empty());
    }

    #[test]
    fn lines_are_written_in_their_order_without_those_that_are_left_out() {
        let mut headers = headers(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "5")]);
        let written = |headers: &ResponseHeaders, left_out: &[u8]| {
            let pieces = headers.written(|name| left_out.contains(&name[0]));
            let pieces = pieces.map(|piece| str::from_utf8(piece).unwrap().to_owned());
            pieces.collect::<Vec<_>>()
        };
        let all = "a: 1\r\nb: 2\r\nc: 3\r\nd: 4\r\ne: 5\r\n";
        assert_eq!(written(&headers, b""), [all]);
        assert_eq!(written(&headers, b"ad"), ["b: 2\r\nc: 3\r\n", "e: 5\r\n"]);
        assert_eq!(written(&headers, b"abcde"), [""; 0]);
        headers.change(&HeaderName::from_static("b"), |value| {
            (value == b"2").then(|| b"x".to_vec())
        });
        headers.change(&HeaderName::from_static("c"), |_| Some(b"\r\n".to_vec()));
        assert_eq!(written(&headers, b"").concat(), all.replace("b: 2", "b: x"));
        assert_eq!(written(&headers, b"").len(), 3);
        headers.replace([(&b"D"[..], &b"6"[..]), (b"d", b"7")].into_iter());
        assert_eq!(
            written(&headers, b"abc").concat(),
            "e: 5\r\nD: 6\r\nd: 7\r\n"
        );
        assert_eq!(written(&ResponseHeaders::new(), b""), [""; 0]);
    }

    #[test]
    fn a_line_that_would_end_early_is_not_added() {
        let mut headers = ResponseHeaders::with_capacity(1, 1);
        for (name, value) in [
            (&b""[..], &b"a"[..]),
            (b"a:", b"b"),
            (b"a\n", b"b"),
            (b"a", b"b\r\nc: d"),
            (b"a", b"b\n"),
            (b"a", b"\0"),
        ] {
            assert_eq!(headers.append_line(name, value), None);
        }
        assert!(headers.is_empty());
        assert_eq!(headers.append_line(b"a", b"\t\xff"), Some(()));
    }

    #[test]
    fn names_are_written_in_title_case() {
        let written = |name| String::from_utf8(title_case(name).collect()).unwrap();
        assert_eq!(written("x-cache"), "X-Cache");
        assert_eq!(written("via"), "Via");
    }
}
