use std::{rc::Rc, sync::Arc};

use actix_web::http::{StatusCode, Version, header::HeaderName};
use proptest::{collection::vec, prelude::*, sample::select};
use tokio::sync::watch;

use super::*;
use crate::{
    cache::Cache,
    error::ProxyError,
    observe::{LiveRequests, Observer},
    policy::{Decision, IdentitySecret, Response, Time},
    proxy::{
        request::{
            forwarded::{ForwardedRequest, RequestHead},
            forwarded_head::ClientHead,
            framing::RequestFraming,
        },
        request_config::WorkerConfig,
        shared::Shared,
    },
    reload::ActiveConfig,
};

/// 2026-11-23T03:30:00Z.
const NOW: Time = Time::from_unix_millis(1_795_404_600_000);

const CONFIGURATIONS: &[&str] = &[
    "",
    "preserve_host = true",
    "policy = \"strict\"\nrequest_id = \"x-request-id\"",
    "policy = \"always\"\nno_rewrite = true",
    "drop_headers = [\"cookie\", \"x-a*\"]",
    "drop_headers = [\"authorization\"]\nidentity_cookies = [\"sid\"]",
    "identity_headers = [\"origin\", \"referer\", \"accept*\", \"close\", \"cookie\"]",
    "identity_headers = [\"host\"]",
    "trusted_proxies = [\"127.0.0.1\"]\npreserve_host = true",
    "identity_cookies = [\"sid\"]\n\
     [[rules]]\npath = \"/a/*\"\nignore_query = [\"utm_*\"]\nsort_query = true\n\
     [[rules]]\npath = \"/b*\"\nstore = false\n\
     [[rules]]\npath = \"/c\"\npolicy = \"strict\"",
    "[[routes]]\npath = \"/a/*\"\norigin = \"http://a.test/base\"\nstrip_prefix = true\nsort_query = true\n\
     [[routes]]\nhost = \"*.test\"\norigin = \"http://b.test\"\npreserve_host = true",
    "tls = true",
    "tls = true\npreserve_host = true",
    "tls = true\ntls_port = 8443",
    "tls = true\ntls_port = 8443\npreserve_host = true",
    "tls = true\ntls_port = 8443\n[[routes]]\npath = \"/a/*\"\norigin = \"https://a.test\"",
];

const TARGETS: &[&str] = &[
    "/",
    "/?",
    "http://a.test?q",
    "/a/b?utm_source=x&c=1&b=2",
    "/a/b?b=2&c=1",
    "/a/../c",
    "/b",
    "/c?d",
];

const NAMES: &[&str] = &[
    "cookie",
    "cookie",
    "cookie",
    "authorization",
    "x-api-key",
    "x-csrf-token",
    "x_auth_user",
    "host",
    "origin",
    "referer",
    "destination",
    "accept",
    "accept-language",
    "connection",
    "close",
    "keep-alive",
    "te",
    "upgrade",
    "expect",
    "via",
    "forwarded",
    "x-forwarded-host",
    "x-real-ip",
    "x-http-method-override",
    "transfer_encoding",
    "x-request-id",
    "x-a",
    "cache-control",
    "range",
    "if-none-match",
];

const VALUES: &[&str] = &[
    "sid=1",
    "sid=2; lang=de",
    "_ga=1",
    "_ga=1; sid=1",
    "sid=1;_ga=2 ;",
    "caching-proxy-8001=0123456789abcdef0123456789abcdef; sid=1",
    "Bearer a",
    "NTLM TlRMTVNTUAAB",
    "k",
    "a.test",
    "b.test:8000",
    "o'hara.test",
    "http://b.test:8000/a/x",
    "http://other.test/",
    "keep-alive",
    "close",
    "x-a",
    "keep-alive, cookie",
    "for=1.2.3.4;host=c.test",
    "trailers",
    "no-cache",
    "bytes=0-1",
    "\"a\"",
    "de",
];

