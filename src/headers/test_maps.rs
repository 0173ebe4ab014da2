//! Header maps for tests.

use super::{HeaderMap, HeaderName, HeaderValue};

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

/// The values of `name`, in their order.
pub(super) fn all(headers: &HeaderMap, name: &str) -> Vec<String> {
    headers
        .get_all(name)
        .map(|value| value.to_str().unwrap().to_owned())
        .collect()
}
