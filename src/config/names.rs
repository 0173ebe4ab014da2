//! Parses lists of the names of headers, cookies and query parameters.

use std::borrow::Cow;

use toml::Value;

use super::{
    error::ValueError,
    value::{Given, MAX_PATTERN_BYTES},
};
use crate::mask;

/// Names are matched on every request, so their number is bounded.
const MAX_NAMES: usize = 256;
/// The most characters of a wrong name that are shown.
const MAX_SHOWN_CHARS: usize = 60;

/// What the entries of a list are names of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameKind {
    Header,
    Cookie,
    MaskedParameter,
    IgnoredParameter,
}

/// Names of headers, with exceptions.
pub(super) fn headers(given: &Given) -> Result<Vec<String>, ValueError> {
    names(given, NameKind::Header)
}

/// Names of cookies, with exceptions.
pub(super) fn cookies(given: &Given) -> Result<Vec<String>, ValueError> {
    names(given, NameKind::Cookie)
}

/// Names of query parameters, with exceptions.
pub(super) fn masked_parameters(given: &Given) -> Result<Vec<String>, ValueError> {
    names(given, NameKind::MaskedParameter)
}

/// Names of query parameters, without exceptions.
pub(super) fn ignored_parameters(given: &Given) -> Result<Vec<String>, ValueError> {
    names(given, NameKind::IgnoredParameter)
}

/// An entry of a list, before it is checked.
pub(super) struct ListEntry {
    /// Its line in the file; `None` outside of it.
    line: Option<usize>,
    written: Given,
}

/// The names in a list, if all of them are right and at least one of them is no exception.
fn names(given: &Given, kind: NameKind) -> Result<Vec<String>, ValueError> {
    let example = kind.example(given);
    let list = || given.is_not(format!("a list of {}s, such as {example}", kind.noun()));
    let entries = entries(given).ok_or_else(list)?;
    if entries.len() > MAX_NAMES {
        return Err(ValueError::Not {
            given: format!("this list of {} names", entries.len()),
            right: format!("a list of at most {MAX_NAMES}; combine some with \"*\"").into(),
            line: None,
        });
    }
    let checked = entries.iter().map(|entry| entry.name(kind, &example));
    let names = checked.collect::<Result<Vec<String>, ValueError>>()?;
    match entries.first() {
        Some(first) if names.iter().all(|name| kind.is_exception(name)) => {
            Err(first.is_not(format!(
                "enough: it is an exception, and the list has nothing that it is an exception to; \
                 write that too, as in {} (a list replaces the default, which check-config prints)",
                kind.example_with_exception(given)
            )))
        }
        _ => Ok(names),
    }
}

/// The entries of a list; `None` if the value is none.
pub(super) fn entries(given: &Given) -> Option<Vec<ListEntry>> {
    match given {
        Given::List(items) => {
            let entries = items.iter().map(|(line, item)| ListEntry {
                line: Some(*line),
                written: Given::Typed(item.clone()),
            });
            Some(entries.collect())
        }
        Given::Typed(_) | Given::Beyond(_) => None,
        Given::Argument(text) => {
            let items = text.to_str()?.split(',').map(str::trim);
            let entries = items.filter(|item| !item.is_empty()).map(|item| ListEntry {
                line: None,
                written: Given::Argument(item.into()),
            });
            Some(entries.collect())
        }
    }
}

impl ListEntry {
    /// The entry as text; `None` if it is not text.
    pub(super) fn text(&self) -> Option<&str> {
        self.written.text()
    }

    fn name(&self, kind: NameKind, example: &str) -> Result<String, ValueError> {
        let fault = match self.written.text() {
            None => Cow::Borrowed("it is not text in quotes"),
            Some(text) => match kind.fault(text) {
                None => return Ok(text.to_owned()),
                Some(fault) => fault,
            },
        };
        let noun = kind.noun();
        Err(self.is_not(format!("a {noun}: {fault}; write a list such as {example}")))
    }

    pub(super) fn is_not(&self, right: String) -> ValueError {
        let shown = match self.written.text() {
            Some(text) => {
                &Given::Typed(Value::String(mask::cut(text, MAX_SHOWN_CHARS).into_owned()))
            }
            None => &self.written,
        };
        shown.is_not(right).on(self.line)
    }
}

