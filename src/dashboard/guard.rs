//! Access control of the dashboard.
//!
//! - The Host header must be one of our names. This refuses pages of other sites that reach us by a name of theirs (DNS
//!   rebinding).
//! - If a request other than GET or HEAD has an Origin header, it must be ours.
//! - All but the files of the page, `/healthz` and `/metrics` needs the token, as `Authorization: Bearer`. The page sends
//!   it with each request. There is no cookie: browsers send the cookies of a host to all its ports, so also through the
//!   proxy to the origin.

use std::{io, net::SocketAddr};

use actix_web::{
    HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use ring::rand::{SecureRandom as _, SystemRandom};
use subtle::ConstantTimeEq as _;

/// Paths that need no token.
const OPEN: [&str; 5] = ["/", "/app.js", "/style.css", "/healthz", "/metrics"];
/// 128 bits cannot be guessed, and the link still fits in a line of a terminal.
const SECRET_BYTES: usize = 16;
/// Content-Security-Policy: scripts, styles and data come from the dashboard only, whatever text the page shows.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The names and the token of this dashboard.
pub(super) struct Guard {
    hosts: Vec<String>,
    token: String,
}

impl Guard {
    /// A guard with a new token.
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
        if !OPEN.contains(&path) && !self.has_token(fields) {
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

    /// RFC 6750, 2.1: `Authorization: Bearer`, once.
    fn has_token(&self, fields: &HeaderMap) -> bool {
        let mut lines = fields.get_all(header::AUTHORIZATION);
        let (Some(line), None) = (lines.next(), lines.next()) else {
            return false;
        };
        let credentials = line.to_str().ok().and_then(|line| line.split_once(' '));
        credentials.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("bearer") && is_same(token.trim(), &self.token)
        })
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
        let token = format!("Bearer {}", guard.token);
        let own = [("host", "localhost:8001"), ("authorization", &*token)];
        let refused = |origin: &str| {
            let lines = [own[0], own[1], ("origin", origin)];
            refusal(&guard, &Method::POST, "/api/clear", &lines)
        };
        assert!(!refused("http://localhost:8001"));
        assert!(!refusal(&guard, &Method::POST, "/api/clear", &own));
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
    fn every_other_request_needs_the_token() {
        let guard = Guard::new("127.0.0.1:8001".parse().unwrap()).unwrap();
        let other = Guard::new("127.0.0.1:8001".parse().unwrap()).unwrap();
        let refused = |credentials: &str| {
            let lines = [("host", "localhost:8001"), ("authorization", credentials)];
            refusal(&guard, &Method::GET, "/events", &lines)
        };
        assert!(!refused(&format!("Bearer {}", guard.token)));
        assert!(refused(&format!("Bearer {}", other.token)));
        assert!(refused("Bearer "));
        assert!(refused(&guard.token));
    }
}
