//! Helpers for the tests of the policy.

use std::time::Duration;

use actix_web::http::{
    Method, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};

use super::{
    ClientDirectives, Decision, Identity, Mode, Patterns, Policy, Reason, Request, RequestContent,
    Response, ResponseHeaders, StoredHead, Time, admit, decide,
};

/// 2026-11-23T03:30:00Z, a Monday.
pub(super) const NOW: Time = Time::from_unix_millis(1_795_404_600_000);
/// NOW as an HTTP date.
pub(super) const DATE: &str = "Mon, 23 Nov 2026 03:30:00 GMT";

pub(crate) type Lines<'a> = &'a [(&'a str, &'a str)];

pub(super) fn policy(mode: Mode) -> Policy {
    Policy {
        mode,
        ttl: None,
        client_directives: ClientDirectives::Obeyed,
        max_stale: Duration::from_secs(86_400),
        identity_headers: Patterns::new(["*api-key*", "*-token", "*-auth*"]),
        identity_cookies: Patterns::new(["*"]),
        ignored_cookies: Patterns::new(["_ga*", "__cf_bm"]),
    }
}

/// The headers of a request or a response, of these lines.
pub(super) fn headers<T: OfLines>(lines: Lines<'_>) -> T {
    T::of_lines(lines)
}

pub(super) trait OfLines {
    fn of_lines(lines: Lines<'_>) -> Self;
}

impl OfLines for HeaderMap {
    fn of_lines(lines: Lines<'_>) -> Self {
        let mut headers = Self::new();
        for (name, value) in lines {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_bytes(value.as_bytes()).unwrap(),
            );
        }
        headers
    }
}

impl OfLines for ResponseHeaders {
    fn of_lines(lines: Lines<'_>) -> Self {
        let bytes = lines
            .iter()
            .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let headers: Self = bytes.collect();
        assert_eq!(headers.len(), lines.len());
        headers
    }
}

/// Bytes as text.
pub(super) fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap()
}

pub(super) fn later(seconds: u64) -> Time {
    NOW.saturating_add(Duration::from_secs(seconds))
}

pub(super) fn identity(number: u8) -> Identity {
    Identity([number; 16])
}

/// One request and its response at NOW. By default a GET without body.
#[derive(Clone)]
pub(super) struct Exchange<'a> {
    pub(super) policy: Policy,
    pub(super) method: Method,
    pub(super) request: Lines<'a>,
    pub(super) content: RequestContent,
    pub(super) identity: Option<Identity>,
    pub(super) status: u16,
    pub(super) response: Lines<'a>,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(mode: Mode, response: Lines<'a>) -> Self {
        Self {
            policy: policy(mode),
            method: Method::GET,
            request: &[],
            content: RequestContent::None,
            identity: None,
            status: 200,
            response,
        }
    }

    pub(super) fn request(mut self, lines: Lines<'a>) -> Self {
        self.request = lines;
        self
    }

    pub(super) fn identity(mut self, number: u8) -> Self {
        self.identity = Some(identity(number));
        self
    }

    pub(super) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    pub(super) fn with_request<T>(&self, use_it: impl FnOnce(&Request<'_>) -> T) -> T {
        let headers: HeaderMap = headers(self.request);
        use_it(&Request::new(
            &self.policy,
            &self.method,
            &headers,
            self.content,
            self.identity,
        ))
    }

    pub(super) fn admit(&self) -> Result<StoredHead, Reason> {
        let headers = headers(self.response);
        self.with_request(|request| admit(&self.policy, request, &self.response_of(&headers, NOW)))
    }

    pub(super) fn response_of<'h>(&self, headers: &'h ResponseHeaders, at: Time) -> Response<'h> {
        Response {
            status: StatusCode::from_u16(self.status).unwrap(),
            headers,
            connection_fields: None,
            request_time: at,
            response_time: at,
        }
    }

    /// The decision for the request of this exchange.
    pub(super) fn decide(&self, variants: &[StoredHead], now: Time) -> Decision {
        self.with_request(|request| decide(&self.policy, request, variants.iter(), now))
    }
}

/// Stores a response to a plain GET.
pub(crate) fn stored(mode: Mode, response: Lines<'_>) -> StoredHead {
    Exchange::new(mode, response).admit().unwrap()
}