impl NameKind {
    fn noun(self) -> &'static str {
        match self {
            Self::Header => "header name",
            Self::Cookie => "cookie name",
            Self::MaskedParameter | Self::IgnoredParameter => "parameter name",
        }
    }

    /// A right list, written as in the source of `given`.
    fn example(self, given: &Given) -> String {
        match self {
            Self::Header => list(given, ["x-user", "*-token"]),
            Self::Cookie => list(given, ["sid", "*_session"]),
            Self::MaskedParameter => list(given, ["code", "*token*"]),
            Self::IgnoredParameter => list(given, ["utm_*", "fbclid"]),
        }
    }

    /// A right list with an exception.
    fn example_with_exception(self, given: &Given) -> String {
        match self {
            Self::Header => list(given, ["x-user*", "!x-user-agent"]),
            Self::Cookie => list(given, ["*", "!theme"]),
            Self::MaskedParameter | Self::IgnoredParameter => list(given, ["*code", "!zip-code"]),
        }
    }

    fn has_exceptions(self) -> bool {
        self != Self::IgnoredParameter
    }

    fn is_exception(self, name: &str) -> bool {
        self.has_exceptions() && name.starts_with('!')
    }

    /// What is wrong with a name; `None` if nothing is.
    fn fault(self, text: &str) -> Option<Cow<'static, str>> {
        let name = match text.strip_prefix('!') {
            Some("") if self.has_exceptions() => {
                return Some("the name is missing after \"!\"".into());
            }
            Some(name) if self.has_exceptions() && name.starts_with('!') => {
                return Some("an exception begins with one \"!\"".into());
            }
            Some(name) if self.has_exceptions() => name,
            _ => text,
        };
        let wrong = name.chars().find(|letter| !self.may_have(*letter));
        match wrong {
            _ if name.is_empty() => Some("it is empty".into()),
            _ if name.len() > MAX_PATTERN_BYTES => {
                Some(format!("it is longer than {MAX_PATTERN_BYTES} bytes").into())
            }
            Some(' ') => Some("it has a space".into()),
            Some(letter) => Some(format!("it has {:?}", letter.to_string()).into()),
            None => None,
        }
    }

    /// Whether a pattern of such names may have the character; `*` is one of them.
    fn may_have(self, letter: char) -> bool {
        match self {
            // RFC 9110, 5.6.2: `token`, the syntax of the names of headers and cookies.
            Self::Header | Self::Cookie => {
                letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter)
            }
            // What the HTTP types allow in a query, without what ends a parameter or its name.
            Self::MaskedParameter | Self::IgnoredParameter => {
                letter.is_ascii_graphic() && !"\"#&<=>".contains(letter)
            }
        }
    }
}

/// A list of names, written as in the source of `given`.
fn list(given: &Given, names: [&str; 2]) -> String {
    match given {
        Given::Argument(_) => names.join(","),
        Given::Typed(_) | Given::List(_) | Given::Beyond(_) => format!("{names:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [NameKind; 4] = [
        NameKind::Header,
        NameKind::Cookie,
        NameKind::MaskedParameter,
        NameKind::IgnoredParameter,
    ];

    proptest! {
        #[test]
        fn written_names_are_parsed_again(
            listed in proptest::collection::vec("[a-z*_-]{1,9}", 0..9),
        ) {
            for kind in KINDS {
                let read = names(&Given::Argument(listed.join(" , ").into()), kind).ok();
                prop_assert_eq!(read.as_ref(), Some(&listed));
            }
        }

        #[test]
        fn any_list_is_parsed_or_refused_on_the_line_of_an_entry(
            listed in proptest::collection::vec("!{0,2}[a-z *=:]{0,3}", 0..5),
            number: i64,
        ) {
            let mut items: Vec<(usize, Value)> = listed
                .iter()
                .enumerate()
                .map(|(index, text)| (index + 1, Value::String(text.clone())))
                .collect();
            items.extend((number % 2 == 0).then_some((listed.len() + 1, Value::Integer(number))));
            for kind in KINDS {
                match names(&Given::List(items.clone()), kind) {
                    Ok(read) => {
                        prop_assert_eq!(read.len(), items.len());
                        prop_assert!(read.iter().all(|name| kind.fault(name).is_none()));
                    }
                    Err(ValueError::Not { line, .. }) => {
                        let line = line.expect("the line of an entry");
                        prop_assert!((1..=items.len()).contains(&line));
                    }
                    Err(other) => prop_assert!(false, "{other}"),
                }
            }
        }
    }
}
