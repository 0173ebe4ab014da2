//! A client's request as it is forwarded.

use std::{borrow::Cow, cell::Cell, net::IpAddr, rc::Rc, sync::Arc};

use actix_web::{
    HttpRequest,
    http::{
        Method, StatusCode, Uri, Version,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use bytes::Bytes;

use crate::{
    cache::{Key, Resource},
    config::{Config, Selection},
    error::ProxyError,
    headers::{self, ClientAddress, ClientScheme, ForwardedClient, ProxyHeaders},
    origin::OriginUrl,
    policy::{
        self, BodyKey, ForwardedCookie, Identity, IdentityParts, OriginIndex, Reason,
        RequestContent, RequestFields, Rule,
    },
    proxy::{
        request::{
            framing::RequestFraming,
            ignored_cookies::remove_ignored_cookies,
            name_table::{HeaderSummary, NameTable},
            request_id::RequestId,
            rewriting,
            target::{check_forwardable, rewritten, target_of},
            told_client,
            upload::{BodyBuffers, BodyRead, BufferPermit, BufferedBody, UploadBody},
        },
        shared::Shared,
    },
};

/// A request as it is forwarded. Its key, its identity and the policy's view are made from this: what is not forwarded
/// does not tell responses apart, and what is forwarded does.
#[derive(Clone, Debug)]
pub(crate) struct ForwardedRequest {
    pub(crate) method: Method,
    /// Path and query, byte for byte except what a rule removes from the query; or `*`. The origin may get less of it.
    pub(crate) target: String,
    /// The request to the origin shares them, as long as it has no others.
    pub(crate) headers: Rc<HeaderMap>,
    /// Which fields that the policy reads are in `headers`.
    pub(crate) fields: RequestFields,
    /// All cookies, if `headers` has some of them only; else empty.
    pub(crate) all_cookies: Vec<HeaderValue>,
    pub(crate) content: RequestContent,
    /// Why it passes the cache by, if its headers say so; `None` if they do not.
    pub(crate) bypass: Option<Reason>,
    /// Why its body is not part of the key, though a rule says `store_post`; `None` for any other request.
    pub(crate) unkeyed: Option<Reason>,
    pub(crate) framing: RequestFraming,
    /// The body, if it is part of the key.
    pub(crate) body: Option<BufferedBody>,
    pub(crate) key: Key,
    pub(crate) config: Arc<Config>,
    /// The route and the rule in force.
    pub(crate) selection: Selection,
    /// What trusted proxies say about the client.
    pub(crate) told: ForwardedClient,
    /// The origin that was asked last. The forms of one request share it.
    pub(crate) asked: Rc<Cell<OriginIndex>>,
}

/// Request line and headers, as the client sent them.
pub(crate) struct RequestHead<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) version: Version,
    pub(crate) framing: RequestFraming,
    pub(crate) peer: Option<IpAddr>,
    pub(crate) scheme: ClientScheme,
}

impl ForwardedRequest {
    /// The forwarded form of a client's request, which came over `scheme`.
    ///
    /// # Errors
    /// The request is not forwarded: CONNECT, a loop, NTLM, or a target without a path.
    pub(crate) fn new(
        (request, scheme): (&HttpRequest, ClientScheme),
        shared: &Shared,
        (config, table): (&Arc<Config>, &NameTable),
    ) -> Result<Rc<Self>, ProxyError> {
        let head = RequestHead {
            method: request.method(),
            uri: request.uri(),
            headers: request.headers(),
            version: request.version(),
            framing: RequestFraming::of(request),
            peer: request.peer_addr().map(|peer| peer.ip()),
            scheme,
        };
        let mut forwarded = Self::of(&head, shared, (config, table))?;
        if let Some(id) = RequestId::of(request, config) {
            let forwarded = Rc::make_mut(&mut forwarded);
            id.write(Rc::make_mut(&mut forwarded.headers));
            forwarded.fields = RequestFields::of(&forwarded.headers);
        }
        Ok(forwarded)
    }

