//! A response as its client gets it: it names the proxy where the origin names itself.

use actix_web::HttpRequest;

use crate::{
    headers::{CookieRewriting, ResponseHeaders},
    proxy::{
        connection::Connection,
        request::{
            forwarded::ForwardedRequest,
            rewriting::{ResponseOf, cookie_rewriting, rewrite_response},
        },
        response::client_response::ClientResponse,
    },
};

/// Rewrites the headers of the response to `request`, which was forwarded as `forwarded`. Those of a prepared response have
/// been rewritten before.
pub(crate) fn rewrite(
    response: &mut ClientResponse,
    request: &HttpRequest,
    forwarded: &ForwardedRequest,
) {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let cookies = cookie_rewriting(
        (
            &forwarded.config,
            forwarded.selection,
            forwarded.asked.get(),
        ),
        request.headers(),
        (peer, Connection::of(request).scheme()),
    );
    rewrite_headers(&mut response.headers, forwarded, cookies);
}

/// Rewrites headers of the response to `forwarded`.
pub(crate) fn rewrite_headers(
    headers: &mut ResponseHeaders,
    forwarded: &ForwardedRequest,
    cookies: CookieRewriting,
) {
    let of = ResponseOf {
        config: &forwarded.config,
        selection: forwarded.selection,
        origin: forwarded.asked.get(),
        target: &forwarded.target,
        address: forwarded.client_address(),
        scheme: forwarded.told.own_scheme(),
    };
    rewrite_response(&of, headers, cookies);
}
