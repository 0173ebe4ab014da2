//! What would become of a request, without anything becoming of it: the origin is not asked, nothing counts as used.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::http::{
    Method, Uri,
    header::{self, HeaderMap, HeaderName},
};

use crate::{
    cache::{CacheUnavailable, Entry, Inspect, KeyState},
    error::ProxyError,
    policy::{self, Audience, Decision, OriginFailure, Policy, Reason, ResponseForm, Time},
    proxy::{
        connection::RequestFraming,
        request::forwarded::{ForwardedRequest, RequestHead},
        worker::Shared,
    },
};

/// A request that somebody describes.
#[derive(Clone, Debug)]
pub struct DescribedRequest {
    /// Its method.
    pub method: Method,
    /// Its target.
    pub uri: Uri,
    /// Its fields.
    pub fields: HeaderMap,
}

/// What is known and decided of a described request.
#[derive(Debug)]
pub struct DryRun {
    ask: ForwardedRequest,
    /// What the cache knows.
    pub known: KeyState,
    /// What the handler would do.
    pub decision: Decision,
}

/// Decides about a described request as the handler does.
///
/// # Errors
/// The proxy would refuse it, which is the inner error; or the cache did not answer.
pub async fn dry_run(
    shared: &Shared,
    described: &DescribedRequest,
    now: Time,
) -> Result<Result<DryRun, ProxyError>, CacheUnavailable> {
    let fields = &described.fields;
    let head = RequestHead {
        method: &described.method,
        uri: &described.uri,
        fields,
        upload: upload(fields),
        peer: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    };
    let ask = match ForwardedRequest::of(&head, shared, &shared.config()) {
        Ok(ask) => ask,
        Err(error) => return Ok(Err(error)),
    };
    let key = ask.key.clone();
    let known = shared.cache.send(Inspect { key }).await?;
    let heads = known.found.variants().map(|entry| &**entry.head());
    let decision = policy::decide(ask.policy(), &ask.view(), heads, now);
    Ok(Ok(DryRun {
        ask,
        known,
        decision,
    }))
}

fn upload(fields: &HeaderMap) -> RequestFraming {
    let length = fields.get(header::CONTENT_LENGTH);
    match length.and_then(|length| length.to_str().ok()?.parse().ok()) {
        _ if fields.contains_key(header::TRANSFER_ENCODING) => RequestFraming::Chunked,
        Some(length) => RequestFraming::Sized(length),
        None => RequestFraming::None,
    }
}

impl DryRun {
    /// Its method.
    pub fn method(&self) -> &Method {
        &self.ask.method
    }

    /// The target as it is forwarded.
    pub fn target(&self) -> &str {
        &self.ask.target
    }

    /// The Host that is in the key.
    pub fn host(&self) -> Option<&str> {
        self.ask.key.resource.host()
    }

    /// The fields as they are forwarded.
    pub fn fields(&self) -> &HeaderMap {
        &self.ask.fields
    }

    /// What decides about it.
    pub fn policy(&self) -> &Policy {
        self.ask.policy()
    }

    /// The pattern of the rule in force.
    pub fn rule(&self) -> Option<String> {
        self.ask.rule_patterns()
    }

    /// True when it is answered from a partition of its own.
    pub fn has_identity(&self) -> bool {
        self.ask.key.identity.is_some()
    }

    /// The fields by which it is somebody's.
    pub fn credentials(&self) -> Vec<&HeaderName> {
        let names = self.ask.fields.keys();
        let tells = |name: &&HeaderName| {
            **name == header::COOKIE || policy::is_credential(self.policy(), name)
        };
        match self.has_identity() {
            true => names.filter(tells).collect(),
            false => Vec::new(),
        }
    }

    /// True for a POST whose answers are stored by what it asks with.
    pub fn is_stored_by_body(&self) -> bool {
        self.ask.keyed_up_to_bytes().is_some()
    }

    /// The stored responses that this request may see: those of others are not among them.
    pub fn visible(&self) -> impl Iterator<Item = &Entry> {
        let identity = self.ask.key.identity;
        let variants = self.known.found.variants().map(|entry| &**entry);
        variants.filter(move |entry| match entry.head().audience() {
            Audience::Everyone => true,
            Audience::Partition => entry.head().partition() == identity,
        })
    }

    /// The variant with this index.
    pub fn variant(&self, index: usize) -> Option<&Entry> {
        self.known.found.variants().nth(index).map(|entry| &**entry)
    }

    /// True when neither anything is stored for it nor is known why the last answer was not.
    pub fn is_unknown(&self) -> bool {
        !self.is_stored_by_body() && self.known.refused.is_none() && self.visible().next().is_none()
    }

    /// Whether this variant would be served if the origin could not be asked about it; the error says what forbids it.
    pub fn if_origin_fails(&self, index: usize, now: Time) -> Option<Result<(), Reason>> {
        let head = self.variant(index)?.head();
        let failure = OriginFailure::Unreachable;
        let view = self.ask.view();
        Some(policy::may_serve_stale(
            self.policy(),
            &view,
            head,
            failure,
            now,
        ))
    }

    /// What a client gets of this variant.
    pub fn answer(&self, entry: &Entry) -> ResponseForm {
        policy::response_form(
            &self.ask.view(),
            entry.head(),
            Some(entry.body().len_bytes()),
        )
    }
}
