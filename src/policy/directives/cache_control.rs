//! RFC 9111, 5.2: Cache-Control of responses and requests, parsed without allocating.
//!
//! All lines of Cache-Control are one list. Names are case-insensitive. The first of several directives of one name
//! counts. Text within quotes is never a directive. A malformed argument counts as zero, because an invalid lifetime
//! must not become a long one.

use crate::policy::syntax::list::{is_token, members};

/// The largest number of seconds; larger ones become this one (RFC 9111, 1.2.2).
pub(in crate::policy) const MAX_SECONDS: u32 = 1 << 31;

/// One member of a Cache-Control list.
pub(in crate::policy) struct Directive<'h> {
    pub(in crate::policy) name: &'h [u8],
    pub(in crate::policy) argument: Argument<'h>,
}

/// The argument of a directive, after the `=`.
#[derive(Clone, Copy, PartialEq)]
pub(in crate::policy) enum Argument<'h> {
    None,
    /// A token, or the text within quotes.
    Text(&'h [u8]),
    /// A number of a targeted field, at most [`MAX_SECONDS`].
    Seconds(u32),
    Malformed,
}

impl<'h> Directive<'h> {
    fn parse(member: &'h [u8]) -> Self {
        let Some(equals) = member.iter().position(|&byte| byte == b'=') else {
            return Self {
                name: member,
                argument: Argument::None,
            };
        };
        let (name, argument) = (&member[..equals], &member[equals + 1..]);
        // RFC 9111, 5.2: there is no white space around the `=`.
        let trimmed = name.trim_ascii_end();
        let argument = if trimmed.len() == name.len() {
            Argument::parse(argument)
        } else {
            Argument::Malformed
        };
        Self {
            name: trimmed,
            argument,
        }
    }

    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

impl<'h> Argument<'h> {
    fn parse(text: &'h [u8]) -> Self {
        match text {
            [b'"', inner @ .., b'"'] if !inner.contains(&b'"') => Self::Text(inner),
            token if is_token(token) => Self::Text(token),
            _ => Self::Malformed,
        }
    }

    /// RFC 9111, 1.2.2: a number in digits, quoted or not. Saturates. 0 if malformed.
    fn delta_seconds(self) -> u32 {
        match self {
            Self::Text(text) => delta_seconds(text).unwrap_or(0),
            Self::Seconds(seconds) => seconds,
            Self::None | Self::Malformed => 0,
        }
    }

    /// The field names of a qualified `no-cache` or `private`. `None` if it is unqualified or the list is invalid.
    fn field_names(self) -> Option<&'h [u8]> {
        match self {
            Self::Text(list) if members(list).count() > 0 && members(list).all(is_token) => {
                Some(list)
            }
            _ => None,
        }
    }
}

/// Parses digits. Saturates at 2^31. `None` for any other text.
pub(in crate::policy) fn delta_seconds(text: &[u8]) -> Option<u32> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0_u32, |seconds, digit| {
        seconds
            .saturating_mul(10)
            .saturating_add(u32::from(digit - b'0'))
            .min(MAX_SECONDS)
    }))
}

/// RFC 9111, 5.2.2: the directives of a response. Seconds are `None` if the directive is absent.
#[derive(Default)]
pub(in crate::policy) struct ResponseDirectives<'h> {
    pub(in crate::policy) max_age: Option<u32>,
    pub(in crate::policy) s_maxage: Option<u32>,
    pub(in crate::policy) stale_while_revalidate: Option<u32>,
    pub(in crate::policy) stale_if_error: Option<u32>,
    pub(in crate::policy) no_store: bool,
    pub(in crate::policy) no_cache: bool,
    pub(in crate::policy) private: bool,
    pub(in crate::policy) public: bool,
    pub(in crate::policy) must_revalidate: bool,
    pub(in crate::policy) proxy_revalidate: bool,
    pub(in crate::policy) must_understand: bool,
    /// Fields that must not be reused without validation: `no-cache="a, b"`.
    pub(in crate::policy) no_cache_fields: Option<&'h [u8]>,
    /// Fields that are for one user only: `private="a, b"`.
    pub(in crate::policy) private_fields: Option<&'h [u8]>,
    /// True if there is a directive about lifetime or storage, also a malformed one. `public` is not one of them.
    pub(in crate::policy) limits: bool,
}

impl<'h> ResponseDirectives<'h> {
    pub(in crate::policy) fn of_lines(lines: impl Iterator<Item = &'h [u8]>) -> Self {
        lines
            .flat_map(|line| members(line))
            .map(Directive::parse)
            .collect()
    }

