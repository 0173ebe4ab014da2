//! A body as the text of a JSON string, piece by piece.

use std::str;

use base64::{Engine as _, engine::general_purpose::STANDARD};

/// So many bytes are encoded at a time; a multiple of three, so that pieces of base64 can be joined.
const PIECE_BYTES: usize = 48 * 1024;

/// True if the body of a response with this Content-Type is text in UTF-8, as far as that can be known from it.
pub fn is_text(content_type: &str) -> bool {
    let content_type = content_type.to_ascii_lowercase();
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let is_utf_8 = |part: &str| {
        let charset = part.strip_prefix("charset=").unwrap_or("utf-8");
        matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii")
    };
    let is_of_text = kind.starts_with("text/")
        || [
            "json",
            "javascript",
            "ecmascript",
            "xml",
            "x-www-form-urlencoded",
        ]
        .iter()
        .any(|name| kind.ends_with(name));
    is_of_text && parts.all(is_utf_8)
}

/// Encodes a body that comes in pieces.
#[derive(Debug)]
pub enum BodyText {
    /// As text. What is left is the beginning of a character.
    Text(Vec<u8>),
    /// As base64. What is left is shorter than a piece.
    Base64(Vec<u8>),
}

impl BodyText {
    /// For a body that is text in UTF-8, or is not.
    pub fn new(is_text: bool) -> Self {
        match is_text {
            true => Self::Text(Vec::new()),
            false => Self::Base64(Vec::new()),
        }
    }

    /// The `encoding` of the entry; `None` for text.
    pub fn encoding(&self) -> Option<&'static str> {
        match self {
            Self::Text(_) => None,
            Self::Base64(_) => Some("base64"),
        }
    }

    /// Appends the next piece to `out`.
    pub fn push(&mut self, piece: &[u8], out: &mut String) {
        match self {
            Self::Text(left) => {
                left.extend_from_slice(piece);
                let valid = match str::from_utf8(left) {
                    Ok(_) => left.len(),
                    Err(error) => error.valid_up_to(),
                };
                let rest = left.split_off(valid);
                escape(&String::from_utf8_lossy(left), out);
                *left = rest;
            }
            Self::Base64(left) => {
                left.extend_from_slice(piece);
                let whole = left.len() - left.len() % PIECE_BYTES;
                let rest = left.split_off(whole);
                STANDARD.encode_string(&left, out);
                *left = rest;
            }
        }
    }

    /// Appends what is left.
    pub fn finish(self, out: &mut String) {
        match self {
            Self::Text(left) => escape(&String::from_utf8_lossy(&left), out),
            Self::Base64(left) => STANDARD.encode_string(left, out),
        }
    }
}

/// Appends `text` as it is in a JSON string, without the quotes.
fn escape(text: &str, out: &mut String) {
    // A string can always be written.
    let quoted = serde_json::to_string(text).unwrap_or_default();
    out.push_str(
        quoted
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or_default(),
    );
}

/// Tells whether a body that comes in pieces is UTF-8.
#[derive(Debug, Default)]
pub struct Utf8Check {
    /// The beginning of a character: at most three bytes.
    left: Vec<u8>,
    is_wrong: bool,
}

impl Utf8Check {
    /// Looks at the next piece.
    pub fn push(&mut self, piece: &[u8]) {
        if self.is_wrong {
            return;
        }
        // The piece is copied only where a character is split.
        let joined = (!self.left.is_empty()).then(|| [self.left.as_slice(), piece].concat());
        let bytes = joined.as_deref().unwrap_or(piece);
        let rest = match str::from_utf8(bytes) {
            Ok(_) => Vec::new(),
            Err(error) => {
                self.is_wrong = error.error_len().is_some();
                bytes
                    .get(error.valid_up_to()..)
                    .unwrap_or_default()
                    .to_vec()
            }
        };
        self.left = if self.is_wrong { Vec::new() } else { rest };
    }

    /// True if all of it was.
    pub fn is_valid(&self) -> bool {
        !self.is_wrong && self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn encoded(is_of_text: bool, pieces: &[Vec<u8>]) -> (Option<&'static str>, String) {
        let mut check = Utf8Check::default();
        pieces.iter().for_each(|piece| check.push(piece));
        let mut text = BodyText::new(is_of_text && check.is_valid());
        let encoding = text.encoding();
        let mut out = String::new();
        for piece in pieces {
            text.push(piece, &mut out);
        }
        text.finish(&mut out);
        (encoding, out)
    }

    #[test]
    fn types_of_text_are_told_by_name_and_charset() {
        for (content_type, expected) in [
            ("text/html", true),
            ("text/html; charset=UTF-8", true),
            ("text/html; charset=iso-8859-1", false),
            ("application/json", true),
            ("application/vnd.api+json; charset=\"utf-8\"", true),
            ("image/svg+xml", true),
            ("image/png", false),
            ("", false),
        ] {
            assert_eq!(is_text(content_type), expected, "{content_type}");
        }
    }

    #[test]
    fn a_quote_at_the_beginning_stays() {
        let (_, out) = encoded(true, &[b"\"a\"".to_vec()]);
        assert_eq!(out, "\\\"a\\\"");
    }

    proptest! {
        #[test]
        fn any_body_comes_back_however_it_is_split(
            text in "\\PC{0,40}",
            bytes in vec(any::<u8>(), 0..40),
            is_binary: bool,
            len in 1..7_usize,
            times in 1..3_usize,
        ) {
            let body = if is_binary { bytes } else { text.into_bytes() }.repeat(times);
            let pieces: Vec<Vec<u8>> = body.chunks(len).map(<[u8]>::to_vec).collect();
            let (encoding, out) = encoded(true, &pieces);
            let read: String = serde_json::from_str(&format!("\"{out}\"")).unwrap();
            let read = match encoding {
                None => read.into_bytes(),
                Some(_) => STANDARD.decode(read).unwrap(),
            };
            prop_assert_eq!(encoding.is_none(), str::from_utf8(&body).is_ok());
            prop_assert_eq!(read, body);
        }

        #[test]
        fn a_long_body_in_base64_comes_back(len in 0..200_000_usize, piece in 1..100_000_usize) {
            let body: Vec<u8> = (0..=255).cycle().take(len).collect();
            let pieces: Vec<Vec<u8>> = body.chunks(piece).map(<[u8]>::to_vec).collect();
            let (_, out) = encoded(false, &pieces);
            prop_assert_eq!(STANDARD.decode(out).unwrap(), body);
        }
    }
}
