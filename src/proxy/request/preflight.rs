//! Preflights of browsers (the Fetch standard, 3.2.2), which `--cors` answers here.

use actix_web::{HttpRequest, http::StatusCode};
use bytes::Bytes;

use crate::{
    config::Config,
    headers::{self, CacheStatus},
    proxy::response::client_response::{ClientResponse, ResponseBody},
};

/// The response to a preflight; `None` for any other request, and without `--cors`.
pub(crate) fn response(request: &HttpRequest, config: &Config) -> Option<ClientResponse> {
    let fields = request.headers();
    (config.cors && headers::is_preflight(request.method(), fields)).then(|| ClientResponse {
        status: StatusCode::NO_CONTENT,
        headers: headers::preflight_headers(fields),
        body: ResponseBody::Generated(Bytes::new()),
        cache_status: CacheStatus::own_response(),
        problem: None,
    })
}
