//! The URL to which a plain request is redirected.

use actix_http::{Request, header};

/// The default ports of http and https.
const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// The URL of `request` over https, on `tls_port` of the same host; `None` without a host. The request came to `local_port`.
///
/// A client that used another port than that was led here by something that maps ports. Then the port of TLS is mapped as
/// well, and only one guess is good: to the default port, if the client used that of http.
pub(super) fn https_url(request: &Request, local_port: u16, tls_port: u16) -> Option<String> {
    let host = request.head().headers().get(header::HOST)?.to_str().ok()?;
    // An IPv6 address is in brackets, so a colon after them begins the port.
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (host, ""),
    };
    let used: u16 = match port {
        "" => HTTP_PORT,
        port => port.parse().ok()?,
    };
    let port = match used == HTTP_PORT && local_port != HTTP_PORT {
        true => HTTPS_PORT,
        false => tls_port,
    };
    let target = request.uri().path_and_query()?.as_str();
    // The target of OPTIONS may be `*`.
    let target = if target.starts_with('/') { target } else { "/" };
    (!name.is_empty()).then(|| match port {
        HTTPS_PORT => format!("https://{name}{target}"),
        port => format!("https://{name}:{port}{target}"),
    })
}

#[cfg(test)]
mod tests {
    use actix_http::header::HeaderValue;

    use super::*;

    fn url(host: &str, target: &str, ports: (u16, u16)) -> Option<String> {
        let mut request = Request::new();
        request.head_mut().uri = target.parse().unwrap();
        let host = HeaderValue::from_str(host).unwrap();
        request.head_mut().headers_mut().insert(header::HOST, host);
        https_url(&request, ports.0, ports.1)
    }

    #[test]
    fn host_and_target_stay_and_the_port_becomes_that_of_tls() {
        for (host, target, ports, expected) in [
            (
                "localhost:8000",
                "/a?b=c",
                (8000, 8443),
                "https://localhost:8443/a?b=c",
            ),
            ("shop.test", "/", (80, 443), "https://shop.test/"),
            ("shop.test:80", "/", (80, 443), "https://shop.test/"),
            ("shop.test", "/", (80, 8443), "https://shop.test:8443/"),
            ("[::1]:8000", "/a", (8000, 8443), "https://[::1]:8443/a"),
            ("[::1]", "/a", (80, 443), "https://[::1]/a"),
            (
                "localhost:8000",
                "//evil.test/",
                (8000, 443),
                "https://localhost//evil.test/",
            ),
            (
                "localhost:8000",
                "*",
                (8000, 8443),
                "https://localhost:8443/",
            ),
        ] {
            assert_eq!(url(host, target, ports).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_client_of_a_mapped_port_80_is_led_to_port_443() {
        for host in ["shop.test", "shop.test:80"] {
            let found = url(host, "/a", (8000, 8443));
            assert_eq!(found.as_deref(), Some("https://shop.test/a"));
        }
        let found = url("shop.test:9000", "/a", (8000, 8443));
        assert_eq!(found.as_deref(), Some("https://shop.test:8443/a"));
    }

    #[test]
    fn a_request_without_a_host_leads_nowhere() {
        assert_eq!(url("", "/", (80, 443)), None);
        assert_eq!(url(":8000", "/", (80, 443)), None);
        assert_eq!(https_url(&Request::new(), 80, 443), None);
    }
}
