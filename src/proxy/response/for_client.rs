//! A response as its client gets it: it names the proxy where the origin names itself.

use actix_web::http::header::{self, HeaderMap};

use crate::proxy::{
    request::{forwarded::ForwardedRequest, rewriting::proxied_origin},
    response::client_response::ClientResponse,
};

/// Rewrites the headers of a response. Those of a prepared one have been rewritten before.
pub(crate) fn rewrite(response: &mut ClientResponse, forwarded: &ForwardedRequest) {
    rewrite_headers(&mut response.headers, forwarded);
}

/// Rewrites headers of the response to `forwarded`.
pub(crate) fn rewrite_headers(headers: &mut HeaderMap, forwarded: &ForwardedRequest) {
    let host = forwarded.headers.get(header::HOST);
    if let Some(origin) = proxied_origin(&forwarded.config, forwarded.selection, host) {
        origin.rewrite_response(headers, &forwarded.origin_target());
    }
}
