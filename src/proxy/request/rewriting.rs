//! The addresses of the proxy and of the origin in one request.

use actix_web::http::header::{HeaderMap, HeaderValue};

use crate::{
    config::Config,
    error::ProxyError,
    headers::{self, ClientAddress, ProxiedOrigin},
};

/// The origin as the client sees it that sent this Host; `None` if messages are forwarded as they are.
pub(crate) fn proxied_origin<'a>(
    config: &'a Config,
    host: Option<&'a HeaderValue>,
) -> Option<ProxiedOrigin<'a>> {
    (!config.no_rewrite).then(|| origin_seen_by(config, host))
}

fn origin_seen_by<'a>(config: &'a Config, host: Option<&'a HeaderValue>) -> ProxiedOrigin<'a> {
    let origin = &config.origin;
    ProxiedOrigin {
        scheme: origin.scheme(),
        host: origin.host(),
        port: origin.port(),
        prefix: origin.path_prefix(),
        stripped: "",
        preserved: host.filter(|_| config.preserve_host).map(client_address),
    }
}

/// How the client addressed the proxy that sent this Host.
fn client_address(host: &HeaderValue) -> ClientAddress<'_> {
    ClientAddress {
        scheme: "http",
        authority: host.as_bytes(),
    }
}

/// Refuses a target that may lead out of the origin's path prefix.
pub(crate) fn check_path(config: &Config, target: &str) -> Result<(), ProxyError> {
    let path = target.split('?').next().unwrap_or_default();
    match !config.origin.path_prefix().is_empty() && headers::may_climb(path) {
        true => Err(ProxyError::DotSegments),
        false => Ok(()),
    }
}

/// Makes the headers of a request, whose client sent this Host, name the origin where they name the proxy.
///
/// # Errors
/// One of them names a path that may lead out of the origin's path prefix.
pub(crate) fn rewrite_request(
    config: &Config,
    host: Option<&HeaderValue>,
    headers: &mut HeaderMap,
) -> Result<(), ProxyError> {
    let (Some(origin), Some(host)) = (proxied_origin(config, host), host) else {
        return Ok(());
    };
    if origin.is_destination_outside(headers) {
        return Err(ProxyError::DotSegments);
    }
    origin.rewrite_request(headers, &client_address(host));
    Ok(())
}
