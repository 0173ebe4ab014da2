//! What trusted proxies say about the client of a request: X-Forwarded-* and Forwarded (RFC 7239).
//!
//! Both are read from the right, where the last proxy has added its entry, up to the first address that is not trusted:
//! that is the client, and everything to its left is what the client has sent. If a request has both, the proxies set one
//! of them and the client may have set the other. So only what both say counts then.

use std::{
    io::Write as _,
    net::{IpAddr, SocketAddr},
};

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;

use super::forwarded_names::{
    X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO,
};
use crate::policy::is_valid_host;

static X_FORWARDED: [HeaderName; 4] = [
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
];
/// Most proxies between the client and this one.
const MAX_HOPS: usize = 32;
/// The longest host, with its port: DNS allows names of 253 characters.
const MAX_HOST_BYTES: usize = 260;

/// The [`ForwardedClient::key_part`] of a client of which only one thing is passed on: that it has come over TLS.
pub const KEY_PART_OF_TLS: &str = "https://";

/// The client of a request, as trusted proxies describe it. Empty if they say nothing, or nobody is trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ForwardedClient {
    /// The addresses from the client to the last proxy but one, in this order.
    chain: Vec<IpAddr>,
    scheme: Option<ClientScheme>,
    /// All clients of this proxy come over TLS, so that the scheme tells no requests apart.
    is_scheme_common: bool,
    /// The scheme is not what proxies say, but that of the connection to this proxy.
    is_scheme_own: bool,
    host: Option<HeaderValue>,
    port: Option<u16>,
}

/// How a client has reached the first proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientScheme {
    /// Without TLS.
    #[default]
    Http,
    /// With TLS.
    Https,
}

impl ClientScheme {
    fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https]
            .into_iter()
            .find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
    }

    /// The scheme in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl ForwardedClient {
    /// What `headers` say about the client. `peer` has sent them. Nothing, if it is not trusted.
    pub fn of(
        headers: &HeaderMap,
        peer: Option<IpAddr>,
        is_trusted: impl Fn(IpAddr) -> bool,
    ) -> Self {
        if !peer.is_some_and(&is_trusted) {
            return Self::default();
        }
        let one = by_x_forwarded(headers, &is_trusted);
        let other = by_forwarded(headers, &is_trusted);
        match (one, other) {
            (Some(one), Some(other)) => one.agreed(&other),
            (one, other) => one.or(other).unwrap_or_default(),
        }
    }

    /// The address of the client; `None` if it is not known.
    pub fn address(&self) -> Option<IpAddr> {
        self.chain.first().copied()
    }

    /// The value of X-Forwarded-Proto; `None` if it is not known.
    pub fn scheme(&self) -> Option<&'static str> {
        self.scheme.map(ClientScheme::as_str)
    }

    /// How the client has reached the first proxy, as the origin is told; http if it is not known.
    pub fn client_scheme(&self) -> ClientScheme {
        self.scheme.unwrap_or_default()
    }

    /// Https if the origin is told that because the client has come over TLS to this proxy.
    pub fn own_scheme(&self) -> ClientScheme {
        match self.is_scheme_own {
            true => ClientScheme::Https,
            false => ClientScheme::Http,
        }
    }

    /// The client has come over TLS to this proxy, which is what counts unless another proxy says how its client came.
    /// With `is_common` all clients do.
    #[must_use]
    pub fn over_tls(self, is_common: bool) -> Self {
        match self.scheme {
            Some(_) => self,
            None => Self {
                scheme: Some(ClientScheme::Https),
                is_scheme_common: is_common,
                is_scheme_own: true,
                ..self
            },
        }
    }

    /// The Host that the client has sent; `None` if it is not known.
    pub fn host(&self) -> Option<&HeaderValue> {
        self.host.as_ref()
    }

    /// What of this is passed on and may shape a response, as one text for the key: a URL. `None` if nothing is. The
    /// address of the client is not in it.
    pub fn key_part(&self) -> Option<String> {
        let scheme = self.scheme.filter(|_| !self.is_scheme_common);
        if scheme.is_none() && self.host.is_none() && self.port.is_none() {
            return None;
        }
        let host = self
            .host
            .as_ref()
            .map(|host| host.as_bytes().escape_ascii());
        let host = host.map(|host| host.to_string().to_ascii_lowercase());
        let port = self.port.map(|port| format!(" {port}"));
        Some(format!(
            "{}://{}{}",
            scheme.map_or("", ClientScheme::as_str),
            host.unwrap_or_default(),
            port.unwrap_or_default()
        ))
    }

    /// Sets X-Forwarded-*, but for X-Forwarded-Proto, in a request to the origin. `peer` is appended to the addresses.
    pub(super) fn write(&self, peer: Option<IpAddr>, headers: &mut HeaderMap) {
        let mut addresses = Vec::with_capacity(16);
        for address in self.chain.iter().copied().chain(peer) {
            if !addresses.is_empty() {
                addresses.extend_from_slice(b", ");
            }
            push_address(&mut addresses, address);
        }
        if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(addresses))
            && !value.is_empty()
        {
            headers.insert(X_FORWARDED_FOR, value);
        }
        if let Some(host) = &self.host {
            headers.insert(X_FORWARDED_HOST, host.clone());
        }
        match self.port {
            Some(port) => {
                headers.insert(X_FORWARDED_PORT, port.into());
            }
            // Any port that is there belongs to another host.
            None if self.host.is_some() => {
                headers.remove(X_FORWARDED_PORT);
            }
            None => {}
        }
    }

    /// What this and `other` both say.
    fn agreed(self, other: &Self) -> Self {
        let is_same_client = self.address() == other.address();
        Self {
            chain: if is_same_client {
                self.chain
            } else {
                Vec::new()
            },
            scheme: self.scheme.filter(|_| self.scheme == other.scheme),
            is_scheme_common: false,
            is_scheme_own: false,
            host: self.host.filter(|host| other.host.as_ref() == Some(host)),
            // Forwarded has it in the host.
            port: None,
        }
    }
}

