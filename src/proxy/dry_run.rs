//! What would happen to a request. It is not forwarded, and no stored response counts as used.

use std::{net::IpAddr, rc::Rc, sync::Arc};

use actix_web::http::{
    Method, StatusCode, Uri, Version,
    header::{self, HeaderMap},
};

use tokio::time::Instant;

use crate::{
    cache::{Cache, CacheUnavailable, Entry, Key, KeyState},
    config::Config,
    error::ProxyError,
    headers::{ClientScheme, describes_client, has_upgrade_option},
    origin::PaceState,
    policy::{
        self, Audience, Decision, IdentityParts, OfflineDecision, OriginFailure, Policy, Reason,
        ResponseForm, Reuse, Route, Sharing, Time,
    },
    proxy::{
        offline,
        request::{
            forwarded::{ForwardedRequest, RequestHead},
            forwarded_head::ClientHead,
            framing::RequestFraming,
            name_table::NameTable,
        },
        shared::Shared,
    },
};

/// A description of a request.
#[derive(Clone, Debug)]
pub struct DescribedRequest {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// Its headers.
    pub headers: HeaderMap,
    /// Which address has sent it.
    pub peer: IpAddr,
}

/// What would happen to a described request, and what is known about it.
#[derive(Debug)]
pub struct DryRun {
    forwarded: Rc<ForwardedRequest>,
    /// What is stored for it.
    pub known: KeyState,
    /// The decision of the policy.
    pub decision: Decision,
    /// The decision while the proxy is offline; `None` if it is not.
    pub offline: Option<OfflineDecision>,
    /// Whether the origin gets requests now.
    pub pace: PaceState,
    /// Which address has sent it.
    pub peer: IpAddr,
    /// Whether that is the address of a trusted proxy; `None` if the request has no headers that only those may set.
    pub trusts_peer: Option<bool>,
}

/// What the shared tier has for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedFinding {
    /// A response that would be served.
    Served,
    /// A response that would be validated.
    Validated,
    /// Nothing that can be used.
    Nothing,
    /// It does not answer in time, or is not in use.
    NoAnswer,
}

/// Decides about a described request as the handler does.
///
/// # Errors
/// Outer: the cache does not answer. Inner: the proxy would refuse the request.
pub async fn dry_run(
    shared: &Shared,
    described: &DescribedRequest,
    now: Time,
) -> Result<Result<DryRun, ProxyError>, CacheUnavailable> {
    let config = shared.config();
    let trusted = &config.deployment.trusted_proxies;
    let headers = &described.headers;
    let trusts_peer = describes_client(headers).then(|| trusted.trust(described.peer));
    let forwarded = match forwarded_form(shared, described, &config) {
        Ok(forwarded) => forwarded,
        Err(error) => return Ok(Err(error)),
    };
    let key = forwarded.key.clone();
    let mut known = shared.cache.inspect(key).await?;
    let heads = known.variants.iter().map(|entry| &**entry.head());
    let get = forwarded.as_get();
    let decided = get.as_ref().unwrap_or(&forwarded);
    let decision = policy::decide(forwarded.policy(), &decided.view(), heads, now);
    let mut offline = None;
    if config.offline {
        for key in offline::keys(shared, decided) {
            let inspected = shared.cache.inspect(key.clone()).await?;
            let decision = offline::decide(decided, &key, &inspected.variants);
            offline = Some(decision);
            if decision != OfflineDecision::NotStored {
                known = inspected;
                break;
            }
        }
    }
    let origin = shared.origins.get(forwarded.first_origin());
    let pace = origin.pace.state(Instant::now());
    Ok(Ok(DryRun {
        forwarded,
        known,
        decision,
        offline,
        pace,
        peer: described.peer,
        trusts_peer,
    }))
}

