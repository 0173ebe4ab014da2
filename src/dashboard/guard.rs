//! Access control of the dashboard.
//!
//! - The Host header must be one of our names. This refuses pages of other sites that reach us by a name of theirs (DNS
//!   rebinding).
//! - If a request other than GET or HEAD has an Origin header, it must be ours. And the browser does not send the cookie
//!   with requests that another site causes (`SameSite=Strict`).
//! - All but the files of the page, `/healthz` and `/metrics` needs the cookie, which the page gets for the token.

use std::{io, net::SocketAddr};

use actix_web::{
    HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::{Bytes, Data},
};
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;

/// Paths that need no cookie.
const OPEN: [&str; 6] = [
    "/",
    "/app.js",
    "/style.css",
    "/healthz",
    "/metrics",
    "/session",
];
/// 128 bits cannot be guessed, and the link still fits in a line of a terminal.
const SECRET_BYTES: usize = 16;
/// Content-Security-Policy: scripts, styles and data come from the dashboard only, whatever text the page shows.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The names and secrets of this dashboard.
pub(super) struct Guard {
    hosts: Vec<String>,
    token: String,
    /// The value of the cookie. It is not the token, which should not be sent with every request.
    session: String,
    /// The name of the cookie. It includes the port, since cookies are shared by all ports of a host.
    cookie: String,
}

impl Guard {
    /// A guard with new secrets.
    pub(super) fn new(address: SocketAddr) -> io::Result<Self> {
        let port = address.port();
        let mut hosts = vec![address.to_string(), format!("localhost:{port}")];
        if port == 80 {
            let bare: Vec<String> = hosts
                .iter()
                .filter_map(|host| host.strip_suffix(":80").map(str::to_owned))
                .collect();
            hosts.extend(bare);
        }
        Ok(Self {
            hosts,
            token: secret()?,
            session: secret()?,
            cookie: format!("caching-proxy-{port}"),
        })
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    fn refusal(&self, method: &Method, path: &str, fields: &HeaderMap) -> Option<&'static str> {
        if !self.is_own_host(fields) {
            return Some("This is not the name of this server.\n");
        }
        let is_reading = matches!(*method, Method::GET | Method::HEAD);
        if !is_reading && !self.is_own_origin(fields) {
            return Some("Only the page itself may do that.\n");
        }
        if !OPEN.contains(&path) && !self.has_session(fields) {
            return Some("Open the page with the link that the proxy has printed.\n");
        }
        None
    }

    fn is_own_host(&self, fields: &HeaderMap) -> bool {
        let mut lines = fields.get_all(header::HOST);
        let (Some(host), None) = (lines.next(), lines.next()) else {
            return false;
        };
        self.is_own_name(host.as_bytes())
    }

