//! RFC 9213: directives for caches of our kind, in `CDN-Cache-Control`.
//!
//! The field is a dictionary of RFC 8941, read strictly: one error, and the whole field does not count.

use actix_web::http::header::{HeaderMap, HeaderName};

use super::{
    cache_control::{Argument, Directive, ResponseDirectives},
    list::is_token_byte,
};

const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// True when the field is there, be it empty or in error.
pub(super) fn is_present(headers: &HeaderMap) -> bool {
    headers.contains_key(CDN_CACHE_CONTROL)
}

/// The directives of the field; None when it is absent, empty or in error (RFC 9213, 2.1).
pub(super) fn directives(headers: &HeaderMap) -> Option<ResponseDirectives<'_>> {
    // RFC 8941, 3.2: of the members of one key the last one counts.
    let mut members: Vec<(&[u8], Item<'_>)> = Vec::new();
    for line in headers.get_all(CDN_CACHE_CONTROL) {
        for (key, item) in dictionary(line.as_bytes())? {
            members.retain(|(earlier, _)| *earlier != key);
            members.push((key, item));
        }
    }
    if members.is_empty() {
        return None;
    }
    let directives = members
        .into_iter()
        .filter(|(_, item)| *item != Item::False)
        .map(|(name, item)| Directive {
            name,
            argument: item.argument(name),
        });
    Some(directives.collect())
}

/// A value, as far as directives tell them apart.
#[derive(Clone, Copy, PartialEq)]
enum Item<'h> {
    True,
    False,
    Integer(&'h [u8]),
    /// What stands between the quotes.
    String(&'h [u8]),
    /// Valid, but the value of no directive we know.
    Other,
}

impl<'h> Item<'h> {
    /// RFC 9213, 2.1: a value of the wrong type is not to be used.
    fn argument(self, name: &[u8]) -> Argument<'h> {
        match self {
            Self::True => Argument::None,
            Self::Integer(digits) => Argument::Text(digits),
            Self::String(names) if matches!(name, b"no-cache" | b"private") => {
                Argument::Text(names)
            }
            Self::String(_) | Self::Other | Self::False => Argument::Malformed,
        }
    }
}

/// RFC 8941, 4.2.2: the members of a line; None at the first error.
fn dictionary(line: &[u8]) -> Option<Vec<(&[u8], Item<'_>)>> {
    let mut reader = Reader { rest: line };
    let mut members = Vec::new();
    reader.skip(b" ");
    while !reader.rest.is_empty() {
        let key = reader.key()?;
        let item = if reader.take(b'=') {
            reader.item_or_inner_list()?
        } else {
            Item::True
        };
        reader.parameters()?;
        members.push((key, item));
        reader.skip(b" \t");
        if reader.rest.is_empty() {
            break;
        }
        if !reader.take(b',') {
            return None;
        }
        reader.skip(b" \t");
        // A comma at the end is an error.
        if reader.rest.is_empty() {
            return None;
        }
    }
    Some(members)
}

/// Consumes a structured field from its front.
struct Reader<'h> {
    rest: &'h [u8],
}

impl<'h> Reader<'h> {
    fn skip(&mut self, bytes: &[u8]) {
        self.take_while(|byte| bytes.contains(&byte));
    }

