//! The proxy through which an origin is reached: its URL, and which origins it is for.

use std::{fmt, net::IpAddr};

use actix_web::http::header::HeaderValue;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use percent_encoding::percent_decode_str;

use super::{no_proxy::NoProxy, url::OriginUrl, url::host_and_port};

/// The port of a proxy whose URL has none.
const DEFAULT_PORT: u16 = 80;

/// A forward proxy: `http://[user:password@]host[:port]`. Neither `Display` nor `Debug` shows the credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct ForwardProxy {
    host: String,
    port: u16,
    /// The value of Proxy-Authorization (RFC 7617). `None` without credentials.
    authorization: Option<HeaderValue>,
}

/// Why a text is not the URL of a proxy. The messages repeat no credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlError {
    /// Something other than http.
    #[error(
        "{scheme:?} is not supported: the URL of a proxy begins with http://, such as http://proxy.example:3128"
    )]
    Scheme {
        /// What stands before `://`.
        scheme: String,
    },
    /// No host, or an invalid one.
    #[error("this is not the URL of a proxy: it looks like http://proxy.example:3128")]
    Host,
    /// A path, a query or a fragment.
    #[error("the URL of a proxy ends with its port: it looks like http://proxy.example:3128")]
    Path,
}

impl ForwardProxy {
    /// Parses `[http://][user:password@]host[:port]`. `%40` and the like in user and password stand for characters.
    ///
    /// # Errors
    /// The scheme is another one, the host or the port is malformed, or the URL has a path.
    pub fn parse(given: &str) -> Result<Self, ProxyUrlError> {
        let given = given.trim();
        let rest = match given.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some((scheme, _)) => {
                let scheme = scheme.to_owned();
                return Err(ProxyUrlError::Scheme { scheme });
            }
            None => given,
        };
        let (userinfo, rest) = match rest.rsplit_once('@') {
            Some((userinfo, rest)) => (Some(userinfo), rest),
            None => (None, rest),
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if !matches!(path, "" | "/") {
            return Err(ProxyUrlError::Path);
        }
        let (host, port) = host_and_port(authority).map_err(|_| ProxyUrlError::Host)?;
        let authorization = userinfo.map(basic).transpose()?;
        Ok(Self {
            host,
            port: port.unwrap_or(DEFAULT_PORT),
            authorization,
        })
    }

    /// Host name in lower case, or address; without brackets.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The value of Proxy-Authorization; `None` without credentials.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }
}

impl fmt::Display for ForwardProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "http://[{}]:{}", self.host, self.port),
            false => write!(f, "http://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for ForwardProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForwardProxy({self})")
    }
}

/// Credentials for the Basic scheme (RFC 7617).
fn basic(userinfo: &str) -> Result<HeaderValue, ProxyUrlError> {
    let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
    let mut credentials: Vec<u8> = percent_decode_str(user).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(password));
    let value = format!("Basic {}", STANDARD.encode(credentials));
    let mut value = HeaderValue::try_from(value).map_err(|_| ProxyUrlError::Host)?;
    value.set_sensitive(true);
    Ok(value)
}

/// Which proxy leads to an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxySetting {
    /// As the environment says.
    Environment(ProxyVariables),
    /// None, whatever the environment says.
    Direct,
    /// This one, for all origins that are reached over TCP.
    Always(ForwardProxy),
}

/// The variables that say which proxy is used. Lower case goes before upper case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProxyVariables {
    http: Option<ProxyVariable>,
    https: Option<ProxyVariable>,
    exceptions: NoProxy,
}

/// A variable, and what its value means.
#[derive(Clone, Debug, PartialEq, Eq)]
struct ProxyVariable {
    name: &'static str,
    proxy: Result<ForwardProxy, ProxyUrlError>,
}

impl ProxyVariables {
    /// Reads `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY`, in both spellings, with `value_of`. Empty ones count as not set.
    /// `HTTP_PROXY` in upper case is ignored in a CGI program, where a client sets it with its header Proxy.
    pub fn read(value_of: impl Fn(&str) -> Option<String>) -> Self {
        let value_of = |name: &str| value_of(name).filter(|value| !value.trim().is_empty());
        let is_cgi = value_of("REQUEST_METHOD").is_some();
        let first = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| {
                let proxy = ForwardProxy::parse(&value_of(name)?);
                Some(ProxyVariable { name, proxy })
            })
        };
        let http = first(["http_proxy", "HTTP_PROXY"]);
        let exceptions = value_of("no_proxy").or_else(|| value_of("NO_PROXY"));
        Self {
            http: http.filter(|variable| !(is_cgi && variable.name == "HTTP_PROXY")),
            https: first(["https_proxy", "HTTPS_PROXY"]),
            exceptions: NoProxy::parse(&exceptions.unwrap_or_default()),
        }
    }

    fn for_origin(&self, origin: &OriginUrl) -> Option<&ProxyVariable> {
        let variable = match origin.is_tls() {
            true => self.https.as_ref(),
            false => self.http.as_ref(),
        };
        let is_direct =
            is_loopback(origin.host()) || self.exceptions.matches(origin.host(), origin.port());
        variable.filter(|_| !is_direct)
    }
}

impl Default for ProxySetting {
    /// That of an empty environment.
    fn default() -> Self {
        Self::Environment(ProxyVariables::default())
    }
}

