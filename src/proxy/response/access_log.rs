//! The access log: one line for each request.

mod client;
mod fields;
mod text;
mod tunnel;

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell},
    net::IpAddr,
    time::Instant,
};

use actix_web::{HttpRequest, http::StatusCode};
use log::{Level, Record};

use self::{client::ClientInfo, tunnel::TunnelFigures};
use crate::{
    clock,
    config::{Config, LogFormat},
    headers::{CacheStatus, RequestOutcome, StoreOutcome, XCache},
    mask::{cut, masked},
    observe::{FinishedRequest, RequestFeed},
    policy::{IdentityParts, Mode, Reason, Remedy},
    proxy::request::{forwarded::ForwardedRequest, request_id::RequestId, target::target},
};

/// Where access lines go; `RUST_LOG=caching_proxy::access=off` silences them.
const TARGET: &str = "caching_proxy::access";
/// A method is logged up to this many characters.
const MAX_METHOD_CHARS: usize = 32;

/// The log entry of a request. It is written when it is dropped: when the response is sent, or cannot be.
#[derive(Debug)]
pub(crate) struct AccessLogEntry {
    began: Instant,
    method: String,
    target: String,
    mode: Mode,
    /// The patterns of the rule in force.
    rule: Option<String>,
    /// The origin of the request. `None` if there is one origin only, or if the request took the shortest way to a hit.
    origin: Option<String>,
    /// What makes the identity of a request that missed for it; `None` if it did not.
    identity: Option<Box<IdentityParts>>,
    /// The names of the cookies for which the response is not stored; empty if that is not the reason.
    cookies: Vec<String>,
    /// What would have changed the outcome; unset until it is needed.
    remedy: OnceCell<Option<Cow<'static, str>>>,
    /// `None` if the client left before there was a response.
    status: Option<StatusCode>,
    cache_status: Option<CacheStatus>,
    problem: Option<String>,
    not_stored: Cell<Option<Reason>>,
    sent_bytes: Cell<u64>,
    fate: Cell<Fate>,
    /// `None` if the request has opened no tunnel.
    tunnel: Cell<Option<TunnelFigures>>,
    /// The address of the client; `None` if it is not known.
    address: Option<IpAddr>,
    /// `None` if requests have none.
    request_id: Option<String>,
    /// `None` if the format of the log does not show that.
    client: Option<Box<ClientInfo>>,
    /// Receives the entry for the dashboard; `None` without one.
    feed: Option<RequestFeed>,
}

/// How the transfer of a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The client disconnected or read nothing for too long, or this process ended.
    Unfinished,
    /// It was sent whole.
    Whole,
    /// The client was too slow for the fetch that it shared.
    TooSlow,
    /// The origin cut the body, so the client's connection was cut too.
    Cut,
}

impl AccessLogEntry {
    /// The entry of a request that begins and may be logged at `level`; `None` if requests are neither logged at that
    /// level nor shown.
    pub(crate) fn begin(
        request: &HttpRequest,
        config: &Config,
        feed: Option<&RequestFeed>,
        level: Level,
    ) -> Option<Box<Self>> {
        let is_wanted = feed.is_some() || log::log_enabled!(target: TARGET, level);
        is_wanted.then(|| Box::new(Self::new(request, config, feed)))
    }

    fn new(request: &HttpRequest, config: &Config, feed: Option<&RequestFeed>) -> Self {
        let target = target(request).unwrap_or_else(|_| request.uri().to_string().into());
        let method = cut(request.method().as_str(), MAX_METHOD_CHARS).into_owned();
        let mut entry = Self::of(method, masked(&target).into_owned());
        entry.mode = config.policy.mode;
        entry.feed = feed.cloned();
        entry.address = client::address(request, config);
        entry.request_id = RequestId::of(request, config).map(|id| id.text());
        if config.log_format == LogFormat::Combined {
            let client = ClientInfo::new(request, (&entry.method, &entry.target));
            entry.client = Some(Box::new(client));
        }
        entry
    }

    /// The entry of a request that the handler does not get. `request` is its method and target; `None` if they are not
    /// known. `peer` has sent it.
    pub(crate) fn refused(
        request: Option<(&str, &str)>,
        peer: Option<IpAddr>,
        feed: Option<RequestFeed>,
    ) -> Self {
        let (method, target) = request.unwrap_or(("-", "-"));
        let method = cut(method, MAX_METHOD_CHARS).into_owned();
        let mut entry = Self::of(method, masked(target).into_owned());
        entry.address = peer;
        entry.feed = feed;
        entry
    }

    /// Notes the id of a request that the handler does not get.
    pub(crate) fn set_request_id(&mut self, id: &RequestId) {
        self.request_id = Some(id.text());
    }

    fn of(method: String, target: String) -> Self {
        Self {
            began: Instant::now(),
            method,
            target,
            mode: Mode::default(),
            rule: None,
            origin: None,
            identity: None,
            cookies: Vec::new(),
            remedy: OnceCell::new(),
            status: None,
            cache_status: None,
            problem: None,
            not_stored: Cell::new(None),
            sent_bytes: Cell::new(0),
            fate: Cell::new(Fate::Unfinished),
            tunnel: Cell::new(None),
            address: None,
            request_id: None,
            client: None,
            feed: None,
        }
    }

    /// Notes the rule and the policy that decide about the request.
    pub(crate) fn set_rule(&mut self, forwarded: &ForwardedRequest) {
        self.mode = forwarded.policy().mode;
        self.rule = forwarded.rule_patterns();
    }

