//! The shortest way of a request: a hit on what this worker remembers.
//!
//! To make a request ready to be forwarded costs more than to answer it. So a plain GET, of which it is certain that
//! key, identity and Vary would be the same for the request as it would be forwarded, is looked up as it came. What is
//! not plain, or not a hit on the whole of a fresh response, goes the long way.

use std::{cell::RefCell, collections::HashMap};

use actix_web::{
    HttpRequest,
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};

use crate::{
    cache::PlainKey,
    config::Config,
    headers,
    policy::{self, Decision, Policy, RequestContent, ResponseForm, Reuse, Time},
    proxy::{response::client_response::ClientResponse, worker::Worker},
};

/// Names of fields that are remembered to be plain or not; clients may send any number of them.
const MAX_NAMES: usize = 256;

/// What makes requests plain under a configuration.
pub(crate) struct FastPath {
    is_possible: bool,
    names: RefCell<HashMap<HeaderName, HeaderClass>>,
}

/// What a field does to a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum HeaderClass {
    /// It is forwarded as it came, and tells nothing about who asks.
    Plain,
    /// Its value decides.
    Connection,
    /// It is not forwarded, or not as it came, or tells users apart.
    Special,
}

impl FastPath {
    pub(crate) fn new(config: &Config) -> Self {
        // What we set ourselves is not what the client sent.
        let tells_apart = |name: &HeaderName| policy::is_credential(&config.policy, name);
        Self {
            is_possible: config.rules.is_empty()
                && !config.preserve_host
                && !headers::SET_BY_US.iter().any(tells_apart),
            names: RefCell::default(),
        }
    }

    /// The answer to `request`, if it is plain and a hit.
    pub(crate) fn answer(
        &self,
        request: &HttpRequest,
        worker: &Worker,
        policy: &Policy,
        now: Time,
    ) -> Option<ClientResponse> {
        let fields = request.headers();
        if !self.is_possible || request.method() != Method::GET || !self.is_plain(policy, fields) {
            return None;
        }
        let target = request.uri().path_and_query()?.as_str();
        let known = worker.worker_cache.get(&PlainKey(target))?;
        let view =
            policy::Request::new(policy, request.method(), fields, RequestContent::None, None);
        let heads = || known.found().variants().map(|entry| &**entry.head());
        // What selects a variant has to be what the client sent.
        if heads().any(|head| head.is_selected_by(&headers::SET_BY_US)) {
            return None;
        }
        let Decision::Serve {
            index,
            reuse: Reuse::Fresh,
        } = policy::decide(policy, &view, heads(), now)
        else {
            return None;
        };
        let entry = known.found().variants().nth(index)?;
        match policy::response_form(&view, entry.head(), Some(entry.body().len_bytes())) {
            ResponseForm::Full => {
                let delivery = known
                    .prepared
                    .deliver(index, entry, now, &worker.shared.via)?;
                worker.worker_cache.count_hit(&known);
                Some(delivery)
            }
            _ => None,
        }
    }

    fn is_plain(&self, policy: &Policy, fields: &HeaderMap) -> bool {
        let mut names = self.names.borrow_mut();
        fields.iter().all(|(name, value)| {
            let kind = names.get(name).copied().unwrap_or_else(|| {
                let kind = kind(policy, name);
                if names.len() < MAX_NAMES {
                    names.insert(name.clone(), kind);
                }
                kind
            });
            match kind {
                HeaderClass::Plain => true,
                HeaderClass::Connection => names_nothing(value),
                HeaderClass::Special => false,
            }
        })
    }
}

fn kind(policy: &Policy, name: &HeaderName) -> HeaderClass {
    match *name {
        // There is one origin only, whose Host it gets.
        header::HOST => HeaderClass::Plain,
        header::CONNECTION => HeaderClass::Connection,
        header::COOKIE => HeaderClass::Special,
        _ if policy::is_credential(policy, name) => HeaderClass::Special,
        _ if headers::is_forwarded(name) => HeaderClass::Plain,
        _ => HeaderClass::Special,
    }
}

/// True for a Connection field that keeps no other field from being forwarded.
fn names_nothing(connection: &HeaderValue) -> bool {
    let value = connection.as_bytes();
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}
