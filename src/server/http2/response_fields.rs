//! The head of a response, as HTTP/2 sends it.

use actix_http::{ResponseHead, body::BodySize};
use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, DATE},
};

use super::fields;
use crate::{
    proxy::PreparedHeaders,
    server::{
        content::{content_length, is_written_by_server},
        date::date,
    },
};

/// The head of a response whose body has `size`. `prepared` has fields that precede those of `head`; `None` if there are none.
pub(super) fn of(
    prepared: Option<&PreparedHeaders>,
    head: &ResponseHead,
    size: BodySize,
) -> Response<()> {
    let mut response = Response::new(());
    // Both types have the same numbers.
    if let Ok(status) = StatusCode::from_u16(head.status.as_u16()) {
        *response.status_mut() = status;
    }
    let fields = response.headers_mut();
    if let Some(prepared) = prepared {
        fields.clone_from(prepared.fields(fields::of_lines));
    }
    for (name, value) in &head.headers {
        if !is_written_by_server(name, head.status) {
            let value = Bytes::copy_from_slice(value.as_bytes());
            fields::append(fields, name.as_str().as_bytes(), value);
        }
    }
    if !fields.contains_key(DATE)
        && let Ok(date) = HeaderValue::from_maybe_shared(date())
    {
        fields.insert(DATE, date);
    }
    if let Some(bytes) = content_length(head.status, size) {
        fields.insert(CONTENT_LENGTH, bytes.into());
    }
    response
}
