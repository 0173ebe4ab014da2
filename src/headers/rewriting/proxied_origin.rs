//! The origin as clients see it: in the place of the proxy, below a prefix.

use super::{
    path::{below, without_dot_segments},
    reference::{WebScheme, host_and_port, is_same_host, path_end},
};

/// An origin, and what is different about its paths on the side of the clients.
#[derive(Clone, Copy, Debug)]
pub struct ProxiedOrigin<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host name in lower case, or address; without brackets.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// The path before every target at the origin, without a slash at its end; empty if there is none.
    pub prefix: &'a str,
    /// The path before every target at the proxy that the origin does not get, without a slash at its end; empty if there
    /// is none.
    pub stripped: &'a str,
    /// The address by which the client knows the proxy, if the origin is addressed by it as well, or told about it; `None` if
    /// the origin knows its own name only.
    pub preserved: Option<ClientAddress<'a>>,
}

/// How a client addressed the proxy.
#[derive(Clone, Copy, Debug)]
pub struct ClientAddress<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The value of Host.
    pub authority: &'a [u8],
}

impl ClientAddress<'_> {
    /// The port to which the client has sent its request.
    pub fn port(&self) -> u16 {
        let port = host_and_port(self.authority).and_then(|(_, port)| port);
        let scheme = WebScheme::of(self.scheme.as_bytes()).unwrap_or(WebScheme::Http);
        port.unwrap_or(scheme.default_port())
    }

    /// True if a URL with this scheme and authority is one of the proxy.
    pub(super) fn is_named_by(&self, scheme: WebScheme, authority: &[u8]) -> bool {
        let named = (host_and_port(authority), host_and_port(self.authority));
        let (Some((host, port)), Some((own_host, own_port))) = named else {
            return false;
        };
        let port_of = |port: Option<u16>| port.unwrap_or(scheme.default_port());
        WebScheme::of(self.scheme.as_bytes()) == Some(scheme)
            && is_same_host(host, own_host)
            && port_of(port) == port_of(own_port)
    }

    /// The same for a URL of the origin's, which may have no scheme. An application behind TLS often believes to be reached
    /// over `http`.
    fn is_meant_by(&self, scheme: Option<WebScheme>, authority: &[u8]) -> bool {
        let plain = Self {
            scheme: "http",
            ..*self
        };
        [*self, plain].iter().any(|address| {
            let own = WebScheme::of(address.scheme.as_bytes());
            let scheme = scheme.or(own);
            scheme.is_some_and(|scheme| address.is_named_by(scheme, authority))
        })
    }
}

impl ProxiedOrigin<'_> {
    pub(super) fn is_tls(&self) -> bool {
        self.scheme == "https"
    }

    /// True if a URL of this scheme and authority is one of the origin. An application behind TLS often believes to be
    /// reached over `http`, so that is the same.
    pub(super) fn is_named_by(&self, scheme: Option<WebScheme>, authority: &[u8]) -> bool {
        let own = match self.is_tls() {
            true => WebScheme::Https,
            false => WebScheme::Http,
        };
        let scheme_said = scheme.unwrap_or(own);
        if self
            .preserved
            .is_some_and(|address| address.is_meant_by(scheme, authority))
        {
            return true;
        }
        let Some((host, port)) = host_and_port(authority) else {
            return false;
        };
        let is_port = match scheme_said == own {
            true => port.unwrap_or(own.default_port()) == self.port,
            // https in place of http is another server, to which the origin may want to send its clients.
            false if own == WebScheme::Http => false,
            false => match port.unwrap_or(scheme_said.default_port()) {
                80 if self.port == own.default_port() => true,
                port => port == self.port,
            },
        };
        is_port && is_same_host(host, self.host.as_bytes())
    }

    /// Scheme and authority, as in Origin: without the default port.
    pub(super) fn serialized(&self) -> String {
        let Self {
            scheme, host, port, ..
        } = self;
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => (*host).to_owned(),
        };
        match (*scheme, port) {
            ("http", 80) | ("https", 443) => format!("{scheme}://{host}"),
            _ => format!("{scheme}://{host}:{port}"),
        }
    }

    /// True if paths are the same on both sides.
    pub(super) fn has_same_paths(&self) -> bool {
        self.prefix.is_empty() && self.stripped.is_empty()
    }

    /// The absolute path at the proxy for a path at the origin, with its query and fragment; `None` if it is outside of the
    /// origin's prefix. It begins with one slash, whatever follows that in `reference`: two would begin an authority
    /// (RFC 3986, 4.2).
    pub(super) fn path_at_proxy(&self, reference: &[u8]) -> Option<Vec<u8>> {
        let (path, tail) = reference.split_at(path_end(reference));
        let path = match self.has_same_paths() {
            true => path.into(),
            false => without_dot_segments(path),
        };
        let path = below(&path, self.prefix.as_bytes())?;
        let mut at_proxy = [self.stripped.as_bytes(), path, tail].concat();
        // Browsers drop tabs from URLs, and take a backslash for a slash.
        let second = at_proxy.iter().skip(1).find(|byte| **byte != b'\t');
        if second.is_some_and(|byte| b"/\\".contains(byte)) {
            at_proxy.splice(..0, *b"/.");
        }
        Some(at_proxy)
    }

    /// The path at the origin for an absolute path at the proxy, with its query and fragment; `None` if this origin is not
    /// asked for it.
    pub(super) fn path_at_origin(&self, reference: &[u8]) -> Option<Vec<u8>> {
        let (path, tail) = reference.split_at(path_end(reference));
        let path = below(path, self.stripped.as_bytes())?;
        Some([self.prefix.as_bytes(), path, tail].concat())
    }
}
