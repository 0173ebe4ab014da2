//! The body of a POST as a part of the cache key.

use std::fmt;

use actix_web::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};
use ring::digest::{Context, SHA256};

use crate::policy::{
    Reason,
    post::{
        graphql::{self, BodyKind, PersistedQueries},
        json,
    },
};

/// A SHA-256 digest of the body of a request and of the fields about it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BodyKey {
    digest: [u8; 32],
    is_graphql: bool,
}

impl BodyKey {
    /// The key of a body.
    ///
    /// `headers` are those of the forwarded request. Bodies that an origin could tell apart have different keys, except for
    /// spellings of the same JSON.
    ///
    /// # Errors
    /// The request may change something, or the body cannot be read: why it is not answered from the cache.
    pub fn of(
        headers: &HeaderMap,
        body: &[u8],
        persisted: PersistedQueries,
    ) -> Result<Self, Reason> {
        let reading = BodyFormat::of(headers)?;
        let kind = match reading {
            BodyFormat::Graphql => {
                let document = std::str::from_utf8(body);
                let change = document.map_or(Some(Reason::UnreadableBody), graphql::change);
                change.map_or(BodyKind::Query, BodyKind::Change)
            }
            // JSON in UTF-8 has no zero byte. This is UTF-16 or UTF-32, which some origins accept.
            BodyFormat::Json if body.contains(&0) => BodyKind::Change(Reason::UnreadableBody),
            BodyFormat::Json | BodyFormat::Bytes => graphql::kind(body, persisted),
        };
        if let BodyKind::Change(reason) = kind {
            return Err(reason);
        }
        let mut digest = Context::new(&SHA256);
        // Fields about the body may change its meaning.
        let mut lines: Vec<(&str, &[u8])> = headers
            .iter()
            .filter(|(name, _)| name.as_str().starts_with("content-"))
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        // The map does not order names. Lines of one name stay in order because the sort is stable.
        lines.sort_by_key(|(name, _)| *name);
        digest.update(&lines.len().to_be_bytes());
        for text in lines
            .iter()
            .flat_map(|(name, value)| [name.as_bytes(), value])
        {
            // Each text follows its length, so that different lists of lines are different bytes.
            digest.update(&text.len().to_be_bytes());
            digest.update(text);
        }
        let canonical = match reading {
            BodyFormat::Json => json::canonical(body),
            BodyFormat::Graphql | BodyFormat::Bytes => None,
        };
        // A body in another format must not have the key of a canonical one.
        digest.update(&[u8::from(canonical.is_some())]);
        digest.update(canonical.as_deref().unwrap_or(body));
        let mut name = [0; 32];
        name.copy_from_slice(digest.finish().as_ref());
        Ok(Self {
            digest: name,
            is_graphql: kind == BodyKind::Query,
        })
    }

    /// Its bytes, to be written down: the digest, and 1 for a GraphQL query or 0.
    pub fn to_bytes(&self) -> [u8; 33] {
        let mut bytes = [u8::from(self.is_graphql); 33];
        bytes[..32].copy_from_slice(&self.digest);
        bytes
    }

    /// The key that [`BodyKey::to_bytes`] has written. `None` for any other bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (digest, is_graphql) = bytes.split_first_chunk()?;
        let is_graphql = match is_graphql {
            [0] => false,
            [1] => true,
            _ => return None,
        };
        Some(Self {
            digest: *digest,
            is_graphql,
        })
    }

    /// True for a GraphQL query: its response may have errors, also with the status 200.
    pub fn is_graphql(&self) -> bool {
        self.is_graphql
    }
}

impl fmt::Debug for BodyKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.digest;
        write!(formatter, "Content({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// How a body is parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyFormat {
    Json,
    Graphql,
    Bytes,
}

