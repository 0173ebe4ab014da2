//! Max-Forwards: how many more proxies may forward a TRACE or OPTIONS (RFC 9110, 7.6.2).

use actix_web::{
    HttpRequest,
    http::{
        Method, StatusCode, Version,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};

use crate::{
    error::FORWARDED_METHODS,
    headers::{self as message_headers, CacheStatus, ResponseHeaders},
    origin::RequestHeaders,
    policy::Policy,
    proxy::response::client_response::{ClientResponse, ResponseBody},
};

const MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");

/// The response to a request that must not be forwarded any more; `None` if it may be.
pub(crate) fn final_response(request: &HttpRequest, policy: &Policy) -> Option<ClientResponse> {
    if !has_max_forwards(request.method()) || left(request.headers()) != Some(0) {
        return None;
    }
    let (name, value, body) = match *request.method() {
        Method::TRACE => (
            header::CONTENT_TYPE,
            HeaderValue::from_static("message/http"),
            reflection(request, policy),
        ),
        _ => (
            header::ALLOW,
            HeaderValue::from_static(FORWARDED_METHODS),
            Vec::new(),
        ),
    };
    let mut headers = ResponseHeaders::new();
    headers.insert(&name, &value);
    Some(ClientResponse {
        status: StatusCode::OK,
        headers,
        body: ResponseBody::Generated(body.into()),
        cache_status: CacheStatus::own_response(),
        problem: None,
    })
}

/// Decrements Max-Forwards in a request that is forwarded.
pub(crate) fn count_down(method: &Method, headers: &mut RequestHeaders) {
    if has_max_forwards(method)
        && let Some(left @ 1..) = left(headers)
    {
        headers
            .make_mut()
            .insert(MAX_FORWARDS, HeaderValue::from(left - 1));
    }
}

/// Max-Forwards is defined for these methods only.
fn has_max_forwards(method: &Method) -> bool {
    matches!(*method, Method::TRACE | Method::OPTIONS)
}

/// The value of Max-Forwards; `None` if it is missing or no number.
fn left(headers: &HeaderMap) -> Option<u64> {
    let mut lines = headers.get_all(MAX_FORWARDS);
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let digits = line.to_str().ok()?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Only a number that is too large does not parse. 7.6.2: a recipient may forward a smaller value.
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// The request as it was received (RFC 9110, 9.3.8), without its body and without credentials. It is no longer than a
/// request's headers may be.
fn reflection(request: &HttpRequest, policy: &Policy) -> Vec<u8> {
    let version = match request.version() {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2.0",
        _ => "1.1",
    };
    let line = format!("{} {} HTTP/{version}\r\n", request.method(), request.uri());
    let mut headers: Vec<_> = request.headers().iter().collect();
    // The map has no order of names. The sort is stable, so headers with one name keep their order.
    headers.sort_by_key(|(name, _)| name.as_str());
    let mut message = line.into_bytes();
    for (name, value) in headers {
        if !is_secret(name, policy) {
            message_headers::write_header_line(&mut message, name, value);
        }
    }
    message.extend_from_slice(b"\r\n");
    message
}

fn is_secret(name: &HeaderName, policy: &Policy) -> bool {
    let secrets = [
        header::AUTHORIZATION,
        header::COOKIE,
        header::PROXY_AUTHORIZATION,
    ];
    secrets.contains(name) || policy.identity_headers.matches(name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(MAX_FORWARDS, HeaderValue::try_from(*value).unwrap());
        }
        headers
    }

    #[test]
    fn a_number_is_decremented_and_anything_else_stays() {
        for (before, after) in [
            ("5", "4"),
            ("1", "0"),
            ("007", "6"),
            ("18446744073709551615", "18446744073709551614"),
            ("18446744073709551616", "18446744073709551614"),
            ("0", "0"),
            ("-1", "-1"),
            ("+5", "+5"),
            ("", ""),
            ("5 6", "5 6"),
            ("5, 6", "5, 6"),
            ("five", "five"),
        ] {
            for method in [Method::TRACE, Method::OPTIONS] {
                let mut headers = RequestHeaders::from(lines(&[before]));
                count_down(&method, &mut headers);
                assert_eq!(headers.get(MAX_FORWARDS).unwrap(), after, "{before}");
            }
            let mut headers = RequestHeaders::from(lines(&[before]));
            count_down(&Method::POST, &mut headers);
            assert_eq!(headers.get(MAX_FORWARDS).unwrap(), before);
        }
    }

    #[test]
    fn two_headers_count_as_none() {
        let mut headers = RequestHeaders::from(lines(&["5", "5"]));
        count_down(&Method::TRACE, &mut headers);
        let values: Vec<_> = headers.get_all(MAX_FORWARDS).collect();
        assert_eq!(values, ["5", "5"]);
        assert_eq!(left(&lines(&["0", "0"])), None);
        assert_eq!(left(&lines(&[])), None);
    }
}
