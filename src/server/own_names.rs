//! Whether a request in absolute form is for this proxy (RFC 9112, 3.2.2), or for a forward proxy that this is not.

use std::{
    net::{IpAddr, SocketAddr},
    str,
};

use super::client_stream::ClientStream;
use crate::proxy::ClientScheme;

/// The names by which a client reaches this proxy on its connection.
///
/// The Host says nothing about them: a client that takes this for a forward proxy sends the same host in both places.
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnNames {
    /// The address that the client is connected to; `None` if the client has left already.
    local: Option<SocketAddr>,
    scheme: ClientScheme,
    any_host: bool,
}

impl OwnNames {
    /// Those on the connection of `stream`. With `any_host` every name is ours, with every port: the origin is told which
    /// one the client used, and a server in front of this proxy may have another port.
    pub(super) fn new(stream: &ClientStream, any_host: bool) -> Self {
        Self {
            local: stream.local_addr(),
            scheme: stream.scheme(),
            any_host,
        }
    }

    /// True if a URL with this scheme and this valid authority is one of this proxy.
    pub(super) fn include(&self, scheme: &[u8], authority: &[u8]) -> bool {
        if self.any_host {
            return true;
        }
        let (Some(local), Ok(authority)) = (self.local, str::from_utf8(authority)) else {
            return false;
        };
        // An IPv6 address is in brackets, so a colon after them begins the port.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port),
            _ => (authority, ""),
        };
        let port = match port {
            "" => Some(match self.scheme {
                ClientScheme::Http => 80,
                ClientScheme::Https => 443,
            }),
            port => port.parse().ok(),
        };
        scheme.eq_ignore_ascii_case(self.scheme.as_str().as_bytes())
            && port == Some(local.port())
            && is_own_host(host, local.ip())
    }
}

fn is_own_host(host: &str, local: IpAddr) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    match host.parse::<IpAddr>() {
        Ok(address) => {
            let address = address.to_canonical();
            address.is_loopback() || address == local.to_canonical()
        }
        // RFC 6761, 6.3.
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_own(local: &str, any_host: bool, url: &str) -> bool {
        let names = OwnNames {
            local: Some(local.parse().unwrap()),
            scheme: ClientScheme::Http,
            any_host,
        };
        let (scheme, authority) = url.split_once("://").unwrap();
        names.include(scheme.as_bytes(), authority.as_bytes())
    }

    #[test]
    fn loopback_names_and_the_address_of_the_connection_are_ours_on_our_port() {
        for (local, url) in [
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("127.0.0.1:8000", "HTTP://LocalHost:8000"),
            ("127.0.0.1:8000", "http://app.localhost.:8000"),
            ("127.0.0.1:8000", "http://127.9.9.9:8000"),
            ("127.0.0.1:8000", "http://[::1]:8000"),
            ("127.0.0.1:80", "http://localhost"),
            ("127.0.0.1:80", "http://localhost:"),
            ("192.0.2.7:8000", "http://192.0.2.7:8000"),
            ("[::ffff:192.0.2.7]:8000", "http://192.0.2.7:8000"),
            ("[2001:db8::7]:8000", "http://[2001:DB8:0::7]:8000"),
        ] {
            assert!(is_own(local, false, url), "{local} {url}");
        }
    }

    #[test]
    fn other_hosts_ports_and_schemes_are_not_ours() {
        for url in [
            "http://elsewhere.test",
            "http://elsewhere.test:8000",
            "http://localhost",
            "http://localhost:8001",
            "http://localhost:80000",
            "https://localhost:8000",
            "ftp://localhost:8000",
            "http://192.0.2.8:8000",
            "http://0.0.0.0:8000",
            "http://notlocalhost:8000",
            "http://localhost.test:8000",
            "http://[2001:db8::7]:8000",
        ] {
            assert!(!is_own("192.0.2.7:8000", false, url), "{url}");
        }
    }

    #[test]
    fn with_any_host_every_host_is_ours_with_every_port() {
        for url in [
            "http://shop.test:8000",
            "http://shop.test",
            "https://shop.test",
        ] {
            assert!(is_own("127.0.0.1:8000", true, url), "{url}");
        }
    }

    #[test]
    fn over_tls_urls_with_https_are_ours() {
        let local = Some("127.0.0.1:443".parse().unwrap());
        let names = OwnNames {
            local,
            scheme: ClientScheme::Https,
            any_host: false,
        };
        assert!(names.include(b"https", b"localhost") && names.include(b"https", b"localhost:443"));
        assert!(!names.include(b"http", b"localhost:443") && !names.include(b"https", b"a:443"));
    }

    #[test]
    fn nothing_is_ours_on_a_connection_that_has_ended() {
        let names = OwnNames {
            local: None,
            scheme: ClientScheme::Http,
            any_host: false,
        };
        assert!(!names.include(b"http", b"localhost:8000"));
    }
}
