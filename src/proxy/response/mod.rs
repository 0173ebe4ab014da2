//! The response to the client: headers, body, log line.

pub(super) mod access_log;
pub(super) mod client_response;
pub(super) mod counted_body;
pub(super) mod error_response;
pub(super) mod for_client;
pub(super) mod refusal_log;
pub(super) mod send;
pub(super) mod streamed_body;
pub(super) mod tracked_body;
pub(super) mod transfer_log;