    /// The forwarded form of a request line and headers.
    ///
    /// # Errors
    /// As [`ForwardedRequest::new`].
    pub(crate) fn of(
        head: &RequestHead<'_>,
        shared: &Shared,
        (config, table): (&Arc<Config>, &NameTable),
    ) -> Result<Rc<Self>, ProxyError> {
        let (method, client, peer) = (head.method, head.headers, head.peer);
        check_forwardable(method, client, shared)?;
        let client_host = client.get(header::HOST);
        let target = target_of(method, head.uri)?.into_owned();
        let told = told_client::of(config, client, peer);
        let asked_host = told.host().or(client_host);
        let selection = config.select(&target, asked_host.and_then(|host| host.to_str().ok()));
        rewriting::check_path(config, selection, &target)?;
        let target = rewritten(target, config.settings(selection));
        let told = rewriting::with_scheme(told, (config, selection), head.scheme);
        let (host, scheme) = rewriting::addressed_as((config, selection), client_host, shared);
        let key_host = told_client::key_host(host.of_client(), &told);
        let resource = Resource::of(&target, key_host.as_deref(), config.key_scope(selection));
        let content = head.framing.content();
        let added = ProxyHeaders {
            peer,
            client: &told,
            scheme: told.scheme().unwrap_or(scheme),
            host,
            via: shared.via.of(head.version),
        };
        let policy = config.policy_for(selection);
        let mut summary = table.summary();
        let is_dropped = |name: &HeaderName| summary.add(table.meaning(name));
        let mut headers = headers::forwarded_headers(client, &added, is_dropped);
        if summary.may_name_proxy {
            let address = told_client::address(&told, client_host);
            let client = (client_host, address, told.own_scheme());
            rewriting::rewrite_request((config, selection), client, &mut headers)?;
        }
        let bypass = bypass_reason(head, summary, config.settings(selection));
        let all_cookies = match (method, content, bypass) {
            (&Method::GET | &Method::HEAD, RequestContent::None, None) if summary.has_cookie => {
                remove_ignored_cookies(policy, table, &mut headers)
            }
            _ => Vec::new(),
        };
        let identity = match summary.has_credential {
            true => identity(shared, policy, &headers, table),
            false => None,
        };
        let key = Key::new(resource, identity);
        Ok(Rc::new(Self {
            method: method.clone(),
            target,
            headers: headers.into(),
            fields: summary.fields,
            all_cookies,
            content,
            bypass,
            unkeyed: None,
            framing: head.framing,
            body: None,
            key,
            config: Arc::clone(config),
            selection,
            told,
            asked: Rc::new(Cell::new(config.first_origin(selection))),
        }))
    }

    /// Reads the body of a POST that a rule lets be answered like a GET, and makes it part of the key. `limit` is that of
    /// [`ForwardedRequest::max_key_body_bytes`]. Returns the body that is left to forward: all of it if it is too large,
    /// or asks for a change.
    ///
    /// # Errors
    /// The client cut the body, or paused for too long.
    pub(crate) async fn read_key_body(
        &mut self,
        (body, limit): (UploadBody, Result<u64, Reason>),
        shared: &Shared,
        (buffers, table): (&BodyBuffers, &NameTable),
    ) -> Result<UploadBody, ProxyError> {
        let permit = limit.and_then(|bytes| buffers.permit(bytes).ok_or(Reason::NoBuffer));
        let permit = match permit {
            Ok(permit) => permit,
            Err(reason) => {
                self.unkeyed = Some(reason);
                return Ok(body);
            }
        };
        Ok(match body.read(permit).await? {
            BodyRead::Larger(body) => {
                self.unkeyed = Some(Reason::LargeBody);
                body
            }
            BodyRead::Whole(bytes, permit) => match self.body_key(&bytes) {
                Ok(content) => {
                    self.add_to_key(content, (bytes, permit), shared, table);
                    UploadBody::empty()
                }
                Err(reason) => {
                    self.unkeyed = Some(reason);
                    UploadBody::of(bytes, permit)
                }
            },
        })
    }

