//! The fields a proxy takes away and those it writes, as pure functions.

use std::{borrow::Cow, fmt::Write as _, net::IpAddr};

use actix_web::http::{
    StatusCode,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};

pub use crate::policy::is_event_stream;
use crate::policy::{Forward, Reason};

const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const PROXY_AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("proxy-authentication-info");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Fields that concern one connection (RFC 9110, 7.6.1). Content-Length is among them because the message is framed
/// anew on the next connection.
const HOP_BY_HOP: [HeaderName; 11] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::PROXY_AUTHENTICATE,
    PROXY_AUTHENTICATION_INFO,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
];

/// Fields by which a client could shape an answer that others get (beside all of X-Forwarded-*): origins take them for
/// the word of a proxy.
const UNTRUSTED: [&str; 16] = [
    "forwarded",
    "front-end-https",
    // CGI makes HTTP_PROXY of it, by which the origin's own clients choose their proxy.
    "proxy",
    "true-client-ip",
    "x-client-ip",
    "x-forwarded",
    "x-host",
    "x-http-host-override",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-host",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-url-scheme",
];

/// The fields in which a request is introduced to the origin: never what the client sent.
pub const SET_BY_US: [HeaderName; 5] = [
    header::HOST,
    header::VIA,
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
];

/// How a request is introduced to the origin.
pub struct Introduction<'a> {
    /// The client's address.
    pub peer: Option<IpAddr>,
    /// The Host line.
    pub host: Host<'a>,
    /// Our own Via member.
    pub via: &'a HeaderValue,
}

/// Whose Host the origin gets to see.
pub enum Host<'a> {
    /// The origin's own.
    Origin(&'a HeaderValue),
    /// The client's.
    Client(&'a HeaderValue),
}

/// The client's fields as they are forwarded: without those that concern its connection or that it must not set, with
/// Host, Via, X-Forwarded-For and X-Forwarded-Proto.
pub fn forwarded(client: &HeaderMap, introduction: &Introduction<'_>) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(client.len() + 4);
    let named = named_in_connection(client);
    for (name, value) in client {
        if !is_hop_by_hop(name, &named)
            && !is_untrusted(name)
            && *name != header::HOST
            && *name != header::EXPECT
        {
            fields.append(name.clone(), value.clone());
        }
    }
    let host = match introduction.host {
        Host::Origin(host) => host,
        Host::Client(host) => {
            fields.insert(X_FORWARDED_HOST, host.clone());
            host
        }
    };
    fields.insert(header::HOST, host.clone());
    fields.append(header::VIA, introduction.via.clone());
    if let Some(peer) = introduction
        .peer
        .and_then(|peer| HeaderValue::try_from(peer.to_string()).ok())
    {
        fields.insert(X_FORWARDED_FOR, peer);
    }
    fields.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    fields
}

/// True for a field of a client that is forwarded as it came, unless Connection names it.
pub fn is_forwarded(name: &HeaderName) -> bool {
    !is_hop_by_hop(name, &[])
        && !is_untrusted(name)
        && !SET_BY_US.contains(name)
        && *name != header::EXPECT
}

/// Removes the fields that concern one connection only (RFC 9110, 7.6.1).
pub fn remove_hop_by_hop(fields: &mut HeaderMap) {
    let named = named_in_connection(fields);
    // Mostly there are none: to look for each in the map costs more than to look at each that is there.
    let found = fields.keys().filter(|name| is_hop_by_hop(name, &named));
    for name in found.cloned().collect::<Vec<_>>() {
        fields.remove(name);
    }
}

/// True when `fields` carry our own Via: the request has come round (RFC 9110, 7.6.3).
pub fn is_loop(fields: &HeaderMap, via: &HeaderValue) -> bool {
    let own = via.as_bytes();
    fields
        .get_all(header::VIA)
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .any(|member| member.trim_ascii() == own)
}

fn named_in_connection(fields: &HeaderMap) -> Vec<HeaderName> {
    fields
        .get_all(header::CONNECTION)
        .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| *name != header::CONNECTION)
        .collect()
}

fn is_hop_by_hop(name: &HeaderName, named: &[HeaderName]) -> bool {
    HOP_BY_HOP.contains(name) || named.contains(name)
}

fn hyphenated(name: &str) -> Cow<'_, str> {
    match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    }
}

fn is_untrusted(name: &HeaderName) -> bool {
    // Many origins can not tell the two spellings apart.
    let name = hyphenated(name.as_str());
    name.starts_with("x-forwarded-") || UNTRUSTED.contains(&&*name)
}

/// Where a body came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The cache, perhaps after the origin called it current.
    Hit,
    /// The origin.
    Miss,
}

impl Source {
    /// What X-Cache and the log say.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "HIT",
            Self::Miss => "MISS",
        }
    }
}