/// The forwarded form of a described request.
///
/// # Errors
/// The proxy would refuse the request.
pub(super) fn forwarded_form(
    shared: &Shared,
    described: &DescribedRequest,
    config: &Arc<Config>,
) -> Result<Rc<ForwardedRequest>, ProxyError> {
    let mut headers = described.headers.clone();
    if !has_upgrade_option(&headers) {
        // The stream of a connection removes it too (RFC 9110, 7.8).
        headers.remove(header::UPGRADE);
    }
    let headers = &headers;
    let head = RequestHead {
        uri: &described.uri,
        client: ClientHead {
            method: &described.method,
            headers,
            version: Version::HTTP_11,
            framing: framing(headers),
            peer: Some(described.peer),
            scheme: described_scheme(described, config),
        },
    };
    let table = NameTable::new(config);
    ForwardedRequest::of(&head, shared, (config, &table), None)
}

/// The scheme in the URL of a described request; without one, that of all clients, or http.
fn described_scheme(described: &DescribedRequest, config: &Config) -> ClientScheme {
    match described.uri.scheme_str() {
        Some(scheme) if scheme.eq_ignore_ascii_case("https") => ClientScheme::Https,
        Some(_) => ClientScheme::Http,
        None if config.serves_tls_only() => ClientScheme::Https,
        None => ClientScheme::Http,
    }
}

fn framing(headers: &HeaderMap) -> RequestFraming {
    let length = headers.get(header::CONTENT_LENGTH);
    match length.and_then(|length| length.to_str().ok()?.parse().ok()) {
        _ if headers.contains_key(header::TRANSFER_ENCODING) => RequestFraming::Chunked,
        Some(length) => RequestFraming::Sized(length),
        None => RequestFraming::None,
    }
}

impl DryRun {
    /// Its method.
    pub fn method(&self) -> &Method {
        &self.forwarded.method
    }

    /// Says in sentences that nothing stored matches it, and what is nearest.
    pub async fn missing_offline(&self, shared: &Shared) -> Vec<String> {
        let cache = Some(&shared.cache);
        offline::missing::sentences(cache, &self.forwarded, &self.known.variants).await
    }

    /// Its key.
    pub fn key(&self) -> &Key {
        &self.forwarded.key
    }

    /// The target as it is forwarded.
    pub fn target(&self) -> &str {
        &self.forwarded.target
    }

    /// The Host that is in the key; `None` if the key has none.
    pub fn host(&self) -> Option<&str> {
        self.forwarded.key.resource.host()
    }

    /// The origin that it would be sent to; `None` if there is one origin only.
    pub fn origin(&self) -> Option<String> {
        self.forwarded.asked_origin().map(ToString::to_string)
    }

    /// True if there are routes.
    pub fn has_routes(&self) -> bool {
        !self.forwarded.config.routes.is_empty()
    }

    /// The route in force; `None` if no route matches.
    pub fn route(&self) -> Option<&Route> {
        self.forwarded.config.route(self.forwarded.selection)
    }

    /// The keys by which that route changes the request, each as it is written.
    pub fn route_keys(&self) -> Vec<String> {
        self.forwarded.config.route_keys(self.forwarded.selection)
    }

    /// The origins of its route. The first healthy one gets the request.
    pub fn origins(&self) -> impl Iterator<Item = String> {
        let origins = &self.forwarded.config.origins;
        let its_own = self.forwarded.origins().iter();
        its_own.map(|index| origins.get(*index).to_string())
    }

    /// The headers as they are forwarded.
    pub fn headers(&self) -> &HeaderMap {
        &self.forwarded.headers
    }

    /// The policy that decides about it.
    pub fn policy(&self) -> &Policy {
        self.forwarded.policy()
    }

    /// The pattern of the rule in force; `None` if no rule matches.
    pub fn rule(&self) -> Option<String> {
        self.forwarded.rule_patterns()
    }

    /// True if it is answered from the partition of an identity.
    pub fn has_identity(&self) -> bool {
        self.forwarded.key.identity.is_some()
    }

    /// Which headers and cookies make its identity.
    pub fn identity_parts(&self) -> IdentityParts {
        self.forwarded.identity_parts()
    }

