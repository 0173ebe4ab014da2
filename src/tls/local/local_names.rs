//! The names and addresses that a certificate for this machine is for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use rcgen::SanType;
use rustls::pki_types::DnsName;

use super::local_error::LocalError;
use crate::config::BindAddress;

/// The name of this machine for itself.
pub(super) const LOCALHOST: &str = "localhost";

/// The names and addresses of this machine.
#[derive(Debug)]
pub(in crate::tls) struct LocalNames {
    /// The name of the machine, in lower case.
    machine: String,
    /// Besides localhost.
    host_names: Vec<String>,
    /// Besides the loopback addresses.
    addresses: Vec<IpAddr>,
}

impl LocalNames {
    /// The names of a proxy that listens on `bind`, on this machine.
    pub(in crate::tls) fn of(bind: BindAddress) -> Self {
        let system = rustix::system::uname();
        let name = system.nodename().to_string_lossy().into_owned();
        let bound = bind.addresses().into_iter().flat_map(|it| match it {
            any if any.is_unspecified() => outgoing(),
            one => vec![one],
        });
        Self::new(&name, bound.collect())
    }

    /// The names of a machine with this name, and of these addresses.
    pub(in crate::tls) fn new(machine: &str, addresses: Vec<IpAddr>) -> Self {
        let machine = machine.to_ascii_lowercase();
        let is_name = |name: &String| name != LOCALHOST && DnsName::try_from(name.as_str()).is_ok();
        // Multicast DNS has the first label of the name.
        let first = machine.split('.').next().unwrap_or_default();
        let mut host_names = vec![machine.clone(), format!("{first}.local")];
        host_names.retain(is_name);
        host_names.dedup();
        let mut addresses = addresses;
        addresses.retain(|it| !LOOPBACK.contains(it) && !it.is_unspecified());
        Self {
            machine,
            host_names,
            addresses,
        }
    }

    /// The name of the machine, in lower case; it may be no valid host name.
    pub(super) fn machine(&self) -> &str {
        &self.machine
    }

    /// Those that each such certificate is for.
    pub(super) fn always(&self) -> Vec<SanType> {
        let localhost = dns_name(LOCALHOST).ok();
        let loopback = LOOPBACK.map(SanType::IpAddress);
        localhost.into_iter().chain(loopback).collect()
    }

    /// All.
    pub(super) fn all(&self) -> Vec<SanType> {
        let names = self.host_names.iter().filter_map(|it| dns_name(it).ok());
        let addresses = self.addresses.iter().copied().map(SanType::IpAddress);
        let mut all = self.always();
        all.extend(names.chain(addresses));
        all
    }

    /// Those that are not always there, for messages.
    pub(super) fn others_in_words(&self) -> String {
        let addresses = self.addresses.iter().map(ToString::to_string);
        let names = self.host_names.iter().cloned();
        names.chain(addresses).collect::<Vec<_>>().join(", ")
    }
}

const LOOPBACK: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::LOCALHOST),
    IpAddr::V6(Ipv6Addr::LOCALHOST),
];

/// A host name, as rcgen takes it.
pub(super) fn dns_name(name: &str) -> Result<SanType, LocalError> {
    let name = name.try_into().map_err(LocalError::Sign)?;
    Ok(SanType::DnsName(name))
}

/// The addresses from which this machine reaches others. Connecting a UDP socket sends nothing.
fn outgoing() -> Vec<IpAddr> {
    // Addresses for documentation (RFC 5737, RFC 3849).
    let far: [(IpAddr, IpAddr); 2] = [
        (
            Ipv4Addr::UNSPECIFIED.into(),
            Ipv4Addr::new(192, 0, 2, 1).into(),
        ),
        (
            Ipv6Addr::UNSPECIFIED.into(),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
        ),
    ];
    let found = far.into_iter().filter_map(|(any, far)| {
        let socket = UdpSocket::bind(SocketAddr::new(any, 0)).ok()?;
        socket.connect(SocketAddr::new(far, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    found.collect()
}
