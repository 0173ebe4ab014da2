//! One log line a request.

mod client;
mod fields;

use std::{
    borrow::Cow,
    cell::{Cell, OnceCell},
    fmt::Write as _,
    time::Instant,
};

use actix_web::{HttpRequest, http::StatusCode};
use log::{Level, Record};

use self::client::ClientInfo;
use crate::{
    clock,
    headers::{CacheStatus, RequestOutcome, StoreOutcome, XCache},
    mask::{cut, masked},
    observe::{FinishedRequest, RequestFeed},
    policy::{Mode, Reason},
    proxy::request::forwarded::{ForwardedRequest, target},
};

/// Where access lines go; `RUST_LOG=caching_proxy::access=off` silences them.
const TARGET: &str = "caching_proxy::access";
/// A method is logged up to this many characters.
const MAX_METHOD_CHARS: usize = 32;

/// What a request has come to; logged when the answer has left, or could not.
#[derive(Debug)]
pub(crate) struct AccessLogEntry {
    began: Instant,
    method: String,
    target: String,
    mode: Mode,
    /// The patterns of the rule in force.
    rule: Option<String>,
    /// What would have led to another end, once somebody wants to know.
    remedy: OnceCell<Option<Cow<'static, str>>>,
    /// None: the client went away before there was an answer.
    status: Option<StatusCode>,
    cache_status: Option<CacheStatus>,
    problem: Option<String>,
    not_stored: Cell<Option<Reason>>,
    sent_bytes: Cell<u64>,
    fate: Cell<Fate>,
    /// Where the format of the log shows it.
    client: Option<Box<ClientInfo>>,
    /// Where those who watch are told.
    feed: Option<RequestFeed>,
}

/// Whether the answer left whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The client went away or took nothing for too long, or this process ended.
    Unfinished,
    /// It left whole.
    Whole,
    /// It shared a fetch that did not wait for so slow a client.
    TooSlow,
    /// The origin cut it short, so the client's connection was cut as well.
    Cut,
}

impl AccessLogEntry {
    /// None: nobody wants to read of requests that go well.
    pub(crate) fn begin(
        request: &HttpRequest,
        mode: Mode,
        feed: Option<&RequestFeed>,
    ) -> Option<Self> {
        let is_wanted = feed.is_some() || log::log_enabled!(target: TARGET, Level::Info);
        is_wanted.then(|| Self::new(request, mode, feed))
    }

    pub(crate) fn new(request: &HttpRequest, mode: Mode, feed: Option<&RequestFeed>) -> Self {
        let target = target(request).unwrap_or_else(|_| request.uri().to_string());
        Self {
            began: Instant::now(),
            method: cut(request.method().as_str(), MAX_METHOD_CHARS).into_owned(),
            target: masked(&target).into_owned(),
            mode,
            rule: None,
            remedy: OnceCell::new(),
            status: None,
            cache_status: None,
            problem: None,
            not_stored: Cell::new(None),
            sent_bytes: Cell::new(0),
            fate: Cell::new(Fate::Unfinished),
            client: None,
            feed: feed.cloned(),
        }
    }

    /// Also says who asked.
    pub(crate) fn asked_by(&mut self, request: &HttpRequest) {
        let client = ClientInfo::new(request, &self.method, &self.target);
        self.client = Some(Box::new(client));
    }

    pub(crate) fn judged_by(&mut self, ask: &ForwardedRequest) {
        self.mode = ask.policy().mode;
        self.rule = ask.rule_patterns();
    }