impl BodyFormat {
    /// Fails for a body that cannot be inspected, because of its content coding or charset.
    fn of(headers: &HeaderMap) -> Result<Self, Reason> {
        if headers.contains_key(CONTENT_ENCODING) {
            return Err(Reason::EncodedBody);
        }
        let mut lines = headers.get_all(CONTENT_TYPE);
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return Ok(Self::Bytes);
        };
        let line = line.as_bytes().to_ascii_lowercase();
        let mut parts = line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
        let media_type = parts.next().unwrap_or_default();
        let mut is_plain = true;
        for parameter in parts.filter(|parameter| !parameter.is_empty()) {
            match parameter.strip_prefix(b"charset") {
                None => is_plain = false,
                Some(b"=utf-8" | b"=\"utf-8\"" | b"=utf8") => {}
                Some(_) => return Err(Reason::UnreadableBody),
            }
        }
        Ok(match media_type {
            b"application/graphql" => Self::Graphql,
            b"application/json" if is_plain => Self::Json,
            other if is_plain && other.ends_with(b"+json") => Self::Json,
            _ => Self::Bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture::{Lines, headers};

    const JSON: Lines<'_> = &[("content-type", "application/json")];

    fn name(lines: Lines<'_>, body: &str) -> Option<BodyKey> {
        BodyKey::of(&headers(lines), body.as_bytes(), PersistedQueries::Change).ok()
    }

    #[test]
    fn a_key_is_read_as_it_was_written() {
        for (lines, body) in [
            (JSON, "{}"),
            (&[("content-type", "application/graphql")], "{ a }"),
        ] {
            let key = name(lines, body).unwrap();
            assert_eq!(BodyKey::from_bytes(&key.to_bytes()), Some(key));
            assert_eq!(key.is_graphql(), key.to_bytes()[32] == 1);
            for wrong in [
                &[][..],
                &key.to_bytes()[..32],
                &[&key.to_bytes()[..], b"\0"].concat(),
                &[&key.to_bytes()[..32], b"\x02"].concat(),
            ] {
                assert_eq!(BodyKey::from_bytes(wrong), None, "{wrong:?}");
            }
        }
    }

    #[test]
    fn spellings_of_the_same_json_have_one_key() {
        let (one, other) = (r#"{"a":1,"b":"x"}"#, " {\"b\":\"\\u0078\", \"a\":1}\n");
        for media_type in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/ld+json;charset=\"utf-8\"",
        ] {
            let lines: Lines<'_> = &[("content-type", media_type), ("accept", "*/*")];
            assert!(name(lines, one).is_some());
            assert_eq!(name(lines, one), name(lines, other), "{media_type}");
        }
        for lines in [
            &[][..] as Lines<'_>,
            &[("content-type", "text/plain")],
            &[("content-type", "application/jsonp")],
            &[("content-type", "application/json; profile=x")],
            &[
                ("content-type", "application/json"),
                ("content-type", "application/json"),
            ],
        ] {
            assert!(name(lines, one).is_some());
            assert_ne!(name(lines, one), name(lines, other), "{lines:?}");
        }
    }

    #[test]
    fn bodies_that_an_origin_could_tell_apart_have_different_keys() {
        let names: Vec<Option<BodyKey>> = [
            (&[][..] as Lines<'_>, ""),
            (&[], "{}"),
            (JSON, ""),
            (JSON, "{}"),
            (JSON, "[]"),
            (JSON, "{\"a\":1}"),
            (JSON, "{\"a\":1.0}"),
            (JSON, "{\"a\":\"1\"}"),
            (JSON, "{\"A\":1}"),
            (JSON, "{\"a\":1,\"a\":2}"),
            (JSON, "{\"a\":2,\"a\":1}"),
            (JSON, "\"a\","),
            (&[("content-type", "application/JSON")], "{}"),
            (&[("content-type", "application/json;charset=utf-8")], "{}"),
            (&[("content-type", "text/plain")], "{}"),
            (
                &[
                    ("content-type", "application/json"),
                    ("content-language", "de"),
                ],
                "{}",
            ),
            (
                &[
                    ("content-type", "application/json"),
                    ("content-type", "text/plain"),
                ],
                "{}",
            ),
            (
                &[
                    ("content-type", "text/plain"),
                    ("content-type", "application/json"),
                ],
                "{}",
            ),
        ]
        .iter()
        .map(|(lines, body)| name(lines, body))
        .collect();
        for (index, one) in names.iter().enumerate() {
            assert!(one.is_some(), "{index}");
            assert!(!names[..index].contains(one), "{index}");
        }
    }

    #[test]
    fn changes_and_opaque_bodies_have_no_key() {
        let mutation = r#"{"query":"mutation { a }"}"#;
        for (lines, body) in [
            (JSON, mutation),
            (&[][..] as Lines<'_>, mutation),
            (&[("content-type", "text/plain")], mutation),
            (&[("content-type", "application/graphql")], "mutation { a }"),
            (
                &[("content-type", "application/graphql; charset=utf-8")],
                "mutation { a }",
            ),
            (
                &[
                    ("content-type", "application/json"),
                    ("content-encoding", "gzip"),
                ],
                "x",
            ),
            (
                &[("content-type", "application/json; charset=utf-16")],
                "{}",
            ),
            (
                &[("content-type", "application/json; charset = utf-8")],
                "{}",
            ),
        ] {
            assert_eq!(name(lines, body), None, "{lines:?} {body}");
        }
        for encode in [u16::to_le_bytes, u16::to_be_bytes] {
            let wide: Vec<u8> = mutation.encode_utf16().flat_map(encode).collect();
            assert!(BodyKey::of(&headers(JSON), &wide, PersistedQueries::Change).is_err());
        }
        assert!(name(&[("content-type", "application/graphql")], "{ a }").is_some());
        assert!(name(&[("content-type", "text/plain")], "mutation { a }").is_none());
        assert_eq!(name(JSON, "{\"a\":1,}"), None);
    }
}
