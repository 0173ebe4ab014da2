//! The origin's URL, validated.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use actix_web::http::uri::PathAndQuery;

use super::{socket_path::SocketPath, url_error::UrlError};

/// Quotes, also those that word processors make.
const QUOTES: [char; 7] = [
    '\'', '"', '`', '\u{2018}', '\u{2019}', '\u{201c}', '\u{201d}',
];

/// Where the origin is: scheme, host, port and path prefix; or a Unix socket, whose host is `localhost`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginUrl {
    scheme: Scheme,
    host: String,
    port: u16,
    path_prefix: String,
    /// `None` for an origin that is reached over TCP.
    socket: Option<SocketPath>,
}

/// The schemes that an origin may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl OriginUrl {
    /// Parses `http[s]://host[:port][/prefix]` or `unix:/path`.
    ///
    /// # Errors
    /// The scheme is missing or another one; there is userinfo, a query or a fragment; host, port or path is malformed.
    pub fn parse(given: &str) -> Result<Self, UrlError> {
        let given = given.trim();
        if given.is_empty() {
            return Err(UrlError::Empty);
        }
        if given.starts_with(QUOTES) {
            let bare = given.trim_matches(QUOTES);
            // Its own mistakes are said first. They include a password, which no suggestion repeats.
            return Err(Self::parse(bare).err().unwrap_or(UrlError::Quoted {
                suggestion: bare.to_owned(),
            }));
        }
        if let Some(socket) = SocketPath::parse(given) {
            return Ok(Self {
                scheme: Scheme::Http,
                host: "localhost".to_owned(),
                port: Scheme::Http.default_port(),
                path_prefix: String::new(),
                socket: Some(socket?),
            });
        }
        let Some((scheme, rest)) = given.split_once("://") else {
            return Err(no_scheme(given));
        };
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => {
                return Err(UrlError::UnsupportedScheme {
                    scheme: scheme.to_owned(),
                });
            }
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(without_userinfo(scheme, authority, path));
        }
        if authority.is_empty() {
            return Err(UrlError::NoHost {
                given: given.to_owned(),
            });
        }
        if let Some(end) = path.find(['?', '#']) {
            let path = path[..end].trim_end_matches('/');
            return Err(UrlError::QueryOrFragment {
                suggestion: format!("{}://{authority}{path}", scheme.as_str()),
            });
        }
        if let Some(host) = before_missing_port(authority) {
            return Err(UrlError::NoPort {
                host: host.to_owned(),
                suggestion: format!("{}://{host}{path}", scheme.as_str()),
            });
        }
        let (host, port) = host_and_port(authority)?;
        Ok(Self {
            scheme,
            host,
            port: port.unwrap_or(scheme.default_port()),
            path_prefix: path_prefix(path)?,
            socket: None,
        })
    }

    /// Checks what the file system knows about it: whether the socket of a `unix:` origin exists.
    ///
    /// # Errors
    /// There is no socket with that path.
    pub fn check(&self) -> Result<(), UrlError> {
        self.socket.as_ref().map_or(Ok(()), SocketPath::check)
    }

    /// The Unix socket; `None` for an origin that is reached over TCP.
    pub(super) fn socket(&self) -> Option<&SocketPath> {
        self.socket.as_ref()
    }

    /// True for an origin that is reached by a Unix socket.
    pub fn is_unix(&self) -> bool {
        self.socket.is_some()
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &'static str {
        self.scheme.as_str()
    }

    /// True for `https`.
    pub fn is_tls(&self) -> bool {
        self.scheme == Scheme::Https
    }

    /// Host name in lower case, or address; without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Port; 80 or 443 if the URL has none.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Path before every target, without a slash at its end; empty if there is none.
    pub fn path_prefix(&self) -> &str {
        &self.path_prefix
    }

    /// Host and port, also the default one: the target of CONNECT (RFC 9112, 3.2.3).
    pub(super) fn host_with_port(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The value of Host (RFC 9110, 7.2): IPv6 in brackets, without the scheme's default port.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == self.scheme.default_port() {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for OriginUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(socket) = &self.socket {
            return socket.fmt(f);
        }
        write!(
            f,
            "{}://{}{}",
            self.scheme(),
            self.authority(),
            self.path_prefix
        )
    }
}

impl FromStr for OriginUrl {
    type Err = UrlError;

    fn from_str(given: &str) -> Result<Self, UrlError> {
        Self::parse(given)
    }
}

