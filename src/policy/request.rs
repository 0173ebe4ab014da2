//! The policy's view of a request.

use actix_web::http::{
    Method,
    header::{
        AUTHORIZATION, CACHE_CONTROL, HeaderMap, HeaderName, HeaderValue, IF_MATCH,
        IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, PRAGMA, RANGE,
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

/// Which of the fields that the policy reads a request has. A lookup of each one would cost more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestFields(u16);

impl RequestFields {
    const AUTHORIZATION: Self = Self(1);
    const DIRECTIVES: Self = Self(1 << 1);
    const RANGE: Self = Self(1 << 2);
    /// Conditions that only the origin evaluates (RFC 9110, 13.1.1 and 13.1.4).
    const ORIGIN_CONDITION: Self = Self(1 << 3);
    const OTHER_CONDITION: Self = Self(1 << 4);

    /// Those of these headers.
    pub fn of(headers: &HeaderMap) -> Self {
        headers
            .keys()
            .map(Self::named)
            .fold(Self::default(), Self::and)
    }

    /// The one with this name; none if the policy does not read it.
    pub fn named(name: &HeaderName) -> Self {
        match *name {
            AUTHORIZATION => Self::AUTHORIZATION,
            CACHE_CONTROL | PRAGMA => Self::DIRECTIVES,
            RANGE => Self::RANGE,
            IF_MATCH | IF_UNMODIFIED_SINCE => Self::ORIGIN_CONDITION,
            IF_NONE_MATCH | IF_MODIFIED_SINCE | IF_RANGE => Self::OTHER_CONDITION,
            _ => Self::default(),
        }
    }

    /// Those of both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// True if there are conditions, or a Range: one of [`CLIENT_CONDITIONS`].
    pub const fn is_conditional(self) -> bool {
        self.has_condition() || self.has(Self::RANGE)
    }

    const fn has_condition(self) -> bool {
        self.has(Self::ORIGIN_CONDITION.and(Self::OTHER_CONDITION))
    }

    /// True if it has one of `fields`.
    const fn has(self, fields: Self) -> bool {
        self.0 & fields.0 != 0
    }
}

/// A view of a request as it is forwarded, without hop-by-hop fields and ignored cookies.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) headers: &'a HeaderMap,
    fields: RequestFields,
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
        let fields = RequestFields::of(headers);
        Self::with_fields(policy, method, (headers, fields), content, identity)
    }

    /// The same, where it is known which fields the headers have.
    pub fn with_fields(
        policy: &Policy,
        method: &'a Method,
        (headers, fields): (&'a HeaderMap, RequestFields),
        content: RequestContent,
        identity: Option<Identity>,
    ) -> Self {
        let directives = match fields.has(RequestFields::DIRECTIVES) {
            true => directives(headers),
            false => RequestDirectives::default(),
        };
        Self {
            method,
            headers,
            fields,
            content,
            identity,
            bypass: None,
            request_id: None,
            directives: policy.obey_client(directives),
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

    /// The same request with another identity.
    #[must_use]
    pub fn identified(self, identity: Option<Identity>) -> Self {
        Self { identity, ..self }
    }

    /// The same request. The field `request_id` has another value in each request.
    #[must_use]
    pub fn with_request_id(mut self, request_id: Option<&'a HeaderName>) -> Self {
        self.request_id = request_id;
        self
    }

    /// True if the client sets conditions, or wants a range, also if both were left out of the request to the origin.
    pub(super) fn is_conditional(&self) -> bool {
        self.fields.is_conditional()
    }

    pub(super) fn has_range(&self) -> bool {
        !self.is_fetched_whole && self.fields.has(RequestFields::RANGE)
    }

    /// True if there are conditions that only the origin evaluates (RFC 9110, 13.1.1 and 13.1.4).
    pub(super) fn has_origin_condition(&self) -> bool {
        self.fields.has(RequestFields::ORIGIN_CONDITION)
    }

    pub(super) fn has_condition(&self) -> bool {
        !self.is_fetched_whole && self.fields.has_condition()
    }

    pub(super) fn has_authorization(&self) -> bool {
        self.fields.has(RequestFields::AUTHORIZATION)
    }
}

fn directives(headers: &HeaderMap) -> RequestDirectives {
    let lines = |name| headers.get_all(name).map(HeaderValue::as_bytes);
    if headers.contains_key(CACHE_CONTROL) {
        return RequestDirectives::of_lines(lines(CACHE_CONTROL));
    }
    // RFC 9111, 5.4: without Cache-Control, `Pragma: no-cache` is to be treated as `no-cache`.
    RequestDirectives {
        no_cache: says_pragma_no_cache(lines(PRAGMA)),
        ..RequestDirectives::default()
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{ACCEPT, HeaderValue};

    use super::*;

    #[test]
    fn the_fields_of_a_request_are_those_of_its_headers() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("a"));
        assert_eq!(RequestFields::of(&headers), RequestFields::default());
        for name in &CLIENT_CONDITIONS {
            assert!(RequestFields::named(name).is_conditional(), "{name}");
            let mut headers = headers.clone();
            headers.insert(name.clone(), HeaderValue::from_static("a"));
            assert_eq!(RequestFields::of(&headers), RequestFields::named(name));
        }
        for name in [AUTHORIZATION, CACHE_CONTROL, PRAGMA] {
            let fields = RequestFields::named(&name);
            assert!(fields != RequestFields::default() && !fields.is_conditional());
        }
    }
}
