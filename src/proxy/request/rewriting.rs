//! The addresses of the proxy and of the origin in one request.

use actix_web::http::header::{HeaderMap, HeaderValue};

use crate::{
    config::{Config, Selection},
    error::ProxyError,
    headers::{self, ClientAddress, ProxiedOrigin},
};

/// The origin of a route as the client sees it that sent this Host; `None` if messages are forwarded as they are.
pub(crate) fn proxied_origin<'a>(
    config: &'a Config,
    selection: Selection,
    host: Option<&'a HeaderValue>,
) -> Option<ProxiedOrigin<'a>> {
    (!config.no_rewrite).then(|| origin_seen_by(config, selection, host))
}

fn origin_seen_by<'a>(
    config: &'a Config,
    selection: Selection,
    host: Option<&'a HeaderValue>,
) -> ProxiedOrigin<'a> {
    let origin = config.origin_for(selection);
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
