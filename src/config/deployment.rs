//! What stands around the proxy: proxies in front of it, and what watches it.

use std::net::{Ipv4Addr, SocketAddr};

use actix_web::http::header::HeaderName;
use serde_json::{Value, json};

use super::{
    BindAddress, ConfigError, SettingSources, ValueError,
    request_id::request_id,
    settings::address,
    trusted_proxies::{self, TrustedProxies},
    value::{self, Given},
};

/// The settings about proxies in front of this one and about what watches it.
#[derive(Clone, Debug, Default)]
pub struct Deployment {
    /// The peers whose X-Forwarded-* and Forwarded are read.
    pub trusted_proxies: TrustedProxies,
    /// Each connection begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// The address of metrics and health checks; `None` if there is none.
    pub metrics: Option<SocketAddr>,
    /// The header of the request id; `None` if requests have none.
    pub request_id: Option<HeaderName>,
}

/// Where a proxy listens for its clients.
pub(super) struct Listens {
    pub(super) bind: BindAddress,
    pub(super) port: u16,
    /// The addresses for TLS beside those; none if there is no port for that.
    pub(super) tls: Vec<SocketAddr>,
}

impl Listens {
    fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let plain = self.bind.addresses().into_iter();
        let plain = plain.map(|ip| SocketAddr::new(ip, self.port));
        plain.chain(self.tls.iter().copied())
    }
}

impl Deployment {
    /// The settings of a proxy that listens there, with this dashboard.
    pub(super) fn read(
        sources: &SettingSources<'_>,
        listens: &Listens,
        dashboard: Option<SocketAddr>,
    ) -> Result<Self, ConfigError> {
        Ok(Self {
            trusted_proxies: sources
                .get("trusted-proxies", trusted_proxies::trusted_proxies)?
                .unwrap_or_default(),
            proxy_protocol: sources
                .get("proxy-protocol", value::boolean)?
                .unwrap_or(false),
            metrics: sources.metrics(listens, dashboard)?,
            request_id: sources.get("request-id", request_id)?.flatten(),
        })
    }

    /// The settings by their keys, in the order of the file.
    pub(super) fn values(&self) -> [(&'static str, Value); 4] {
        let Self {
            trusted_proxies,
            proxy_protocol,
            metrics,
            request_id,
        } = self;
        [
            ("trusted_proxies", json!(trusted_proxies.written())),
            ("proxy_protocol", json!(proxy_protocol)),
            ("metrics", address(*metrics)),
            (
                "request_id",
                json!(request_id.as_ref().map_or("none", HeaderName::as_str)),
            ),
        ]
    }
}

impl SettingSources<'_> {
    /// The address of the dashboard of a proxy that listens there. `None`: no dashboard.
    pub(super) fn dashboard(&self, listens: &Listens) -> Result<Option<SocketAddr>, ConfigError> {
        let Some((Some(address), place)) = self.find("dashboard", value::loopback)? else {
            return Ok(None);
        };
        let takes = |it: SocketAddr| BindAddress::One(it.ip()).takes(it.port(), address);
        match listens.addresses().any(takes) {
            true => Err(ConfigError::SameAddress {
                place: Box::new(place),
                taken_by: "the proxy itself",
                address,
                listener: "the dashboard",
            }),
            false => Ok(Some(address)),
        }
    }

    /// The address of the metrics of a proxy that listens there, with this dashboard. `None`: no such address.
    fn metrics(
        &self,
        listens: &Listens,
        dashboard: Option<SocketAddr>,
    ) -> Result<Option<SocketAddr>, ConfigError> {
        let Some((Some(address), place)) = self.find("metrics", metrics)? else {
            return Ok(None);
        };
        let mut taken = listens
            .addresses()
            .map(|address| ("the proxy itself", address))
            .chain(dashboard.map(|dashboard| ("the dashboard", dashboard)));
        match taken.find(|(_, taken)| is_same(*taken, address)) {
            Some((taken_by, address)) => Err(ConfigError::SameAddress {
                place: Box::new(place),
                taken_by,
                address,
                listener: "the metrics",
            }),
            None => Ok(Some(address)),
        }
    }
}

/// True if only one of two listeners gets its address.
fn is_same(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (is_any || one.ip() == other.ip())
}

/// An address and port. `None` for `none`. A port alone belongs to 127.0.0.1.
fn metrics(given: &Given) -> Result<Option<SocketAddr>, ValueError> {
    const RIGHT: &str = "\"none\", or an address with a port, such as \"127.0.0.1:9090\", \"0.0.0.0:9090\" or \"[::]:9090\"";
    if given.text() == Some("none") {
        return Ok(None);
    }
    if let Ok(port) = value::port(given) {
        return Ok(Some((Ipv4Addr::LOCALHOST, port).into()));
    }
    let address = given.text().and_then(|text| {
        let text = text.replacen("localhost:", "127.0.0.1:", 1);
        text.parse::<SocketAddr>().ok()
    });
    address
        .filter(|address| address.port() != 0)
        .map(Some)
        .ok_or_else(|| given.is_not(RIGHT))
}