/// Suggests a URL for `dummyjson.com` and `localhost:3000`: http for this machine and for addresses, which rarely have
/// TLS, https for names.
fn no_scheme(given: &str) -> UrlError {
    let no_slashes = |scheme: Scheme| {
        let (before, rest) = given.split_once(':')?;
        before
            .eq_ignore_ascii_case(scheme.as_str())
            .then_some(rest.trim_matches('/'))
    };
    for scheme in [Scheme::Https, Scheme::Http] {
        // `https:dummyjson.com`; but `http:80` is a host by that name.
        if let Some(rest) = no_slashes(scheme)
            .filter(|rest| !rest.is_empty() && rest.parse::<u16>().is_err() && !rest.contains('@'))
        {
            let suggestion = format!("{}://{rest}", scheme.as_str());
            return UrlError::NoScheme {
                given: given.to_owned(),
                suggestion,
            };
        }
    }
    if given.starts_with('/') && !given.starts_with("//") && !given.contains('@') {
        let suggestion = format!("unix:{given}");
        if OriginUrl::parse(&suggestion).is_ok() {
            return UrlError::NoScheme {
                given: given.to_owned(),
                suggestion,
            };
        }
    }
    let bare = given.trim_start_matches('/');
    let authority = bare.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        let path = bare.strip_prefix(authority).unwrap_or_default();
        return without_userinfo(Scheme::Https, authority, path);
    }
    let path = bare.strip_prefix(authority).unwrap_or_default();
    let path = path.trim_end_matches('/');
    // An @ may end a password, which no suggestion repeats.
    let authority = match before_missing_port(authority) {
        Some(host) if !path.contains('@') => host,
        _ => authority,
    };
    let (host, _) = match host_and_port(authority) {
        Ok(parts) => parts,
        Err(error) => return error,
    };
    let local =
        host == "localhost" || host.ends_with(".localhost") || host.parse::<IpAddr>().is_ok();
    let scheme = if local { Scheme::Http } else { Scheme::Https };
    let suggestion = format!("{}://{authority}{path}", scheme.as_str());
    UrlError::NoScheme {
        given: given.to_owned(),
        suggestion,
    }
}

/// Suggests the URL without userinfo, which may hold a secret.
fn without_userinfo(scheme: Scheme, authority: &str, path: &str) -> UrlError {
    let host = authority.rsplit('@').next().unwrap_or_default();
    let suggestion = format!("{}://{host}{}", scheme.as_str(), path.trim_end_matches('/'));
    UrlError::Userinfo { suggestion }
}

/// The host in an authority that ends with the colon before a port; `None` if it does not, or if there is no valid host.
fn before_missing_port(authority: &str) -> Option<&str> {
    let host = authority.strip_suffix(':')?;
    host_and_port(host)
        .is_ok_and(|(_, port)| port.is_none())
        .then_some(host)
}

pub(super) fn host_and_port(authority: &str) -> Result<(String, Option<u16>), UrlError> {
    let refused = || UrlError::Host {
        host: authority.to_owned(),
    };
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (address, rest) = bracketed.split_once(']').ok_or_else(refused)?;
        let address: Ipv6Addr = address.parse().map_err(|_| refused())?;
        let port = match rest.strip_prefix(':') {
            Some(port) => Some(port_number(port)?),
            None if rest.is_empty() => None,
            None => return Err(refused()),
        };
        return Ok((address.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port_number(port)?)),
        None => (authority, None),
    };
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if host.is_empty() || host.starts_with('.') || host.len() > 253 || !host.bytes().all(is_name) {
        return Err(refused());
    }
    Ok((host.to_ascii_lowercase(), port))
}

fn port_number(port: &str) -> Result<u16, UrlError> {
    let refused = || UrlError::Port {
        port: port.to_owned(),
    };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(refused());
    }
    port.parse()
        .ok()
        .filter(|&number| number != 0)
        .ok_or_else(refused)
}