    /// Adds a directive. Returns true if it limits lifetime, storage or reuse.
    fn take(&mut self, directive: &Directive<'h>) -> bool {
        let argument = directive.argument;
        let seconds = || argument.delta_seconds();
        if directive.is("max-age") {
            self.max_age.get_or_insert_with(seconds);
        } else if directive.is("s-maxage") {
            self.s_maxage.get_or_insert_with(seconds);
        } else if directive.is("stale-while-revalidate") {
            self.stale_while_revalidate.get_or_insert_with(seconds);
        } else if directive.is("stale-if-error") {
            self.stale_if_error.get_or_insert_with(seconds);
        } else if directive.is("no-store") {
            self.no_store = true;
        } else if directive.is("no-cache") {
            qualified(argument, &mut self.no_cache_fields, &mut self.no_cache);
        } else if directive.is("private") {
            qualified(argument, &mut self.private_fields, &mut self.private);
        } else if directive.is("must-revalidate") {
            self.must_revalidate = true;
        } else if directive.is("proxy-revalidate") {
            self.proxy_revalidate = true;
        } else if directive.is("must-understand") {
            self.must_understand = true;
        } else if directive.is("public") {
            self.public |= argument == Argument::None;
            return false;
        } else {
            return directive.is("immutable");
        }
        true
    }
}

impl<'h> FromIterator<Directive<'h>> for ResponseDirectives<'h> {
    fn from_iter<I: IntoIterator<Item = Directive<'h>>>(members: I) -> Self {
        let mut directives = Self::default();
        for directive in members {
            directives.limits |= directives.take(&directive);
        }
        directives
    }
}

/// Only one list of names is stored. A second list makes the directive unqualified.
fn qualified<'h>(
    argument: Argument<'h>,
    field_names: &mut Option<&'h [u8]>,
    unqualified: &mut bool,
) {
    match argument.field_names() {
        Some(list) if field_names.is_none() => *field_names = Some(list),
        _ => *unqualified = true,
    }
}

/// RFC 9111, 5.2.1: the directives of a request. Seconds are `None` if the directive is absent.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::policy) struct RequestDirectives {
    pub(in crate::policy) no_cache: bool,
    pub(in crate::policy) no_store: bool,
    pub(in crate::policy) only_if_cached: bool,
    pub(in crate::policy) max_age: Option<u32>,
    pub(in crate::policy) min_fresh: Option<u32>,
    pub(in crate::policy) max_stale: Option<u32>,
}

impl RequestDirectives {
    pub(in crate::policy) fn of_lines<'h>(lines: impl Iterator<Item = &'h [u8]>) -> Self {
        let mut directives = Self::default();
        for member in lines.flat_map(|line| members(line)) {
            directives.take(&Directive::parse(member));
        }
        directives
    }

    fn take(&mut self, directive: &Directive<'_>) {
        let argument = directive.argument;
        let seconds = || argument.delta_seconds();
        if directive.is("no-cache") {
            self.no_cache = true;
        } else if directive.is("no-store") {
            self.no_store = true;
        } else if directive.is("only-if-cached") {
            self.only_if_cached = true;
        } else if directive.is("max-age") {
            self.max_age.get_or_insert_with(seconds);
        } else if directive.is("min-fresh") {
            self.min_fresh.get_or_insert_with(seconds);
        } else if directive.is("max-stale") {
            // RFC 9111, 5.2.1.2: without an argument, a response may be stale by any amount.
            self.max_stale.get_or_insert_with(|| match argument {
                Argument::None => u32::MAX,
                _ => seconds(),
            });
        }
    }
}

