//! The addresses that the proxy listens on.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use super::{error::ValueError, value::Given};

/// What `--bind` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BindAddress {
    /// One address.
    One(IpAddr),
    /// `localhost`: the loopback addresses of both families.
    Localhost,
}

impl BindAddress {
    /// The addresses to listen on.
    pub fn addresses(self) -> Vec<IpAddr> {
        match self {
            Self::One(address) => vec![address],
            Self::Localhost => vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
        }
    }

    /// The first of the addresses.
    pub fn first(self) -> IpAddr {
        match self {
            Self::One(address) => address,
            Self::Localhost => Ipv4Addr::LOCALHOST.into(),
        }
    }

    /// The authority by which this machine reaches `port`.
    pub fn local_authority(self, port: u16) -> String {
        let address = match self {
            Self::Localhost => return format!("localhost:{port}"),
            Self::One(IpAddr::V4(any)) if any.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            Self::One(IpAddr::V6(any)) if any.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            Self::One(address) => address,
        };
        SocketAddr::new(address, port).to_string()
    }

    /// True if listening on `port` of these addresses takes `other`.
    pub fn takes(self, port: u16, other: SocketAddr) -> bool {
        let takes = |address: IpAddr| address == other.ip() || address.is_unspecified();
        other.port() == port && self.addresses().into_iter().any(takes)
    }
}

impl Default for BindAddress {
    fn default() -> Self {
        Self::One(Ipv4Addr::LOCALHOST.into())
    }
}

impl From<IpAddr> for BindAddress {
    fn from(address: IpAddr) -> Self {
        Self::One(address)
    }
}

impl fmt::Display for BindAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(formatter),
            Self::Localhost => formatter.write_str("localhost"),
        }
    }
}

pub(super) fn bind(given: &Given) -> Result<BindAddress, ValueError> {
    const RIGHT: &str =
        "an IP address, such as \"127.0.0.1\", \"0.0.0.0\" or \"::1\", or \"localhost\"";
    match given.text() {
        Some("localhost") => Ok(BindAddress::Localhost),
        text => text
            .and_then(|text| text.parse().ok())
            .map(BindAddress::One)
            .ok_or_else(|| given.is_not(RIGHT)),
    }
}
