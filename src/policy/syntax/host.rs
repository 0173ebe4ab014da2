//! Host and port, as in Host and in URLs (RFC 9110, 7.2).

use std::{net::Ipv6Addr, str};

/// True for a host with an optional port (RFC 3986, 3.2.2 and 3.2.3), and for nothing at all: that is the host of a URL
/// without one (RFC 9112, 3.2).
pub fn is_valid_host(host: &[u8]) -> bool {
    if host.is_empty() {
        return true;
    }
    let (is_name_valid, port) = match host.strip_prefix(b"[") {
        Some(rest) => match memchr::memchr(b']', rest) {
            Some(end) => (is_ipv6(&rest[..end]), &rest[end + 1..]),
            None => return false,
        },
        None => {
            let end = memchr::memchr(b':', host).unwrap_or(host.len());
            (is_reg_name(&host[..end]), &host[end..])
        }
    };
    let is_port_valid = match port {
        [] => true,
        [b':', digits @ ..] => digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    is_name_valid && is_port_valid
}

fn is_ipv6(text: &[u8]) -> bool {
    str::from_utf8(text).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

/// RFC 3986, 3.2.2: unreserved characters, sub-delims, and percent-encoded ones.
fn is_reg_name(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    while let Some(byte) = bytes.next() {
        let is_allowed = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => true,
            b'!' | b'$' | b'&'..=b',' | b';' | b'=' => true,
            b'%' => {
                let mut digits = [bytes.next(), bytes.next()].into_iter();
                digits.all(|digit| digit.is_some_and(u8::is_ascii_hexdigit))
            }
            _ => false,
        };
        if !is_allowed {
            return false;
        }
    }
    !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_an_optional_port() {
        for host in [
            "a",
            "a.b:80",
            "a_b",
            "1.2.3.4:5",
            "[::1]",
            "[2001:db8::1]:80",
            "a:",
            "",
            "%41",
            "xn--a",
        ] {
            assert!(is_valid_host(host.as_bytes()), "{host}");
        }
        for host in [
            "a b",
            "u@a",
            "a:b:c",
            "[::1",
            "::1",
            "[::1]x",
            "[a]",
            "http://a",
            "\"a\"",
            "a/b",
            "a?",
            ":80",
            "a:x",
            "%4",
            "a\\b",
            "\u{fc}",
            "a:-1",
            "<a>",
            "a#",
            "[]",
            "[::1%25eth0]",
        ] {
            assert!(!is_valid_host(host.as_bytes()), "{host}");
        }
    }
}
