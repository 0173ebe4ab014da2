//! The fast path: a plain GET that is a hit.
//!
//! Making the forwarded request costs more than a hit. For a plain GET the identity and the selecting headers are the same
//! before and after that, and so is the target where no rule rewrites it: it is looked up as it came. A request that is not
//! plain, or that is not served the whole of a fresh response, takes the other steps.

use actix_web::{
    HttpRequest,
    http::{
        Method,
        header::{self, HeaderMap, HeaderValue},
    },
};

use crate::{
    cache::{self, PlainKey},
    headers::{self, CookieRewriting},
    observe::RouteSlot,
    policy::{self, Decision, RequestContent, Reuse, Time},
    proxy::{
        hit::serve::prepared,
        request::{
            name_table::NameTable,
            rewriting::{self, ResponseOf},
        },
        request_config::RequestConfig,
        response::client_response::ClientResponse,
        worker::Worker,
    },
};

/// The response to `request`, and where it is counted; `None` if it is not a plain GET, or not a hit.
pub(crate) fn respond(
    request: &HttpRequest,
    worker: &Worker,
    config: &RequestConfig,
    now: Time,
) -> Option<(ClientResponse, RouteSlot)> {
    let fields = request.headers();
    if !config.allows_fast_path()
        || request.method() != Method::GET
        || !is_plain(&config.names, fields)
    {
        return None;
    }
    let target = request.uri().path_and_query()?.as_str();
    let host = config
        .depends_on_host()
        .then(|| fields.get(header::HOST))
        .flatten();
    let selection = config
        .config
        .select(target, host.and_then(|host| host.to_str().ok()));
    let settings = config.config.settings(selection);
    if settings.is_some_and(|settings| !settings.is_plain()) {
        return None;
    }
    let policy = settings.map_or(&config.config.policy, |settings| &settings.policy);
    let host = host.filter(|_| config.config.preserves_host(selection));
    let mut text = worker.key_text.borrow_mut();
    let scope = config.config.key_scope(selection);
    let key = key_in(&mut text, target, host.map(HeaderValue::as_bytes), scope);
    let lookup = worker.worker_cache.get(&PlainKey(key))?;
    drop(text);
    let view = policy::Request::new(policy, request.method(), fields, RequestContent::None, None);
    let heads = || lookup.found().variants().map(|entry| &**entry.head());
    // A variant must be selected by what the client sent.
    if heads().any(|head| head.is_selected_by(&headers::SET_BY_US)) {
        return None;
    }
    let is_by_page = heads().any(|head| head.is_selected_by(&headers::PAGE_HEADERS));
    if is_by_page && rewriting::changes_page(&config.config, selection, fields) {
        return None;
    }
    let Decision::Serve {
        index,
        reuse: Reuse::Fresh,
    } = policy::decide(policy, &view, heads(), now)
    else {
        return None;
    };
    let entry = lookup.found().variants().nth(index)?;
    let complete = |headers: &mut HeaderMap| {
        worker.shared.via.complete(headers);
        let of = ResponseOf {
            config: &config.config,
            selection,
            origin: config.config.first_origin(selection),
            target,
            address: host.map(rewriting::client_address),
        };
        rewriting::rewrite_response(&of, headers, CookieRewriting::Off);
    };
    let response = prepared(&view, &lookup, (index, entry), now, complete)?;
    lookup.count_hit();
    Some((response, config.route_slot(selection)))
}

/// The key of a plain request: its target, or what `text` becomes.
fn key_in<'k>(
    text: &'k mut String,
    target: &'k str,
    host: Option<&[u8]>,
    scope: Option<&str>,
) -> &'k str {
    if host.is_none() && scope.is_none() {
        return target;
    }
    text.clear();
    cache::write_resource(text, target, host, scope);
    text
}

/// True if the request is forwarded as it came, carries no credentials, and names no other method.
fn is_plain(table: &NameTable, fields: &HeaderMap) -> bool {
    fields.iter().all(|(name, value)| match *name {
        // The origin gets its own Host, whichever the client sent.
        header::HOST => true,
        header::CONNECTION => names_no_header(value),
        header::COOKIE => false,
        _ => table.meaning(name).is_plain,
    })
}

/// True for a Connection header that keeps no other header from being forwarded.
fn names_no_header(connection: &HeaderValue) -> bool {
    let value = connection.as_bytes();
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}