    fn is_own_name(&self, name: &[u8]) -> bool {
        self.hosts
            .iter()
            .any(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    fn is_own_origin(&self, fields: &HeaderMap) -> bool {
        fields.get_all(header::ORIGIN).all(|origin| {
            let name = origin.as_bytes().strip_prefix(b"http://");
            name.is_some_and(|name| self.is_own_name(name))
        })
    }

    fn has_session(&self, fields: &HeaderMap) -> bool {
        fields
            .get_all(header::COOKIE)
            .filter_map(|line| line.to_str().ok())
            .flat_map(|line| line.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .any(|(name, value)| name == self.cookie && is_same(value, &self.session))
    }
}

/// Compares in constant time.
fn is_same(given: &str, secret: &str) -> bool {
    given.as_bytes().ct_eq(secret.as_bytes()).into()
}

fn secret() -> io::Result<String> {
    let mut bytes = [0; SECRET_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Middleware: responds with 403 to what the guard refuses.
pub(super) async fn check(
    guard: Data<Guard>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let refusal = guard.refusal(request.method(), request.path(), request.headers());
    let mut response = match refusal {
        Some(sentence) => {
            let refused = HttpResponse::Forbidden()
                .content_type("text/plain; charset=utf-8")
                .body(sentence);
            request.into_response(refused)
        }
        None => next.call(request).await?.map_into_boxed_body(),
    };
    insert_security_headers(response.headers_mut());
    Ok(response)
}

/// Adds the headers that restrict browsers and caches to a response.
pub(super) fn insert_security_headers(fields: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        fields.insert(name, HeaderValue::from_static(value));
    }
}

/// Exchanges the token for the cookie.
pub(super) async fn session(guard: Data<Guard>, body: Bytes) -> HttpResponse {
    let given = std::str::from_utf8(&body).unwrap_or("").trim();
    if !is_same(given, &guard.token) {
        return HttpResponse::Forbidden().body("The token is not that of this start.\n");
    }
    let cookie = format!(
        "{}={}; HttpOnly; SameSite=Strict; Path=/",
        guard.cookie, guard.session
    );
    HttpResponse::build(StatusCode::NO_CONTENT)
        .insert_header((header::SET_COOKIE, cookie))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(guard: &Guard, method: &Method, path: &str, lines: &[(&'static str, &str)]) -> bool {
        let mut fields = HeaderMap::new();
        for (name, value) in lines {
            let value = HeaderValue::from_str(value).unwrap();
            fields.append(HeaderName::from_static(name), value);
        }
        guard.refusal(method, path, &fields).is_some()
    }

    #[test]
    fn only_requests_to_the_dashboards_own_names_are_accepted() {
        let guard = Guard::new("127.0.0.1:8001".parse().unwrap()).unwrap();
        let refused = |host: &str| refusal(&guard, &Method::GET, "/", &[("host", host)]);
        for own in ["127.0.0.1:8001", "localhost:8001", "LOCALHOST:8001"] {
            assert!(!refused(own), "{own}");
        }
        for other in [
            "127.0.0.1",
            "localhost",
            "127.0.0.1:8000",
            "evil.example:8001",
            "localhost.evil.example:8001",
            "",
        ] {
            assert!(refused(other), "{other}");
        }
        assert!(refusal(&guard, &Method::GET, "/", &[]));
        let twice = [("host", "localhost:8001"), ("host", "localhost:8001")];
        assert!(refusal(&guard, &Method::GET, "/", &twice));
    }

    #[test]
    fn on_port_80_a_name_needs_no_port() {
        let guard = Guard::new("[::1]:80".parse().unwrap()).unwrap();
        for host in ["[::1]", "[::1]:80", "localhost"] {
            assert!(
                !refusal(&guard, &Method::GET, "/", &[("host", host)]),
                "{host}"
            );
        }
    }

    #[test]
    fn a_request_that_changes_something_must_come_from_the_page() {
        let guard = Guard::new("127.0.0.1:8001".parse().unwrap()).unwrap();
        let host = ("host", "localhost:8001");
        let refused = |origin: &str| {
            refusal(
                &guard,
                &Method::POST,
                "/session",
                &[host, ("origin", origin)],
            )
        };
        assert!(!refused("http://localhost:8001"));
        assert!(!refusal(&guard, &Method::POST, "/session", &[host]));
        for other in [
            "null",
            "http://evil.example",
            "https://localhost:8001",
            "http://localhost:8000",
        ] {
            assert!(refused(other), "{other}");
        }
    }

    #[test]
    fn every_other_request_needs_the_cookie_and_the_cookie_is_not_the_token() {
        let guard = Guard::new("127.0.0.1:8001".parse().unwrap()).unwrap();
        let refused = |cookie: &str| {
            let lines = [("host", "localhost:8001"), ("cookie", cookie)];
            refusal(&guard, &Method::GET, "/events", &lines)
        };
        let cookie = |value: &str| format!("a=b; {}={value}", guard.cookie);
        assert!(!refused(&cookie(&guard.session)));
        assert!(refused(&cookie(&guard.token)));
        assert!(refused(&cookie("")));
        assert!(refused(&format!("caching-proxy-8002={}", guard.session)));
        assert_ne!(guard.session, guard.token);
    }
}
