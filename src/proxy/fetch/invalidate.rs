//! What an unsafe request invalidates (RFC 9111, 4.4).

use actix_web::http::{
    StatusCode,
    header::{self, HeaderMap, HeaderValue},
};

use crate::{
    cache::{Cache, Invalidate, Resource},
    clock,
    policy::TargetUri,
    proxy::request::forwarded::ForwardedRequest,
};

/// The resources that an unsafe request has invalidated: its target, and those that the response names in Location and
/// Content-Location.
pub(crate) fn invalidated_resources(
    forwarded: &ForwardedRequest,
    headers: &HeaderMap,
) -> Vec<Resource> {
    let config = &forwarded.config;
    let prefix = config.origin.path_prefix();
    let named = target_uri(forwarded).also_invalidated(headers);
    let named = named
        .iter()
        .filter_map(|target| target.strip_prefix(prefix))
        // The target under which a request for it is stored.
        .map(|target| config.rules.rewritten(target))
        .map(|target| match preserved_host(forwarded) {
            Some(host) => Resource::with_host(&target, host.as_bytes()),
            None => Resource::new(&target),
        });
    std::iter::once(forwarded.key.resource.clone())
        .chain(named)
        .collect()
}

/// The target URI of the request to the origin (RFC 9110, 7.1).
pub(crate) fn target_uri(forwarded: &ForwardedRequest) -> TargetUri<'_> {
    let origin = &forwarded.config.origin;
    TargetUri {
        scheme: origin.scheme(),
        authority: match preserved_host(forwarded) {
            Some(host) => String::from_utf8_lossy(host.as_bytes()),
            None => origin.authority().into(),
        },
        target: format!("{}{}", origin.path_prefix(), forwarded.target).into(),
    }
}

fn preserved_host(forwarded: &ForwardedRequest) -> Option<&HeaderValue> {
    let host = forwarded.headers.get(header::HOST);
    host.filter(|_| forwarded.config.preserve_host)
}

/// Invalidates the target of an unsafe request when it is dropped. The client may leave or the origin break off while
/// the request is under way: then nobody knows whether the origin has carried it out.
pub(crate) struct InvalidateOnDrop(Option<(Cache, Resource)>);

impl InvalidateOnDrop {
    /// Armed if `forwarded` is unsafe.
    pub(crate) fn of(cache: &Cache, forwarded: &ForwardedRequest) -> Self {
        let is_unsafe = forwarded.invalidates(StatusCode::OK);
        Self(is_unsafe.then(|| (cache.clone(), forwarded.key.resource.clone())))
    }

    /// Invalidates nothing: the outcome of the request is known.
    pub(crate) fn disarm(&mut self) {
        self.0 = None;
    }
}

impl Drop for InvalidateOnDrop {
    fn drop(&mut self) {
        if let Some((cache, resource)) = self.0.take() {
            let invalidate = Invalidate::new(vec![resource.clone()], None);
            cache.force_invalidate(invalidate.with_related(resource, clock::now()));
        }
    }
}