    fn take(&mut self, byte: u8) -> bool {
        match self.rest.strip_prefix(&[byte]) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, accepts: impl Fn(u8) -> bool) -> &'h [u8] {
        let end = self
            .rest
            .iter()
            .position(|&byte| !accepts(byte))
            .unwrap_or(self.rest.len());
        let (head, rest) = self.rest.split_at(end);
        self.rest = rest;
        head
    }

    /// RFC 8941, 4.2.3.3.
    fn key(&mut self) -> Option<&'h [u8]> {
        let starts_well = |byte: u8| byte.is_ascii_lowercase() || byte == b'*';
        self.rest
            .first()
            .copied()
            .filter(|&byte| starts_well(byte))?;
        Some(self.take_while(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-.*".contains(&byte)
        }))
    }

    /// RFC 8941, 4.2.3.2.
    fn parameters(&mut self) -> Option<()> {
        while self.take(b';') {
            self.skip(b" ");
            self.key()?;
            if self.take(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn item_or_inner_list(&mut self) -> Option<Item<'h>> {
        if !self.take(b'(') {
            return self.bare_item();
        }
        // RFC 8941, 4.2.1.2.
        loop {
            self.skip(b" ");
            if self.take(b')') {
                return Some(Item::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.rest.first(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    /// RFC 8941, 4.2.3.1.
    fn bare_item(&mut self) -> Option<Item<'h>> {
        match self.rest.first()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b':' => self.byte_sequence(),
            b'?' => self.boolean(),
            b'*' | b'a'..=b'z' | b'A'..=b'Z' => {
                self.take_while(|byte| is_token_byte(byte) || b":/".contains(&byte));
                Some(Item::Other)
            }
            _ => None,
        }
    }

    /// At most 15 digits, or 12 before and 3 behind the point.
    fn number(&mut self) -> Option<Item<'h>> {
        let start = self.rest;
        self.take(b'-');
        let whole = self.take_while(|byte| byte.is_ascii_digit()).len();
        if self.take(b'.') {
            let fraction = self.take_while(|byte| byte.is_ascii_digit()).len();
            let fits = (1..=12).contains(&whole) && (1..=3).contains(&fraction);
            return fits.then_some(Item::Other);
        }
        let length = start.len() - self.rest.len();
        (1..=15)
            .contains(&whole)
            .then(|| Item::Integer(&start[..length]))
    }

    fn string(&mut self) -> Option<Item<'h>> {
        let text = self.rest.get(1..)?;
        let mut escaped = false;
        for (place, &byte) in text.iter().enumerate() {
            match byte {
                b'"' | b'\\' if escaped => escaped = false,
                _ if escaped => return None,
                b'\\' => escaped = true,
                b'"' => {
                    self.rest = &text[place + 1..];
                    return Some(Item::String(&text[..place]));
                }
                b' '..=b'~' => {}
                _ => return None,
            }
        }
        None
    }

    fn byte_sequence(&mut self) -> Option<Item<'h>> {
        self.take(b':');
        self.take_while(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        self.take(b':').then_some(Item::Other)
    }

    fn boolean(&mut self) -> Option<Item<'h>> {
        self.take(b'?');
        if self.take(b'1') {
            Some(Item::True)
        } else {
            self.take(b'0').then_some(Item::False)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::headers;
    use proptest::prelude::*;

    #[test]
    fn s2_1_one_error_and_the_whole_field_does_not_count() {
        for value in [
            "",
            " ",
            "max-age=5,",
            "max-age=5,,no-store",
            "Max-Age=5",
            "max-age =5",
            "max-age= 5",
            "max-age=5 no-store",
            "max-age=\"5",
            "max-age=1.2345",
            "max-age=1234567890123456",
            "max-age=--1",
            "max-age=5;",
            "max-age=?2",
            "max-age=(1 2",
            "max-age=(1,2)",
            "&",
        ] {
            let held = headers(&[("cdn-cache-control", value)]);
            assert!(directives(&held).is_none(), "{value}");
        }
    }

    #[test]
    fn s2_1_valid_fields_count_and_the_last_of_a_key_wins() {
        for (value, max_age, no_store) in [
            ("max-age=5", Some(5), false),
            ("max-age=5, max-age=7", Some(7), false),
            ("max-age=5;foo=\"bar\";baz, no-store", Some(5), true),
            ("  max-age=005  ,\tno-store=?1", Some(5), true),
            ("max-age=5, no-store=?0", Some(5), false),
            (
                "foo=(1 \"a\";b 2);c, x=:aGk=:, max-age=5, y=1.5, z=to/k:en",
                Some(5),
                false,
            ),
            ("max-age=\"5\"", Some(0), false),
            ("max-age=5.0", Some(0), false),
            ("max-age=-5", Some(0), false),
            ("max-age", Some(0), false),
            ("none", None, false),
        ] {
            let held = headers(&[("cdn-cache-control", value)]);
            let read = directives(&held).unwrap_or_else(|| panic!("{value} is valid"));
            assert_eq!(read.max_age, max_age, "{value}");
            assert_eq!(read.no_store, no_store, "{value}");
        }
    }

    #[test]
    fn s2_1_several_lines_are_one_dictionary() {
        let held = headers(&[
            ("cdn-cache-control", "max-age=5"),
            ("cdn-cache-control", "private=\"x-a, x-b\""),
        ]);
        let read = directives(&held).unwrap();
        assert_eq!(read.max_age, Some(5));
        assert_eq!(read.private_fields, Some(&b"x-a, x-b"[..]));
        assert!(!read.private);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes: Vec<u8>) {
            let _ = dictionary(&bytes);
        }

        #[test]
        fn nearly_dictionaries_are_read_without_panic(text in "([a-z*]{1,4}(=[-0-9.\"():?;a-z ]{0,9})?[, ;]{0,3}){0,6}") {
            let _ = dictionary(text.as_bytes());
        }
    }
}
