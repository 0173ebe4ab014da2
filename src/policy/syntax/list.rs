//! RFC 9110, 5.6.1: lists. Members are separated by commas outside quotes.

/// Members of one line of a list field. Within quotes, `\` is an escape. Empty members are left out.
pub(in crate::policy) fn members(line: &[u8]) -> Members<'_> {
    Members {
        rest: line,
        escapes: Escapes::Backslash,
    }
}

/// Members of one line of entity tags, in which `\` is not an escape (RFC 9110, 8.8.3).
pub(in crate::policy) fn entity_tags(line: &[u8]) -> Members<'_> {
    Members {
        rest: line,
        escapes: Escapes::None,
    }
}

/// Iterator over the members of a line, without white space around them.
#[derive(Clone)]
pub(in crate::policy) struct Members<'a> {
    rest: &'a [u8],
    escapes: Escapes,
}

#[derive(Clone, Copy, PartialEq)]
enum Escapes {
    Backslash,
    None,
}

impl<'a> Iterator for Members<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        while !self.rest.is_empty() {
            let (member, rest) = match self.comma() {
                Some(position) => (&self.rest[..position], &self.rest[position + 1..]),
                None => (self.rest, &[][..]),
            };
            self.rest = rest;
            let member = trim(member);
            if !member.is_empty() {
                return Some(member);
            }
        }
        None
    }
}

impl Members<'_> {
    /// The position of the first comma outside quotes. A quote without an end goes to the end of the line.
    fn comma(&self) -> Option<usize> {
        // Most members have no quotes.
        let first = memchr::memchr2(b',', b'"', self.rest)?;
        match self.rest.get(first) {
            Some(b',') => Some(first),
            _ => self.comma_after_quotes(),
        }
    }

    fn comma_after_quotes(&self) -> Option<usize> {
        let mut quoted = false;
        let mut escaped = false;
        self.rest.iter().position(|&byte| {
            if escaped {
                escaped = false;
                return false;
            }
            match byte {
                b'"' => quoted = !quoted,
                b'\\' if quoted && self.escapes == Escapes::Backslash => escaped = true,
                b',' => return !quoted,
                _ => {}
            }
            false
        })
    }
}

/// RFC 9110, 5.6.3: removes optional white space (space, tab) at both ends.
pub(in crate::policy) fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// RFC 9110, 5.6.2: true for a character of a token.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// True for a token: at least one character, and only characters of tokens.
pub(in crate::policy) fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().copied().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn split(line: &str) -> Vec<&str> {
        members(line.as_bytes())
            .map(|member| std::str::from_utf8(member).unwrap())
            .collect()
    }

    #[test]
    fn s5_6_1_splits_at_commas_outside_quotes() {
        assert_eq!(split("a,b , c"), ["a", "b", "c"]);
        assert_eq!(split(" ,, a,\t,"), ["a"]);
        assert_eq!(split(r#"a="x, y", b"#), [r#"a="x, y""#, "b"]);
        assert_eq!(split(r#"a="x\", y", b"#), [r#"a="x\", y""#, "b"]);
        assert_eq!(split(r#"a="x, y"#), [r#"a="x, y"#]);
        assert!(split("").is_empty());
    }

    #[test]
    fn s8_8_3_a_backslash_in_an_entity_tag_escapes_nothing() {
        assert_eq!(entity_tags(br#""a\", "b""#).count(), 2);
    }

    proptest! {
        #[test]
        fn any_bytes_split_into_trimmed_members(bytes: Vec<u8>) {
            for member in members(&bytes).chain(entity_tags(&bytes)) {
                prop_assert_eq!(member, trim(member));
                prop_assert!(!member.is_empty());
            }
        }
    }
}
