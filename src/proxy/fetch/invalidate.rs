//! What an unsafe request invalidates (RFC 9111, 4.4).

use std::{borrow::Cow, sync::Arc};

use actix_web::http::{
    StatusCode,
    header::{self, HeaderValue},
};

use crate::{
    cache::{Cache, CountedRequest, Invalidate, Resource},
    clock,
    headers::{ClientScheme, ForwardedClient, ResponseHeaders},
    policy::TargetUri,
    proxy::request::{forwarded::ForwardedRequest, told_client},
};

/// The resources that an unsafe request has invalidated: its target, and those that the response names in Location and
/// Content-Location; under the keys of all routes to its origin. What trusted proxies said about the client is in the key, so
/// responses to clients who said nothing, and to those who said the same are invalidated; with TLS and without it.
pub(crate) fn invalidated_resources(
    forwarded: &ForwardedRequest,
    headers: &ResponseHeaders,
) -> Arc<[Resource]> {
    let config = &forwarded.config;
    let host = forwarded.preserved_host().map(HeaderValue::as_bytes);
    let names_others =
        headers.contains(&header::LOCATION) || headers.contains(&header::CONTENT_LOCATION);
    let named = match names_others {
        true => named_targets(forwarded, headers),
        false => Vec::new(),
    };
    let target = forwarded.origin_target();
    let own = &forwarded.key.resource;
    let mut others = Vec::new();
    let mut add = |target: &str, host: Option<&[u8]>, scope: Option<&str>| {
        if own.is_of(target, host, scope) {
            return;
        }
        let resource = Resource::of(target, host, scope);
        if !others.contains(&resource) {
            others.push(resource);
        }
    };
    for target in std::iter::once(&*target).chain(named.iter().map(|named| &**named)) {
        for (target, host, scope) in config.keys_for(forwarded.first_origin(), target, host) {
            add(&target, host, scope);
            if let Some(told) = told_client::key_host(host, &forwarded.told) {
                add(&target, Some(&told), scope);
            }
            if config.serves_both_schemes() {
                let client = ForwardedClient::default().over_tls(false);
                if let Some(told) = told_client::key_host(host, &client) {
                    add(&target, Some(&told), scope);
                }
            }
        }
    }
    if others.is_empty() {
        return [own.clone()].into();
    }
    others.insert(0, own.clone());
    others.into()
}

/// The targets at the origin that the response names, without the path of the origin.
fn named_targets(forwarded: &ForwardedRequest, headers: &ResponseHeaders) -> Vec<String> {
    let prefix = forwarded.origin().path_prefix();
    let uris = target_uris(forwarded);
    let named = uris.iter().flat_map(|uri| uri.also_invalidated(headers));
    named
        .filter_map(|target| target.strip_prefix(prefix).map(str::to_owned))
        .collect()
}

/// The target URI of the request to the origin (RFC 9110, 7.1).
pub(crate) fn target_uri(forwarded: &ForwardedRequest) -> TargetUri<'_> {
    let origin = forwarded.origin();
    let authority = match forwarded.preserved_host() {
        Some(host) => String::from_utf8_lossy(host.as_bytes()),
        None => origin.authority().into(),
    };
    uri_at(forwarded, origin.scheme(), authority)
}

/// The target URI by all names that the origin may use: its own, those of the others in its list, and how the client addressed
/// the proxy as far as the origin is told.
fn target_uris(forwarded: &ForwardedRequest) -> Vec<TargetUri<'_>> {
    let origins = forwarded.origins().iter();
    let origins = origins.map(|index| forwarded.config.origins.get(*index));
    let told = forwarded.told.own_scheme();
    let origins = origins.flat_map(|origin| {
        let schemes = [origin.scheme(), told.as_str()];
        let schemes = match told {
            ClientScheme::Http => &schemes[..1],
            ClientScheme::Https => &schemes[..],
        };
        let uris = schemes
            .iter()
            .map(|scheme| uri_at(forwarded, scheme, origin.authority().into()));
        uris.collect::<Vec<_>>()
    });
    let told = forwarded.client_address().map(|address| {
        let authority = String::from_utf8_lossy(address.authority);
        uri_at(forwarded, address.scheme, authority)
    });
    std::iter::once(target_uri(forwarded))
        .chain(origins)
        .chain(told)
        .collect()
}

fn uri_at<'a>(
    forwarded: &'a ForwardedRequest,
    scheme: &'a str,
    authority: Cow<'a, str>,
) -> TargetUri<'a> {
    let prefix = forwarded.origin().path_prefix();
    TargetUri {
        scheme,
        authority,
        target: format!("{prefix}{}", forwarded.origin_target()).into(),
    }
}

/// Invalidates the target of an unsafe request when it is dropped. The client may leave or the origin break off while
/// the request is under way: then nobody knows whether the origin has carried it out.
pub(crate) struct InvalidateOnDrop<'a> {
    target: Option<(&'a Cache, &'a Resource)>,
    /// Dropped after it was invalidated.
    _counted: Option<CountedRequest>,
}

impl<'a> InvalidateOnDrop<'a> {
    /// Armed if `forwarded` is unsafe.
    pub(crate) fn of(cache: &'a Cache, forwarded: &'a ForwardedRequest) -> Self {
        let is_unsafe = forwarded.invalidates(StatusCode::OK);
        Self {
            target: is_unsafe.then_some((cache, &forwarded.key.resource)),
            _counted: is_unsafe.then(|| cache.begin_unsafe_request()),
        }
    }

    /// Invalidates nothing: the outcome of the request is known. The request still counts as one in progress.
    pub(crate) fn disarm(&mut self) {
        self.target = None;
    }
}

impl Drop for InvalidateOnDrop<'_> {
    fn drop(&mut self) {
        if let Some((cache, resource)) = self.target.take() {
            let invalidate = Invalidate::new([resource.clone()], None);
            cache.force_invalidate(invalidate.with_related(resource.clone(), clock::now()));
        }
    }
}
