//! The addresses of the proxy and of the origin in one request.

use std::net::IpAddr;

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::{
    config::{Config, Selection},
    error::ProxyError,
    headers::{
        self, ClientAddress, ClientScheme, CookieRewriting, ForwardedClient, HostHeader,
        ProxiedOrigin, ResponseHeaders,
    },
    origin::OriginUrl,
    policy::{OriginIndex, Route},
    proxy::shared::Shared,
};

/// The headers that a proxy between client and this one adds.
static RELAY_HEADERS: [HeaderName; 5] = [
    header::VIA,
    header::FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-real-ip"),
];

/// True if the origin is told that a client has come over TLS, where it would believe in http otherwise.
pub(crate) fn tells_scheme(config: &Config, selection: Selection, scheme: ClientScheme) -> bool {
    scheme == ClientScheme::Https
        && (config.preserves_host(selection) || !config.origin_for(selection).is_tls())
}

/// What the origin is told about a client that has come over `scheme`. `told` is what proxies say.
pub(crate) fn with_scheme(
    told: ForwardedClient,
    (config, selection): (&Config, Selection),
    scheme: ClientScheme,
) -> ForwardedClient {
    match tells_scheme(config, selection, scheme) {
        true => told.over_tls(!config.serves_both_schemes()),
        false => told,
    }
}

/// The Host that the origin gets, and the scheme of the URL by which it is to believe that it is addressed, unless it is told
/// another one.
pub(crate) fn addressed_as<'a>(
    (config, selection): (&'a Config, Selection),
    client_host: Option<&'a HeaderValue>,
    shared: &'a Shared,
) -> (HostHeader<'a>, &'static str) {
    let origin = config.first_origin(selection);
    match client_host {
        Some(host) if config.preserves_host(selection) => {
            (HostHeader::Client(host), ClientScheme::Http.as_str())
        }
        _ => (
            HostHeader::Origin(&shared.origins.get(origin).host),
            config.origins.get(origin).scheme(),
        ),
    }
}

/// The origin of a route as the client sees it that sent this Host over this scheme; `None` if messages are forwarded as
/// they are.
fn proxied_origin<'a>(
    config: &'a Config,
    selection: Selection,
    (host, scheme): (Option<&'a HeaderValue>, ClientScheme),
) -> Option<ProxiedOrigin<'a>> {
    (!config.no_rewrite).then(|| origin_seen_by(config, selection, (host, scheme)))
}

fn origin_seen_by<'a>(
    config: &'a Config,
    selection: Selection,
    (host, scheme): (Option<&'a HeaderValue>, ClientScheme),
) -> ProxiedOrigin<'a> {
    let host = host.filter(|_| config.preserves_host(selection));
    ProxiedOrigin {
        preserved: host.map(|host| client_address(host, scheme)),
        ..below(
            config.origin_for(selection),
            own_scheme(config, selection, scheme),
            config.stripped_prefix(selection),
        )
    }
}

/// The scheme by which an origin believes that its own name is addressed. It is told that of the client. Where it gets the
/// client's Host, that goes with the scheme, and its own name with its own scheme.
fn own_scheme(config: &Config, selection: Selection, scheme: ClientScheme) -> ClientScheme {
    match config.preserves_host(selection) {
        true => ClientScheme::Http,
        false => scheme,
    }
}

/// An origin that gets paths without `stripped`, and is told this scheme.
fn below<'a>(origin: &'a OriginUrl, told: ClientScheme, stripped: &'a str) -> ProxiedOrigin<'a> {
    let (scheme, port) = match (told, origin.port()) {
        (ClientScheme::Https, 80) if !origin.is_tls() => ("https", 443),
        (ClientScheme::Https, port) => ("https", port),
        (ClientScheme::Http, port) => (origin.scheme(), port),
    };
    ProxiedOrigin {
        scheme,
        host: origin.host(),
        port,
        prefix: origin.path_prefix(),
        stripped,
        preserved: None,
    }
}

/// A response to be rewritten.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ResponseOf<'a> {
    pub(crate) config: &'a Config,
    pub(crate) selection: Selection,
    /// The origin that has responded. For a stored response, any of those of the route: they are equal.
    pub(crate) origin: OriginIndex,
    /// The target of the request.
    pub(crate) target: &'a str,
    /// How the client addressed the proxy, as far as the origin is told; `None` if it is told nothing.
    pub(crate) address: Option<ClientAddress<'a>>,
    /// The scheme that the client has used, as far as the origin is told.
    pub(crate) scheme: ClientScheme,
}

/// Makes the headers of a response name the proxy where they name an origin.
pub(crate) fn rewrite_response(
    of: &ResponseOf<'_>,
    headers: &mut ResponseHeaders,
    cookies: CookieRewriting,
) {
    let &ResponseOf {
        config, selection, ..
    } = of;
    if config.no_rewrite {
        return;
    }
    let scheme = own_scheme(config, selection, of.scheme);
    let seen = |index: OriginIndex| ProxiedOrigin {
        preserved: of.address,
        ..below(
            config.origins.get(index),
            scheme,
            config.stripped_prefix(selection),
        )
    };
    let origin = seen(of.origin);
    let equal = || config.origins_for(selection).iter().map(|it| seen(*it));
    let is_covered_by = |domain: &[u8]| equal().any(|it| it.is_covered_by(domain));
    let target = config.at_origin(selection, of.target);
    let has_hosts = config.routes.iter().any(|route| route.host.is_some());
    origin.rewrite_response(headers, &target, (cookies, is_covered_by), |url| {
        match has_hosts {
            false => routed_url(config, &origin, scheme, url),
            // Which routes are those of a path depends on the host.
            true => equal().find_map(|it| it.url_at_proxy(url, |_| true)),
        }
    });
}

