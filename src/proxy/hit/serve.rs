//! A hit: the response to a request from a stored one.

use crate::{
    cache::{CachedLookup, Entry},
    headers::{CookieRewriting, RequestOutcome, ResponseHeaders},
    policy::{self, Reason, Reuse, Time},
    proxy::{
        hit::{
            from_stored::{from_entry, hit_status},
            hit_headers::ClientSide,
            prepared::PreparedResponses,
        },
        request::forwarded::ForwardedRequest,
        response::{client_response::ClientResponse, for_client::rewrite_headers},
        worker::Worker,
    },
};

/// Serves the variant `entry`, which is the one at `index` of `lookup`. `remark` is what is special about it for this request.
pub(crate) fn serve(
    worker: &Worker,
    forwarded: &ForwardedRequest,
    lookup: &CachedLookup<PreparedResponses>,
    (index, entry): (usize, &Entry),
    (reuse, remark): (Reuse, Option<Reason>),
    now: Time,
) -> ClientResponse {
    let view = forwarded.view();
    let client = ClientSide {
        via: &worker.shared.via,
        config: &forwarded.config,
        rewrite: |headers: &mut ResponseHeaders| {
            rewrite_headers(headers, forwarded, CookieRewriting::Off)
        },
    };
    // What is added to a response for the site that it is for, or about this request, is not prepared.
    let prepared = match forwarded.config.cors || remark.is_some() {
        true => None,
        false => prepared(&view, lookup, (index, entry), now, client),
    };
    let mut response =
        prepared.unwrap_or_else(|| from_entry(&view, entry, hit_status(entry, now), now));
    lookup.count_hit();
    let said = &mut response.cache_status.remark;
    *said = said.or(remark);
    if reuse != Reuse::Fresh {
        response.cache_status.outcome = RequestOutcome::Stale;
    }
    response
}

/// The prepared response for the whole of `entry`, or the 304 for it; `None` if the client wants something else, or none is
/// worth preparing.
pub(crate) fn prepared(
    view: &policy::Request<'_>,
    lookup: &CachedLookup<PreparedResponses>,
    (index, entry): (usize, &Entry),
    now: Time,
    client: ClientSide<'_, impl Fn(&mut ResponseHeaders)>,
) -> Option<ClientResponse> {
    let length = Some(entry.body().len_bytes());
    let form = policy::response_form(view, entry.head(), length);
    let prepared = &lookup.prepared;
    prepared.response(&form, (index, entry), now, client)
}
