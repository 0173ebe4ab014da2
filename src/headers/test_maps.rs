//! Headers for tests.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::ResponseHeaders;

/// The headers of a request.
pub(super) fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        map.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    map
}

/// The values of `name` in a request, in their order.
pub(super) fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers
        .get_all(name)
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}

/// The headers of a response.
pub(super) fn response(lines: &[(&str, &str)]) -> ResponseHeaders {
    let lines = lines.iter();
    lines
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect()
}

/// The values of `name` in a response, in their order.
pub(super) fn values(headers: &ResponseHeaders, name: &str) -> Vec<String> {
    let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
    let values = headers.get_all(&name);
    values
        .map(|value| str::from_utf8(value).unwrap().to_owned())
        .collect()
}
