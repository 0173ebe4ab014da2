//! A client's request as it is forwarded.

use std::{borrow::Cow, cell::Cell, rc::Rc, sync::Arc};

use actix_web::{
    HttpRequest,
    http::{
        Method, StatusCode, Uri,
        header::{self, HeaderMap, HeaderValue},
    },
};
use bytes::Bytes;

use crate::{
    cache::{Key, Resource},
    config::{Config, Selection},
    error::ProxyError,
    headers::{ClientAddress, ClientScheme, ForwardedClient},
    origin::{OriginUrl, RequestHeaders},
    policy::{
        self, BodyKey, ForwardedCookie, Identity, IdentityParts, OriginIndex, Reason,
        RequestContent, RequestFields, Rule,
    },
    proxy::{
        request::{
            forwarded_head::{ClientHead, ForwardedHead},
            framing::RequestFraming,
            ignored_cookies::remove_ignored_cookies,
            name_table::NameTable,
            recent_heads::RecentHeads,
            request_id::RequestId,
            rewriting,
            target::{check_forwardable, rewritten, target_of},
            told_client,
            upload::{BodyBuffers, BodyRead, BufferPermit, BufferedBody, UploadBody},
        },
        request_config::RequestConfig,
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
    pub(crate) headers: RequestHeaders,
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
    pub(crate) uri: &'a Uri,
    pub(crate) client: ClientHead<'a>,
}

impl ForwardedRequest {
    /// The forwarded form of a client's request, which came over `scheme` with these header lines; empty if they are not known.
    ///
    /// # Errors
    /// The request is not forwarded: CONNECT, a loop, NTLM, or a target without a path.
    pub(crate) fn new(
        (request, scheme, lines): (&HttpRequest, ClientScheme, &[u8]),
        shared: &Shared,
        config: &RequestConfig,
    ) -> Result<Rc<Self>, ProxyError> {
        let head = RequestHead {
            uri: request.uri(),
            client: ClientHead {
                method: request.method(),
                headers: request.headers(),
                version: request.version(),
                framing: RequestFraming::of(request),
                peer: request.peer_addr().map(|peer| peer.ip()),
                scheme,
            },
        };
        let recent = (!lines.is_empty()).then_some((&config.recent_heads, lines));
        let names = (&config.config, &config.names);
        let mut forwarded = Self::of(&head, shared, names, recent)?;
        if let Some(id) = RequestId::of(request, &config.config) {
            let forwarded = Rc::make_mut(&mut forwarded);
            id.forward(forwarded.headers.make_mut());
            forwarded.fields = RequestFields::of(&forwarded.headers);
        }
        Ok(forwarded)
    }

    /// The forwarded form of a request line and headers. `recent` are the heads that were made last, with the header lines of
    /// this request; `None` if the lines are not known.
    ///
    /// # Errors
    /// As [`ForwardedRequest::new`].
    pub(crate) fn of(
        RequestHead { uri, client }: &RequestHead<'_>,
        shared: &Shared,
        (config, table): (&Arc<Config>, &NameTable),
        recent: Option<(&RecentHeads, &[u8])>,
    ) -> Result<Rc<Self>, ProxyError> {
        check_forwardable(client.method, client.headers, shared)?;
        let target = target_of(client.method, uri)?.into_owned();
        let told = told_client::of(config, client.headers, client.peer);
        let asked_host = told.host().or_else(|| client.headers.get(header::HOST));
        let selection = config.select(&target, asked_host.and_then(|host| host.to_str().ok()));
        rewriting::check_path(config, selection, &target)?;
        let target = rewritten(target, config.settings(selection));
        let make = || ForwardedHead::of(client, told, selection, shared, (config, table));
        let head = match recent {
            Some((recent, lines)) => recent.get_or_make(lines, client, selection, make)?,
            None => Rc::new(make()?),
        };
        let key_host = head.key_host.as_deref();
        let resource = Resource::of(&target, key_host, config.key_scope(selection));
        Ok(Rc::new(Self {
            method: client.method.clone(),
            target,
            headers: head.headers.clone(),
            fields: head.fields,
            all_cookies: head.all_cookies.clone(),
            content: client.framing.content(),
            bypass: head.bypass,
            unkeyed: None,
            framing: client.framing,
            body: None,
            key: Key::new(resource, head.identity),
            config: Arc::clone(config),
            selection,
            told: head.told.clone(),
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
        let headers = self.headers.make_mut();
        self.all_cookies = remove_ignored_cookies(policy, table, headers);
        self.key.identity = identity(shared, policy, &self.headers, table);
        if content.is_graphql() {
            // The errors in an encoded response could not be found.
            let identity = HeaderValue::from_static("identity");
            self.headers
                .make_mut()
                .insert(header::ACCEPT_ENCODING, identity);
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
            let headers = get.headers.make_mut();
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
    pub(crate) fn headers_with_all_cookies(&self) -> RequestHeaders {
        if !self.leaves_out_cookies() {
            return self.headers.clone();
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

fn identity(
    shared: &Shared,
    policy: &policy::Policy,
    headers: &HeaderMap,
    table: &NameTable,
) -> Option<Identity> {
    shared.secret.identity(policy, headers, table)
}
