//! The policy's view of a request.

use actix_web::http::{
    Method,
    header::{
        AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderName, IF_MATCH, IF_MODIFIED_SINCE,
        IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, RANGE,
    },
};

use super::{
    Identity, Policy, Reason,
    directives::cache_control::{RequestDirectives, says_pragma_no_cache},
};

/// The client's conditions and its Range. They are removed from a validation and from a fetch of the whole response.
pub static CLIENT_CONDITIONS: [HeaderName; 6] = [
    IF_MATCH,
    IF_NONE_MATCH,
    IF_MODIFIED_SINCE,
    IF_UNMODIFIED_SINCE,
    IF_RANGE,
    RANGE,
];

/// Fields by which a client has the origin treat a request as one with another method.
const METHOD_OVERRIDES: [&str; 3] = [
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];

/// True for a field that names another method than the request line. Such a request is forwarded as it came: what its
/// response means is not known, so it is neither stored nor answered from the cache.
pub fn is_method_override(name: &HeaderName) -> bool {
    // Many origins do not distinguish the two spellings.
    let is_char = |(ours, theirs): (u8, u8)| ours == theirs || (ours == b'-' && theirs == b'_');
    METHOD_OVERRIDES.iter().any(|known| {
        known.len() == name.as_str().len() && known.bytes().zip(name.as_str().bytes()).all(is_char)
    })
}

/// Whether the request carries a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestContent {
    /// No body.
    None,
    /// A body, also an empty one in chunked coding.
    Some,
    /// A body that is part of the key: a POST that only reads, like a GET.
    Keyed,
}

/// A view of a request as it is forwarded, without hop-by-hop fields and ignored cookies.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    pub(super) content: RequestContent,
    pub(super) identity: Option<Identity>,
    /// Why it passes the cache by; `None` if it does not, or method or body are the reason.
    pub(super) bypass: Option<Reason>,
    /// The field that has another value in each request; `None` if there is none.
    pub(super) request_id: Option<&'a HeaderName>,
    /// Its directives that the policy obeys.
    pub(super) directives: RequestDirectives,
    /// True if its conditions and its Range were left out of the request to the origin.
    is_fetched_whole: bool,
}

impl<'a> Request<'a> {
    /// A view of the request. `identity` is the result of [`super::IdentitySecret::identity`] for the same headers.
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
            bypass: None,
            request_id: None,
            directives: policy.obey_client(directives(headers)),
            is_fetched_whole: false,
        }
    }

    /// The view by which the response to a request without the client's conditions and Range is judged.
    #[must_use]
    pub fn fetched_whole(self) -> Self {
        Self {
            is_fetched_whole: true,
            ..self
        }
    }

    /// The same request, which passes the cache by for this reason: it is neither answered from it nor stored. `None`
    /// changes nothing.
    #[must_use]
    pub fn bypassing(mut self, reason: Option<Reason>) -> Self {
        self.bypass = self.bypass.or(reason);
        self
    }

    /// The same request. The field `request_id` has another value in each request.
    #[must_use]
    pub fn with_request_id(mut self, request_id: Option<&'a HeaderName>) -> Self {
        self.request_id = request_id;
        self
    }

    pub(super) fn has_range(&self) -> bool {
        !self.is_fetched_whole && self.headers.contains_key(RANGE)
    }

    /// True if there are conditions that only the origin evaluates (RFC 9110, 13.1.1 and 13.1.4).
    pub(super) fn has_origin_condition(&self) -> bool {
        self.headers.contains_key(IF_MATCH) || self.headers.contains_key(IF_UNMODIFIED_SINCE)
    }

    pub(super) fn has_condition(&self) -> bool {
        let mut conditions = CLIENT_CONDITIONS.iter().filter(|name| **name != RANGE);
        !self.is_fetched_whole && conditions.any(|name| self.headers.contains_key(name))
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
