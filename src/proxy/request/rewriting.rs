//! The addresses of the proxy and of the origin in one request.

use actix_web::http::header::{self, HeaderMap, HeaderValue};

use crate::{
    config::{Config, Selection},
    error::ProxyError,
    headers::{self, ClientAddress, ProxiedOrigin},
    origin::OriginUrl,
};

/// The origin of a route as the client sees it that sent this Host; `None` if messages are forwarded as they are.
pub(crate) fn proxied_origin<'a>(
    config: &'a Config,
    selection: Selection,
    host: Option<&'a HeaderValue>,
) -> Option<ProxiedOrigin<'a>> {
    (!config.no_rewrite).then(|| origin_seen_by(config, selection, host))
}

/// Makes the headers of the response to a request for `target`, with this Host, name the proxy where they name an origin.
pub(crate) fn rewrite_response(
    (config, selection): (&Config, Selection),
    host: Option<&HeaderValue>,
    headers: &mut HeaderMap,
    target: &str,
) {
    let Some(origin) = proxied_origin(config, selection, host) else {
        return;
    };
    origin.rewrite_response(headers, &config.at_origin(selection, target));
    let has_host = |selection| config.route(selection).is_some_and(|it| it.host.is_some());
    // By a path alone, a client reaches other origins only as long as the Host does not choose.
    let has_location = [header::LOCATION, header::CONTENT_LOCATION]
        .iter()
        .any(|name| headers.contains_key(name));
    if !has_location || config.origins.iter().count() == 1 || has_host(selection) {
        return;
    }
    for route in config.routes_alone().filter(|route| !has_host(*route)) {
        let urls = config.origins_for(route).iter();
        for url in urls.map(|index| config.origins.get(*index)) {
            let other = seen_by((config, route), url, None);
            let leads_there = |path: &str| {
                let origins = config.origins_for(config.select(path, None));
                origins == config.origins_for(route)
            };
            other.rewrite_absolute(headers, leads_there);
        }
    }
}

fn origin_seen_by<'a>(
    config: &'a Config,
    selection: Selection,
    host: Option<&'a HeaderValue>,
) -> ProxiedOrigin<'a> {
    seen_by((config, selection), config.origin_for(selection), host)
}

fn seen_by<'a>(
    (config, selection): (&'a Config, Selection),
    origin: &'a OriginUrl,
    host: Option<&'a HeaderValue>,
) -> ProxiedOrigin<'a> {
    ProxiedOrigin {
        scheme: origin.scheme(),
        host: origin.host(),
        port: origin.port(),
        prefix: origin.path_prefix(),
        stripped: config.stripped_prefix(selection),
        preserved: host
            .filter(|_| config.preserves_host(selection))
            .map(client_address),
    }
}

/// How the client addressed the proxy that sent this Host.
fn client_address(host: &HeaderValue) -> ClientAddress<'_> {
    ClientAddress {
        scheme: "http",
        authority: host.as_bytes(),
    }
}

/// Refuses a target that may lead out of the origin's path prefix, or out of the prefix that the route strips.
pub(crate) fn check_path(
    config: &Config,
    selection: Selection,
    target: &str,
) -> Result<(), ProxyError> {
    let prefix = config.origin_for(selection).path_prefix();
    let stripped = config.stripped_prefix(selection);
    let path = target.split('?').next().unwrap_or_default();
    let path = path.strip_prefix(stripped).unwrap_or(path);
    match (!prefix.is_empty() || !stripped.is_empty()) && headers::may_climb(path) {
        true => Err(ProxyError::DotSegments),
        false => Ok(()),
    }
}

/// Makes the headers of a request, whose client sent this Host, name the origin where they name the proxy.
///
/// # Errors
/// One of them names a path that may lead out of the origin's path prefix.
pub(crate) fn rewrite_request(
    (config, selection): (&Config, Selection),
    host: Option<&HeaderValue>,
    headers: &mut HeaderMap,
) -> Result<(), ProxyError> {
    let (Some(origin), Some(host)) = (proxied_origin(config, selection, host), host) else {
        return Ok(());
    };
    if origin.is_destination_outside(headers) {
        return Err(ProxyError::DotSegments);
    }
    origin.rewrite_request(headers, &client_address(host));
    Ok(())
}
