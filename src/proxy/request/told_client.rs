//! The client of a request, as trusted proxies in front of this one describe it.

use std::{borrow::Cow, net::IpAddr};

use actix_web::http::header::{HeaderMap, HeaderValue};

use crate::{
    config::Config,
    headers::{ClientAddress, ForwardedClient, HostHeader},
};

/// What trusted proxies say about the client. `headers` are those of the request, which `peer` has sent.
pub(crate) fn of(config: &Config, headers: &HeaderMap, peer: Option<IpAddr>) -> ForwardedClient {
    let trusted = &config.deployment.trusted_proxies;
    ForwardedClient::of(headers, peer, |address| trusted.trust(address))
}

/// What the origin is told about the host that the client used, for the key; `None` if it is told nothing.
pub(crate) fn key_host<'h>(host: &HostHeader<'h>, told: &ForwardedClient) -> Option<Cow<'h, [u8]>> {
    let told = told.key_part().map(String::into_bytes);
    match (host, told) {
        (HostHeader::Origin(_), told) => told.map(Cow::Owned),
        (HostHeader::Client(host), None) => Some(host.as_bytes().into()),
        (HostHeader::Client(host), Some(told)) => {
            Some([host.as_bytes(), b" ", &told].concat().into())
        }
    }
}

/// How the client addresses the proxy; `host` is the Host of the request. `None` without a host.
pub(crate) fn address<'a>(
    told: &'a ForwardedClient,
    host: Option<&'a HeaderValue>,
) -> Option<ClientAddress<'a>> {
    Some(ClientAddress {
        scheme: told.scheme().unwrap_or("http"),
        authority: told.host().or(host)?.as_bytes(),
    })
}
