//! GraphQL in the body of a POST: whether it only reads, or changes something.

use crate::policy::{Reason, post::json};

/// What a request with a persisted query does, whose document only the origin knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PersistedQueries {
    /// It may change something.
    #[default]
    Change,
    /// It only reads.
    ReadOnly,
}

/// What a body asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum BodyKind {
    /// A change, or something that cannot be read to its end: why it is not answered from the cache.
    Change(Reason),
    /// GraphQL queries.
    Query,
    /// Something else.
    Other,
}

/// What a body asks for, in the `query` of one object or of several. Without a `query`, a persisted query counts.
///
/// A body that looks like JSON and cannot be read counts as a change. Another body, such as a form, counts as one if it has
/// one of the words for it anywhere.
pub(in crate::policy) fn kind(body: &[u8], persisted: PersistedQueries) -> BodyKind {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let body = body.trim_ascii();
    if body.starts_with(b"{") || body.starts_with(b"[") {
        let requests = std::str::from_utf8(body).ok().and_then(requests);
        let unreadable = BodyKind::Change(Reason::UnreadableBody);
        return requests.map_or(unreadable, |requests| {
            let kinds = requests.iter().map(|request| request.kind(persisted));
            kinds.fold(BodyKind::Other, BodyKind::or)
        });
    }
    let decoded = percent_decoded(body);
    let is_in = |word: &[u8]| {
        memchr::memmem::find(body, word).is_some() || memchr::memmem::find(&decoded, word).is_some()
    };
    if is_in(b"mutation") || is_in(b"subscription") {
        return BodyKind::Change(Reason::GraphqlMutation);
    }
    let is_persisted = is_in(b"persistedQuery") || is_in(b"documentId");
    match persisted {
        PersistedQueries::Change if is_persisted => BodyKind::Change(Reason::PersistedQuery),
        PersistedQueries::Change | PersistedQueries::ReadOnly => BodyKind::Other,
    }
}

impl BodyKind {
    /// A batch with a change is a change. What no setting lets be cached is named first.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Change(Reason::PersistedQuery), Self::Change(reason))
            | (Self::Change(reason), _)
            | (_, Self::Change(reason)) => Self::Change(reason),
            (Self::Query, _) | (_, Self::Query) => Self::Query,
            (Self::Other, Self::Other) => Self::Other,
        }
    }
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

/// What one object says of a GraphQL request.
#[derive(Default)]
struct GraphqlRequest {
    /// The documents. Parsers differ in which one of several counts.
    documents: Vec<String>,
    names_persisted_query: bool,
}

impl GraphqlRequest {
    /// `None` if the object is not valid JSON.
    fn of(object: &str) -> Option<Self> {
        let mut request = Self::default();
        for (name, value) in json::members(object)? {
            let value = value.get();
            match name.to_ascii_lowercase().as_str() {
                "query" if value.starts_with('"') => {
                    let document = json::string(value)?;
                    request
                        .documents
                        .extend(Some(document).filter(|it| !it.is_empty()));
                }
                "id" | "documentid" | "document_id" | "doc_id" | "queryid" => {
                    request.names_persisted_query |= value != "null";
                }
                "extensions" if value.starts_with('{') => {
                    let mut members = json::members(value)?.into_iter();
                    request.names_persisted_query |=
                        members.any(|(name, _)| name.eq_ignore_ascii_case("persistedQuery"));
                }
                _ => {}
            }
        }
        Some(request)
    }

    fn kind(&self, persisted: PersistedQueries) -> BodyKind {
        let mut documents = self.documents.iter();
        if let Some(reason) = documents.find_map(|document| change(document)) {
            return BodyKind::Change(reason);
        }
        match persisted {
            _ if self.documents.iter().any(|document| document.contains('{')) => BodyKind::Query,
            _ if !self.documents.is_empty() || !self.names_persisted_query => BodyKind::Other,
            PersistedQueries::Change => BodyKind::Change(Reason::PersistedQuery),
            PersistedQueries::ReadOnly => BodyKind::Query,
        }
    }
}

/// The requests in an object, or in each object of an array. `None` if one is invalid.
fn requests(text: &str) -> Option<Vec<GraphqlRequest>> {
    let items = match text.starts_with('[') {
        true => json::items(text)?
            .into_iter()
            .map(|item| item.get())
            .collect(),
        false => vec![text],
    };
    let objects = items.into_iter().filter(|item| item.starts_with('{'));
    objects.map(GraphqlRequest::of).collect()
}

/// Why a document may change something; `None` if it only reads. An operation is a mutation or a subscription: the word is
/// outside all braces, strings and comments. Or a string or a brace has no end, so that the rest cannot be read.
pub(in crate::policy) fn change(document: &str) -> Option<Reason> {
    let mut rest = document.as_bytes();
    let mut depth = 0_usize;
    while let Some(&byte) = rest.first() {
        let token = match byte {
            b'#' => comment(rest),
            b'"' => match string(rest) {
                Some(length) => length,
                None => return Some(Reason::UnreadableBody),
            },
            b'_' | b'a'..=b'z' | b'A'..=b'Z' => name(rest),
            _ => 1,
        };
        let (token, behind) = rest.split_at(token);
        match token {
            b"{" => depth += 1,
            b"}" if depth == 0 => return Some(Reason::UnreadableBody),
            b"}" => depth -= 1,
            b"mutation" | b"subscription" if depth == 0 => return Some(Reason::GraphqlMutation),
            _ => {}
        }
        rest = behind;
    }
    (depth > 0).then_some(Reason::UnreadableBody)
}

fn name(text: &[u8]) -> usize {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    text.iter().take_while(|byte| is_part(byte)).count()
}

