//! GraphQL in the body of a POST: whether it only reads, or changes something.

use crate::policy::post::json;

/// True if the body has a GraphQL operation that is not a query, in the `query` of one object or of several.
///
/// A body that is not valid JSON, such as a form, counts as one if the word `mutation` or `subscription` is anywhere in
/// it.
pub(in crate::policy) fn is_change(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let body = body.trim_ascii();
    let is_json = body.starts_with(b"{") || body.starts_with(b"[");
    let text = std::str::from_utf8(body).ok().filter(|_| is_json);
    match text.and_then(documents) {
        Some(documents) => documents.iter().any(|document| names_change(document)),
        None => has_word(body) || has_word(&percent_decoded(body)),
    }
}

fn has_word(body: &[u8]) -> bool {
    [&b"mutation"[..], b"subscription"]
        .iter()
        .any(|word| memchr::memmem::find(body, word).is_some())
}

/// Decodes percent-encoding as in forms (RFC 3986, 2.1).
fn percent_decoded(body: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some((&byte, behind)) = rest.split_first() {
        let digits = behind.get(..2).filter(|_| byte == b'%');
        let value = digits
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        decoded.push(value.unwrap_or(byte));
        rest = match value {
            Some(_) => &behind[2..],
            None => behind,
        };
    }
    decoded
}

/// The GraphQL documents in an object, or in each object of an array. `None` if one is invalid.
fn documents(text: &str) -> Option<Vec<String>> {
    let objects = match text.starts_with('[') {
        true => json::items(text)?
            .into_iter()
            .map(|item| item.get())
            .collect(),
        false => vec![text],
    };
    let mut documents = Vec::new();
    for object in objects {
        if !object.starts_with('{') {
            continue;
        }
        for (name, value) in json::members(object)? {
            if name.eq_ignore_ascii_case("query") && value.get().starts_with('"') {
                documents.push(json::string(value.get())?);
            }
        }
    }
    Some(documents)
}

/// True if an operation of the document is a mutation or a subscription: the word is outside all braces, strings and
/// comments.
pub(in crate::policy) fn names_change(document: &str) -> bool {
    let mut rest = document.as_bytes();
    let mut depth = 0_usize;
    while let Some(&byte) = rest.first() {
        let token = match byte {
            b'#' => comment(rest),
            b'"' => string(rest),
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => name(rest),
            _ => 1,
        };
        let (token, behind) = rest.split_at(token);
        match token {
            b"{" => depth += 1,
            b"}" => depth = depth.saturating_sub(1),
            b"mutation" | b"subscription" if depth == 0 => return true,
            _ => {}
        }
        rest = behind;
    }
    false
}

fn name(text: &[u8]) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.iter().take_while(|byte| is_part(byte)).count()
}

fn comment(text: &[u8]) -> usize {
    let is_part = |byte: &u8| !matches!(byte, b'\n' | b'\r');
    text.iter().take_while(|byte| is_part(byte)).count()
}

/// The length of the string at the start of `text`, or of all the text if the string has no end. A string in single
/// quotes ends with its line, because an origin would not continue it either.
fn string(text: &[u8]) -> usize {
    let (quotes, mut at) = match text.starts_with(b"\"\"\"") {
        true => (&b"\"\"\""[..], 3),
        false => (&b"\""[..], 1),
    };
    while let Some(&byte) = text.get(at) {
        match byte {
            _ if text[at..].starts_with(quotes) => return at + quotes.len(),
            b'\n' | b'\r' if quotes.len() == 1 => return at,
            // In a block string only three quotes can be escaped, in other strings any character.
            b'\\' if quotes.len() == 1 => at += 2,
            b'\\' if text[at + 1..].starts_with(quotes) => at += 4,
            _ => at += 1,
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_operation_is_named_outside_braces_strings_and_comments() {
        for (document, expected) in [
            ("{ a }", false),
            ("query { a }", false),
            ("query Q($a: Int = 1) @d { mutation subscription }", false),
            ("mutation { a }", true),
            ("mutation{a}", true),
            ("\u{feff}\n , mutation M($a: Int) { a }", true),
            ("subscription S { a }", true),
            ("query A { a } mutation B { b }", true),
            ("fragment F on T { a } subscription { b }", true),
            ("query A { a { b } c } mutation B { b }", true),
            ("Mutation { a }", false),
            ("query mutations { a }", false),
            ("query _mutation { a }", false),
            ("# mutation\n{ a }", false),
            ("# query\rmutation { a }", true),
            ("{ a(b: \"}\") } ", false),
            ("{ a(b: \"} mutation {\") }", false),
            ("{ a(b: \"\\\"} mutation {\") }", false),
            ("{ a(b: \"\"\"} mutation \\\"\"\" { \"\"\") }", false),
            ("{ a(b: \"\"\"\"\"\") } mutation { b }", true),
            ("{ a(b: \"\") } mutation { b }", true),
            ("{ a } # {\nmutation { b }", true),
            ("{ a(b: \"{\") } mutation { b }", true),
            ("} mutation { b }", true),
            ("", false),
            ("\"", false),
            ("\"\\", false),
            ("\"\"\"\\", false),
        ] {
            assert_eq!(names_change(document), expected, "{document}");
        }
    }

    #[test]
    fn changes_in_bodies_are_found() {
        for (body, expected) in [
            (r#"{"query":"{ a }"}"#, false),
            (r#"{"query":"mutation { a }"}"#, true),
            (r#"{"Query":"mutation { a }"}"#, true),
            ("query=mutation%7Ba%7D", true),
            ("query=%6dutation+%7Ba%7D", true),
            ("--b\r\n\r\n{\"query\":\"mutation{a}\"}\r\n--b--", true),
            ("q=shoes&page=2%", false),
            (
                r#" {"variables":{"query":"mutation"},"query":"{ a }"}"#,
                false,
            ),
            (r#"{"query":"\u006dutation { a }"}"#, true),
            (r#"{"\u0071uery":"mutation { a }"}"#, true),
            (r#"{"query":"{ a }","query":"mutation { a }"}"#, true),
            (r#"{"query":"mutation { a }","query":"{ a }"}"#, true),
            (r#"[{"query":"{ a }"},{"query":"mutation { a }"}]"#, true),
            (r#"[{"query":"{ a }"},1,"mutation"]"#, false),
            (r#"{"query":{"match":"mutation"}}"#, false),
            (r#"{"q":"mutation"}"#, false),
            (r#""mutation""#, true),
            ("mutation", true),
            ("query=mutation", true),
            ("", false),
            ("\u{feff}{\"query\":\"mutation { a }\"}", true),
            // Not valid JSON.
            (r#"{query:"mutation { a }"}"#, true),
            (r#"{"query":"mutation { a }","variables":"\ud800"}"#, true),
            (r#"{"query":"mutation { a } \ud800"}"#, true),
            (r#"{"\ud800":1,"query":"mutation { a }"}"#, true),
            (r#"{"query":"{ a }",}"#, false),
        ] {
            assert_eq!(is_change(body.as_bytes()), expected, "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_body_and_document_are_read_without_panic(
            body: Vec<u8>,
            document in "[\"\\\\{}#\nma ]{0,24}",
        ) {
            let _ = is_change(&body);
            let _ = names_change(&document);
        }
    }
}
