//! Routes with several origins: the first healthy one gets a request, the next one if that fails.
//!
//! A request that an origin cannot have received is sent to the next one, as far as its body is not needed again. One that
//! may have been received is, if its method is idempotent and it has no body (RFC 9110, 9.2.2).

use actix_web::http::{
    Method,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

use crate::{
    clock,
    origin::{OriginError, OriginErrorKind, OriginRequest, OriginUrl, RequestBody},
    policy::OriginIndex,
    proxy::{
        fetch::fetched_response::{FetchedResponse, forward_to},
        request::forwarded::ForwardedRequest,
        worker::Worker,
    },
};

/// The request headers that name an origin by its URL.
const NAMING: [HeaderName; 2] = [header::ORIGIN, header::REFERER];

/// Sends a request to the origin of `forwarded`, for which it is made: to the first of several that is healthy, and while
/// that may help to the next one.
pub(crate) async fn forward(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    request: OriginRequest,
) -> Result<FetchedResponse, OriginError> {
    match forwarded.origins().len() {
        0 | 1 => forward_to(worker, forwarded.first_origin(), request).await,
        // In a box: the future is large, and most routes have one origin.
        _ => Box::pin(forward_to_one_of(worker, forwarded, request)).await,
    }
}

async fn forward_to_one_of(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    request: OriginRequest,
) -> Result<FetchedResponse, OriginError> {
    let Some(copy) = Copies::of(&request) else {
        let (chosen, request) = to_first_available(worker, forwarded, request);
        return forward_to(worker, chosen, request).await;
    };
    let mut failed = Vec::new();
    let mut last = None;
    for &origin in forwarded.origins() {
        if !is_available(worker, origin) {
            failed.push(origin);
            continue;
        }
        let request = copy.request(worker, forwarded, origin);
        let result = forward_to(worker, origin, request).await;
        if !copy.may_move_on(&result) {
            return result;
        }
        last = Some(result);
    }
    if let Some(response @ Ok(_)) = last {
        return response;
    }
    // All have failed, so those that failed some time ago are tried as well.
    for origin in failed {
        let request = copy.request(worker, forwarded, origin);
        let result = forward_to(worker, origin, request).await;
        if result.is_ok() || !copy.may_move_on(&result) {
            return result;
        }
        last = Some(result);
    }
    last.unwrap_or_else(|| Err(OriginError::no_head(forwarded.config.head_limit())))
}

/// The first origin that is available, or else the first one, and the request as it goes there.
pub(crate) fn to_first_available(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    request: OriginRequest,
) -> (OriginIndex, OriginRequest) {
    let mut candidates = forwarded.origins().iter().copied();
    let chosen = candidates.find(|origin| is_available(worker, *origin));
    let chosen = chosen.unwrap_or(forwarded.first_origin());
    (chosen, addressed(request, worker, forwarded, chosen))
}

fn is_available(worker: &Worker, origin: OriginIndex) -> bool {
    let availability = &worker.shared.origins.get(origin).availability;
    availability.admits(clock::now())
}

/// A request without a body, of which each origin can get a copy.
struct Copies<'a> {
    request: &'a OriginRequest,
    is_idempotent: bool,
}

impl<'a> Copies<'a> {
    /// `None` if the request has a body: it can be read once.
    fn of(request: &'a OriginRequest) -> Option<Self> {
        let is_idempotent = matches!(
            request.method,
            Method::GET
                | Method::HEAD
                | Method::OPTIONS
                | Method::TRACE
                | Method::PUT
                | Method::DELETE
        );
        matches!(request.body, RequestBody::Empty).then_some(Self {
            request,
            is_idempotent,
        })
    }

    fn request(
        &self,
        worker: &Worker,
        forwarded: &ForwardedRequest,
        to: OriginIndex,
    ) -> OriginRequest {
        let copy = OriginRequest {
            method: self.request.method.clone(),
            target: self.request.target.clone(),
            headers: self.request.headers.clone(),
            body: RequestBody::Empty,
            expectation: self.request.expectation,
            interim: self.request.interim.clone(),
        };
        addressed(copy, worker, forwarded, to)
    }

    /// True if the request may be sent to another origin after this result.
    fn may_move_on(&self, result: &Result<FetchedResponse, OriginError>) -> bool {
        match result {
            Ok(response) => self.is_idempotent && response.status.is_server_error(),
            Err(error) => match error.kind() {
                // The origin has not received it.
                OriginErrorKind::Unreachable
                | OriginErrorKind::Busy
                | OriginErrorKind::Limited
                | OriginErrorKind::Paused => true,
                OriginErrorKind::Timeout | OriginErrorKind::Cut | OriginErrorKind::Malformed => {
                    self.is_idempotent
                }
                OriginErrorKind::Upload => false,
            },
        }
    }
}

/// The request, which names the first origin of its route, with the name of the origin `to`.
fn addressed(
    mut request: OriginRequest,
    worker: &Worker,
    forwarded: &ForwardedRequest,
    to: OriginIndex,
) -> OriginRequest {
    forwarded.asked.set(to);
    if to == forwarded.first_origin() || forwarded.preserved_host().is_some() {
        return request;
    }
    let to = worker.shared.origins.get(to);
    request.headers.insert(header::HOST, to.host.clone());
    for name in NAMING {
        rename(&mut request.headers, &name, forwarded.origin(), &to.url);
    }
    request
}

/// Replaces the origin in the value of a header.
fn rename(headers: &mut HeaderMap, name: &HeaderName, from: &OriginUrl, to: &OriginUrl) {
    let base = |url: &OriginUrl| format!("{}://{}", url.scheme(), url.authority());
    let value = headers.get(name).and_then(|value| value.to_str().ok());
    let Some(rest) = value.and_then(|value| value.strip_prefix(&base(from))) else {
        return;
    };
    if !rest.is_empty() && !rest.starts_with('/') {
        return;
    }
    if let Ok(value) = HeaderValue::try_from(format!("{}{rest}", base(to))) {
        headers.insert(name.clone(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_that_name_the_first_origin_name_the_one_that_is_asked() {
        let url = |text: &str| OriginUrl::parse(text).unwrap();
        let (from, to) = (url("http://a.test:81/x"), url("https://b.test/x"));
        for (value, expected) in [
            ("http://a.test:81", "https://b.test"),
            ("http://a.test:81/x/y?z", "https://b.test/x/y?z"),
            ("http://a.test:8100/", "http://a.test:8100/"),
            ("http://other.test", "http://other.test"),
            ("null", "null"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::REFERER, HeaderValue::from_str(value).unwrap());
            rename(&mut headers, &header::REFERER, &from, &to);
            assert_eq!(headers.get(header::REFERER).unwrap(), expected, "{value}");
        }
    }
}