/// True if the headers have one in which a proxy describes the client.
pub fn describes_client(headers: &HeaderMap) -> bool {
    X_FORWARDED
        .iter()
        .chain([&header::FORWARDED])
        .any(|name| headers.contains_key(name))
}

/// Appends an address as text. IPv4 is written here: most clients have it, and the formatting machinery costs much more.
fn push_address(text: &mut Vec<u8>, address: IpAddr) {
    let IpAddr::V4(address) = address else {
        // Writing to memory does not fail.
        let _ = write!(text, "{address}");
        return;
    };
    for (index, octet) in address.octets().into_iter().enumerate() {
        if index > 0 {
            text.push(b'.');
        }
        if octet >= 100 {
            text.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            text.push(b'0' + octet / 10 % 10);
        }
        text.push(b'0' + octet % 10);
    }
}

/// Reads entries from the right: the addresses of trusted proxies and, before them, that of the client. Returns them from
/// left to right, and how many entries were read, the one that ends the search included.
fn chain<'e>(
    from_right: impl Iterator<Item = &'e str>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> (Vec<IpAddr>, usize) {
    let mut chain = Vec::new();
    let mut entries = 0;
    for entry in from_right.take(MAX_HOPS) {
        entries += 1;
        // RFC 7239, 6: `unknown`, and names that hide an address, end the chain as well.
        let Some(address) = address(entry) else {
            break;
        };
        chain.push(address);
        if !is_trusted(address) {
            break;
        }
    }
    chain.reverse();
    (chain, entries)
}

/// An address with or without a port; IPv6 with or without brackets.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let address = text
        .parse::<IpAddr>()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .or_else(|| bracketed().map(IpAddr::V6))?;
    Some(address.to_canonical())
}

fn host(text: &str) -> Option<HeaderValue> {
    let is_valid =
        !text.is_empty() && text.len() <= MAX_HOST_BYTES && is_valid_host(text.as_bytes());
    HeaderValue::from_str(text).ok().filter(|_| is_valid)
}

fn port(text: &str) -> Option<u16> {
    let is_number = text.bytes().all(|digit| digit.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}

/// The members of a list, in all lines. Empty ones are left out (RFC 9110, 5.6.1).
fn members<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Vec<&'h str> {
    let lines = headers.get_all(name);
    // A line that is not ASCII is one member, which is none of those that count.
    let members = lines.flat_map(|line| line.to_str().unwrap_or("?").split(','));
    members
        .map(str::trim)
        .filter(|member| !member.is_empty())
        .collect()
}