    /// The largest body that may become part of the key, in bytes, or why no body of this request may; `None` if no rule
    /// says `store_post` for it.
    pub(crate) fn max_key_body_bytes(&self) -> Option<Result<u64, Reason>> {
        let rule = self.settings()?;
        let limit = rule.store_post_bytes?;
        let bytes = match self.framing {
            RequestFraming::None => 0,
            RequestFraming::Sized(length) => length,
            RequestFraming::Chunked => limit,
        };
        (self.method == Method::POST).then_some(match self.bypass {
            Some(reason) => Err(reason),
            None if bytes > limit => Err(Reason::LargeBody),
            None => Ok(bytes),
        })
    }

    fn body_key(&self, body: &[u8]) -> Result<BodyKey, Reason> {
        let rule = self.settings();
        let persisted = rule.map(|rule| rule.persisted_queries);
        BodyKey::of(&self.headers, body, persisted.unwrap_or_default())
    }

    fn add_to_key(
        &mut self,
        content: BodyKey,
        (bytes, permit): (Bytes, BufferPermit),
        shared: &Shared,
        table: &NameTable,
    ) {
        let policy = self.config.policy_for(self.selection);
        let headers = Rc::make_mut(&mut self.headers);
        self.all_cookies = remove_ignored_cookies(policy, table, headers);
        self.key.identity = identity(shared, policy, &self.headers, table);
        if content.is_graphql() {
            // The errors in an encoded response could not be found.
            let identity = HeaderValue::from_static("identity");
            Rc::make_mut(&mut self.headers).insert(header::ACCEPT_ENCODING, identity);
        }
        self.key.content = Some(content);
        self.content = RequestContent::Keyed;
        self.body = Some(BufferedBody::new(bytes, self.framing, permit));
    }

    /// Whether a response with this status invalidates what is stored for the target.
    pub(crate) fn invalidates(&self, status: StatusCode) -> bool {
        let rule = self.settings();
        rule.is_none_or(|rule| rule.invalidates)
            && self.content != RequestContent::Keyed
            && policy::invalidates(&self.method, status)
    }

    /// True for a GraphQL query with its body in the key.
    pub(crate) fn is_graphql(&self) -> bool {
        self.key.content.is_some_and(|content| content.is_graphql())
    }

    /// The GET by which the response to this HEAD is fetched and looked up; `None` if it is no HEAD, or if its policy fetches
    /// it as it is.
    pub(crate) fn as_get(&self) -> Option<Self> {
        let is_head = self.method == Method::HEAD;
        (is_head && policy::is_fetched_by_get(self.policy(), &self.view())).then(|| {
            let mut get = Self {
                method: Method::GET,
                ..self.clone()
            };
            // RFC 9110, 14.2: Range is defined for GET alone.
            let headers = Rc::make_mut(&mut get.headers);
            headers.remove(header::RANGE);
            headers.remove(header::IF_RANGE);
            get.fields = RequestFields::of(headers);
            get
        })
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.key.identity
    }

    /// Which headers and cookies make its identity.
    pub(crate) fn identity_parts(&self) -> IdentityParts {
        IdentityParts::of(self.policy(), &self.headers)
    }

    /// The patterns of the rule in force; `None` if no rule matches.
    pub(crate) fn rule_patterns(&self) -> Option<String> {
        let rule = self.config.rule(self.selection)?;
        let patterns: Vec<&str> = rule.path.patterns().collect();
        Some(patterns.join(", "))
    }

    /// The policy that decides about this request.
    pub(crate) fn policy(&self) -> &policy::Policy {
        self.config.policy_for(self.selection)
    }

    /// The settings of the rule or else of the route in force; `None` if there is neither.
    fn settings(&self) -> Option<&Rule> {
        self.config.settings(self.selection)
    }

    /// The origins of its route, at least one. The first one is in the key.
    pub(crate) fn origins(&self) -> &[OriginIndex] {
        self.config.origins_for(self.selection)
    }

    /// The first origin of its route.
    pub(crate) fn first_origin(&self) -> OriginIndex {
        self.config.first_origin(self.selection)
    }

