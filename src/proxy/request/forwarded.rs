//! What a client asks, as it is forwarded.

use std::{net::IpAddr, sync::Arc};

use actix_web::{
    HttpMessage as _, HttpRequest,
    http::{
        Method, StatusCode, Uri,
        header::{self, HeaderMap, HeaderValue},
    },
};
use bytes::Bytes;

use crate::{
    cache::{Key, Resource},
    config::Config,
    error::ProxyError,
    headers::{self, HostHeader, ProxyHeaders},
    policy::{self, BodyKey, ForwardedCookie, Identity, RequestContent, RuleIndex, Rules},
    proxy::{
        connection::RequestFraming,
        request::upload::{BufferPermit, BufferedBody},
        worker::Shared,
    },
};

/// A request as it is forwarded; key, identity and the policy's view are all made from this, for what is not
/// forwarded must not tell answers apart, and what is must.
#[derive(Clone, Debug)]
pub(crate) struct ForwardedRequest {
    pub(crate) method: Method,
    /// Path and query byte for byte but for what a rule takes out of the query, or `*`.
    pub(crate) target: String,
    pub(crate) fields: HeaderMap,
    pub(crate) content: RequestContent,
    pub(crate) upload: RequestFraming,
    /// The body, where it is part of the key.
    pub(crate) body: Option<BufferedBody>,
    pub(crate) key: Key,
    pub(crate) config: Arc<Config>,
    pub(crate) rule: Option<RuleIndex>,
}

/// The head of a request, as the client sent it.
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) fields: &'a HeaderMap,
    pub(crate) upload: RequestFraming,
    pub(crate) peer: Option<IpAddr>,
}

impl ForwardedRequest {
    /// Reads a client's request.
    pub(crate) fn new(
        request: &HttpRequest,
        shared: &Shared,
        config: &Arc<Config>,
    ) -> Result<Self, ProxyError> {
        let head = RequestHead {
            method: request.method(),
            uri: request.uri(),
            fields: request.headers(),
            upload: upload(request),
            peer: request.peer_addr().map(|peer| peer.ip()),
        };
        Self::of(&head, shared, config)
    }

    /// Reads the head of a request.
    pub(crate) fn of(
        head: &RequestHead<'_>,
        shared: &Shared,
        config: &Arc<Config>,
    ) -> Result<Self, ProxyError> {
        let &RequestHead {
            method,
            uri,
            fields: client,
            upload,
            peer,
        } = head;
        if *method == Method::CONNECT {
            return Err(ProxyError::Connect);
        }
        if headers::is_loop(client, &shared.via) {
            return Err(ProxyError::Loop);
        }
        let (target, rule) = ruled(target_of(method, uri)?, &config.rules);
        let policy = policy_under(rule, config);
        let host = match client.get(header::HOST) {
            Some(host) if config.preserve_host => HostHeader::Client(host),
            _ => HostHeader::Origin(&shared.origin_host),
        };
        let resource = match host {
            HostHeader::Origin(_) => Resource::new(&target),
            HostHeader::Client(host) => Resource::with_host(&target, host.as_bytes()),
        };
        let content = match upload {
            RequestFraming::None | RequestFraming::Sized(0) => RequestContent::None,
            RequestFraming::Sized(_) | RequestFraming::Chunked => RequestContent::Some,
        };
        let proxy_headers = ProxyHeaders {
            peer,
            host,
            via: &shared.via,
        };
        let mut fields = headers::forwarded_headers(client, &proxy_headers);
        if matches!(*method, Method::GET | Method::HEAD) && content == RequestContent::None {
            drop_ignored_cookies(policy, &mut fields);
        }
        let identity = shared.secret.identity(policy, &fields);
        Ok(Self {
            method: method.clone(),
            target,
            fields,
            content,
            upload,
            body: None,
            key: Key {
                resource,
                identity,
                content: None,
            },
            config: Arc::clone(config),
            rule,
        })
    }

    /// How long the body can be, where it may make this request a retrieval: that of a POST whose rule says so.
    pub(crate) fn keyed_up_to_bytes(&self) -> Option<u64> {
        let rule = self.rule.and_then(|index| self.config.rules.get(index))?;
        let limit = rule.store_post_bytes?;
        let most = match self.upload {
            RequestFraming::None => 0,
            RequestFraming::Sized(length) => length,
            RequestFraming::Chunked => limit,
        };
        (self.method == Method::POST && most <= limit).then_some(most)
    }

    /// Makes this request a retrieval with `body`, unless that asks for a change.
    pub(crate) fn keyed_by(
        &mut self,
        body: Bytes,
        place: BufferPermit,
        shared: &Shared,
    ) -> BodyUse {
        let Some(content) = BodyKey::of(&self.fields, &body) else {
            return BodyUse::Change(body, place);
        };
        let policy = policy_under(self.rule, &self.config);
        drop_ignored_cookies(policy, &mut self.fields);
        self.key.identity = shared.secret.identity(policy, &self.fields);
        self.key.content = Some(content);
        self.content = RequestContent::Keyed;
        self.body = Some(BufferedBody::new(body, self.upload, place));
        BodyUse::Keyed
    }