/// RFC 9111, 5.4: true if these lines of Pragma say `no-cache`.
pub(in crate::policy) fn says_pragma_no_cache<'h>(lines: impl Iterator<Item = &'h [u8]>) -> bool {
    let mut members = lines.flat_map(members);
    members.any(|member| member.eq_ignore_ascii_case(b"no-cache"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn max_age(text: &str) -> Option<u32> {
        ResponseDirectives::of_lines([text.as_bytes()].into_iter()).max_age
    }

    #[test]
    fn s1_2_2_delta_seconds_are_digits_quoted_or_not_and_saturate() {
        for (text, seconds) in [
            ("max-age=3600", 3600),
            ("MAX-AGE=3600", 3600),
            ("max-age=\"3600\"", 3600),
            ("max-age=003600", 3600),
            ("max-age=0", 0),
            ("max-age=2147483648", MAX_SECONDS),
            ("max-age=99999999999999999999999999", MAX_SECONDS),
        ] {
            assert_eq!(max_age(text), Some(seconds), "{text}");
        }
    }

    #[test]
    fn s4_2_1_a_malformed_lifetime_is_present_and_zero() {
        for text in [
            "max-age",
            "max-age=",
            "max-age=-1",
            "max-age=3600.0",
            "max-age='3600'",
            "max-age=a1",
            "max-age=1a",
            "max-age =3600",
            "max-age= 3600",
            "max-age=\"3600",
            "max-age=\"36\"00\"",
            "max-age=36 00",
        ] {
            assert_eq!(max_age(text), Some(0), "{text}");
        }
    }

    #[test]
    fn s5_2_is_one_list_over_all_lines_of_which_the_first_duplicate_wins() {
        let held = ["foo, max-age=1", "max-age=2, NO-store"];
        let directives = ResponseDirectives::of_lines(held.iter().map(|line| line.as_bytes()));
        assert_eq!(directives.max_age, Some(1));
        assert!(directives.no_store);
    }

    #[test]
    fn s5_2_text_inside_quotes_is_never_a_directive() {
        let held = [r#"foo="max-age=9, no-store, \", private", max-age=1"#];
        let directives = ResponseDirectives::of_lines(held.iter().map(|line| line.as_bytes()));
        assert_eq!(directives.max_age, Some(1));
        assert!(!directives.no_store && !directives.private);
    }

    #[test]
    fn s5_2_2_4_qualified_forms_concern_only_the_fields_they_name() {
        for (text, unqualified, field_names) in [
            ("no-cache", true, None),
            ("no-cache=\"a, b\"", false, Some(&b"a, b"[..])),
            ("no-cache=a", false, Some(&b"a"[..])),
            ("no-cache=\"\"", true, None),
            ("no-cache=\"a b\"", true, None),
            ("no-cache=\"a\", no-cache", true, Some(&b"a"[..])),
            ("no-cache=\"a\", no-cache=\"b\"", true, Some(&b"a"[..])),
        ] {
            let held = [text];
            let directives = ResponseDirectives::of_lines(held.iter().map(|line| line.as_bytes()));
            assert_eq!(directives.no_cache, unqualified, "{text}");
            assert_eq!(directives.no_cache_fields, field_names, "{text}");
        }
    }

    #[test]
    fn only_directives_about_lifetime_or_storage_limit_and_malformed_ones_do_too() {
        for (text, limits) in [
            ("", false),
            ("foo, bar=\"no-store\"", false),
            ("no-transform", false),
            ("public", false),
            ("max-age=x", true),
            ("immutable", true),
            ("must-revalidate", true),
            ("private=\"a\"", true),
            ("no-store=1", true),
        ] {
            let held = [text];
            assert_eq!(
                ResponseDirectives::of_lines(held.iter().map(|line| line.as_bytes())).limits,
                limits,
                "{text}"
            );
        }
    }

    #[test]
    fn s5_2_1_request_directives() {
        let held = ["max-stale, MIN-FRESH=5, foo=bar", "max-age=\"7\", no-store"];
        let directives = RequestDirectives::of_lines(held.iter().map(|line| line.as_bytes()));
        assert_eq!(directives.max_stale, Some(u32::MAX));
        assert_eq!(directives.min_fresh, Some(5));
        assert_eq!(directives.max_age, Some(7));
        assert!(directives.no_store && !directives.no_cache && !directives.only_if_cached);
        let held = ["max-stale=x"];
        assert_eq!(
            RequestDirectives::of_lines(held.iter().map(|line| line.as_bytes())).max_stale,
            Some(0)
        );
    }

    proptest! {
        #[test]
        fn any_field_value_is_read_without_panic(bytes: Vec<u8>) {
            let lines = [&*bytes, &*bytes];
            let _ = ResponseDirectives::of_lines(lines.into_iter());
            let _ = RequestDirectives::of_lines(lines.into_iter());
        }

        #[test]
        fn nearly_directives_saturate(text in "(max-age|s-maxage|no-cache|private)[ =]{0,3}[\"'0-9a-z,\\\\]{0,30}") {
            let held = [&text];
            let directives = ResponseDirectives::of_lines(held.iter().map(|line| line.as_bytes()));
            prop_assert!(directives.max_age.is_none_or(|seconds| seconds <= MAX_SECONDS));
        }
    }
}