/// What a request came to, for those who count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A fresh stored response.
    Hit,
    /// A stored response that the origin called current.
    Validated,
    /// A stored response past its time.
    Stale,
    /// A response of the origin.
    Miss,
    /// A response of the origin that another request had asked for.
    Collapsed,
    /// An answer of the proxy's own, as was asked.
    Own,
    /// No answer of the origin or the cache: the short name of what went wrong.
    Failed(&'static str),
}

impl Outcome {
    /// The short name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Validated => "validated",
            Self::Stale => "stale",
            Self::Miss => "miss",
            Self::Collapsed => "collapsed",
            Self::Own => "own",
            Self::Failed(_) => "failed",
        }
    }
}

/// How a request was handled, for Cache-Status (RFC 9211).
#[derive(Clone, Copy, Debug)]
pub struct Handling {
    /// What it came to.
    pub outcome: Outcome,
    /// Where the body came from.
    pub source: Source,
    /// Why the request went forward; none: it did not.
    pub why: Option<Forward>,
    /// What the origin answered.
    pub forward_status: Option<StatusCode>,
    /// Whether the answer is kept.
    pub storing: Storing,
    /// Seconds it stays fresh; negative: seconds since it became stale.
    pub ttl_seconds: Option<i64>,
    /// What the stored response once took to fetch, in milliseconds, where that is not asked for again.
    pub spared_millis: u32,
}

/// Whether an answer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storing {
    /// It was not a matter of storing.
    Untouched,
    /// It is stored.
    Stored,
    /// Another request stores it, this one reads along.
    Collapsed,
    /// It is not, and why.
    NotStored(Reason),
}

impl Handling {
    /// Answered from the store without asking the origin.
    pub fn hit(ttl_seconds: Option<i64>) -> Self {
        Self {
            outcome: Outcome::Hit,
            source: Source::Hit,
            why: None,
            forward_status: None,
            storing: Storing::Untouched,
            ttl_seconds,
            spared_millis: 0,
        }
    }

    /// Answered by the proxy itself.
    pub fn refused() -> Self {
        Self {
            outcome: Outcome::Own,
            source: Source::Miss,
            ..Self::hit(None)
        }
    }

    /// Answered by the origin.
    pub fn miss(why: Forward, forward_status: Option<StatusCode>, storing: Storing) -> Self {
        Self {
            outcome: match storing {
                Storing::Collapsed => Outcome::Collapsed,
                _ => Outcome::Miss,
            },
            source: Source::Miss,
            why: Some(why),
            forward_status,
            storing,
            ttl_seconds: None,
            spared_millis: 0,
        }
    }

    /// What explains most: why the answer is not kept, else why what was kept was not used.
    pub fn detail(&self) -> Option<Reason> {
        match self.storing {
            Storing::NotStored(reason) => Some(reason),
            _ => self.why.and_then(|why| why.detail),
        }
    }

    /// Writes X-Cache and our member of Cache-Status, last of the list because we are nearest to the client.
    pub fn write(&self, fields: &mut HeaderMap) {
        fields.insert(X_CACHE, HeaderValue::from_static(self.source.as_str()));
        if let Ok(value) = HeaderValue::try_from(self.cache_status()) {
            fields.append(CACHE_STATUS, value);
        }
    }

    fn cache_status(&self) -> String {
        let mut line = String::from("caching-proxy");
        match (self.source, self.why) {
            (_, Some(why)) => {
                let _ = write!(line, "; fwd={}", why.reason.as_str());
            }
            (Source::Hit, None) => line.push_str("; hit"),
            (Source::Miss, None) => {}
        }
        if let Some(status) = self.forward_status {
            let _ = write!(line, "; fwd-status={}", status.as_u16());
        }
        if let Some(ttl) = self.ttl_seconds {
            let _ = write!(line, "; ttl={ttl}");
        }
        match self.storing {
            Storing::Untouched | Storing::NotStored(_) => {}
            Storing::Stored => line.push_str("; stored"),
            Storing::Collapsed => line.push_str("; collapsed"),
        }
        if let Some(reason) = self.detail() {
            let _ = write!(line, "; detail={reason}");
        }
        line
    }
}

/// Writes one field line of a message, the value byte for byte.
pub fn write_line(message: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
        message.extend_from_slice(part);
    }
}

/// Appends our own member to Via (RFC 9110, 7.6.3).
pub fn write_via(fields: &mut HeaderMap, via: &HeaderValue) {
    fields.append(header::VIA, via.clone());
}

