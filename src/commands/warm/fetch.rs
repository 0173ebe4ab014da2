//! The requests to the proxy's port, sent as any client sends them.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use actix_web::http::{
    Method, StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use caching_proxy::{
    control::Instance,
    origin::{
        Destination, Expectation, MAX_PAUSE, Origin, OriginConfig, OriginError, OriginErrorKind,
        OriginRequest, OriginResponse, OriginUrl, RequestBody, insecure_tls_config,
    },
};
use futures_util::StreamExt as _;

use super::{
    WarmError,
    retry_after::{PutOff, RetryWaits, is_hit},
};

const USER_AGENT: &str = concat!("caching-proxy/", env!("CARGO_PKG_VERSION"), " (warm)");
/// Headers of the connection, and headers that request less than the complete response.
const REFUSED_FIELDS: &[HeaderName] = &[
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    header::RANGE,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// The outcome of one path.
#[derive(Debug)]
pub(super) enum FetchOutcome {
    /// It was a hit.
    AlreadyStored { bytes: u64 },
    /// It came from the origin, and is stored now.
    StoredNow { bytes: u64 },
    /// It came from the origin and is not stored, for the reason with this short name.
    NotStored { bytes: u64, reason: String },
    /// There is no complete response, or its status is 400 or higher.
    Failed { status: Option<u16>, error: String },
    /// The proxy no longer accepts connections.
    Gone(String),
}

/// Sends requests to the proxy; clones share its connections.
#[derive(Clone)]
pub(super) struct Fetcher {
    proxy: Origin,
    fields: Rc<HeaderMap>,
    limit: Duration,
    waits: Rc<RetryWaits>,
}

/// A try to fetch something.
enum Tried<T> {
    Done(T),
    PutOff(PutOff),
}

impl Fetcher {
    pub(super) fn new(
        instance: &Instance,
        fields: HeaderMap,
        limit: Duration,
        concurrency: u16,
    ) -> Result<Self, WarmError> {
        let host = match instance.bind {
            ip if !ip.is_unspecified() => ip,
            std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        let url = match instance.https_port {
            None => format!("http://{}", SocketAddr::new(host, instance.port)),
            Some(port) => format!("https://{}", SocketAddr::new(host, port)),
        };
        let mut destination = Destination::direct(OriginUrl::parse(&url).map_err(WarmError::Site)?);
        if instance.https_port.is_some() {
            // The control socket has said where the proxy is. Its certificate need not name this address.
            let tls =
                insecure_tls_config().map_err(|error| WarmError::Start(io::Error::other(error)))?;
            destination.tls = Some(tls);
        }
        let config = OriginConfig::new(destination, limit, usize::from(concurrency));
        let proxy = Origin::new(config);
        Ok(Self {
            proxy,
            fields: Rc::new(fields),
            limit,
            waits: Rc::new(RetryWaits::new()),
        })
    }

    /// How long requests have waited because of Retry-After.
    pub(super) fn waited(&self) -> Duration {
        self.waits.waited()
    }

    /// Fetches a target completely, and drops the body.
    pub(super) async fn warm(&self, target: &str) -> FetchOutcome {
        let fetched = self.patiently(async || self.try_warm(target).await).await;
        fetched.unwrap_or_else(|failed| failed)
    }

    /// Tries again, after the time that Retry-After asks for, while that may help.
    async fn patiently<T>(&self, attempt: impl AsyncFn() -> Tried<T>) -> Result<T, FetchOutcome> {
        loop {
            let _turn = self.waits.turn().await;
            match attempt().await {
                Tried::Done(done) => {
                    self.waits.responded();
                    return Ok(done);
                }
                Tried::PutOff(PutOff { wait, .. }) if self.waits.put_off(wait) => {}
                Tried::PutOff(PutOff { status, wait }) => {
                    let limit = humantime::format_duration(MAX_PAUSE);
                    let (status_text, wait) = (in_words(status), wait.as_secs());
                    let error = format!(
                        "{status_text}, wants a request in {wait} s; warm waits for {limit} at most"
                    );
                    return Err(FetchOutcome::Failed {
                        status: Some(status.as_u16()),
                        error,
                    });
                }
            }
        }
    }

    async fn try_warm(&self, target: &str) -> Tried<FetchOutcome> {
        let whole = async {
            let response = self.ask(target, HeaderMap::clone(&self.fields)).await?;
            let OriginResponse {
                status,
                headers,
                mut body,
                ..
            } = response;
            let mut bytes = 0;
            while let Some(piece) = body.next().await {
                bytes += piece?.len() as u64;
            }
            Ok(match PutOff::of(status, &headers) {
                Some(put_off) => Tried::PutOff(put_off),
                None => Tried::Done(judge(status, &headers, bytes)),
            })
        };
        match tokio::time::timeout(self.limit, whole).await {
            Ok(Ok(tried)) => tried,
            Ok(Err(error)) if is_gone(&error) => {
                Tried::Done(FetchOutcome::Gone(error.plain_reason()))
            }
            Ok(Err(error)) => Tried::Done(self.failed(&error)),
            Err(_) => Tried::Done(FetchOutcome::Failed {
                status: None,
                error: self.too_slow(),
            }),
        }
    }

    /// Fetches a target of at most `max_bytes` bytes without a content coding, and returns its body.
    pub(super) async fn document(
        &self,
        target: &str,
        max_bytes: usize,
    ) -> Result<Vec<u8>, FetchOutcome> {
        let attempt = async || match self.try_document(target, max_bytes).await {
            Ok(document) => Tried::Done(Ok(document)),
            Err(Tried::Done(failed)) => Tried::Done(Err(failed)),
            Err(Tried::PutOff(put_off)) => Tried::PutOff(put_off),
        };
        self.patiently(attempt).await?
    }

    async fn try_document(
        &self,
        target: &str,
        max_bytes: usize,
    ) -> Result<Vec<u8>, Tried<FetchOutcome>> {
        let failed = |status: Option<StatusCode>, error: String| {
            Tried::Done(FetchOutcome::Failed {
                status: status.map(|status| status.as_u16()),
                error,
            })
        };
        let mut fields = HeaderMap::clone(&self.fields);
        fields.remove(header::ACCEPT_ENCODING);
        let whole = async {
            let mut response = match self.ask(target, fields).await {
                Ok(response) => response,
                Err(error) if is_gone(&error) => {
                    return Err(Tried::Done(FetchOutcome::Gone(error.plain_reason())));
                }
                Err(error) => return Err(Tried::Done(self.failed(&error))),
            };
            if let Some(put_off) = PutOff::of(response.status, &response.headers) {
                return Err(Tried::PutOff(put_off));
            }
            if response.status != StatusCode::OK {
                let to = response.headers.get(header::LOCATION);
                let to = to.and_then(|to| to.to_str().ok());
                let to = to.map_or_else(String::new, |to| format!(", to {to}"));
                return Err(failed(
                    Some(response.status),
                    in_words(response.status) + &to,
                ));
            }
            let mut whole = Vec::new();
            while let Some(piece) = response.body.next().await {
                let piece = piece.map_err(|error| Tried::Done(self.failed(&error)))?;
                whole.extend_from_slice(&piece);
                if whole.len() > max_bytes {
                    return Err(failed(None, format!("it is larger than {max_bytes} bytes")));
                }
            }
            Ok(whole)
        };
        match tokio::time::timeout(self.limit, whole).await {
            Ok(document) => document,
            Err(_) => Err(failed(None, self.too_slow())),
        }
    }

    async fn ask(&self, target: &str, headers: HeaderMap) -> Result<OriginResponse, OriginError> {
        let request = OriginRequest {
            method: Method::GET,
            target: target.to_owned(),
            headers: headers.into(),
            body: RequestBody::Empty,
            expectation: Expectation::Nothing,
            interim: None,
        };
        self.proxy.forward(request).await
    }

    /// The errors speak of the origin; for this client that is the proxy.
    fn failed(&self, error: &OriginError) -> FetchOutcome {
        let error = match error.kind() {
            OriginErrorKind::Timeout => self.too_slow(),
            OriginErrorKind::Cut => "the response is incomplete".to_owned(),
            OriginErrorKind::Malformed => "the response is not valid HTTP".to_owned(),
            OriginErrorKind::Busy => "too many connections are open".to_owned(),
            OriginErrorKind::Unreachable
            | OriginErrorKind::Limited
            | OriginErrorKind::Paused
            | OriginErrorKind::Offline
            | OriginErrorKind::Upload => error.plain_reason(),
        };
        FetchOutcome::Failed {
            status: None,
            error,
        }
    }

    fn too_slow(&self) -> String {
        format!(
            "no complete response within {}",
            humantime::format_duration(self.limit)
        )
    }
}

fn is_gone(error: &OriginError) -> bool {
    error.kind() == OriginErrorKind::Unreachable
}

/// The outcome of a complete response. Every status from 400 on is a failure, even if the response is cached: a listed page
/// is expected to exist.
fn judge(status: StatusCode, headers: &HeaderMap, bytes: u64) -> FetchOutcome {
    if status.as_u16() >= 400 {
        return FetchOutcome::Failed {
            status: Some(status.as_u16()),
            error: in_words(status),
        };
    }
    if is_hit(headers) {
        return FetchOutcome::AlreadyStored { bytes };
    }
    // The proxy's own member is the last.
    let line = headers.get_all("cache-status").last();
    let Some(line) = line.and_then(|line| line.to_str().ok()) else {
        let reason = "unknown".to_owned();
        return FetchOutcome::NotStored { bytes, reason };
    };
    let mut words = line.split(';').map(str::trim);
    // A request that shared another's fetch is served only what that fetch stores.
    if words
        .clone()
        .any(|word| matches!(word, "stored" | "collapsed"))
    {
        return FetchOutcome::StoredNow { bytes };
    }
    match words.find_map(|word| word.strip_prefix("detail=")) {
        // Its head was sent before its body had arrived. These say why it was forwarded.
        None | Some("own-partition" | "related-change") => FetchOutcome::StoredNow { bytes },
        Some(reason) => FetchOutcome::NotStored {
            bytes,
            reason: reason.to_owned(),
        },
    }
}

fn in_words(status: StatusCode) -> String {
    let reason = status.canonical_reason().unwrap_or_default();
    format!("{} {reason}", status.as_u16())
        .trim_end()
        .to_owned()
}

/// The headers of every request.
pub(super) fn fields(given: &[String]) -> Result<HeaderMap, WarmError> {
    let mut fields = HeaderMap::new();
    for line in given {
        let Some((name, value)) = line.split_once(':') else {
            return Err(WarmError::NoField);
        };
        let name = name.trim();
        let bad = || WarmError::BadField(name.chars().take(60).collect());
        let value = HeaderValue::from_str(value.trim()).map_err(|_| bad())?;
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        if REFUSED_FIELDS.contains(&name) {
            return Err(WarmError::RefusedField(name.to_string()));
        }
        fields.append(name, value);
    }
    for (name, value) in [(header::USER_AGENT, USER_AGENT), (header::ACCEPT, "*/*")] {
        if !fields.contains_key(&name) {
            fields.insert(name, HeaderValue::from_static(value));
        }
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, fields: &[(&'static str, &'static str)]) -> FetchOutcome {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        judge(StatusCode::from_u16(status).unwrap(), &headers, 7)
    }

    #[test]
    fn the_cache_status_of_the_proxy_is_used_and_not_that_of_other_caches() {
        let behind = ("cache-status", "other; hit; stored");
        let miss = ("x-cache", "MISS");
        let stored = (
            "cache-status",
            "caching-proxy; fwd=uri-miss; fwd-status=200; stored",
        );
        let not = (
            "cache-status",
            "caching-proxy; fwd=uri-miss; detail=no-store",
        );
        assert!(matches!(
            judged(200, &[behind, ("x-cache", "HIT")]),
            FetchOutcome::AlreadyStored { bytes: 7 }
        ));
        assert!(matches!(
            judged(301, &[behind, miss, stored]),
            FetchOutcome::StoredNow { bytes: 7 }
        ));
        assert!(
            matches!(judged(200, &[behind, miss, not]), FetchOutcome::NotStored { reason, .. } if reason == "no-store")
        );
        assert!(
            matches!(judged(200, &[miss]), FetchOutcome::NotStored { reason, .. } if reason == "unknown")
        );
        assert!(matches!(
            judged(404, &[("x-cache", "HIT")]),
            FetchOutcome::Failed {
                status: Some(404),
                ..
            }
        ));
    }

    #[test]
    fn headers_that_request_less_than_the_whole_are_refused() {
        let given = |line: &str| fields(&[line.to_owned()]);
        let fields = given("cookie: a=b: c ").unwrap();
        assert_eq!(fields.get("cookie").unwrap(), "a=b: c");
        assert!(fields.contains_key("user-agent"));
        for line in ["Range: bytes=0-1", "if-none-match: *", "Connection: close"] {
            assert!(
                matches!(given(line), Err(WarmError::RefusedField(_))),
                "{line}"
            );
        }
        assert!(matches!(
            given("Authorization secret"),
            Err(WarmError::NoField)
        ));
        for line in ["a b: c", ": c", "a: b\nc: d"] {
            assert!(matches!(given(line), Err(WarmError::BadField(_))), "{line}");
        }
    }
}