    /// True if a successful response invalidates stored responses.
    pub fn invalidates(&self) -> bool {
        self.forwarded.invalidates(StatusCode::OK)
    }

    /// True for a POST whose body is part of the key.
    pub fn is_stored_by_body(&self) -> bool {
        matches!(self.forwarded.max_key_body_bytes(), Some(Ok(_)))
    }

    /// Why its body is not part of the key, as far as its headers say that; `None` if they do not, or if no rule says
    /// `store_post` for it.
    pub fn unkeyed(&self) -> Option<Reason> {
        self.forwarded.max_key_body_bytes()?.err()
    }

    /// True for a WebSocket handshake.
    pub fn is_handshake(&self) -> bool {
        self.forwarded.is_handshake()
    }

    /// The stored responses that this request may get. Those of other identities are not among them.
    pub fn visible(&self) -> impl Iterator<Item = &Entry> {
        let identity = self.forwarded.key.identity;
        let variants = self.known.variants.iter().map(|entry| &**entry);
        variants.filter(move |entry| match entry.head().audience() {
            Audience::Everyone => true,
            Audience::Partition => entry.head().partition() == identity,
        })
    }

    /// The variant at `index`; `None` if there is none.
    pub fn variant(&self, index: usize) -> Option<&Entry> {
        self.known.variants.get(index).map(|entry| &**entry)
    }

    /// True if nothing is stored for it, and the reason why is not known either.
    pub fn is_unknown(&self) -> bool {
        !self.is_stored_by_body() && self.known.refused.is_none() && self.visible().next().is_none()
    }

    /// What the shared tier has for it. `None` if there is no such tier, or it would not be asked.
    pub async fn shared_finding(&self, cache: &Cache, now: Time) -> Option<SharedFinding> {
        cache.shared()?;
        let stored = match &self.decision {
            Decision::Fetch {
                sharing: Sharing::PassThrough(_),
                ..
            } => return None,
            Decision::Fetch { .. } => None,
            Decision::Revalidate { index, .. } => self.variant(*index),
            Decision::Serve { .. } | Decision::Extend { .. } | Decision::NotCached => return None,
        };
        let waits_for_nobody = self.known.hit_for_miss_until;
        let is_asked = !self.is_handshake()
            && !self.is_stored_by_body()
            && waits_for_nobody.is_none_or(|until| until <= now);
        if !is_asked {
            return None;
        }
        let Some(mut heads) = cache.heads_in_shared_tier(self.key(), now).await else {
            return Some(SharedFinding::NoAnswer);
        };
        if let Some(stored) = stored {
            heads.retain(|head| head.received() > stored.head().received());
        }
        let get = self.forwarded.as_get();
        let decided = get.as_ref().unwrap_or(&self.forwarded);
        let decision = policy::decide(self.policy(), &decided.view(), heads.iter(), now);
        Some(match decision {
            Decision::Serve { reuse, .. } if stored.is_none() || reuse == Reuse::Fresh => {
                SharedFinding::Served
            }
            Decision::Revalidate { .. } if stored.is_none() => SharedFinding::Validated,
            _ => SharedFinding::Nothing,
        })
    }

    /// Whether the variant at `index` would be served if the origin could not be reached; the error says what forbids it.
    /// `None` if there is no such variant.
    pub fn if_origin_fails(&self, index: usize, now: Time) -> Option<Result<(), Reason>> {
        let head = self.variant(index)?.head();
        let failure = OriginFailure::Unreachable;
        let view = self.forwarded.view();
        Some(policy::may_serve_stale(
            self.policy(),
            &view,
            head,
            failure,
            now,
        ))
    }

    /// In which form the client would get `entry`.
    pub fn answer(&self, entry: &Entry) -> ResponseForm {
        policy::response_form(
            &self.forwarded.view(),
            entry.head(),
            Some(entry.body().len_bytes()),
        )
    }
}
