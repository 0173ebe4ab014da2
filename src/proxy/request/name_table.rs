//! What the names of request headers and cookies mean under one configuration.

use std::{cell::RefCell, collections::HashMap, hash::Hash, sync::Arc};

use actix_web::http::header::{self, HeaderName};
use foldhash::fast::RandomState;

use crate::{
    config::Config,
    headers,
    policy::{self, CredentialNames, RequestFields},
};

/// Clients can send any number of names. This many of each kind are remembered.
const MAX_NAMES: usize = 256;
/// The longest name of a cookie that is remembered, in bytes.
const MAX_COOKIE_NAME_BYTES: usize = 64;

/// What each name means. A name is compared with the configured patterns once.
pub(crate) struct NameTable {
    config: Arc<Config>,
    headers: Remembered<HeaderName, HeaderMeaning>,
    sets_credential: bool,
    ignored_cookies: Remembered<Box<[u8]>, bool>,
}

/// What is known of names. There are few, so it does not matter if a client finds some with the same hash.
type Remembered<K, V> = RefCell<HashMap<K, V, RandomState>>;

/// What a request header means by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeaderMeaning {
    /// It is not forwarded: it concerns the connection, only infrastructure may set it, or it matches `drop_headers`.
    pub(crate) is_dropped: bool,
    /// It does not affect whether the cache is used, and it is forwarded as it came, as far as it is a part of the identity,
    /// unless Connection names it. Of Cookie this says nothing.
    pub(crate) is_plain: bool,
    /// It is a part of the identity. Of Cookie this is false: the cookies decide.
    pub(crate) is_credential: bool,
    pub(crate) is_method_override: bool,
    /// It may name the proxy, and is rewritten then.
    may_name_proxy: bool,
    is_cookie: bool,
    /// What the policy reads it for.
    pub(crate) fields: RequestFields,
}

/// What the headers of a request that are forwarded mean by their names, and those that the proxy adds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HeaderSummary {
    /// One is a part of the identity, or has cookies that may be.
    pub(crate) has_credential: bool,
    pub(crate) has_cookie: bool,
    pub(crate) has_method_override: bool,
    /// One may name the proxy.
    pub(crate) may_name_proxy: bool,
    pub(crate) fields: RequestFields,
}

impl HeaderSummary {
    /// Adds a header of the client, unless it is not forwarded. Returns whether it is not.
    pub(crate) fn add(&mut self, meaning: HeaderMeaning) -> bool {
        if meaning.is_dropped {
            return true;
        }
        self.has_credential |= meaning.is_credential || meaning.is_cookie;
        self.has_cookie |= meaning.is_cookie;
        self.has_method_override |= meaning.is_method_override;
        self.may_name_proxy |= meaning.may_name_proxy;
        self.fields = self.fields.and(meaning.fields);
        false
    }
}

impl NameTable {
    pub(crate) fn new(config: &Arc<Config>) -> Self {
        Self {
            sets_credential: sets_credential(config),
            config: Arc::clone(config),
            headers: RefCell::default(),
            ignored_cookies: RefCell::default(),
        }
    }

    /// What a header name means.
    pub(crate) fn meaning(&self, name: &HeaderName) -> HeaderMeaning {
        if let Some(meaning) = self.headers.borrow().get(name) {
            return *meaning;
        }
        // The id of the request is set later. What the client sent is neither in the key nor a part of the identity.
        let is_request_id = self.config.deployment.request_id.as_ref() == Some(name);
        let is_dropped = is_request_id
            || headers::is_dropped(name)
            || self.config.drop_headers.matches(name.as_str());
        // Rules have the names of the whole configuration.
        let is_credential = self.config.policy.is_credential(name);
        let is_method_override = policy::is_method_override(name);
        let meaning = HeaderMeaning {
            is_dropped,
            is_plain: headers::is_forwarded(name)
                && !is_dropped
                && !is_method_override
                && (!is_credential || !headers::PAGE_HEADERS.contains(name)),
            is_credential,
            is_method_override,
            may_name_proxy: headers::may_name_proxy(name),
            is_cookie: *name == header::COOKIE,
            fields: RequestFields::named(name),
        };
        remember(&self.headers, name.clone(), meaning);
        meaning
    }

    /// The summary of a request without headers of its client.
    pub(crate) fn summary(&self) -> HeaderSummary {
        HeaderSummary {
            has_credential: self.sets_credential,
            ..HeaderSummary::default()
        }
    }

    /// True if a header that the proxy sets is a part of the identity, whatever the client sends.
    pub(crate) fn sets_credential(&self) -> bool {
        self.sets_credential
    }
}

impl CredentialNames for NameTable {
    fn is_credential(&self, field: &HeaderName) -> bool {
        self.meaning(field).is_credential
    }

    fn is_ignored_cookie(&self, name: &[u8]) -> bool {
        if let Some(is_ignored) = self.ignored_cookies.borrow().get(name) {
            return *is_ignored;
        }
        let is_ignored = self.config.policy.is_ignored_cookie(name);
        if name.len() <= MAX_COOKIE_NAME_BYTES {
            remember(&self.ignored_cookies, name.into(), is_ignored);
        }
        is_ignored
    }
}

/// True if a header that the proxy sets in a request is a part of the identity.
fn sets_credential(config: &Config) -> bool {
    let is_credential = |name| config.policy.is_credential(name);
    headers::SET_BY_US.iter().any(is_credential)
}

fn remember<K: Eq + Hash, V>(names: &Remembered<K, V>, name: K, meaning: V) {
    let mut names = names.borrow_mut();
    if names.len() < MAX_NAMES {
        names.insert(name, meaning);
    }
}