fn path_prefix(path: &str) -> Result<String, UrlError> {
    let prefix = path.trim_end_matches('/');
    let refused = || UrlError::Path {
        path: path.to_owned(),
    };
    if !prefix.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(refused());
    }
    if !prefix.is_empty() {
        PathAndQuery::from_str(prefix).map_err(|_| refused())?;
    }
    Ok(prefix.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(given: &str) -> OriginUrl {
        OriginUrl::parse(given).unwrap_or_else(|error| panic!("{given}: {error}"))
    }

    #[test]
    fn a_url_is_shown_as_given_without_a_slash_at_its_end() {
        for (given, shown, authority, port, prefix) in [
            (
                "https://dummyjson.com",
                "https://dummyjson.com",
                "dummyjson.com",
                443,
                "",
            ),
            (
                "https://dummyjson.com/",
                "https://dummyjson.com",
                "dummyjson.com",
                443,
                "",
            ),
            (
                "HTTP://LocalHost:3000",
                "http://localhost:3000",
                "localhost:3000",
                3000,
                "",
            ),
            ("http://h:80/api/v1/", "http://h/api/v1", "h", 80, "/api/v1"),
            ("https://h:80", "https://h:80", "h:80", 80, ""),
            (
                "http://[::1]:8080/a",
                "http://[::1]:8080/a",
                "[::1]:8080",
                8080,
                "/a",
            ),
            ("https://[0:0::1]", "https://[::1]", "[::1]", 443, ""),
            (
                "http://a_b.internal",
                "http://a_b.internal",
                "a_b.internal",
                80,
                "",
            ),
        ] {
            let url = parsed(given);
            assert_eq!(url.to_string(), shown);
            assert_eq!(url.authority(), authority);
            assert_eq!(url.port(), port);
            assert_eq!(url.path_prefix(), prefix);
        }
    }

    #[test]
    fn a_likely_url_is_suggested_for_a_missing_scheme() {
        for (given, meant) in [
            ("dummyjson.com", "https://dummyjson.com"),
            ("dummyjson.com/", "https://dummyjson.com"),
            ("//dummyjson.com/a", "https://dummyjson.com/a"),
            ("localhost:3000", "http://localhost:3000"),
            ("https:dummyjson.com", "https://dummyjson.com"),
            ("http:/dummyjson.com", "http://dummyjson.com"),
            ("127.0.0.1:3000/x", "http://127.0.0.1:3000/x"),
            ("[::1]:3000", "http://[::1]:3000"),
            ("foo:", "https://foo"),
            ("/run/app.sock", "unix:/run/app.sock"),
            ("'http://h:3000'", "http://h:3000"),
            ("\u{201c}dummyjson.com\u{201d}", "https://dummyjson.com"),
            ("localhost:/x/", "http://localhost/x"),
            ("http://h:", "http://h"),
            ("https://[::1]:/a", "https://[::1]/a"),
        ] {
            let error = OriginUrl::parse(given).unwrap_err();
            assert!(
                error
                    .to_string()
                    .ends_with(&format!("did you mean {meant} ?")),
                "{given}: {error}"
            );
        }
    }

    #[test]
    fn invalid_urls_are_refused() {
        for given in [
            "",
            "ftp://h",
            "http://",
            "http:///x",
            "http://u:p@h",
            "u:p@h",
            "http://h/?q",
            "http://h?q",
            "http://h#f",
            "http://h:0",
            "http://h:65536",
            "http://h:+80",
            "http://h:",
            "http://[::1",
            "http://[zz]",
            "http://[::1]x",
            "http://a b",
            "http://bücher.example",
            "http://h/a b",
            "http://h/ä",
        ] {
            assert!(OriginUrl::parse(given).is_err(), "{given}");
        }
        let error = OriginUrl::parse("http://me:secret@h").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }

    proptest! {
        #[test]
        fn a_url_parses_to_the_same_when_it_is_shown(
            any in "\\PC{0,40}",
            nearly in "(https?|ftp)?(:|://|//)(u:p@)?([a-z.]{0,6}|\\[[0-9a-f:]{0,9}\\])(:[0-9]{0,6})?(/[ -~]{0,5}){0,2}",
        ) {
            for given in [any, nearly] {
                if let Ok(url) = OriginUrl::parse(&given) {
                    prop_assert_ne!(url.port(), 0);
                    prop_assert_eq!(OriginUrl::parse(&url.to_string()), Ok(url));
                }
            }
        }

        #[test]
        fn no_error_repeats_a_secret(
            before in "(https?:)?/{0,2}",
            name in "[a-z]{0,3}",
            behind in "[ -~]{0,9}",
        ) {
            let given = format!("{before}{name}:s3cr3t@{behind}");
            if let Err(error) = OriginUrl::parse(&given) {
                prop_assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{error}");
            }
        }
    }
}
