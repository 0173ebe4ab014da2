//! `NO_PROXY`: the hosts that are reached without a proxy.

use std::net::IpAddr;

use ipnet::IpNet;

/// A list of hosts, as curl and others read it: names with the names below them, addresses, networks (`10.0.0.0/8`), each
/// with a port or without, or `*` for all. Entries that are none of these match nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NoProxy(Vec<Exception>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    hosts: Hosts,
    /// `None`: any port.
    port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// A name in lower case, and the names that end with a dot and this name.
    Name(String),
    /// The addresses of a network.
    Network(IpNet),
}

impl NoProxy {
    /// Parses entries separated by commas or white space.
    pub(super) fn parse(list: &str) -> Self {
        let entries = list.split(|letter: char| letter == ',' || letter.is_whitespace());
        Self(entries.filter_map(Exception::parse).collect())
    }

    /// True if a host, without brackets, is reached without a proxy at this port.
    pub(super) fn matches(&self, host: &str, port: u16) -> bool {
        self.0.iter().any(|exception| {
            exception.port.is_none_or(|only| only == port) && exception.hosts.contain(host)
        })
    }
}

impl Exception {
    /// `None` for an entry that is no host.
    fn parse(entry: &str) -> Option<Self> {
        if entry.is_empty() {
            return None;
        }
        // An IPv6 address has colons of its own.
        let is_address = entry.parse::<IpAddr>().is_ok();
        let (hosts, port) = match entry.rsplit_once(':') {
            Some((hosts, port)) if !is_address && !hosts.ends_with(':') && !port.contains('/') => {
                match (
                    port.parse().ok(),
                    hosts.contains(':') && !hosts.ends_with(']'),
                ) {
                    (Some(port), false) => (hosts, Some(port)),
                    _ => (entry, None),
                }
            }
            _ => (entry, None),
        };
        let hosts = Hosts::parse(hosts.trim_start_matches('[').trim_end_matches(']'))?;
        Some(Self { hosts, port })
    }
}

impl Hosts {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::All);
        }
        if let Ok(address) = text.parse::<IpAddr>() {
            return Some(Self::Network(address.into()));
        }
        if text.contains('/') {
            return text.parse().ok().map(Self::Network);
        }
        let name = text.trim_start_matches("*.").trim_matches('.');
        (!name.is_empty()).then(|| Self::Name(name.to_ascii_lowercase()))
    }

    fn contain(&self, host: &str) -> bool {
        match self {
            Self::All => true,
            Self::Name(name) => host
                .trim_end_matches('.')
                .strip_suffix(name.as_str())
                .is_some_and(|before| before.is_empty() || before.ends_with('.')),
            Self::Network(network) => host
                .parse::<IpAddr>()
                .is_ok_and(|address| network.contains(&address)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_addresses_networks_and_ports_match() {
        for (list, host, port, matches) in [
            ("*", "origin.test", 80, true),
            ("", "origin.test", 80, false),
            ("a.test, origin.test", "origin.test", 80, true),
            ("a.test origin.test", "origin.test", 80, true),
            ("ORIGIN.test", "origin.test", 80, true),
            (".origin.test", "origin.test", 80, true),
            ("origin.test", "api.origin.test", 80, true),
            ("*.origin.test", "api.origin.test", 80, true),
            ("origin.test", "notorigin.test", 80, false),
            ("api.origin.test", "origin.test", 80, false),
            ("origin.test:8080", "origin.test", 8080, true),
            ("origin.test:8080", "origin.test", 80, false),
            ("192.0.2.7", "192.0.2.7", 80, true),
            ("192.0.2.7:81", "192.0.2.7", 80, false),
            ("192.0.2.0/24", "192.0.2.200", 80, true),
            ("192.0.2.0/24", "192.0.3.1", 80, false),
            ("0.0.0.0/0", "192.0.3.1", 80, true),
            ("192.0.2.0/33", "192.0.2.1", 80, false),
            ("2001:db8::/32", "2001:db8:1::1", 80, true),
            ("2001:db8::/32", "2001:db9::1", 80, false),
            ("2001:db8::1", "2001:db8::1", 80, true),
            ("[2001:db8::1]", "2001:db8::1", 80, true),
            ("[2001:db8::1]:8080", "2001:db8::1", 8080, true),
            ("[2001:db8::1]:8080", "2001:db8::1", 80, false),
            ("192.0.2.0/24", "origin.test", 80, false),
            (",,. ,/24,:80", "origin.test", 80, false),
        ] {
            let found = NoProxy::parse(list).matches(host, port);
            assert_eq!(found, matches, "{list:?} {host}:{port}");
        }
    }

    proptest! {
        #[test]
        fn any_list_is_read(list in "\\PC{0,40}", nearly in "[a.:*\\[\\]/0-9, ]{0,30}") {
            for list in [list, nearly] {
                NoProxy::parse(&list).matches("a.test", 80);
                NoProxy::parse(&list).matches("::1", 80);
            }
        }
    }
}