    pub(crate) fn answered(
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

    fn line(&self) -> String {
        let source = self
            .cache_status
            .map_or(XCache::Miss, |cache_status| cache_status.x_cache);
        let mut line = format!(
            "{} {} {} {} {}ms {}B",
            source.as_str(),
            self.status
                .map_or("-".into(), |status| status.as_u16().to_string()),
            self.method,
            self.target,
            self.began.elapsed().as_millis(),
            self.sent_bytes.get(),
        );
        if source == XCache::Miss {
            self.explain(&mut line);
        }
        let is_validated = self
            .cache_status
            .is_some_and(|cache_status| cache_status.why.is_some());
        if source == XCache::Hit && is_validated && self.problem.is_none() {
            line.push_str("  validated");
            if let Some(reason) = self.not_reused() {
                let _ = write!(line, ": {reason}");
            }
        }
        if let Some(problem) = &self.problem {
            let _ = write!(line, "  {problem}");
        }
        match self.fate.get() {
            Fate::Whole => {}
            Fate::TooSlow => line.push_str("  cut: too slow for the fetch it shared"),
            Fate::Cut => line.push_str("  cut short by the origin"),
            Fate::Unfinished => line.push_str("  not sent to its end"),
        }
        line
    }

    fn explain(&self, line: &mut String) {
        let storing = self.cache_status.map(|cache_status| cache_status.store);
        match (self.why_not_stored(), storing) {
            (Some(reason), _) => {
                let _ = write!(line, "  not stored: {reason}");
                self.add_remedy(line);
            }
            (None, Some(StoreOutcome::Collapsed)) => {
                line.push_str("  shared another request's fetch")
            }
            (None, _) => {
                if let Some(reason) = self.not_reused() {
                    let _ = write!(line, "  not reused: {reason}");
                    self.add_remedy(line);
                }
            }
        }
    }

    fn add_remedy(&self, line: &mut String) {
        if let Some(remedy) = self.remedy() {
            let _ = write!(line, " ({remedy})");
        }
    }

    /// What would change it.
    fn remedy(&self) -> Option<&str> {
        let remedy = self.remedy.get_or_init(|| {
            let reason = self.reason()?;
            reason.remedy_under(self.mode, self.rule.as_deref())
        });
        remedy.as_deref()
    }

    fn reason(&self) -> Option<Reason> {
        self.why_not_stored().or(self.not_reused())
    }

    fn why_not_stored(&self) -> Option<Reason> {
        self.not_stored.get().or(
            match self.cache_status.map(|cache_status| cache_status.store) {
                Some(StoreOutcome::NotStored(reason)) => Some(reason),
                _ => None,
            },
        )
    }

    /// The same for those who watch.
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
                (_, Some(reason)) => Some(reason.as_str()),
                _ => forward.map(|why| why.reason.as_str()),
            },
            remedy: self.remedy().map(str::to_owned),
            problem: self.problem.clone(),
            millis: u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX),
            bytes: self.sent_bytes.get(),
        }
    }

    /// What kept a stored response from being used as it was.
    fn not_reused(&self) -> Option<Reason> {
        self.cache_status
            .and_then(|cache_status| cache_status.why)
            .and_then(|why| why.detail)
    }
}

/// Logs an answer to what could not be read as a request, so that neither method nor target is known.
pub fn log_unread(status: StatusCode, problem: &str) {
    drop(AccessLogEntry {
        began: Instant::now(),
        method: "-".to_owned(),
        target: "-".to_owned(),
        mode: Mode::default(),
        rule: None,
        remedy: OnceCell::new(),
        status: Some(status),
        cache_status: Some(CacheStatus::own_response()),
        problem: Some(problem.to_owned()),
        not_stored: Cell::new(None),
        sent_bytes: Cell::new(0),
        fate: Cell::new(Fate::Whole),
        client: None,
        feed: None,
    });
}

impl Drop for AccessLogEntry {
    fn drop(&mut self) {
        if let Some(feed) = &self.feed {
            feed.tell(self.seen());
        }
        let is_failure =
            self.problem.is_some() && self.status.is_some_and(|status| status.is_server_error());
        let level = if is_failure { Level::Warn } else { Level::Info };
        if log::log_enabled!(target: TARGET, level) {
            let line = self.line();
            log::logger().log(
                &Record::builder()
                    .args(format_args!("{line}"))
                    .level(level)
                    .target(TARGET)
                    .key_values(self)
                    .build(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_that_was_not_stored_says_why_and_what_would_change_it() {
        let mut access = AccessLogEntry {
            began: Instant::now(),
            method: "GET".into(),
            target: "/me".into(),
            mode: Mode::Standard,
            rule: None,
            remedy: OnceCell::new(),
            status: None,
            cache_status: None,
            problem: None,
            not_stored: Cell::new(None),
            sent_bytes: Cell::new(7),
            fate: Cell::new(Fate::Whole),
            client: None,
            feed: None,
        };
        let storing = StoreOutcome::NotStored(Reason::NoStore);
        access.answered(
            StatusCode::OK,
            CacheStatus::miss(crate::policy::ForwardReason::UriMiss.into(), None, storing),
            None,
        );
        let line = access.line();
        assert!(line.starts_with("MISS 200 GET /me "), "{line}");
        assert!(
            line.ends_with("ms 7B  not stored: no-store (--policy always keeps it)"),
            "{line}"
        );
    }
}
