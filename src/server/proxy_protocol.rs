//! The PROXY protocol, versions 1 and 2: a load balancer that forwards bytes says in a header before them which client they
//! are from.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str,
    time::Duration,
};

use actix_rt::net::TcpStream;
use tokio::{io::AsyncReadExt as _, time::timeout};

use crate::config::TrustedProxies;

/// Version 1 begins with this.
const TEXT_START: &[u8] = b"PROXY ";
/// Version 2 begins with this.
const BINARY_START: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, with its CRLF.
const MAX_TEXT_BYTES: usize = 107;
/// The fixed part of a header of version 2.
const FIXED_BYTES: usize = 16;
/// The most that may follow the fixed part: addresses, and fields that are skipped.
const MAX_ADDRESS_BYTES: usize = 4096;

/// How much of a header is looked at in one step.
const PEEK_BYTES: usize = 1024;

/// Why a connection is closed before its first request.
#[derive(Debug, thiserror::Error)]
pub(super) enum PreambleError {
    #[error("it does not begin with a header of the PROXY protocol (--proxy-protocol is set)")]
    Missing,
    #[error("its header of the PROXY protocol is invalid")]
    Malformed,
    #[error("its header of the PROXY protocol did not arrive in time")]
    Late,
    #[error("the peer is not in trusted_proxies")]
    NotTrusted,
    #[error("it ended before its header of the PROXY protocol was complete")]
    Ended,
    #[error("reading failed")]
    Read(#[source] io::Error),
}

/// Reads the header at the beginning of a connection, and nothing behind it. `peer` must be one of `trusted`, unless nobody
/// is. `None` if the header names no client: then the peer itself counts as the client.
pub(super) async fn read(
    stream: &mut TcpStream,
    peer: SocketAddr,
    trusted: &TrustedProxies,
    limit: Duration,
) -> Result<Option<SocketAddr>, PreambleError> {
    if !trusted.is_empty() && !trusted.trust(peer.ip()) {
        return Err(PreambleError::NotTrusted);
    }
    let reading = read_header(stream);
    timeout(limit, reading)
        .await
        .unwrap_or(Err(PreambleError::Late))
}

async fn read_header(stream: &mut TcpStream) -> Result<Option<SocketAddr>, PreambleError> {
    let mut received = Vec::new();
    loop {
        let read = received.len();
        received.resize(read + PEEK_BYTES, 0);
        let peeked = stream.peek(&mut received[read..]).await;
        let peeked = peeked.map_err(PreambleError::Read)?;
        if peeked == 0 {
            return Err(PreambleError::Ended);
        }
        received.truncate(read + peeked);
        let parsed = parse(&received)?;
        // As long as the header is not complete, all that has arrived belongs to it.
        let end = parsed.map_or(received.len(), |(_, bytes)| bytes);
        let taken = stream.read_exact(&mut received[read..end]).await;
        taken.map_err(PreambleError::Read)?;
        if let Some((source, _)) = parsed {
            return Ok(source);
        }
    }
}

/// The client and the length of the header at the beginning of `bytes`; `None` if it is not complete.
fn parse(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, PreambleError> {
    let begins_as = |start: &[u8]| {
        let length = start.len().min(bytes.len());
        start[..length] == bytes[..length]
    };
    if begins_as(TEXT_START) {
        parse_text(bytes)
    } else if begins_as(BINARY_START) {
        parse_binary(bytes)
    } else {
        Err(PreambleError::Missing)
    }
}

/// Version 1: `PROXY TCP4 203.0.113.9 192.0.2.1 4711 80`.
fn parse_text(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, PreambleError> {
    let within = &bytes[..bytes.len().min(MAX_TEXT_BYTES)];
    let Some(end) = memchr::memchr(b'\n', within) else {
        return match bytes.len() < MAX_TEXT_BYTES {
            true => Ok(None),
            false => Err(PreambleError::Malformed),
        };
    };
    let line = bytes[..end].strip_suffix(b"\r");
    let line = line.and_then(|line| str::from_utf8(line).ok());
    let mut words = line.ok_or(PreambleError::Malformed)?.split(' ').skip(1);
    let source = match words.next() {
        // What follows is to be ignored.
        Some("UNKNOWN") => None,
        Some(family @ ("TCP4" | "TCP6")) => {
            let words: Vec<&str> = words.collect();
            let source = text_addresses(family == "TCP4", &words);
            Some(source.ok_or(PreambleError::Malformed)?)
        }
        _ => return Err(PreambleError::Malformed),
    };
    Ok(Some((source, end + 1)))
}

fn text_addresses(is_v4: bool, words: &[&str]) -> Option<SocketAddr> {
    let &[source, destination, source_port, destination_port] = words else {
        return None;
    };
    let address = |text: &str| {
        let address = text.parse::<IpAddr>().ok()?;
        (address.is_ipv4() == is_v4).then_some(address)
    };
    let port = |text: &str| {
        let is_number = text.bytes().all(|digit| digit.is_ascii_digit());
        text.parse::<u16>().ok().filter(|_| is_number)
    };
    address(destination)?;
    port(destination_port)?;
    Some(SocketAddr::new(address(source)?, port(source_port)?))
}

/// Version 2.
fn parse_binary(bytes: &[u8]) -> Result<Option<(Option<SocketAddr>, usize)>, PreambleError> {
    let Some(fixed) = bytes.get(BINARY_START.len()..FIXED_BYTES) else {
        return Ok(None);
    };
    let &[command, family, high, low] = fixed else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([high, low]));
    if !matches!(command, 0x20 | 0x21) || length > MAX_ADDRESS_BYTES {
        return Err(PreambleError::Malformed);
    }
    let Some(addresses) = bytes.get(FIXED_BYTES..FIXED_BYTES + length) else {
        return Ok(None);
    };
    let source = match (command, family) {
        // LOCAL: the load balancer speaks for itself. Then no client is named, and neither by a family that is not known.
        (0x20, _) | (_, 0x00) => None,
        (_, 0x11) => Some(binary_source::<4>(addresses).ok_or(PreambleError::Malformed)?),
        (_, 0x21) => Some(binary_source::<16>(addresses).ok_or(PreambleError::Malformed)?),
        // A Unix socket has no address.
        (_, 0x31) => None,
        _ => return Err(PreambleError::Malformed),
    };
    Ok(Some((source, FIXED_BYTES + length)))
}

/// The source in addresses of `N` bytes each: source, destination, and their ports.
fn binary_source<const N: usize>(addresses: &[u8]) -> Option<SocketAddr>
where
    [u8; N]: IntoAddress,
{
    let address: [u8; N] = addresses.get(..N)?.try_into().ok()?;
    let ports = addresses.get(2 * N..2 * N + 4)?;
    let port = u16::from_be_bytes([ports[0], ports[1]]);
    Some(SocketAddr::new(address.into_address(), port))
}

/// The bytes of an address in network order.
trait IntoAddress {
    fn into_address(self) -> IpAddr;
}

impl IntoAddress for [u8; 4] {
    fn into_address(self) -> IpAddr {
        Ipv4Addr::from(self).into()
    }
}

impl IntoAddress for [u8; 16] {
    fn into_address(self) -> IpAddr {
        Ipv6Addr::from(self).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\n";

    /// The client, once the header is complete. The header is the same however it is split.
    fn source(header: &[u8]) -> Result<Option<SocketAddr>, PreambleError> {
        for length in 0..header.len() {
            assert!(matches!(parse(&header[..length]), Ok(None)), "{length}");
        }
        let (source, bytes) = parse(&[header, REQUEST].concat())?.unwrap();
        assert_eq!(bytes, header.len());
        Ok(source)
    }

    fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [BINARY_START, &[command, family][..], &length, addresses].concat()
    }

    #[test]
    fn headers_of_both_versions_name_the_client() {
        let v4 = [203, 0, 113, 9, 192, 0, 2, 1, 0x12, 0x67, 0, 80];
        let with_fields = [&v4[..], &[0x03, 0, 4, 1, 2, 3, 4]].concat();
        let mut v6 = [0; 36];
        (v6[0], v6[15], v6[32], v6[33]) = (0x20, 1, 0x12, 0x67);
        for (header, expected) in [
            (
                b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\r\n".to_vec(),
                Some("203.0.113.9:4711"),
            ),
            (
                b"PROXY TCP6 2000::1 ::2 4711 80\r\n".to_vec(),
                Some("[2000::1]:4711"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff:f... what ever\r\n".to_vec(), None),
            (binary(0x21, 0x11, &v4), Some("203.0.113.9:4711")),
            (binary(0x21, 0x11, &with_fields), Some("203.0.113.9:4711")),
            (binary(0x21, 0x21, &v6), Some("[2000::1]:4711")),
            (binary(0x20, 0x00, &[]), None),
            (binary(0x20, 0x11, &v4), None),
            (binary(0x21, 0x00, &[1, 2, 3]), None),
            (binary(0x21, 0x31, &[0; 216]), None),
        ] {
            let found = source(&header).unwrap().map(|source| source.to_string());
            assert_eq!(found.as_deref(), expected, "{header:?}");
        }
    }

    #[test]
    fn invalid_headers_are_refused() {
        let long = [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 100]].concat();
        for header in [
            &b"PROXY TCP4 203.0.113.9 192.0.2.1 4711\r\n"[..],
            b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80 9\r\n",
            b"PROXY TCP4 ::1 ::2 4711 80\r\n",
            b"PROXY TCP6 203.0.113.9 192.0.2.1 4711 80\r\n",
            b"PROXY TCP4 203.0.113.9 192.0.2.1 +4711 80\r\n",
            b"PROXY TCP4 203.0.113.9 192.0.2.1 4711 80\n",
            b"PROXY UDP4 203.0.113.9 192.0.2.1 4711 80\r\n",
            b"PROXY \r\n",
            &long,
            &binary(0x31, 0x11, &[0; 12]),
            &binary(0x22, 0x11, &[0; 12]),
            &binary(0x21, 0x11, &[0; 11]),
            &binary(0x21, 0x21, &[0; 12]),
            &binary(0x21, 0x12, &[0; 12]),
            &binary(0x21, 0x00, &[0; MAX_ADDRESS_BYTES + 1]),
        ] {
            let parsed = parse(header);
            assert!(
                matches!(parsed, Err(PreambleError::Malformed)),
                "{header:?}"
            );
        }
        for other in [REQUEST, b"\x16\x03\x01", b"\r\nGET", b"P\r\n", b"PROXYTCP4"] {
            assert!(
                matches!(parse(other), Err(PreambleError::Missing)),
                "{other:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_within_the_limit(
            bytes: Vec<u8>,
            line in "PROXY (TCP4|TCP6|UNKNOWN)?[ 0-9.:]{0,120}\r?\n?",
        ) {
            let binary = [BINARY_START, bytes.as_slice()].concat();
            for input in [&*bytes, line.as_bytes(), &binary] {
                if let Ok(Some((_, length))) = parse(input) {
                    prop_assert!(length <= input.len());
                    prop_assert!(length <= FIXED_BYTES + MAX_ADDRESS_BYTES);
                }
            }
        }
    }
}