    /// Whether an answer of this status makes untrue what is stored for the target.
    pub(crate) fn invalidates(&self, status: StatusCode) -> bool {
        self.content != RequestContent::Keyed && policy::invalidates(&self.method, status)
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.key.identity
    }

    /// The patterns of the rule in force.
    pub(crate) fn rule_patterns(&self) -> Option<String> {
        let rule = self.config.rules.get(self.rule?)?;
        let patterns: Vec<String> = rule.path.patterns().collect();
        Some(patterns.join(", "))
    }

    /// What decides about this request.
    pub(crate) fn policy(&self) -> &policy::Policy {
        policy_under(self.rule, &self.config)
    }

    /// The request as the policy sees it.
    pub(crate) fn view(&self) -> policy::Request<'_> {
        policy::Request::new(
            self.policy(),
            &self.method,
            &self.fields,
            self.content,
            self.identity(),
        )
    }

    /// True when the client asks for an answer under conditions, or for a part of it.
    pub(crate) fn is_conditional(&self) -> bool {
        policy::CLIENT_CONDITIONS
            .iter()
            .any(|name| self.fields.contains_key(name))
    }

    /// True when cookies are forwarded that are not in the key: they may shape the answer.
    pub(crate) fn carries_ignored_cookies(&self) -> bool {
        let mut lines = self.fields.get_all(header::COOKIE);
        lines
            .any(|line| policy::forwarded_cookie(self.policy(), line) != ForwardedCookie::Unchanged)
    }

    /// True for what the cache answers.
    pub(crate) fn is_retrieval(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD) || self.content == RequestContent::Keyed
    }
}

/// What a body is to its request.
pub(crate) enum BodyUse {
    /// A part of what is asked for.
    Keyed,
    /// A change, to be forwarded.
    Change(Bytes, BufferPermit),
}

/// The rule for a target, and the target as it is forwarded under it: what a rule takes out of the query is neither in
/// the key nor does the origin see it.
fn ruled(target: String, rules: &Rules) -> (String, Option<RuleIndex>) {
    let index = rules.index_for(&target);
    match index.and_then(|index| rules.get(index)) {
        Some(rule) => (rule.rewritten(&target).into_owned(), index),
        None => (target, None),
    }
}

fn policy_under(rule: Option<RuleIndex>, config: &Config) -> &policy::Policy {
    let rule = rule.and_then(|index| config.rules.get(index));
    rule.map_or(&config.policy, |rule| &rule.policy)
}

/// Path and query as the client sent them; an authority before them changes nothing, for there is one origin only.
pub(crate) fn target(request: &HttpRequest) -> Result<String, ProxyError> {
    target_of(request.method(), request.uri())
}

fn target_of(method: &Method, uri: &Uri) -> Result<String, ProxyError> {
    match uri.path_and_query().map(|target| target.as_str()) {
        Some(target) if target.starts_with('/') => Ok(target.to_owned()),
        // Of OPTIONS, and of methods like M-SEARCH that are not about a path either.
        Some("*") if !matches!(*method, Method::GET | Method::HEAD) => Ok("*".to_owned()),
        Some(target) if target.starts_with('?') => Ok(format!("/{target}")),
        Some("") | None if uri.scheme().is_some() => Ok("/".to_owned()),
        _ => Err(ProxyError::Target),
    }
}

/// How the body of a request is framed.
pub(crate) fn upload(request: &HttpRequest) -> RequestFraming {
    let length = request.headers().get(header::CONTENT_LENGTH);
    match length.and_then(|length| length.to_str().ok()?.parse().ok()) {
        _ if request.chunked().unwrap_or(false) => RequestFraming::Chunked,
        Some(length) => RequestFraming::Sized(length),
        None => RequestFraming::None,
    }
}

/// Cookies that say nothing about who somebody is are not in the key, so they must not shape the answer.
fn drop_ignored_cookies(policy: &policy::Policy, fields: &mut HeaderMap) {
    let lines: Vec<HeaderValue> = fields.get_all(header::COOKIE).cloned().collect();
    if lines.is_empty() {
        return;
    }
    let forwarded: Vec<ForwardedCookie> = lines
        .iter()
        .map(|line| policy::forwarded_cookie(policy, line))
        .collect();
    if forwarded
        .iter()
        .all(|cookie| matches!(cookie, ForwardedCookie::Unchanged))
    {
        return;
    }
    fields.remove(header::COOKIE);
    for (line, cookie) in lines.into_iter().zip(forwarded) {
        match cookie {
            ForwardedCookie::Unchanged => fields.append(header::COOKIE, line),
            ForwardedCookie::Shortened(line) => fields.append(header::COOKIE, line),
            ForwardedCookie::Nothing => {}
        }
    }
}
