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
    outcome::{FetchOutcome, in_words, judge},
    retry_after::{PutOff, RetryWaits},
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

/// Sends requests to the proxy; clones share its connections.
#[derive(Clone)]
pub(super) struct Fetcher {
    proxy: Origin,
    /// The same proxy over HTTPS, if it serves both: the origin may make another response for such requests, so they are
    /// stored apart. Else `None`.
    over_https: Option<Origin>,
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
        let proxy = |scheme: &str, port: u16| -> Result<Origin, WarmError> {
            let url = format!("{scheme}://{}", SocketAddr::new(host, port));
            let url = OriginUrl::parse(&url).map_err(WarmError::Site)?;
            let mut destination = Destination::direct(url);
            if destination.url.is_tls() {
                // The control socket has said where the proxy is. Its certificate need not name this address.
                let tls = insecure_tls_config();
                destination.tls =
                    Some(tls.map_err(|error| WarmError::Start(io::Error::other(error)))?);
            }
            let config = OriginConfig::new(destination, limit, usize::from(concurrency));
            Ok(Origin::new(config))
        };
        let (proxy, over_https) = match instance.https_port {
            None => (proxy("http", instance.port)?, None),
            Some(port) if instance.requires_https => (proxy("https", port)?, None),
            Some(port) => (proxy("http", instance.port)?, Some(proxy("https", port)?)),
        };
        Ok(Self {
            proxy,
            over_https,
            fields: Rc::new(fields),
            limit,
            waits: Rc::new(RetryWaits::new()),
        })
    }

    /// How long requests have waited because of Retry-After.
    pub(super) fn waited(&self) -> Duration {
        self.waits.waited()
    }

    /// Fetches a target completely, with and without TLS if the proxy serves both, and drops the body.
    pub(super) async fn warm(&self, target: &str) -> FetchOutcome {
        let outcome = self.warm_over(&self.proxy, target).await;
        match &self.over_https {
            Some(proxy) if outcome.is_stored() => outcome.and(self.warm_over(proxy, target).await),
            _ => outcome,
        }
    }

    async fn warm_over(&self, proxy: &Origin, target: &str) -> FetchOutcome {
        let attempt = async || self.try_warm(proxy, target).await;
        let fetched = self.patiently(attempt).await;
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

    async fn try_warm(&self, proxy: &Origin, target: &str) -> Tried<FetchOutcome> {
        let whole = async {
            let response = ask(proxy, target, HeaderMap::clone(&self.fields)).await?;
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
            let mut response = match ask(&self.proxy, target, fields).await {
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
                // Beyond ASCII there are letters that control a terminal.
                let to = response.headers.get(&header::LOCATION);
                let to = to.filter(|to| to.is_ascii());
                let to = to.and_then(|to| str::from_utf8(to).ok());
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

async fn ask(
    proxy: &Origin,
    target: &str,
    headers: HeaderMap,
) -> Result<OriginResponse, OriginError> {
    let request = OriginRequest {
        method: Method::GET,
        target: target.to_owned(),
        headers: headers.into(),
        body: RequestBody::Empty,
        expectation: Expectation::Nothing,
        interim: None,
    };
    proxy.forward(request).await
}

fn is_gone(error: &OriginError) -> bool {
    error.kind() == OriginErrorKind::Unreachable
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