/// Writes the one Age of a reused response (RFC 9111, 5.1).
pub fn write_age(fields: &mut HeaderMap, seconds: u64) {
    fields.insert(header::AGE, HeaderValue::from(seconds));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::ForwardReason;
    use proptest::prelude::*;

    fn map(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        map
    }

    fn forward(client: &HeaderMap) -> HeaderMap {
        let host = HeaderValue::from_static("origin.example");
        let via = HeaderValue::from_static("1.1 us");
        forwarded(
            client,
            &Introduction {
                peer: Some(IpAddr::from([192, 0, 2, 7])),
                host: Host::Origin(&host),
                via: &via,
            },
        )
    }

    fn all(fields: &HeaderMap, name: &str) -> Vec<String> {
        fields
            .get_all(name)
            .map(|value| value.to_str().unwrap().to_owned())
            .collect()
    }

    #[test]
    fn what_concerns_the_clients_connection_is_not_forwarded() {
        let fields = forward(&map(&[
            ("connection", "x-hop, close"),
            ("connection", "X-Other"),
            ("x-hop", "1"),
            ("x-other", "2"),
            ("keep-alive", "3"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("accept", "a"),
            ("accept", "b"),
        ]));
        let mut names: Vec<_> = fields.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept",
                "host",
                "via",
                "x-forwarded-for",
                "x-forwarded-proto"
            ]
        );
        assert_eq!(all(&fields, "accept"), ["a", "b"]);
    }

    #[test]
    fn what_a_client_must_not_set_is_replaced_or_dropped() {
        let fields = forward(&map(&[
            ("host", "evil.example"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-prefix", "/evil"),
            ("forwarded", "for=evil"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("x-http-host-override", "evil.example"),
            ("x-url-scheme", "https"),
            ("proxy", "http://evil.example"),
            ("x-http-method-override", "DELETE"),
            ("x-host", "evil.example"),
            ("x_forwarded_host", "evil.example"),
            ("x_original-url", "/admin"),
            ("x-real-ip", "10.0.0.1"),
        ]));
        assert_eq!(fields.keys().count(), 4);
        assert_eq!(all(&fields, "host"), ["origin.example"]);
        assert_eq!(all(&fields, "x-forwarded-for"), ["192.0.2.7"]);
    }

    #[test]
    fn a_preserved_host_is_said_twice() {
        let host = HeaderValue::from_static("client.example");
        let via = HeaderValue::from_static("1.1 us");
        let fields = forwarded(
            &map(&[("via", "1.0 fred")]),
            &Introduction {
                peer: None,
                host: Host::Client(&host),
                via: &via,
            },
        );
        assert_eq!(all(&fields, "host"), ["client.example"]);
        assert_eq!(all(&fields, "x-forwarded-host"), ["client.example"]);
        assert_eq!(all(&fields, "via"), ["1.0 fred", "1.1 us"]);
    }

    #[test]
    fn our_own_via_is_found_in_any_line_and_member() {
        let via = HeaderValue::from_static("1.1 us");
        assert!(is_loop(
            &map(&[("via", "1.0 fred"), ("via", "1.0 x,1.1 us , 1.1 y")]),
            &via
        ));
        assert!(!is_loop(&map(&[("via", "1.1 us2, 1.0 fred")]), &via));
    }

    #[test]
    fn cache_status_says_what_happened() {
        let mut fields = map(&[
            ("cache-status", "cdn; hit"),
            ("x-cache", "Hit from elsewhere"),
        ]);
        let handling = Handling::miss(
            ForwardReason::UriMiss.into(),
            Some(StatusCode::OK),
            Storing::Stored,
        );
        handling.write(&mut fields);
        assert_eq!(all(&fields, "x-cache"), ["MISS"]);
        assert_eq!(
            all(&fields, "cache-status"),
            [
                "cdn; hit",
                "caching-proxy; fwd=uri-miss; fwd-status=200; stored"
            ]
        );
        let mut fields = HeaderMap::new();
        Handling::hit(Some(-3)).write(&mut fields);
        assert_eq!(all(&fields, "x-cache"), ["HIT"]);
        assert_eq!(all(&fields, "cache-status"), ["caching-proxy; hit; ttl=-3"]);
        let mut fields = HeaderMap::new();
        Handling::refused().write(&mut fields);
        assert_eq!(all(&fields, "x-cache"), ["MISS"]);
        assert_eq!(all(&fields, "cache-status"), ["caching-proxy"]);
    }

    proptest! {
        #[test]
        fn nothing_of_one_connection_is_left_whatever_connection_names(
            values in proptest::collection::vec("[a-dA-D ,]{0,9}|[ -~]{0,9}", 0..3),
        ) {
            let mut fields = map(&[("a", "1"), ("b", "2"), ("te", "x"), ("keep-alive", "y")]);
            for value in &values {
                fields.append(header::CONNECTION, HeaderValue::from_str(value).unwrap());
            }
            let via = HeaderValue::from_static("1.1 us");
            let _ = is_loop(&fields, &via);
            let named = named_in_connection(&fields);
            for fields in [forward(&fields), {
                remove_hop_by_hop(&mut fields);
                fields
            }] {
                for name in HOP_BY_HOP.iter().chain(&named) {
                    // What we write ourselves stands, though a client names it.
                    prop_assert!(!fields.contains_key(name), "{name}");
                }
                for name in ["a", "b"] {
                    let is_named = named.iter().any(|named| named == name);
                    prop_assert_eq!(fields.contains_key(name), !is_named);
                }
            }
        }
    }
}
