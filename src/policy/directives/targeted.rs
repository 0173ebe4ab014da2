//! RFC 9213: targeted directives, in `CDN-Cache-Control`.
//!
//! The field is a dictionary of RFC 8941, parsed strictly: with one error, the whole field is ignored.

use std::{borrow::Cow, collections::BTreeMap, convert::Infallible};

use actix_web::http::header::HeaderName;
use sfv::{
    BareItemFromInput, KeyRef, Parser, Version,
    visitor::{DictionaryVisitor, EntryVisitor, Ignored, InnerListVisitor, ItemVisitor},
};

use crate::policy::{
    ResponseHeaders,
    directives::cache_control::{Argument, Directive, MAX_SECONDS, ResponseDirectives},
    syntax::list::trim,
};

static CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

/// True if the field is present, also if it is empty or invalid.
pub(in crate::policy) fn is_present(headers: &ResponseHeaders) -> bool {
    headers.contains(&CDN_CACHE_CONTROL)
}

/// The directives of the field. `None` if it is absent, empty or invalid (RFC 9213, 2.1).
pub(in crate::policy) fn directives(headers: &ResponseHeaders) -> Option<ResponseDirectives<'_>> {
    let lines = headers.get_all(&CDN_CACHE_CONTROL);
    let members = dictionary(lines.map(trim))?;
    let directives = members.into_iter().filter_map(|(name, item)| {
        let argument = item.argument(name)?;
        let name = name.as_bytes();
        Some(Directive { name, argument })
    });
    Some(directives.collect())
}

/// The members of all lines. `None` if one is invalid or there are none.
///
/// RFC 8941, 4.2: the lines are joined with commas, so an empty one among several is an error. The result differs from
/// that of joined lines only for a string that begins in one line and ends in another; there the RFC lets a parser fail.
fn dictionary<'h>(mut lines: impl Iterator<Item = &'h [u8]>) -> Option<Dictionary<'h>> {
    let mut members = Dictionary::new();
    lines.try_for_each(|line| {
        let parser = Parser::new(line).with_version(Version::Rfc8941);
        let read = parser.parse_dictionary_with_visitor(DictionaryReader(&mut members));
        (read.is_ok() && !line.is_empty()).then_some(())
    })?;
    (!members.is_empty()).then_some(members)
}

/// RFC 8941, 3.2: the last of several members of one key counts.
type Dictionary<'h> = BTreeMap<&'h str, MemberValue<'h>>;

/// The value of a member, as far as directives differ in it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum MemberValue<'h> {
    Boolean(bool),
    /// An integer that is not negative. Saturates.
    Seconds(u32),
    String(&'h str),
    /// A valid value that no known directive has.
    Other,
}

impl<'h> MemberValue<'h> {
    fn of(value: BareItemFromInput<'h>) -> Self {
        match value {
            BareItemFromInput::Boolean(boolean) => Self::Boolean(boolean),
            BareItemFromInput::Integer(integer) => match u64::try_from(i64::from(integer)) {
                Ok(seconds) => Self::Seconds(
                    u32::try_from(seconds).map_or(MAX_SECONDS, |seconds| seconds.min(MAX_SECONDS)),
                ),
                Err(_) => Self::Other,
            },
            // Field names hold no bytes that have to be escaped.
            BareItemFromInput::String(Cow::Borrowed(text)) => Self::String(text.as_str()),
            _ => Self::Other,
        }
    }

    /// The argument of the directive. `None` if its value is false.
    fn argument(self, name: &str) -> Option<Argument<'h>> {
        match self {
            Self::Boolean(true) => Some(Argument::None),
            Self::Boolean(false) => None,
            Self::Seconds(seconds) => Some(Argument::Seconds(seconds)),
            Self::String(names) if matches!(name, "no-cache" | "private") => {
                Some(Argument::Text(names.as_bytes()))
            }
            // RFC 9213, 2.1: a value of another type should be ignored. But the directive is present, and
            // RFC 9111, 4.2.1: a response with an invalid lifetime should count as stale.
            Self::String(_) | Self::Other => Some(Argument::Malformed),
        }
    }
}

/// Collects the members of a line from the parser.
struct DictionaryReader<'m, 'h>(&'m mut Dictionary<'h>);

impl<'h> DictionaryVisitor<'h> for DictionaryReader<'_, 'h> {
    type Out = ();
    type Error = Infallible;