impl ProxySetting {
    /// The proxy that leads to `origin`. `None` if it is reached directly: always so for a Unix socket, and for loopback
    /// addresses unless the proxy is for all origins.
    ///
    /// # Errors
    /// The variable of the environment that names the proxy, if it is not the URL of one.
    pub fn for_origin(
        &self,
        origin: &OriginUrl,
    ) -> Result<Option<&ForwardProxy>, (&'static str, &ProxyUrlError)> {
        if origin.socket().is_some() {
            return Ok(None);
        }
        match self {
            Self::Direct => Ok(None),
            Self::Always(proxy) => Ok(Some(proxy)),
            Self::Environment(variables) => match variables.for_origin(origin) {
                None => Ok(None),
                Some(ProxyVariable { name, proxy }) => {
                    proxy.as_ref().map(Some).map_err(|error| (*name, error))
                }
            },
        }
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host.ends_with(".localhost")
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> OriginUrl {
        OriginUrl::parse(text).unwrap()
    }

    fn variables(set: &[(&str, &str)]) -> ProxySetting {
        let value_of = |name: &str| {
            let found = set.iter().find(|(variable, _)| *variable == name)?;
            Some(found.1.to_owned())
        };
        ProxySetting::Environment(ProxyVariables::read(value_of))
    }

    fn shown(setting: &ProxySetting, origin: &str) -> String {
        match setting.for_origin(&url(origin)) {
            Ok(None) => "direct".to_owned(),
            Ok(Some(proxy)) => proxy.to_string(),
            Err((name, error)) => format!("{name}: {error}"),
        }
    }

    #[test]
    fn urls_of_proxies_are_parsed_and_shown_without_credentials() {
        for (given, shown) in [
            ("http://proxy.test:3128", "http://proxy.test:3128"),
            ("HTTP://Proxy.Test/", "http://proxy.test:80"),
            ("proxy.test:3128", "http://proxy.test:3128"),
            ("http://u:s3cr3t@[::1]:3128", "http://[::1]:3128"),
        ] {
            let proxy = ForwardProxy::parse(given).unwrap();
            assert_eq!((proxy.to_string().as_str(), given), (shown, given));
            assert!(!format!("{proxy:?}").contains("s3cr3t"));
        }
        let proxy = ForwardProxy::parse("http://me:p%40ss:w@proxy.test").unwrap();
        // me:p@ss:w
        let basic = proxy.authorization().unwrap();
        assert_eq!(basic, "Basic bWU6cEBzczp3");
        assert!(basic.is_sensitive());
    }

    #[test]
    fn other_urls_are_refused_without_their_secrets() {
        for (given, right) in [
            (
                "socks5://u:s3cr3t@proxy.test:1080",
                "http://proxy.example:3128",
            ),
            ("https://u:s3cr3t@proxy.test", "begins with http://"),
            ("http://u:s3cr3t@", "http://proxy.example:3128"),
            ("http://u:s3cr3t@proxy.test:0", "http://proxy.example:3128"),
            ("http://u:s3cr3t@proxy.test/path", "ends with its port"),
            ("http://u:s3cr3t@a b", "http://proxy.example:3128"),
        ] {
            let error = ForwardProxy::parse(given).unwrap_err();
            assert!(error.to_string().contains(right), "{given}: {error}");
            assert!(!format!("{error} {error:?}").contains("s3cr3t"), "{given}");
        }
    }

    #[test]
    fn the_environment_says_which_proxy_is_for_which_scheme() {
        let both = variables(&[("HTTP_PROXY", "http://a:1"), ("HTTPS_PROXY", "http://b:2")]);
        for (origin, proxy) in [
            ("http://origin.test", "http://a:1"),
            ("https://origin.test", "http://b:2"),
            ("https://localhost:8443", "direct"),
            ("http://app.localhost", "direct"),
            ("http://127.0.0.2:3000", "direct"),
            ("http://[::1]:3000", "direct"),
            ("http://[::ffff:127.0.0.1]", "direct"),
            ("unix:/run/app.sock", "direct"),
        ] {
            assert_eq!(shown(&both, origin), proxy, "{origin}");
        }
    }

    #[test]
    fn lower_case_wins_and_empty_variables_and_those_of_cgi_do_not_count() {
        for (set, proxy) in [
            (
                &[("http_proxy", "a:1"), ("HTTP_PROXY", "b:2")][..],
                "http://a:1",
            ),
            (&[("http_proxy", " "), ("HTTP_PROXY", "b:2")], "http://b:2"),
            (
                &[("HTTP_PROXY", "b:2"), ("REQUEST_METHOD", "GET")],
                "direct",
            ),
            (
                &[("http_proxy", "a:1"), ("REQUEST_METHOD", "GET")],
                "http://a:1",
            ),
            (
                &[("http_proxy", "a:1"), ("NO_PROXY", "origin.test")],
                "direct",
            ),
            (
                &[
                    ("http_proxy", "a:1"),
                    ("no_proxy", "b.test"),
                    ("NO_PROXY", "*"),
                ],
                "http://a:1",
            ),
        ] {
            assert_eq!(
                shown(&variables(set), "http://origin.test"),
                proxy,
                "{set:?}"
            );
        }
    }

    #[test]
    fn a_wrong_variable_matters_only_to_the_origins_it_is_for() {
        let wrong = variables(&[("HTTPS_PROXY", "socks5://a:1")]);
        assert_eq!(shown(&wrong, "http://origin.test"), "direct");
        assert_eq!(shown(&wrong, "https://localhost"), "direct");
        let refused = shown(&wrong, "https://origin.test");
        assert!(
            refused.starts_with("HTTPS_PROXY: \"socks5\" is not"),
            "{refused}"
        );
    }

    #[test]
    fn a_setting_of_our_own_goes_before_the_environment() {
        let proxy = ForwardProxy::parse("http://a:1").unwrap();
        let always = ProxySetting::Always(proxy);
        assert_eq!(shown(&always, "http://127.0.0.1"), "http://a:1");
        assert_eq!(shown(&always, "unix:/run/app.sock"), "direct");
        assert_eq!(shown(&ProxySetting::Direct, "http://origin.test"), "direct");
    }
}
