//! Max-Forwards: how many more proxies a TRACE or OPTIONS may pass (RFC 9110, 7.6.2).

use actix_web::{
    HttpRequest,
    http::{
        Method, StatusCode, Version,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};

use crate::{
    error::FORWARDED_METHODS,
    headers::{self, CacheStatus},
    policy::Policy,
    proxy::response::client_response::{ClientResponse, ResponseBody},
};

const MAX_FORWARDS: HeaderName = HeaderName::from_static("max-forwards");

/// The answer to a request that may go no further.
pub(crate) fn final_answer(request: &HttpRequest, policy: &Policy) -> Option<ClientResponse> {
    if !counts(request.method()) || left(request.headers()) != Some(0) {
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
    let mut fields = HeaderMap::new();
    fields.insert(name, value);
    Some(ClientResponse {
        status: StatusCode::OK,
        fields,
        body: ResponseBody::Generated(body.into()),
        cache_status: CacheStatus::own_response(),
        problem: None,
    })
}

/// Counts this proxy in the fields of a request that goes forward.
pub(crate) fn count_down(method: &Method, fields: &mut HeaderMap) {
    if counts(method)
        && let Some(left @ 1..) = left(fields)
    {
        fields.insert(MAX_FORWARDS, HeaderValue::from(left - 1));
    }
}

/// The field means something to these methods only.
fn counts(method: &Method) -> bool {
    matches!(*method, Method::TRACE | Method::OPTIONS)
}

/// What the field says. None: it is not there, or says nothing that could be counted.
fn left(fields: &HeaderMap) -> Option<u64> {
    let mut lines = fields.get_all(MAX_FORWARDS);
    let (Some(line), None) = (lines.next(), lines.next()) else {
        return None;
    };
    let digits = line.to_str().ok()?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // Only what is too large does not parse. 7.6.2: a proxy may send on less than it could count.
    Some(digits.parse().unwrap_or(u64::MAX))
}

/// The request as it was received (RFC 9110, 9.3.8), but for its body and what is nobody's business but the client's.
/// The limit of a request's head is also that of this.
fn reflection(request: &HttpRequest, policy: &Policy) -> Vec<u8> {
    let version = match request.version() {
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let line = format!("{} {} HTTP/{version}\r\n", request.method(), request.uri());
    let mut fields: Vec<_> = request.headers().iter().collect();
    // The map has no order of names; lines of one name keep theirs, for the sort is stable.
    fields.sort_by_key(|(name, _)| name.as_str());
    let mut message = line.into_bytes();
    for (name, value) in fields {
        if !is_secret(name, policy) {
            headers::write_header_line(&mut message, name, value);
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
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(MAX_FORWARDS, HeaderValue::try_from(*value).unwrap());
        }
        fields
    }

    #[test]
    fn one_is_counted_where_there_is_something_to_count() {
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
                let mut fields = lines(&[before]);
                count_down(&method, &mut fields);
                assert_eq!(fields.get(MAX_FORWARDS).unwrap(), after, "{before}");
            }
            let mut fields = lines(&[before]);
            count_down(&Method::POST, &mut fields);
            assert_eq!(fields.get(MAX_FORWARDS).unwrap(), before);
        }
    }

    #[test]
    fn two_lines_say_nothing() {
        let mut fields = lines(&["5", "5"]);
        count_down(&Method::TRACE, &mut fields);
        let values: Vec<_> = fields.get_all(MAX_FORWARDS).collect();
        assert_eq!(values, ["5", "5"]);
        assert_eq!(left(&lines(&["0", "0"])), None);
        assert_eq!(left(&lines(&[])), None);
    }
}