/// The path at the proxy for a URL of any origin, if a request for it goes to that origin; `None` if the URL can stay. `own`
/// is the origin that sent it.
fn routed_url(
    config: &Config,
    own: &ProxiedOrigin<'_>,
    scheme: ClientScheme,
    url: &[u8],
) -> Option<Vec<u8>> {
    let leads_to = |origin: &ProxiedOrigin<'_>, path: &[u8]| {
        let path = String::from_utf8_lossy(path);
        let target = path.split('#').next().unwrap_or_default();
        let selection = config.select(target, None);
        config.stripped_prefix(selection) == origin.stripped
            && config.origins_for(selection).iter().any(|index| {
                let other = below(config.origins.get(*index), scheme, "");
                (other.host, other.port) == (origin.host, origin.port)
            })
    };
    let routed = config.routes.iter().flat_map(|route| {
        let origins = route.origins.iter();
        origins.map(|index| below(config.origins.get(*index), scheme, &route.stripped_prefix))
    });
    let last = config.routes.last().iter();
    let last = last.map(|index| below(config.origins.get(*index), scheme, ""));
    std::iter::once(*own)
        .chain(routed)
        .chain(last)
        .find_map(|origin| origin.url_at_proxy(url, |path| leads_to(&origin, path)))
}

/// How the client addressed the proxy that sent this Host over this scheme.
pub(crate) fn client_address(host: &HeaderValue, scheme: ClientScheme) -> ClientAddress<'_> {
    ClientAddress {
        scheme: scheme.as_str(),
        authority: host.as_bytes(),
    }
}

/// Refuses a target that may lead out of the origin's path prefix, or out of the paths of its route: the origin may take
/// the target for another one than the route was chosen for.
pub(crate) fn check_path(
    config: &Config,
    selection: Selection,
    target: &str,
) -> Result<(), ProxyError> {
    let path = || target.split('?').next().unwrap_or_default();
    match leads_out(config, selection, path) {
        true => Err(ProxyError::DotSegments),
        false => Ok(()),
    }
}

fn leads_out<'p>(config: &Config, selection: Selection, path: impl FnOnce() -> &'p str) -> bool {
    let prefix = config.origin_for(selection).path_prefix();
    let start = config.route(selection).map_or("", Route::start);
    let is_bounded = !prefix.is_empty() || !matches!(start, "" | "/");
    is_bounded && headers::may_leave(path(), start)
}

/// Makes the headers of a request with this Host, whose client uses this address and this scheme, name the origin where
/// they name the proxy.
///
/// # Errors
/// One of them names a path that may lead out of the origin's path prefix, or out of the paths of the route.
pub(crate) fn rewrite_request(
    (config, selection): (&Config, Selection),
    (host, address, scheme): (
        Option<&HeaderValue>,
        Option<ClientAddress<'_>>,
        ClientScheme,
    ),
    headers: &mut HeaderMap,
) -> Result<(), ProxyError> {
    let (Some(origin), Some(address)) =
        (proxied_origin(config, selection, (host, scheme)), address)
    else {
        return Ok(());
    };
    if headers::is_destination_outside(headers, |path| leads_out(config, selection, || path)) {
        return Err(ProxyError::DotSegments);
    }
    origin.rewrite_request(headers, &address);
    Ok(())
}

/// True if Origin or Referer of a request is forwarded with another value.
pub(crate) fn changes_page(
    (config, selection): (&Config, Selection),
    headers: &HeaderMap,
    scheme: ClientScheme,
) -> bool {
    let host = headers.get(header::HOST);
    match (proxied_origin(config, selection, (host, scheme)), host) {
        (Some(origin), Some(host)) => origin.changes_page(headers, &client_address(host, scheme)),
        _ => false,
    }
}

/// How far the cookies of a response of `origin` are changed. `client` are the headers of the request as its client sent
/// them over `scheme`.
pub(crate) fn cookie_rewriting(
    (config, selection, origin): (&Config, Selection, OriginIndex),
    client: &HeaderMap,
    (peer, scheme): (Option<IpAddr>, ClientScheme),
) -> CookieRewriting {
    let is_loopback = || peer.is_some_and(|peer| peer.to_canonical().is_loopback());
    // Another proxy on this machine: its own client may well have come over TLS.
    let is_relayed = || RELAY_HEADERS.iter().any(|name| client.contains_key(name));
    let is_plain = scheme == ClientScheme::Http;
    match is_plain && config.origins.get(origin).is_tls() && is_loopback() && !is_relayed() {
        _ if config.preserves_host(selection) => CookieRewriting::Off,
        true => CookieRewriting::ScopeAndSecure,
        false => CookieRewriting::Scope,
    }
}
