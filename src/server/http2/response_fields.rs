//! The head of a response, as HTTP/2 sends it.

use actix_http::{ResponseHead, body::BodySize};
use bytes::Bytes;
use http::{
    HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, DATE},
};

use super::fields;
use crate::{
    proxy::SentHeaders,
    server::{
        content::{content_length, is_written_by_server},
        date::date,
    },
};

/// The head of a response whose body has `size`: with `sent`, and the headers of `head` after them.
pub(super) fn of(sent: &SentHeaders, head: &ResponseHead, size: BodySize) -> Response<()> {
    let mut response = Response::new(());
    // Both types have the same numbers.
    if let Ok(status) = StatusCode::from_u16(head.status.as_u16()) {
        *response.status_mut() = status;
    }
    let fields = response.headers_mut();
    if let Some(prepared) = &sent.prepared {
        fields.clone_from(prepared.fields(fields::of_lines));
    }
    let others = head.headers.iter();
    let others = others.map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
    for (name, value) in sent.own.iter().chain(others) {
        if !is_written_by_server(name, head.status) {
            fields::append(fields, name, Bytes::copy_from_slice(value));
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
