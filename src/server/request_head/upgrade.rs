//! Offers to change the protocol (RFC 9110, 7.8), as the handler gets them.
//!
//! The connection option never reaches it. Of an offer of WebSocket Upgrade is left, which tells the handler about it. Any
//! other offer is ignored, such as that of another version of HTTP, which Java's client makes with each request.

use super::split_line;

/// What a header line means for an upgrade.
enum UpgradeField<'h> {
    /// Connection, with its value.
    Connection(&'h [u8]),
    /// Upgrade, with its value.
    Upgrade(&'h [u8]),
    /// HTTP2-Settings, which belongs to the offer of `h2c` (RFC 7540, 3.2.1).
    Http2Settings,
    /// Nothing.
    Other,
}

impl<'h> UpgradeField<'h> {
    fn of(line: &'h [u8]) -> Self {
        let value = |name: &[u8]| {
            let (start, rest) = line.split_at_checked(name.len())?;
            let rest = rest.strip_prefix(b":")?;
            start.eq_ignore_ascii_case(name).then_some(rest)
        };
        match line.first() {
            Some(b'c' | b'C') => value(b"connection").map_or(Self::Other, Self::Connection),
            Some(b'u' | b'U') => value(b"upgrade").map_or(Self::Other, Self::Upgrade),
            Some(b'h' | b'H') => {
                value(b"http2-settings").map_or(Self::Other, |_| Self::Http2Settings)
            }
            _ => Self::Other,
        }
    }
}

/// True for a header line that [`without_offers`] changes.
pub(super) fn is_offer(line: &[u8]) -> bool {
    match UpgradeField::of(line) {
        UpgradeField::Connection(value) => members(value).any(is_upgrade_option),
        UpgradeField::Upgrade(_) | UpgradeField::Http2Settings => true,
        UpgradeField::Other => false,
    }
}

/// Header lines as they are passed on, with the empty line that ends them. `minor` is the digit after `HTTP/1.`.
pub(super) fn without_offers(fields: &[u8], minor: u8) -> Vec<u8> {
    let mut kept = Vec::with_capacity(fields.len());
    let mut offers_websocket = false;
    let mut has_option = false;
    let mut rest = fields;
    loop {
        let (line, next) = split_line(rest);
        if line.is_empty() {
            break;
        }
        match UpgradeField::of(line) {
            UpgradeField::Connection(value) => {
                has_option |= members(value).any(|option| option.eq_ignore_ascii_case(b"upgrade"));
                let options = members(value).filter(|option| !is_upgrade_option(option));
                write_options(options, &mut kept);
            }
            UpgradeField::Upgrade(value) => {
                offers_websocket |= members(value).any(is_websocket);
            }
            UpgradeField::Http2Settings => {}
            UpgradeField::Other => kept.extend_from_slice(&rest[..rest.len() - next.len()]),
        }
        rest = next;
    }
    // RFC 9110, 7.8: an offer in HTTP/1.0, or without the connection option, is ignored.
    if offers_websocket && has_option && minor > b'0' {
        kept.extend_from_slice(b"Upgrade: websocket\r\n");
    }
    kept.extend_from_slice(rest);
    kept
}

fn write_options<'h>(options: impl Iterator<Item = &'h [u8]>, into: &mut Vec<u8>) {
    let options: Vec<&[u8]> = options.collect();
    if !options.is_empty() {
        for part in [b"Connection: ", &options.join(&b", "[..])[..], b"\r\n"] {
            into.extend_from_slice(part);
        }
    }
}

fn members(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let members = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    members.filter(|member| !member.is_empty())
}

pub(super) fn is_upgrade_option(option: &[u8]) -> bool {
    option.eq_ignore_ascii_case(b"upgrade") || option.eq_ignore_ascii_case(b"http2-settings")
}

fn is_websocket(protocol: &[u8]) -> bool {
    protocol.eq_ignore_ascii_case(b"websocket")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed_on(fields: &str) -> String {
        let fields = without_offers(format!("{fields}\r\n").as_bytes(), b'1');
        String::from_utf8(fields).unwrap()
    }

    #[test]
    fn offers_of_other_protocols_are_removed() {
        for fields in [
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n",
            "upgrade: HTTP/2.0, TLS/1.0\r\nconnection: upgrade\r\n",
            "Upgrade: websocket\r\n",
            "Connection: upgrade\r\n",
            "Connection: upgrade\r\nUpgrade: SPDY/3.1, websocket2\r\nUpgrade: tcp\r\n",
        ] {
            assert_eq!(
                passed_on(&format!("A: b\r\n{fields}C: d\r\n")),
                "A: b\r\nC: d\r\n\r\n"
            );
        }
        let options = passed_on("Connection: Upgrade, close\r\nConnection: X\r\nUpgrade: h2\r\n");
        assert_eq!(options, "Connection: close\r\nConnection: X\r\n\r\n");
    }

    #[test]
    fn of_an_offer_of_websocket_upgrade_is_left() {
        for (fields, expected) in [
            (
                "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n",
                "Connection: keep-alive\r\nUpgrade: websocket\r\n\r\n",
            ),
            (
                "Upgrade: SPDY/3.1, h2c\r\nUpgrade: tcp,WebSocket\r\nConnection: Upgrade\r\n",
                "Upgrade: websocket\r\n\r\n",
            ),
        ] {
            assert_eq!(passed_on(fields), expected);
        }
        let fields = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        assert_eq!(without_offers(fields, b'0'), b"\r\n");
    }

    #[test]
    fn lines_without_an_offer_are_told_apart() {
        for line in [
            "Connection: keep-alive",
            "Connection: close",
            "User-Agent: upgrade",
            "Host: a",
            "",
        ] {
            assert!(!is_offer(line.as_bytes()), "{line}");
        }
        for line in ["connection: close,UPGRADE", "Upgrade:", "http2-settings: x"] {
            assert!(is_offer(line.as_bytes()), "{line}");
        }
    }
}
