//! Characters that no target may have, and that people write all the same (RFC 3986, 2).

/// The target with `"`, `<`, `>`, backtick and all bytes beyond ASCII percent-encoded; `None` if it has none of them. The
/// other forbidden characters (`{`, `}`, `|`, `\`, `^`) stay as they are: origins accept them.
pub fn encoded_target(target: &[u8]) -> Option<String> {
    if !target.iter().any(|byte| is_encoded(*byte)) {
        return None;
    }
    let mut encoded = String::with_capacity(target.len() + 16);
    for &byte in target {
        if is_encoded(byte) {
            encoded.push('%');
            for digit in [byte >> 4, byte & 15] {
                encoded.extend(
                    char::from_digit(digit.into(), 16).map(|digit| digit.to_ascii_uppercase()),
                );
            }
        } else {
            encoded.push(char::from(byte));
        }
    }
    Some(encoded)
}

const fn is_encoded(byte: u8) -> bool {
    matches!(byte, b'"' | b'<' | b'>' | b'`' | 0x80..)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_must_not_be_in_a_target_are_encoded() {
        for (written, encoded) in [
            (&b"/?key=\"abc\""[..], "/?key=%22abc%22"),
            (b"/<a>`b`", "/%3Ca%3E%60b%60"),
            ("/\u{fc}?\u{20ac}".as_bytes(), "/%C3%BC?%E2%82%AC"),
            (b"/\xfc%", "/%FC%"),
        ] {
            assert_eq!(encoded_target(written).as_deref(), Some(encoded));
        }
        let kept = b"/{a}|\\^?{b}|\\^%zz%22;'!$&()*+,=:@~";
        assert_eq!(encoded_target(kept), None);
    }
}
