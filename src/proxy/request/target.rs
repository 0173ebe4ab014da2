//! The target of a request, and the requests that are never forwarded.

use std::borrow::Cow;

use actix_web::{
    HttpRequest,
    http::{Method, Uri, header::HeaderMap},
};

use crate::{error::ProxyError, headers, policy::Rule, proxy::shared::Shared};

/// Refuses the requests that are never forwarded.
pub(super) fn check_forwardable(
    method: &Method,
    client: &HeaderMap,
    shared: &Shared,
) -> Result<(), ProxyError> {
    if *method == Method::CONNECT {
        return Err(ProxyError::Connect);
    }
    if shared.via.is_in(client) {
        return Err(ProxyError::Loop);
    }
    if headers::is_ntlm(client) {
        return Err(ProxyError::Ntlm);
    }
    Ok(())
}

/// The target without what its settings remove from the query, which is neither in the key nor sent to the origin.
pub(super) fn rewritten(target: String, settings: Option<&Rule>) -> String {
    match settings {
        Some(settings) => settings.rewritten(&target).into_owned(),
        None => target,
    }
}

/// Path and query as the client sent them. An authority in the target is in Host, too.
///
/// # Errors
/// The target has no path.
pub(crate) fn target(request: &HttpRequest) -> Result<Cow<'_, str>, ProxyError> {
    target_of(request.method(), request.uri())
}

pub(super) fn target_of<'u>(method: &Method, uri: &'u Uri) -> Result<Cow<'u, str>, ProxyError> {
    match uri.path_and_query().map(|target| target.as_str()) {
        Some(target) if target.starts_with('/') => Ok(target.into()),
        // RFC 9110, 7.1: OPTIONS uses it. So do methods like M-SEARCH, which are not about a path either.
        Some("*") if !matches!(*method, Method::GET | Method::HEAD) => Ok("*".into()),
        Some(target) if target.starts_with('?') => Ok(format!("/{target}").into()),
        Some("") | None if uri.scheme().is_some() => Ok("/".into()),
        _ => Err(ProxyError::Target),
    }
}