    /// The origin that was asked last, or that would be asked first; `None` if there is one origin only.
    pub(crate) fn asked_origin(&self) -> Option<&OriginUrl> {
        let origins = &self.config.origins;
        origins.has_others().then(|| origins.get(self.asked.get()))
    }

    /// The URL of the first origin of its route.
    pub(crate) fn origin(&self) -> &OriginUrl {
        self.config.origin_for(self.selection)
    }

    /// The target that the origin gets: without the prefix that the route strips.
    pub(crate) fn origin_target(&self) -> Cow<'_, str> {
        self.config.at_origin(self.selection, &self.target)
    }

    /// The Host of the client, if it is forwarded.
    pub(crate) fn preserved_host(&self) -> Option<&HeaderValue> {
        match self.config.preserves_host(self.selection) {
            true => self.headers.get(header::HOST),
            false => None,
        }
    }

    /// How the client addressed the proxy, as far as the origin is told; `None` if it is told nothing.
    pub(crate) fn client_address(&self) -> Option<ClientAddress<'_>> {
        told_client::address(&self.told, self.preserved_host())
    }

    /// The request as the policy sees it.
    pub(crate) fn view(&self) -> policy::Request<'_> {
        policy::Request::with_fields(
            self.policy(),
            &self.method,
            (&self.headers, self.fields),
            self.content,
            self.identity(),
        )
        .bypassing(self.bypass)
        .with_request_id(self.config.deployment.request_id.as_ref())
    }

    /// True if the client sets conditions, or wants a range.
    pub(crate) fn is_conditional(&self) -> bool {
        self.fields.is_conditional()
    }

    /// True if cookies are left out because the response may be stored.
    pub(crate) fn leaves_out_cookies(&self) -> bool {
        !self.all_cookies.is_empty()
    }

    /// The headers with all cookies, for a request whose response is not stored.
    pub(crate) fn headers_with_all_cookies(&self) -> Rc<HeaderMap> {
        if !self.leaves_out_cookies() {
            return Rc::clone(&self.headers);
        }
        let mut headers = HeaderMap::clone(&self.headers);
        headers.remove(header::COOKIE);
        for cookie in &self.all_cookies {
            headers.append(header::COOKIE, cookie.clone());
        }
        headers.into()
    }

    /// True if cookies are forwarded that are not in the key. They may shape the response.
    pub(crate) fn carries_ignored_cookies(&self) -> bool {
        let mut cookies = self.headers.get_all(header::COOKIE);
        cookies.any(|cookie| {
            policy::forwarded_cookie(self.policy(), self.policy(), cookie)
                != ForwardedCookie::Unchanged
        })
    }

    /// True for a WebSocket handshake.
    pub(crate) fn is_handshake(&self) -> bool {
        self.bypass == Some(Reason::NotUpgraded)
    }

    /// True if the request may be answered from the cache.
    pub(crate) fn is_retrieval(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD) || self.content == RequestContent::Keyed
    }
}

/// True for a WebSocket handshake (RFC 6455, 4.1). In other versions than HTTP/1.1, and in a request with content, the
/// offer is ignored: what follows the headers must not be taken for the other protocol.
fn is_handshake(head: &RequestHead<'_>) -> bool {
    *head.method == Method::GET
        && head.version == Version::HTTP_11
        && !head.framing.has_content()
        && headers::offers_websocket(head.headers)
}

/// Why the cache has no part in a request with this head, and with such headers as they are forwarded; `None` if nothing of
/// them speaks against it.
fn bypass_reason(
    head: &RequestHead<'_>,
    forwarded: HeaderSummary,
    rule: Option<&Rule>,
) -> Option<Reason> {
    if is_handshake(head) {
        return Some(Reason::NotUpgraded);
    }
    if forwarded.has_method_override {
        return Some(Reason::MethodOverride);
    }
    rule.is_some_and(|rule| !rule.stores)
        .then_some(Reason::Rule)
}

fn identity(
    shared: &Shared,
    policy: &policy::Policy,
    headers: &HeaderMap,
    table: &NameTable,
) -> Option<Identity> {
    shared.secret.identity(policy, headers, table)
}
