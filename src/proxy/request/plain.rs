//! Plain requests: GETs and HEADs of which key and policy are known without the forwarded request.
//!
//! Making the forwarded request costs more than a hit. Of a plain request, all headers that are in the identity or select a
//! response are forwarded as the client sent them, but for the cookies that no identity has. So its key is made from what
//! the client sent. It is the key of the forwarded request.

use std::{borrow::Cow, cell::Cell};

use actix_web::http::{
    Method, Uri,
    header::{self, HeaderMap, HeaderValue},
};

use crate::{
    cache::{KeyRef, ResourceRef},
    config::{Config, Selection},
    headers::{self, ClientScheme, KEY_PART_OF_TLS},
    policy::{
        self, ForwardedCookie, Identity, IdentitySecret, Policy, RequestContent, RequestFields,
        StoredHead,
    },
    proxy::{
        request::{name_table::NameTable, rewriting, told_client::SEPARATOR},
        request_config::RequestConfig,
    },
};

/// A plain request, as its client sent it.
#[derive(Clone)]
pub(crate) struct PlainRequest<'a> {
    config: &'a Config,
    names: &'a NameTable,
    method: &'a Method,
    headers: &'a HeaderMap,
    /// The target in the key.
    pub(crate) target: Cow<'a, str>,
    /// The Host of the client, if it is forwarded; else `None`.
    host: Option<&'a HeaderValue>,
    /// What the key has in the place of the Host; `None` if that is nothing.
    key_host: Option<Cow<'a, str>>,
    /// The scheme that the client has used, as far as the origin is told.
    pub(crate) scheme: ClientScheme,
    /// The route and the rule in force.
    pub(crate) selection: Selection,
    /// The policy that decides about it.
    pub(crate) policy: &'a Policy,
    identity: Option<Identity>,
    /// Which fields that the policy reads are in `headers`.
    fields: RequestFields,
}

/// What the headers of a request mean under a configuration, whatever its target is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlainHeaders {
    /// One of them is not forwarded as it came, or names another method: the request is not plain.
    NotPlain,
    /// The request has no identity. The policy reads these fields of it.
    Anonymous(RequestFields),
    /// The request may have an identity, which was not needed yet.
    WithCredentials(RequestFields),
    /// The identity where a policy has partitions; `None` if the credentials make none.
    Identified(RequestFields, Option<Identity>),
}

impl<'a> PlainRequest<'a> {
    /// The request with this method, target and headers, sent over `scheme`; `None` if it is not plain. `meaning` is what
    /// its headers mean; it is set if it is not known.
    pub(crate) fn of(
        (method, uri, headers): (&'a Method, &'a Uri, &'a HeaderMap),
        scheme: ClientScheme,
        config: &'a RequestConfig,
        secret: &IdentitySecret,
        meaning: &Cell<Option<PlainHeaders>>,
    ) -> Option<Self> {
        if !config.allows_fast_path() || !is_plain_retrieval(method, headers) {
            return None;
        }
        let known = meaning
            .get()
            .unwrap_or_else(|| PlainHeaders::of(&config.names, headers));
        meaning.set(Some(known));
        let fields = known.fields()?;
        let target = uri.path_and_query()?.as_str();
        let host = match config.depends_on_host() {
            true => headers.get(header::HOST),
            false => None,
        };
        let (config, names) = (&*config.config, &config.names);
        let selection = config.select(target, host.and_then(|host| host.to_str().ok()));
        let host = match host.filter(|_| config.preserves_host(selection)) {
            Some(host) => Some((host, unescaped(host)?)),
            None => None,
        };
        let (scheme, key_host) = addressed((config, selection), scheme, host.map(|it| it.1));
        let settings = config.settings(selection);
        let target = match settings {
            Some(settings) if !settings.stores => return None,
            Some(settings) => settings.rewritten(target),
            None => Cow::Borrowed(target),
        };
        let policy = settings.map_or(&config.policy, |settings| &settings.policy);
        Some(Self {
            config,
            names,
            method,
            headers,
            target: (target.starts_with('/')).then_some(target)?,
            host: host.map(|(host, _)| host),
            key_host,
            scheme,
            selection,
            policy,
            fields,
            identity: match known {
                _ if !policy.has_partitions() => None,
                PlainHeaders::NotPlain | PlainHeaders::Anonymous(_) => None,
                PlainHeaders::Identified(_, identity) => identity,
                PlainHeaders::WithCredentials(_) => {
                    let identity = secret.identity(policy, headers, names);
                    meaning.set(Some(PlainHeaders::Identified(fields, identity)));
                    identity
                }
            },
        })
    }

    /// Its key.
    pub(crate) fn key(&self) -> KeyRef<'_> {
        let resource = ResourceRef {
            target: &self.target,
            host: self.key_host.as_deref(),
            scope: self.config.key_scope(self.selection),
        };
        KeyRef::new(resource, self.identity)
    }

