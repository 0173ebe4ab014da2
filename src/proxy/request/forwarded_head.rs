//! The headers of a request as they are forwarded, and what they mean. They do not depend on its target, except for the route
//! and the rule that its target selects.

use std::net::IpAddr;

use actix_web::http::{
    Method, Version,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

use crate::{
    config::{Config, Selection},
    error::ProxyError,
    headers::{self, ClientScheme, ForwardedClient, ProxyHeaders},
    origin::RequestHeaders,
    policy::{Identity, Reason, RequestContent, RequestFields, Rule},
    proxy::{
        request::{
            framing::RequestFraming,
            ignored_cookies::remove_ignored_cookies,
            name_table::{HeaderSummary, NameTable},
            rewriting, told_client,
        },
        shared::Shared,
    },
};

/// The head of a request without its target, as the client sent it.
#[derive(Clone, Copy)]
pub(crate) struct ClientHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) version: Version,
    pub(crate) framing: RequestFraming,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) scheme: ClientScheme,
}

/// The headers of a request as they are forwarded, and what is known from them.
#[derive(Debug)]
#[cfg_attr(test, derive(Default))]
pub(crate) struct ForwardedHead {
    pub(crate) headers: RequestHeaders,
    /// Which fields that the policy reads are in `headers`.
    pub(crate) fields: RequestFields,
    /// All cookies, if `headers` has some of them only; else empty.
    pub(crate) all_cookies: Vec<HeaderValue>,
    /// Why the request passes the cache by, if its headers say so; `None` if they do not.
    pub(crate) bypass: Option<Reason>,
    pub(crate) identity: Option<Identity>,
    /// What trusted proxies say about the client.
    pub(crate) told: ForwardedClient,
    /// What the key has in the place of the Host; `None` if that is nothing.
    pub(crate) key_host: Option<Box<[u8]>>,
}

impl ForwardedHead {
    /// The forwarded form of `client`. `told` is what trusted proxies say about the client.
    ///
    /// # Errors
    /// A header names a path that may lead out of the origin's path prefix, or out of the paths of the route.
    pub(crate) fn of(
        client: &ClientHead<'_>,
        told: ForwardedClient,
        selection: Selection,
        shared: &Shared,
        (config, table): (&Config, &NameTable),
    ) -> Result<Self, ProxyError> {
        let client_host = client.headers.get(header::HOST);
        let told = rewriting::with_scheme(told, (config, selection), client.scheme);
        let (host, scheme) = rewriting::addressed_as((config, selection), client_host, shared);
        let key_host = told_client::key_host(host.of_client(), &told);
        let key_host = key_host.map(|host| host.into_owned().into_boxed_slice());
        let added = ProxyHeaders {
            peer: client.peer,
            client: &told,
            scheme: told.scheme().unwrap_or(scheme),
            host,
            via: shared.via.of(client.version),
        };
        let policy = config.policy_for(selection);
        let mut summary = table.summary();
        let is_dropped = |name: &HeaderName| summary.add(table.meaning(name));
        let mut headers = headers::forwarded_headers(client.headers, &added, is_dropped);
        if summary.may_name_proxy {
            let address = told_client::address(&told, client_host);
            let sender = (client_host, address, told.own_scheme());
            rewriting::rewrite_request((config, selection), sender, &mut headers)?;
        }
        let bypass = bypass_reason(client, summary, config.settings(selection));
        let all_cookies = match (client.method, client.framing.content(), bypass) {
            (&Method::GET | &Method::HEAD, RequestContent::None, None) if summary.has_cookie => {
                remove_ignored_cookies(policy, table, &mut headers)
            }
            _ => Vec::new(),
        };
        let identity = match summary.has_credential {
            true => shared.secret.identity(policy, &headers, table),
            false => None,
        };
        Ok(Self {
            headers: headers.into(),
            fields: summary.fields,
            all_cookies,
            bypass,
            identity,
            told,
            key_host,
        })
    }
}

/// True for a WebSocket handshake (RFC 6455, 4.1). In other versions than HTTP/1.1, and in a request with content, the
/// offer is ignored: what follows the headers must not be taken for the other protocol.
fn is_handshake(client: &ClientHead<'_>) -> bool {
    *client.method == Method::GET
        && client.version == Version::HTTP_11
        && !client.framing.has_content()
        && headers::offers_websocket(client.headers)
}

/// Why the cache has no part in a request with this head, and with such headers as they are forwarded; `None` if nothing of
/// them speaks against it.
fn bypass_reason(
    client: &ClientHead<'_>,
    forwarded: HeaderSummary,
    rule: Option<&Rule>,
) -> Option<Reason> {
    if is_handshake(client) {
        return Some(Reason::NotUpgraded);
    }
    if forwarded.has_method_override {
        return Some(Reason::MethodOverride);
    }
    rule.is_some_and(|rule| !rule.stores)
        .then_some(Reason::Rule)
}
