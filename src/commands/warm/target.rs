//! What of the texts in a list or sitemap is a target of the proxy's.

use std::{net::IpAddr, str::FromStr as _};

use actix_web::http::uri::PathAndQuery;
use caching_proxy::{
    control::Instance,
    origin::{OriginUrl, UrlError},
    policy::encoded_target,
};

use super::{MAX_ECHO_CHARS, cut};

/// Longest path or URL, in bytes; the proxy takes 64 KiB for the whole head of a request.
pub(super) const MAX_TARGET_BYTES: usize = 16 * 1024;

/// Which hosts lead to the proxy's origin.
#[derive(Debug)]
pub(super) struct KnownHosts {
    origin: OriginUrl,
    sites: Vec<OriginUrl>,
    bind: IpAddr,
    ports: Vec<u16>,
}

/// Why a text is no target.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Misfit {
    #[error("{0:?} is neither a path (/products) nor a URL (http://...)")]
    Neither(String),
    #[error(
        "{host} is neither the origin ({origin}) nor the proxy; if it is another name of the origin, use --site {host}"
    )]
    OtherHost { host: String, origin: String },
    #[error("{url:?} is outside of the origin {origin}/, so the proxy cannot fetch it")]
    Outside { url: String, origin: String },
    #[error("user name and password in a URL are not supported; use -H 'Authorization: ...'")]
    Userinfo,
    #[error("{}", cut(&.0.to_string(), MAX_ECHO_CHARS))]
    Url(UrlError),
    #[error("{0:?} has invalid characters (write a space as %20)")]
    Characters(String),
    #[error("it is longer than {MAX_TARGET_BYTES} bytes")]
    Long,
}

impl KnownHosts {
    pub(super) fn new(instance: &Instance, sites: &[String]) -> Result<Self, UrlError> {
        let site = |site: &String| {
            let has_scheme = site.contains("://");
            OriginUrl::parse(&if has_scheme {
                site.clone()
            } else {
                format!("https://{site}")
            })
        };
        Ok(Self {
            origin: OriginUrl::parse(&instance.origin)?,
            sites: sites.iter().map(site).collect::<Result<_, _>>()?,
            bind: instance.bind,
            ports: instance
                .https_port
                .into_iter()
                .chain([instance.port])
                .collect(),
        })
    }