    /// The Host of the client, if it is forwarded; else `None`.
    pub(crate) fn preserved_host(&self) -> Option<&'a HeaderValue> {
        self.host
    }

    /// The request as the policy sees it.
    pub(crate) fn view(&self) -> policy::Request<'a> {
        let content = RequestContent::None;
        policy::Request::with_fields(
            self.policy,
            self.method,
            (self.headers, self.fields),
            content,
            self.identity,
        )
    }

    /// True if what selects `stored` is forwarded as the client sent it.
    pub(crate) fn forwards_selectors_of(&self, stored: &StoredHead) -> bool {
        !stored.is_selected_by(&headers::SET_BY_US)
            && !stored.is_selected_by(&[header::CONNECTION])
            && (!stored.is_selected_by(&headers::PAGE_HEADERS)
                || !rewriting::changes_page(
                    (self.config, self.selection),
                    self.headers,
                    self.scheme,
                ))
            && (!stored.is_selected_by(&[header::COOKIE]) || !self.leaves_out_cookies())
    }

    fn leaves_out_cookies(&self) -> bool {
        let mut lines = self.headers.get_all(header::COOKIE);
        lines.any(|line| {
            let forwarded = policy::forwarded_cookie(self.policy, self.names, line);
            forwarded != ForwardedCookie::Unchanged
        })
    }
}

impl PlainHeaders {
    fn of(names: &NameTable, headers: &HeaderMap) -> Self {
        let mut summary = names.summary();
        for (name, value) in headers {
            match *name {
                // It selects a route or is in the key, whichever the origin gets.
                header::HOST => continue,
                header::CONNECTION if names_no_header(value) => continue,
                header::COOKIE if headers::has_own_cookies(value) => return Self::NotPlain,
                header::AUTHORIZATION if headers::is_ntlm(headers) => return Self::NotPlain,
                _ => {}
            }
            let meaning = names.meaning(name);
            if !meaning.is_plain {
                return Self::NotPlain;
            }
            summary.add(meaning);
        }
        match summary.has_credential {
            true => Self::WithCredentials(summary.fields),
            false => Self::Anonymous(summary.fields),
        }
    }

    /// Which fields of a plain request the policy reads; `None` if it is not plain.
    fn fields(self) -> Option<RequestFields> {
        match self {
            Self::NotPlain => None,
            Self::Anonymous(fields)
            | Self::WithCredentials(fields)
            | Self::Identified(fields, _) => Some(fields),
        }
    }
}

/// True for a GET, and for a HEAD that is answered like one. Range means nothing in a HEAD (RFC 9110, 14.2).
fn is_plain_retrieval(method: &Method, headers: &HeaderMap) -> bool {
    *method == Method::GET || (*method == Method::HEAD && !headers.contains_key(header::RANGE))
}

/// True for a Connection header that keeps no other header from being forwarded.
fn names_no_header(connection: &HeaderValue) -> bool {
    let value = connection.as_bytes();
    value.eq_ignore_ascii_case(b"keep-alive") || value.eq_ignore_ascii_case(b"close")
}

/// The scheme that the origin is told, and what the key has in the place of the Host. `host` is the Host that is forwarded.
fn addressed<'h>(
    (config, selection): (&Config, Selection),
    scheme: ClientScheme,
    host: Option<&'h str>,
) -> (ClientScheme, Option<Cow<'h, str>>) {
    if !rewriting::tells_scheme(config, selection, scheme) {
        return (ClientScheme::Http, host.map(Cow::Borrowed));
    }
    let host = match (config.serves_both_schemes(), host) {
        (false, host) => host.map(Cow::Borrowed),
        (true, None) => Some(Cow::Borrowed(KEY_PART_OF_TLS)),
        (true, Some(host)) => Some(Cow::Owned(format!("{host}{SEPARATOR}{KEY_PART_OF_TLS}"))),
    };
    (scheme, host)
}

/// The text of a Host, if the key has it as it is; else `None`.
fn unescaped(host: &HeaderValue) -> Option<&str> {
    let is_escaped = |byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'\'' | b'"' | b'\\');
    let text = host.to_str().ok()?;
    (!text.bytes().any(is_escaped)).then_some(text)
}

#[cfg(test)]
mod tests;