    /// Notes the origin of the request, if there are several.
    pub(crate) fn set_origin(&mut self, forwarded: &ForwardedRequest) {
        self.origin = forwarded.asked_origin().map(ToString::to_string);
    }

    /// Notes what makes the identity of a request for which nothing was stored.
    pub(crate) fn set_identity(&mut self, parts: IdentityParts) {
        self.identity = Some(Box::new(parts));
    }

    /// Notes the cookies for which the response is not stored.
    pub(crate) fn set_cookies(&mut self, names: Vec<String>) {
        self.cookies = names;
    }

    pub(crate) fn responded(
        &mut self,
        status: StatusCode,
        cache_status: CacheStatus,
        problem: Option<String>,
    ) {
        self.status = Some(status);
        self.cache_status = Some(cache_status);
        self.problem = problem;
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.sent_bytes.set(self.sent_bytes.get() + bytes as u64);
    }

    pub(crate) fn ended(&self, fate: Fate) {
        self.fate.set(fate);
    }

    pub(crate) fn fate(&self) -> Fate {
        self.fate.get()
    }

    pub(crate) fn not_stored(&self, reason: Reason) {
        self.not_stored.set(Some(reason));
    }

    /// A failed request and a body that the origin has cut are warnings.
    fn level(&self) -> Level {
        let is_failure = self.problem.is_some()
            && self.status.is_some_and(|status| {
                // A 505 of the proxy's own is about the client.
                status.is_server_error() && status != StatusCode::HTTP_VERSION_NOT_SUPPORTED
            });
        match is_failure || self.fate.get() == Fate::Cut {
            true => Level::Warn,
            false => Level::Info,
        }
    }

    /// Where the body of the response came from.
    fn source(&self) -> XCache {
        self.cache_status
            .map_or(XCache::Miss, |cache_status| cache_status.x_cache)
    }

    /// How long the request has taken, in milliseconds.
    fn millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// What would change the outcome; `None` if nothing would.
    fn remedy(&self) -> Option<&str> {
        let remedy = self.remedy.get_or_init(|| {
            let reason = self.reason()?;
            if let (Reason::OwnPartition, Some(parts)) = (reason, &self.identity) {
                return Some(parts.remedy().into());
            }
            if reason == Reason::SetCookie {
                return Some(Remedy::ignore_cookies(&self.cookies).into());
            }
            let path = self.target.split('?').next().unwrap_or_default();
            let remedy = reason.remedy(self.mode)?;
            Some(remedy.text(path, self.rule.as_deref()))
        });
        remedy.as_deref()
    }

    fn reason(&self) -> Option<Reason> {
        let remark = self.cache_status.and_then(|status| status.remark);
        self.why_not_stored().or(self.not_reused()).or(remark)
    }

    fn why_not_stored(&self) -> Option<Reason> {
        self.not_stored.get().or(
            match self.cache_status.map(|cache_status| cache_status.store) {
                Some(StoreOutcome::NotStored(reason)) => Some(reason),
                _ => None,
            },
        )
    }

    /// The entry as the dashboard shows it.
    fn seen(&self) -> FinishedRequest {
        let outcome = self.cache_status.map(|cache_status| cache_status.outcome);
        let reason = self.reason();
        let forward = self.cache_status.and_then(|cache_status| cache_status.why);
        FinishedRequest {
            at: clock::now(),
            method: self.method.clone(),
            target: self.target.clone(),
            status: self.status.map(|status| status.as_u16()),
            outcome: outcome.map_or("left", RequestOutcome::as_str),
            reason: match (outcome, reason) {
                (Some(RequestOutcome::Failed(name)), _) => Some(name),
                (Some(RequestOutcome::Tunnel), _) => self.tunnel.get().map(TunnelFigures::state),
                (_, Some(reason)) => Some(reason.as_str()),
                _ => forward.map(|why| why.reason.as_str()),
            },
            remedy: self.remedy().map(str::to_owned),
            problem: self.problem.clone(),
            millis: self.millis(),
            bytes: self.sent_bytes.get(),
        }
    }

    /// Why a stored response was not reused; `None` if there was none, or it was.
    fn not_reused(&self) -> Option<Reason> {
        self.cache_status
            .and_then(|cache_status| cache_status.why)
            .and_then(|why| why.detail)
    }
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        if let Some(feed) = &self.feed {
            feed.tell(self.seen());
        }
        log::logger().log(
            &Record::builder()
                .args(format_args!("{self}"))
                .level(self.level())
                .target(TARGET)
                .key_values(self)
                .build(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_that_is_not_stored_says_why_and_what_would_change_that() {
        let mut access = AccessLogEntry::of("GET".into(), "/me".into());
        access.mode = Mode::Standard;
        access.sent(7);
        access.ended(Fate::Whole);
        let storing = StoreOutcome::NotStored(Reason::NoStore);
        access.responded(
            StatusCode::OK,
            CacheStatus::miss(crate::policy::ForwardReason::UriMiss.into(), None, storing),
            None,
        );
        let line = access.to_string();
        assert!(line.starts_with("MISS 200 GET /me "), "{line}");
        assert!(
            line.ends_with("ms 7B  not stored: no-store (policy = \"always\" in a [[rules]] entry for /me, or --policy always, caches it)"),
            "{line}"
        );
    }
}