fn comment(text: &[u8]) -> usize {
    let is_part = |byte: &u8| !matches!(byte, b'\n' | b'\r');
    text.iter().take_while(|byte| is_part(byte)).count()
}

/// The length of the string at the start of `text`; `None` if it has no end. A string in single quotes cannot go on in the
/// next line.
fn string(text: &[u8]) -> Option<usize> {
    let (quotes, mut at) = match text.starts_with(b"\"\"\"") {
        true => (&b"\"\"\""[..], 3),
        false => (&b"\""[..], 1),
    };
    while let Some(&byte) = text.get(at) {
        match byte {
            _ if text[at..].starts_with(quotes) => return Some(at + quotes.len()),
            b'\n' | b'\r' if quotes.len() == 1 => return None,
            // In a block string only three quotes can be escaped, in other strings any character.
            b'\\' if quotes.len() == 1 => at += 2,
            b'\\' if text[at + 1..].starts_with(quotes) => at += 4,
            _ => at += 1,
        }
    }
    None
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
            // Not readable to the end.
            ("\"", true),
            ("\"\\", true),
            ("\"\"\"\\", true),
            ("{ a(b: \"x\n\") }", true),
            ("{ a { b }", true),
            ("{ a } }", true),
            ("{ a(b: \"\\\") } mutation { c }", true),
        ] {
            assert_eq!(change(document).is_some(), expected, "{document}");
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
            (r#"{"query":"{ a }",}"#, true),
        ] {
            let found = kind(body.as_bytes(), PersistedQueries::ReadOnly);
            assert_eq!(matches!(found, BodyKind::Change(_)), expected, "{body}");
        }
    }

    #[test]
    fn persisted_queries_count_as_changes_unless_they_only_read() {
        use BodyKind::{Other, Query};
        const CHANGE: BodyKind = BodyKind::Change(Reason::PersistedQuery);
        const MUTATION: BodyKind = BodyKind::Change(Reason::GraphqlMutation);
        for (body, unknown, read_only) in [
            (
                r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"x"}}}"#,
                CHANGE,
                Query,
            ),
            (
                r#"{"Extensions":{"PersistedQuery":{}},"variables":{}}"#,
                CHANGE,
                Query,
            ),
            (r#"{"documentId":"x"}"#, CHANGE, Query),
            (r#"{"id":"x","variables":{}}"#, CHANGE, Query),
            (r#"{"doc_id":7}"#, CHANGE, Query),
            (r#"{"query":"","id":"x"}"#, CHANGE, Query),
            (r#"{"query":null,"id":"x"}"#, CHANGE, Query),
            (r#"[{"query":"{ a }"},{"id":"x"}]"#, CHANGE, Query),
            ("extensions=%7B%22persistedQuery%22%3A1%7D", CHANGE, Other),
            ("documentId=x", CHANGE, Other),
            // The document is known.
            (
                r#"{"query":"{ a }","extensions":{"persistedQuery":{}}}"#,
                Query,
                Query,
            ),
            (r#"{"query":"mutation { a }","id":"x"}"#, MUTATION, MUTATION),
            (r#"{"id":"x","query":"mutation { a }"}"#, MUTATION, MUTATION),
            // No persisted query.
            (r#"{"id":null,"extensions":{}}"#, Other, Other),
            (r#"{"query":"shoes","id":7}"#, Other, Other),
            (r#"{"variables":{"id":7}}"#, Other, Other),
            (r#"{"query":{"match":1}}"#, Other, Other),
        ] {
            assert_eq!(
                kind(body.as_bytes(), PersistedQueries::Change),
                unknown,
                "{body}"
            );
            assert_eq!(
                kind(body.as_bytes(), PersistedQueries::ReadOnly),
                read_only,
                "{body}"
            );
        }
    }

    #[test]
    fn json_that_cannot_be_read_counts_as_a_change() {
        let deep = format!(
            r#"{{"a":{}{},"query":"\u006dutation {{ a }}"}}"#,
            "[".repeat(500),
            "]".repeat(500)
        );
        for (body, reason) in [
            (&*deep, Reason::GraphqlMutation),
            (r#"{"query":"{ a }""#, Reason::UnreadableBody),
            ("[1,]", Reason::UnreadableBody),
            ("{\"a\":\"\u{1}\"}", Reason::UnreadableBody),
        ] {
            let found = kind(body.as_bytes(), PersistedQueries::ReadOnly);
            assert_eq!(found, BodyKind::Change(reason), "{body}");
        }
        let latin1 = b"{\"query\":\"{ a }\",\"b\":\"\xff\"}";
        let found = kind(latin1, PersistedQueries::ReadOnly);
        assert_eq!(found, BodyKind::Change(Reason::UnreadableBody));
    }

    #[test]
    fn the_reason_is_the_one_that_no_setting_changes() {
        let (mutation, unreadable) = (Reason::GraphqlMutation, Reason::UnreadableBody);
        for (body, reason) in [
            (r#"[{"id":"x"},{"query":"mutation { a }"}]"#, mutation),
            (r#"[{"query":"mutation { a }"},{"id":"x"}]"#, mutation),
            (r#"[{"query":"{ a "},{"id":"x"}]"#, unreadable),
            (r#"[{"id":"x"},{"id":"y"}]"#, Reason::PersistedQuery),
            ("documentId=x&query=mutation", mutation),
            ("subscription", mutation),
        ] {
            let found = kind(body.as_bytes(), PersistedQueries::Change);
            assert_eq!(found, BodyKind::Change(reason), "{body}");
        }
    }

    proptest! {
        #[test]
        fn any_body_and_document_are_read_without_panic(
            body: Vec<u8>,
            document in "[\"\\\\{}#\nma ]{0,24}",
        ) {
            let _ = kind(&body, PersistedQueries::Change);
            let _ = change(&document);
        }
    }
}
