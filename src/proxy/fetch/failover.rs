//! Routes with several origins: the first healthy one gets a request, the next one if that fails.
//!
//! A request that an origin cannot have received is sent to the next one, whatever its method, as far as its body can be
//! sent again. One that may have been received is, if its method is idempotent and it has no body (RFC 9110, 9.2.2).

use actix_web::http::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

use crate::{
    clock,
    origin::{OriginError, OriginErrorKind, OriginRequest, OriginUrl, RequestBody},
    policy::OriginIndex,
    proxy::{
        fetch::{
            fetched_response::{FetchedResponse, forward_to},
            repeatable_body::RepeatableBody,
        },
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
    if let [origin] = forwarded.origins() {
        return forward_to(worker, *origin, request).await;
    }
    let send = async |origin, request| forward_to(worker, origin, request).await;
    // In a box: the future is large, and most routes have one origin.
    Box::pin(send_to_one_of(worker, forwarded, request, send, |it| {
        it.status
    }))
    .await
}

/// The same with another way to send a request to an origin. `status` is that of a response.
pub(crate) async fn send_to_one_of<T>(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    request: OriginRequest,
    mut send: impl AsyncFnMut(OriginIndex, OriginRequest) -> Result<T, OriginError>,
    status: impl Fn(&T) -> StatusCode,
) -> Result<T, OriginError> {
    match forwarded.origins() {
        [] | [_] => send(forwarded.first_origin(), request).await,
        _ => try_each(worker, forwarded, request, send, status).await,
    }
}

async fn try_each<T>(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    request: OriginRequest,
    mut send: impl AsyncFnMut(OriginIndex, OriginRequest) -> Result<T, OriginError>,
    status: impl Fn(&T) -> StatusCode,
) -> Result<T, OriginError> {
    let copies = Copies::of(request);
    let mut failed = Vec::new();
    let mut last = None;
    for &origin in forwarded.origins() {
        if !is_available(worker, origin) {
            failed.push(origin);
            continue;
        }
        let request = copies.request(worker, forwarded, origin);
        let result = send(origin, request).await;
        if !copies.may_move_on(result.as_ref().map(&status)) {
            return result;
        }
        last = Some(result);
    }
    if let Some(response @ Ok(_)) = last {
        return response;
    }
    // All have failed, so those that failed some time ago are tried as well.
    for origin in failed {
        let request = copies.request(worker, forwarded, origin);
        let result = send(origin, request).await;
        if result.is_ok() || !copies.may_move_on(result.as_ref().map(&status)) {
            return result;
        }
        last = Some(result);
    }
    last.unwrap_or_else(|| Err(OriginError::no_head(forwarded.config.head_limit())))
}

fn is_available(worker: &Worker, origin: OriginIndex) -> bool {
    let availability = &worker.shared.origins.get(origin).availability;
    availability.admits(clock::now())
}

/// A request of which each origin can get a copy.
struct Copies {
    /// Without its body.
    request: OriginRequest,
    body: RepeatableBody,
    is_idempotent: bool,
}

impl Copies {
    fn of(mut request: OriginRequest) -> Self {
        let body = std::mem::replace(&mut request.body, RequestBody::Empty);
        let is_idempotent = matches!(
            request.method,
            Method::GET
                | Method::HEAD
                | Method::OPTIONS
                | Method::TRACE
                | Method::PUT
                | Method::DELETE
        );
        Self {
            request,
            body: RepeatableBody::new(body),
            is_idempotent,
        }
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
            body: self.body.whole(),
            expectation: self.request.expectation,
            interim: self.request.interim.clone(),
        };
        addressed(copy, worker, forwarded, to)
    }

    /// True if the request may be sent to another origin after a response with this status, or this error.
    fn may_move_on(&self, result: Result<StatusCode, &OriginError>) -> bool {
        let may_be_repeated = self.is_idempotent && self.body.is_empty();
        match result {
            Ok(status) => may_be_repeated && status.is_server_error(),
            Err(error) if error.is_unsent() => self.body.is_repeatable(),
            Err(error) => may_be_repeated && error.kind() != OriginErrorKind::Upload,
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
    let headers = request.headers.make_mut();
    headers.insert(header::HOST, to.host.clone());
    for name in NAMING {
        rename(headers, &name, forwarded.origin(), &to.url);
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
