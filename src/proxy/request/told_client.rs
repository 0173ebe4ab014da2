//! The client of a request, as trusted proxies in front of this one describe it.

use std::net::IpAddr;

use actix_web::http::header::{HeaderMap, HeaderValue};

use crate::{
    cache::Resource,
    config::Config,
    headers::{ClientAddress, ForwardedClient, HostHeader},
};

/// What trusted proxies say about the client. `headers` are those of the request, which `peer` has sent.
pub(crate) fn of(config: &Config, headers: &HeaderMap, peer: Option<IpAddr>) -> ForwardedClient {
    let trusted = &config.deployment.trusted_proxies;
    ForwardedClient::of(headers, peer, |address| trusted.trust(address))
}

/// The resource at `target`. What the origin is told about the host that the client used is a part of it.
pub(crate) fn resource(target: &str, host: &HostHeader<'_>, told: &ForwardedClient) -> Resource {
    let told = told.key_part().map(String::into_bytes);
    match (host, told) {
        (HostHeader::Origin(_), None) => Resource::new(target),
        (HostHeader::Origin(_), Some(told)) => Resource::with_host(target, &told),
        (HostHeader::Client(host), None) => Resource::with_host(target, host.as_bytes()),
        (HostHeader::Client(host), Some(told)) => {
            Resource::with_host(target, &[host.as_bytes(), b" ", &told].concat())
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
