//! What the policy has to know of a request.

use actix_web::http::{
    Method,
    header::{
        AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
    },
};

use super::{
    Identity, Policy,
    directives::cache_control::{RequestDirectives, says_pragma_no_cache},
};

/// The client's conditions and its Range: dropped when we validate, or fetch the whole for everybody.
pub const CLIENT_CONDITIONS: [HeaderName; 6] = [
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    IF_RANGE,
    RANGE,
];

/// Does the request carry a body?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestContent {
    /// No body.
    None,
    /// A body, be it empty but chunked.
    Some,
    /// A body that is part of the key: a POST that is a retrieval like a GET.
    Keyed,
}

/// The facts of a request as it is forwarded: hop-by-hop fields and ignored cookies are gone already.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) content: RequestContent,
    pub(super) identity: Option<Identity>,
    /// Those of its directives that count under the policy.
    pub(super) directives: RequestDirectives,
}

impl<'a> Request<'a> {
    /// Reads the facts. `identity` is what [`super::IdentitySecret::identity`] said about the same headers.
    pub fn new(
        policy: &Policy,
        method: &'a Method,
        headers: &'a HeaderMap,
        content: RequestContent,
        identity: Option<Identity>,
    ) -> Self {
        Self {
            method,
            headers,
            content,
            identity,
            directives: policy.obeyed(directives(headers)),
        }
    }

    pub(super) fn has_range(&self) -> bool {
        self.headers.contains_key(RANGE)
    }

    /// Conditions that are the origin's to evaluate (HTTP semantics, RFC 9110, 13.1.1 and 13.1.4).
    pub(super) fn has_origin_condition(&self) -> bool {
        self.headers.contains_key(IF_MATCH) || self.headers.contains_key(IF_UNMODIFIED_SINCE)
    }

    pub(super) fn has_condition(&self) -> bool {
        CLIENT_CONDITIONS
            .iter()
            .any(|name| *name != RANGE && self.headers.contains_key(name))
    }

    pub(super) fn has_authorization(&self) -> bool {
        self.headers.contains_key(AUTHORIZATION)
    }
}

fn directives(headers: &HeaderMap) -> RequestDirectives {
    if headers.contains_key(CACHE_CONTROL) {
        return RequestDirectives::of_lines(headers.get_all(CACHE_CONTROL));
    }
    // RFC 9111, 5.4: without Cache-Control, `Pragma: no-cache` is to be treated as `no-cache`.
    RequestDirectives {
        no_cache: says_pragma_no_cache(headers),
        ..RequestDirectives::default()
    }
}