/// The fields that Vary names in stored responses.
const SELECTORS: &[&str] = &[
    "cookie",
    "host",
    "origin",
    "referer",
    "connection",
    "close",
    "destination",
    "accept",
    "x-a",
    "x-api-key",
    "via",
    "x-request-id",
    "te",
    "expect",
];

/// A proxy with a configuration.
struct Configured {
    shared: Shared,
    config: Rc<RequestConfig>,
    scheme: ClientScheme,
}

impl Configured {
    fn new(file: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("proxy.toml");
        std::fs::write(&path, file).unwrap();
        let flags = [
            ("config", path.into()),
            ("origin", "http://origin.test".into()),
        ];
        let config = Config::load(&flags.into(), &|_| None).unwrap();
        let (_, updates) = watch::channel(ActiveConfig::new(Arc::new(config)));
        let config = updates.borrow().config.clone();
        let shared = Shared::new(
            &config,
            updates.clone(),
            Cache::new(1 << 20, 1 << 20),
            IdentitySecret::new(),
        )
        .unwrap();
        let observer = Arc::new(Observer::new(LiveRequests::Off, 1));
        Self {
            shared,
            config: WorkerConfig::new(updates, observer).current(),
            scheme: ClientScheme::Http,
        }
    }

    fn plain<'a>(&'a self, uri: &'a Uri, headers: &'a HeaderMap) -> Option<PlainRequest<'a>> {
        self.plain_with((&Method::GET, uri, headers), &Cell::default())
    }

    fn plain_with<'a>(
        &'a self,
        sent: (&'a Method, &'a Uri, &'a HeaderMap),
        meaning: &Cell<Option<PlainHeaders>>,
    ) -> Option<PlainRequest<'a>> {
        PlainRequest::of(
            sent,
            self.scheme,
            &self.config,
            &self.shared.secret,
            meaning,
        )
    }

    fn forwarded(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Rc<ForwardedRequest>, ProxyError> {
        self.forwarded_as(&Method::GET, uri, headers)
    }

    /// Its head is the same when it is known from an earlier request.
    fn check_recent_heads(&self, head: &RequestHead<'_>, expected: &ForwardedRequest) {
        let mut lines = Vec::new();
        for (name, value) in head.client.headers {
            headers::write_header_line(&mut lines, name, value);
        }
        let recent = Some((&self.config.recent_heads, &*lines));
        let names = (&self.config.config, &self.config.names);
        for _ in 0..2 {
            let forwarded = ForwardedRequest::of(head, &self.shared, names, recent).unwrap();
            assert_eq!(sorted(&forwarded.headers), sorted(&expected.headers));
            let rest = |it: &ForwardedRequest| {
                let of_head = (&it.told, it.fields, it.bypass, &it.all_cookies);
                format!("{:?}", (&it.key, it.selection, it.content, of_head))
            };
            assert_eq!(rest(&forwarded), rest(expected));
        }
    }

    /// The request by which a request is looked up: for a HEAD mostly a GET.
    fn forwarded_as(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Rc<ForwardedRequest>, ProxyError> {
        let head = RequestHead {
            uri,
            client: ClientHead {
                method,
                headers,
                version: Version::HTTP_11,
                framing: RequestFraming::None,
                peer: Some([127, 0, 0, 1].into()),
                scheme: self.scheme,
            },
        };
        let config = &self.config;
        let names = (&config.config, &config.names);
        let forwarded = ForwardedRequest::of(&head, &self.shared, names, None)?;
        self.check_recent_heads(&head, &forwarded);
        Ok(forwarded.as_get().map_or(forwarded, Rc::new))
    }
}

fn sorted(headers: &HeaderMap) -> Vec<(&HeaderName, &HeaderValue)> {
    let mut lines: Vec<_> = headers.iter().collect();
    lines.sort_by_key(|(name, _)| name.as_str());
    lines
}

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_str(value).unwrap(),
        );
    }
    headers
}

