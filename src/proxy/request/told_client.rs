//! The client of a request, as trusted proxies in front of this one describe it.

use std::{borrow::Cow, net::IpAddr};

use actix_web::http::header::{HeaderMap, HeaderValue};

use crate::{
    config::Config,
    headers::{ClientAddress, ForwardedClient},
};

/// Between the Host and what the origin is told beside it, in the key.
pub(crate) const SEPARATOR: &str = " ";

/// What trusted proxies say about the client. `headers` are those of the request, which `peer` has sent.
pub(crate) fn of(config: &Config, headers: &HeaderMap, peer: Option<IpAddr>) -> ForwardedClient {
    let trusted = &config.deployment.trusted_proxies;
    ForwardedClient::of(headers, peer, |address| trusted.trust(address))
}

/// What the origin is told about the host that the client used, for the key; `None` if it is told nothing. `host` is the
/// Host of the client, if it is forwarded.
pub(crate) fn key_host<'h>(
    host: Option<&'h [u8]>,
    told: &ForwardedClient,
) -> Option<Cow<'h, [u8]>> {
    let told = told.key_part().map(String::into_bytes);
    match (host, told) {
        (None, told) => told.map(Cow::Owned),
        (Some(host), None) => Some(host.into()),
        (Some(host), Some(told)) => Some([host, SEPARATOR.as_bytes(), &told].concat().into()),
    }
}

/// How the client addresses the proxy; `host` is the Host of the request. `None` without a host.
pub(crate) fn address<'a>(
    told: &'a ForwardedClient,
    host: Option<&'a HeaderValue>,
) -> Option<ClientAddress<'a>> {
    Some(ClientAddress {
        scheme: told.client_scheme().as_str(),
        authority: told.host().or(host)?.as_bytes(),
    })
}
