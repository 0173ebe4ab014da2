//! The fast path: a plain GET or HEAD that is a hit.
//!
//! Its key is looked up without making the forwarded request ([`PlainRequest`]). A request that is not plain, or that is not
//! served the whole of a fresh response or a 304 for it, takes the other steps.

use std::rc::Rc;

use actix_web::HttpRequest;

use crate::{
    cache::CachedLookup,
    headers::{CookieRewriting, ResponseHeaders},
    observe::RouteSlot,
    policy::{self, Decision, Reuse, Time},
    proxy::{
        connection::Connection,
        hit::{hit_headers::ClientSide, prepared::PreparedResponses, serve::prepared},
        request::{
            plain::PlainRequest,
            rewriting::{self, ResponseOf},
        },
        request_config::RequestConfig,
        response::client_response::ClientResponse,
        worker::Worker,
    },
};

/// What the fast path knows of a request.
pub(crate) enum FastPath {
    /// The response, and where it is counted.
    Hit(ClientResponse, RouteSlot),
    /// The index has nothing for it.
    NotInIndex,
    /// It takes the other steps: it is not plain, or not a hit.
    Other,
}

/// Responds to `request` if it is plain and a hit.
pub(crate) fn respond(
    request: &HttpRequest,
    worker: &Worker,
    config: &Rc<RequestConfig>,
    connection: &Connection,
    now: Time,
) -> FastPath {
    let sent = (request.method(), request.uri(), request.headers());
    let meaning = connection.meaning_of_headers(config);
    let plain = PlainRequest::of(
        sent,
        connection.scheme(),
        config,
        &worker.shared.secret,
        &meaning,
    );
    let Some(plain) = plain else {
        return FastPath::Other;
    };
    let Some(lookup) = worker.worker_cache.get(plain.key()) else {
        return FastPath::NotInIndex;
    };
    match from_lookup(&plain, &lookup, (worker, config), now) {
        Some(response) => FastPath::Hit(response, config.route_slot(plain.selection)),
        None => FastPath::Other,
    }
}

/// The response from what is stored; `None` if it is no hit.
fn from_lookup(
    plain: &PlainRequest<'_>,
    lookup: &CachedLookup<PreparedResponses>,
    (worker, config): (&Worker, &RequestConfig),
    now: Time,
) -> Option<ClientResponse> {
    let heads = || lookup.found().variants().map(|entry| &**entry.head());
    if !heads().all(|head| plain.forwards_selectors_of(head)) {
        return None;
    }
    let view = plain.view();
    let Decision::Serve {
        index,
        reuse: Reuse::Fresh,
    } = policy::decide(plain.policy, &view, heads(), now)
    else {
        return None;
    };
    let entry = lookup.found().variants().nth(index)?;
    let rewrite = |headers: &mut ResponseHeaders| {
        let of = ResponseOf {
            config: &config.config,
            selection: plain.selection,
            origin: config.config.first_origin(plain.selection),
            target: &plain.target,
            address: plain
                .preserved_host()
                .map(|host| rewriting::client_address(host, plain.scheme)),
            scheme: plain.scheme,
        };
        rewriting::rewrite_response(&of, headers, CookieRewriting::Off);
    };
    let client = ClientSide {
        via: &worker.shared.via,
        config: &config.config,
        rewrite,
    };
    let response = prepared(&view, lookup, (index, entry), now, client)?;
    lookup.count_hit();
    Some(response)
}