/// X-Forwarded-*; `None` if there is none of them.
fn by_x_forwarded(
    headers: &HeaderMap,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Option<ForwardedClient> {
    if !X_FORWARDED.iter().any(|name| headers.contains_key(name)) {
        return None;
    }
    let addresses = members(headers, &X_FORWARDED_FOR);
    let (chain, entries) = chain(addresses.iter().rev().copied(), is_trusted);
    // Proxies add a value each, or the first one sets it and the others leave it: never further left than the client.
    let value = |name: &HeaderName| {
        let values = members(headers, name);
        let index = values.len().saturating_sub(entries.max(1));
        values.get(index).copied()
    };
    Some(ForwardedClient {
        chain,
        scheme: value(&X_FORWARDED_PROTO).and_then(ClientScheme::parse),
        is_scheme_common: false,
        is_scheme_own: false,
        host: value(&X_FORWARDED_HOST).and_then(host),
        port: value(&X_FORWARDED_PORT).and_then(port),
    })
}

/// Forwarded; `None` if there is none.
fn by_forwarded(
    headers: &HeaderMap,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> Option<ForwardedClient> {
    if !headers.contains_key(header::FORWARDED) {
        return None;
    }
    let lines: Vec<Option<Vec<ForwardedElement>>> = headers
        .get_all(header::FORWARDED)
        .map(|line| ForwardedElement::parse_line(line.to_str().ok()?))
        .collect();
    // What stands to the left of a line that cannot be read may be from anybody.
    let readable = lines.iter().rev().map_while(Option::as_ref);
    let from_right: Vec<&ForwardedElement> = readable.flat_map(|line| line.iter().rev()).collect();
    let nodes = from_right.iter();
    let nodes = nodes.map(|element| element.node.as_deref().unwrap_or("unknown"));
    let (chain, entries) = chain(nodes, is_trusted);
    let from_client = || from_right.iter().take(entries).rev();
    Some(ForwardedClient {
        chain,
        scheme: from_client()
            .find_map(|element| element.scheme.as_deref())
            .and_then(ClientScheme::parse),
        is_scheme_common: false,
        is_scheme_own: false,
        host: from_client()
            .find_map(|element| element.host.as_deref())
            .and_then(host),
        port: None,
    })
}

/// What one proxy says in Forwarded (RFC 7239, 4).
#[derive(Debug, Default, PartialEq, Eq)]
struct ForwardedElement {
    /// `for`; `None` without it.
    node: Option<String>,
    /// `proto`; `None` without it.
    scheme: Option<String>,
    /// `host`; `None` without it.
    host: Option<String>,
}

impl ForwardedElement {
    /// The elements of a line; `None` if it cannot be read. Then it is not known who has written which part of it.
    fn parse_line(line: &str) -> Option<Vec<Self>> {
        let mut elements = Vec::new();
        let mut rest = line.trim();
        while !rest.is_empty() {
            let mut element = Self::default();
            loop {
                rest = rest.trim_start();
                if !rest.starts_with([',', ';']) && !rest.is_empty() {
                    let (name, value, behind) = pair(rest)?;
                    element.set(name, value)?;
                    rest = behind.trim_start();
                }
                match rest.strip_prefix(';') {
                    Some(behind) => rest = behind,
                    None => break,
                }
            }
            match rest.strip_prefix(',') {
                Some(behind) => rest = behind,
                None if rest.is_empty() => {}
                None => return None,
            }
            elements.push(element);
        }
        elements.retain(|element| *element != Self::default());
        Some(elements)
    }

    /// `None` if the element has the parameter already.
    fn set(&mut self, name: &str, value: String) -> Option<()> {
        let slot = match name.to_ascii_lowercase().as_str() {
            "for" => &mut self.node,
            "proto" => &mut self.scheme,
            "host" => &mut self.host,
            _ => return Some(()),
        };
        slot.replace(value).is_none().then_some(())
    }
}

/// The name and the value of the parameter at the beginning of `text`, and what follows it; `None` if there is none.
fn pair(text: &str) -> Option<(&str, String, &str)> {
    let (name, rest) = text.split_once('=')?;
    let is_token = |text: &str| {
        let is_separator = |letter: char| " \t\",;=()<>@\\/?{}".contains(letter);
        !text.is_empty() && !text.contains(is_separator)
    };
    if !is_token(name) {
        return None;
    }
    let Some(quoted) = rest.strip_prefix('"') else {
        let end = rest.find([',', ';', ' ', '\t']).unwrap_or(rest.len());
        let (value, behind) = rest.split_at(end);
        // Many write addresses with ports and brackets without quotes, which RFC 7239, 6 does not allow.
        let is_safe = !value.contains(['"', '\\', '=']);
        return is_safe.then(|| (name, value.to_owned(), behind));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((name, value, &quoted[at + 1..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

#[cfg(test)]
mod tests;