    /// The target (path and query) that is meant; what is not ASCII in it is written as browsers do.
    pub(super) fn target(&self, text: &str) -> Result<String, Misfit> {
        if text.len() > MAX_TARGET_BYTES {
            return Err(Misfit::Long);
        }
        if text.starts_with('/') {
            return sendable(text);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(Misfit::Neither(short(text)));
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        let url =
            OriginUrl::parse(&format!("{scheme}://{authority}")).map_err(|error| match error {
                UrlError::Userinfo { .. } => Misfit::Userinfo,
                UrlError::UnsupportedScheme { .. } => Misfit::Neither(short(text)),
                error => Misfit::Url(error),
            })?;
        if self.is_proxy(&url) {
            return sendable(path);
        }
        if !is_same(&url, &self.origin) && !self.sites.iter().any(|site| is_same(&url, site)) {
            return Err(Misfit::OtherHost {
                host: url.authority(),
                origin: self.origin.to_string(),
            });
        }
        let prefix = self.origin.path_prefix();
        match path.strip_prefix(prefix) {
            Some(path) if prefix.is_empty() || path.starts_with('/') => sendable(path),
            _ => Err(Misfit::Outside {
                url: short(text),
                origin: self.origin.to_string(),
            }),
        }
    }

    fn is_proxy(&self, url: &OriginUrl) -> bool {
        let (host, bind) = (url.host(), self.bind);
        let here = is_loopback(host) && (bind.is_loopback() || bind.is_unspecified());
        self.ports.contains(&url.port()) && (here || host.parse() == Ok(bind))
    }
}

/// The same host and port. A site that moved to https still is in the lists of its http days, and the other way round.
fn is_same(one: &OriginUrl, other: &OriginUrl) -> bool {
    let is_default = |url: &OriginUrl| url.port() == if url.is_tls() { 443 } else { 80 };
    let hosts = one.host() == other.host() || is_loopback(one.host()) && is_loopback(other.host());
    hosts && (one.port() == other.port() || is_default(one) && is_default(other))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost"
        || host
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Without its fragment, which is the client's own.
fn sendable(path: &str) -> Result<String, Misfit> {
    let path = path.split('#').next().unwrap_or_default();
    let mut target = encoded_target(path.as_bytes()).unwrap_or_else(|| path.to_owned());
    if !target.starts_with('/') {
        target.insert(0, '/');
    }
    let is_graphic = target.bytes().all(|byte| byte.is_ascii_graphic());
    if is_graphic && PathAndQuery::from_str(&target).is_ok() {
        Ok(target)
    } else {
        Err(Misfit::Characters(short(path)))
    }
}

/// As much as fits a line of a terminal.
fn short(text: &str) -> String {
    let mut letters = text.chars();
    let mut short: String = letters.by_ref().take(60).collect();
    if letters.next().is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(origin: &str, sites: &[&str]) -> KnownHosts {
        let instance = Instance {
            pid: 1,
            port: 8000,
            bind: IpAddr::from([127, 0, 0, 1]),
            https_port: Some(8443),
            requires_https: false,
            origin: origin.to_owned(),
            version: String::new(),
            started: String::new(),
        };
        let sites: Vec<String> = sites.iter().map(|&site| site.to_owned()).collect();
        KnownHosts::new(&instance, &sites).unwrap()
    }

    #[test]
    fn paths_and_urls_of_origin_and_proxy_are_targets() {
        let place = place(
            "https://api.test/v2",
            &["www.shop.test", "http://old.test:81"],
        );
        for (text, target) in [
            ("/a?b=c", "/a?b=c"),
            ("/a#part", "/a"),
            ("/\u{e4}/%2f", "/%C3%A4/%2f"),
            ("/?q=\"<x>\"", "/?q=%22%3Cx%3E%22"),
            ("https://api.test/v2/a", "/a"),
            ("HTTPS://API.test:443/v2/a?b", "/a?b"),
            ("http://api.test/v2/", "/"),
            ("http://localhost:8000/v2/a", "/v2/a"),
            ("http://127.0.0.1:8000", "/"),
            ("http://127.0.0.1:8000?q", "/?q"),
            ("https://localhost:8443/a", "/a"),
            ("https://www.shop.test/v2/a", "/a"),
            ("http://old.test:81/v2/a", "/a"),
        ] {
            assert_eq!(place.target(text).as_deref(), Ok(target), "{text}");
        }
    }

    #[test]
    fn every_other_target_is_refused_with_the_reason() {
        let place = place("https://api.test/v2", &[]);
        for (text, words) in [
            ("products", "neither a path"),
            ("ftp://api.test/v2/a", "neither a path"),
            ("https://other.test/v2/a", "--site other.test"),
            ("https://api.test:8443/v2/a", "--site api.test:8443"),
            ("http://localhost:8001/a", "--site localhost:8001"),
            ("https://api.test/v1/a", "outside"),
            ("https://api.test/v22/a", "outside"),
            ("https://api.test/v2", "outside"),
            ("https://me:secret@api.test/v2/a", "-H 'Authorization"),
            ("/a b", "%20"),
            ("/a\u{7f}", "%20"),
            ("https:///a", "no host"),
        ] {
            let said = place.target(text).unwrap_err().to_string();
            assert!(
                said.contains(words) && !said.contains("secret"),
                "{text}: {said}"
            );
        }
        let long = format!("/{}", "a".repeat(MAX_TARGET_BYTES));
        assert_eq!(place.target(&long), Err(Misfit::Long));
    }
}
