//! The peers that are trusted to say whom they forward for.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{error::ValueError, names::entries, value::Given};

/// Networks are compared on requests of the proxies in them, so their number is bounded.
const MAX_NETWORKS: usize = 256;
/// The entry for peers on a Unix socket.
const UNIX: &str = "unix";

/// Peers whose X-Forwarded-* and Forwarded are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    unix: bool,
}

impl TrustedProxies {
    /// True if nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.networks.is_empty() && !self.unix
    }

    /// True if the peer at this address is trusted.
    pub fn trust(&self, address: IpAddr) -> bool {
        // Over a socket for both families, IPv4 addresses come mapped into IPv6.
        let address = address.to_canonical();
        self.networks
            .iter()
            .any(|network| network.contains(&address))
    }

    /// The entries as they are written in the file.
    pub fn written(&self) -> Vec<String> {
        let networks = self.networks.iter().map(|network| {
            match network.prefix_len() == network.max_prefix_len() {
                true => network.addr().to_string(),
                false => network.to_string(),
            }
        });
        let unix = self.unix.then(|| UNIX.to_owned());
        networks.chain(unix).collect()
    }
}

pub(super) fn trusted_proxies(given: &Given) -> Result<TrustedProxies, ValueError> {
    let list = || {
        given
            .is_not("a list of addresses and networks, such as [\"10.0.0.0/8\", \"::1\", \"unix\"]")
    };
    let entries = entries(given).ok_or_else(list)?;
    if entries.len() > MAX_NETWORKS {
        return Err(given.is_not(format!("a list of at most {MAX_NETWORKS} networks")));
    }
    let mut trusted = TrustedProxies::default();
    for entry in &entries {
        match entry.text() {
            Some(UNIX) => trusted.unix = true,
            text => trusted.networks.push(text.and_then(network).ok_or_else(|| {
                entry.is_not(
                    "an IP address, a network such as \"10.0.0.0/8\" or \"fd00::/8\", or \"unix\""
                        .to_owned(),
                )
            })?),
        }
    }
    Ok(trusted)
}

fn network(text: &str) -> Option<IpNet> {
    let network = match text.parse::<IpAddr>() {
        Ok(address) => IpNet::from(address.to_canonical()),
        Err(_) => text.parse().ok()?,
    };
    Some(network.trunc())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TrustedProxies, ValueError> {
        trusted_proxies(&Given::Argument(text.into()))
    }

    #[test]
    fn addresses_and_networks_are_trusted_in_each_spelling() {
        let trusted = parse("10.0.0.0/8, ::1, fd00::/8,192.0.2.7,unix").unwrap();
        for address in [
            "10.255.1.2",
            "::1",
            "fd12::3",
            "192.0.2.7",
            "::ffff:10.1.2.3",
        ] {
            assert!(trusted.trust(address.parse().unwrap()), "{address}");
        }
        for address in [
            "11.0.0.1",
            "::2",
            "192.0.2.8",
            "::ffff:11.1.2.3",
            "127.0.0.1",
        ] {
            assert!(!trusted.trust(address.parse().unwrap()), "{address}");
        }
        assert_eq!(
            trusted.written(),
            ["10.0.0.0/8", "::1", "fd00::/8", "192.0.2.7", "unix"]
        );
        assert_eq!(parse(&trusted.written().join(",")).unwrap(), trusted);
    }

    #[test]
    fn nobody_is_trusted_by_default() {
        let trusted = parse("").unwrap();
        assert!(trusted.is_empty() && !trusted.trust("127.0.0.1".parse().unwrap()));
        assert!(!parse("unix").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_network_is_refused_by_name() {
        for bad in [
            "10.0.0.0/99",
            "nonsense",
            "300.1.1.1",
            "::1/129",
            "10.0.0.0/",
            "localhost",
        ] {
            let error = parse(&format!("10.0.0.0/8,{bad}")).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{bad:?} is not an IP address")),
                "{error}"
            );
        }
    }
}