/// The head of the response to `forwarded` that is stored, with these fields in Vary; `None` if it is not stored.
fn stored(forwarded: &ForwardedRequest, vary: &[&str], cache_control: &str) -> Option<StoredHead> {
    let lines = [
        ("cache-control", cache_control),
        ("etag", "\"a\""),
        ("vary", &vary.join(", ")),
    ];
    let lines = lines
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let headers = policy::ResponseHeaders::from_iter(lines);
    let response = Response {
        status: StatusCode::OK,
        headers: &headers,
        connection_fields: None,
        request_time: NOW,
        response_time: NOW,
    };
    policy::admit(forwarded.policy(), &forwarded.view(), &response).ok()
}

fn lines() -> impl Strategy<Value = Vec<(&'static str, &'static str)>> {
    let fitting = |name: &'static str, value: &'static str| match name {
        "connection" if !value.contains("alive") => ("connection", "close"),
        _ => (name, value),
    };
    let line = (select(NAMES), select(VALUES)).prop_map(move |(name, value)| fitting(name, value));
    vec(line, 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn a_plain_request_is_decided_like_the_forwarded_one(
        file in select(CONFIGURATIONS),
        target in select(TARGETS),
        scheme in select(&[ClientScheme::Http, ClientScheme::Https][..]),
        host in select(&["a.test", "b.test:8000", "other:1", "o'hara.test"][..]),
        method in select(&[Method::GET, Method::GET, Method::HEAD][..]),
        asked in lines(),
        before in select(TARGETS),
        others in vec((lines(), vec(select(SELECTORS), 0..3), any::<bool>()), 0..4),
    ) {
        let proxy = Configured { scheme, ..Configured::new(file) };
        let uri: Uri = target.parse().unwrap();
        let with_host = |lines: &[(&str, &str)]| map(&[&[("host", host)], lines].concat());
        let headers = with_host(&asked);
        // The same connection has sent the same headers with another target.
        let meaning = Cell::default();
        let uri_before: Uri = before.parse().unwrap();
        let _ = proxy.plain_with((&Method::GET, &uri_before, &headers), &meaning);
        let sent = (&method, &uri, &headers);
        let Some(plain) = proxy.plain_with(sent, &meaning) else { return Ok(()) };
        let forwarded = match proxy.forwarded_as(&method, &uri, &headers) {
            Ok(forwarded) => forwarded,
            // Nothing is stored for what is never forwarded.
            Err(error) => {
                prop_assert!(matches!(error, ProxyError::DotSegments), "{}", error);
                return Ok(());
            }
        };
        prop_assert_eq!(plain.key(), KeyRef::from(&forwarded.key));
        prop_assert_eq!(plain.selection, forwarded.selection);
        prop_assert_eq!(&*plain.target, &*forwarded.target);
        prop_assert_eq!(plain.preserved_host(), forwarded.preserved_host());
        prop_assert!(std::ptr::eq(plain.policy, forwarded.policy()));
        prop_assert_eq!(forwarded.bypass, None);

        // The responses to this request and to others, for some of which everybody may get them.
        let held: Vec<StoredHead> = others
            .iter()
            .chain([&(asked.clone(), vec!["cookie", "x-a"], false)])
            .filter_map(|(lines, vary, is_public)| {
                let other = proxy.forwarded(&uri, &with_host(lines)).ok()?;
                let is_public = if *is_public { "public, max-age=60" } else { "max-age=60" };
                stored(&other, vary, is_public)
            })
            .collect();
        if held.iter().all(|head| plain.forwards_selectors_of(head)) {
            let (view, forwarded_view) = (plain.view(), forwarded.view());
            let decide = |view| policy::decide(plain.policy, view, held.iter(), NOW);
            let decision = decide(&view);
            if method == Method::GET || matches!(decision, Decision::Serve { .. }) {
                prop_assert_eq!(decision, decide(&forwarded_view));
            }
            for head in &held {
                prop_assert_eq!(
                    policy::response_form(&view, head, Some(9)),
                    policy::response_form(&forwarded_view, head, Some(9))
                );
            }
        }
    }
}

#[test]
fn a_get_with_or_without_credentials_is_plain_if_it_is_forwarded_as_it_came() {
    /// What is known of a plain request: whether it has an identity.
    const ANONYMOUS: Option<bool> = Some(false);
    const IDENTIFIED: Option<bool> = Some(true);
    let (default, strict) = ("", "policy = \"strict\"");
    for (file, line, expected) in [
        (default, ("accept", "*/*"), ANONYMOUS),
        (default, ("cookie", "sid=1"), IDENTIFIED),
        (default, ("cookie", "sid=1; _ga=2"), IDENTIFIED),
        (default, ("cookie", "_ga=2"), ANONYMOUS),
        (default, ("authorization", "Bearer a"), IDENTIFIED),
        (default, ("authorization", "NTLM a"), None),
        (default, ("x-api-key", "k"), IDENTIFIED),
        (default, ("connection", "keep-alive"), ANONYMOUS),
        (default, ("connection", "x-a"), None),
        (default, ("close", "x"), None),
        (default, ("via", "1.1 x"), None),
        (default, ("destination", "/x"), None),
        (default, ("x-http-method", "DELETE"), None),
        (default, ("cookie", "caching-proxy-1=x"), None),
        (strict, ("cookie", "sid=1"), ANONYMOUS),
        ("preserve_host = true", ("cookie", "sid=1"), IDENTIFIED),
        ("drop_headers = [\"cookie\"]", ("cookie", "sid=1"), None),
        ("identity_headers = [\"origin\"]", ("origin", "null"), None),
        ("identity_headers = [\"via\"]", ("accept", "*/*"), None),
        ("cors = true", ("accept", "*/*"), None),
        (
            "rules = [{ path = \"/\", store = false }]",
            ("accept", "*/*"),
            None,
        ),
        (
            "rules = [{ path = \"/\", ttl = \"1m\" }]",
            ("cookie", "sid=1"),
            IDENTIFIED,
        ),
    ] {
        let proxy = Configured::new(file);
        let (uri, headers) = (Uri::from_static("/?a"), map(&[("host", "a.test"), line]));
        let found = proxy.plain(&uri, &headers);
        let found = found.map(|plain| plain.identity.is_some());
        assert_eq!(found, expected, "{file} {line:?}");
    }
}

#[test]
fn a_host_that_a_key_escapes_is_not_plain() {
    let proxy = Configured::new("preserve_host = true");
    let is_plain = |host| {
        let headers = map(&[("host", host)]);
        let uri = Uri::from_static("/");
        proxy.plain(&uri, &headers).is_some()
    };
    assert!(is_plain("a.test:8000"));
    assert!(!is_plain("o'hara.test"));
}

#[test]
fn clients_with_and_without_tls_share_what_the_origin_is_told_nothing_different_for() {
    for (file, is_shared) in [
        ("", true),
        ("tls = true", true),
        ("tls = true\ntls_port = 8443\nredirect_http = true", true),
        ("tls = true\ntls_port = 8443", false),
        ("tls = true\ntls_port = 8443\npreserve_host = true", false),
        (
            "tls = true\ntls_port = 8443\nroutes = [{ path = \"/*\", origin = \"https://a.test\" }]",
            true,
        ),
    ] {
        let key = |scheme| {
            let proxy = Configured {
                scheme,
                ..Configured::new(file)
            };
            let headers = map(&[("host", "a.test")]);
            let forwarded = proxy.forwarded(&Uri::from_static("/"), &headers).unwrap();
            forwarded.key.resource.clone()
        };
        let is_same = key(ClientScheme::Http) == key(ClientScheme::Https);
        assert_eq!(is_same, is_shared, "{file}");
    }
}