    fn entry(&mut self, key: &'h KeyRef) -> Result<impl EntryVisitor<'h>, Infallible> {
        Ok(MemberReader {
            key: key.as_str(),
            members: self.0,
        })
    }

    fn finish(self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// One member. No parameter is known.
struct MemberReader<'m, 'h> {
    key: &'h str,
    members: &'m mut Dictionary<'h>,
}

impl<'h> EntryVisitor<'h> for MemberReader<'_, 'h> {
    type Error = Infallible;

    fn item(self) -> Result<impl ItemVisitor<'h>, Infallible> {
        Ok(move |value: BareItemFromInput<'h>| {
            self.members.insert(self.key, MemberValue::of(value));
            Ok::<_, Infallible>(Ignored)
        })
    }

    fn inner_list(self) -> Result<impl InnerListVisitor<'h>, Infallible> {
        self.members.insert(self.key, MemberValue::Other);
        Ok(Ignored)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::headers;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn s2_1_a_field_with_one_error_is_ignored() {
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
            "max-age=5, foo=@1",
            "max-age=5, foo=%\"a\"",
            "max-age=5, foo=:a",
            "max-age=5, foo=\"\\a\"",
            "max-age=5, foo=\"\u{e4}\"",
            "&",
        ] {
            let held = headers(&[("cdn-cache-control", value)]);
            assert!(directives(&held).is_none(), "{value}");
        }
    }

    #[test]
    fn s2_1_the_last_member_of_a_key_counts() {
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
            ("max-age=a", Some(0), false),
            ("max-age=(5)", Some(0), false),
            ("max-age=?0", None, false),
            ("max-age=999999999999999", Some(MAX_SECONDS), false),
            ("max-age=5, max-age=x", Some(0), false),
            ("no-store, no-store=?0", None, false),
            ("no-store=?0, no-store", None, true),
            ("no-store=1", None, true),
            ("none", None, false),
        ] {
            let held = headers(&[("cdn-cache-control", value)]);
            let read = directives(&held).unwrap_or_else(|| panic!("{value} is valid"));
            assert_eq!(read.max_age, max_age, "{value}");
            assert_eq!(read.no_store, no_store, "{value}");
        }
    }

    fn of_lines<'h>(lines: &'h [&'h str]) -> Option<Dictionary<'h>> {
        dictionary(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn s2_1_several_lines_are_one_dictionary() {
        let held = headers(&[
            ("cdn-cache-control", "max-age=5, max-age=6"),
            ("cdn-cache-control", "private=\"x-a, x-b\", max-age=7"),
        ]);
        let read = directives(&held).unwrap();
        assert_eq!(read.max_age, Some(7));
        assert_eq!(read.private_fields, Some(&b"x-a, x-b"[..]));
        assert!(!read.private);
        for lines in [
            ["max-age=5", "&"],
            ["&", "max-age=5"],
            ["max-age=5", ""],
            ["", "max-age=5"],
            ["max-age=5,", "no-store"],
            ["max-age=5, private=\"a", "b\""],
        ] {
            assert_eq!(of_lines(&lines), None, "{lines:?}");
        }
    }

    #[test]
    fn s2_1_only_a_string_names_fields() {
        for (value, field_names, unqualified) in [
            ("private=\"x-a\"", Some(&b"x-a"[..]), false),
            ("private=x-a", None, true),
            ("private=5", None, true),
            ("private=(\"x-a\")", None, true),
            ("private=\"x\\\"a\"", None, true),
            ("private=\"\"", None, true),
            ("private", None, true),
            ("private=?0", None, false),
        ] {
            let held = headers(&[("cdn-cache-control", value)]);
            let read = directives(&held).unwrap();
            assert_eq!(read.private_fields, field_names, "{value}");
            assert_eq!(read.private, unqualified, "{value}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(lines: Vec<Vec<u8>>) {
            let _ = dictionary(lines.iter().map(Vec::as_slice));
        }

        #[test]
        fn lines_are_parsed_like_joined_lines(
            lines in vec("[a-z*]{1,4}(=[-0-9.():?;a-z ]{0,9})?([, ;]{1,2}[a-z]{1,4}(=([0-9]{1,17}|\"[a-z ]{0,3}\"|[?][01]))?){0,4}", 1..4),
        ) {
            let joined = lines.join(", ");
            let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
            let joined = [joined.as_str()];
            prop_assert_eq!(of_lines(&lines), of_lines(&joined));
        }

        #[test]
        fn written_dictionaries_are_parsed_again(members in vec(("[a-c]", 0_u32..=MAX_SECONDS), 1..9)) {
            let written: Vec<String> =
                members.iter().map(|(key, seconds)| format!("{key}={seconds};x")).collect();
            let written = written.join(", ");
            let lines = [written.as_str()];
            let lasting: Dictionary<'_> =
                members.iter().map(|(key, seconds)| (key.as_str(), MemberValue::Seconds(*seconds))).collect();
            prop_assert_eq!(of_lines(&lines), Some(lasting));
        }
    }
}
