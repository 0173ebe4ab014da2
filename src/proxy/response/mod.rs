//! The response to the client: status, headers, body, log line.

pub(crate) mod access_log;
pub(crate) mod client_response;
pub(crate) mod error_response;
pub(crate) mod streamed_body;
pub(crate) mod zero_copy;
