//! Where a URL of the origin, or of this proxy, leads.

use std::net::IpAddr;

use actix_web::http::Uri;

use crate::{
    config::{BindAddress, Config},
    origin::OriginUrl,
    policy::{OriginIndex, encoded_target},
};

/// A target of this proxy to which a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlPlace {
    /// Path and query at this proxy.
    pub target: String,
    /// The Host of a request for it.
    pub host: String,
    /// The scope of the route that it has to take; outer `None`: any.
    pub scope: Option<Option<String>>,
}

/// Why a URL leads to nothing here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlMisfit {
    /// It cannot be parsed.
    #[error("its URL is not valid")]
    Invalid,
    /// It is of another server.
    #[error("it is of another site, {0} (if that is another name of the origin: --site {0})")]
    OtherSite(String),
    /// It is of the origin, outside of the path before every target.
    #[error("its URL is outside of the path of the origin")]
    Outside,
}

impl UrlPlace {
    /// The targets to which `url` leads: of an origin, of one of `sites`, which are other names of the first origin, or of
    /// this proxy. There is at least one.
    ///
    /// # Errors
    /// It leads to none.
    pub fn of(config: &Config, url: &str, sites: &[OriginUrl]) -> Result<Vec<Self>, UrlMisfit> {
        let url = url.split_once('#').map_or(url, |(url, _)| url);
        let (scheme, rest) = url.split_once("://").ok_or(UrlMisfit::Invalid)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        // User and password are no part of the target.
        let authority = authority.rsplit('@').next().unwrap_or_default();
        let site = OriginUrl::parse(&format!("{}://{authority}", scheme.to_ascii_lowercase()))
            .map_err(|_| UrlMisfit::Invalid)?;
        let target = target(path).ok_or(UrlMisfit::Invalid)?;
        let host = site.authority();
        if is_this_proxy(config, &site) {
            return Ok(vec![Self {
                target,
                host,
                scope: None,
            }]);
        }
        let is_first = |index| index == OriginIndex(0) && sites.iter().any(|it| is_same(it, &site));
        let mut is_known = false;
        let mut places = Vec::new();
        for (index, origin) in config.origins.iter().enumerate() {
            let index = OriginIndex(index);
            if !is_same(origin, &site) && !is_first(index) {
                continue;
            }
            is_known = true;
            let Some(relative) = below(origin.path_prefix(), &target) else {
                continue;
            };
            let keys = config.keys_for(index, &relative, Some(host.as_bytes()));
            places.extend(keys.map(|(target, _, scope)| Self {
                target: target.into_owned(),
                host: host.clone(),
                scope: Some(scope.map(str::to_owned)),
            }));
        }
        match (places.is_empty(), is_known) {
            (false, _) => Ok(places),
            (true, true) => Err(UrlMisfit::Outside),
            (true, false) => Err(UrlMisfit::OtherSite(host)),
        }
    }
}

/// Path and query as a client sends them; `None` if they cannot be.
fn target(path: &str) -> Option<String> {
    let path = match path {
        "" => "/".to_owned(),
        query if query.starts_with('?') => format!("/{query}"),
        path => path.to_owned(),
    };
    let target = encoded_target(path.as_bytes()).unwrap_or(path);
    Uri::try_from(&target).is_ok().then_some(target)
}

/// `target` without the path before every target; `None` if it is not below that.
fn below(prefix: &str, target: &str) -> Option<String> {
    let rest = target.strip_prefix(prefix)?;
    match rest.chars().next() {
        Some('/') => Some(rest.to_owned()),
        None | Some('?') if !prefix.is_empty() => Some(format!("/{rest}")),
        _ => None,
    }
}

/// The same host and port. A site that has moved to https is the same.
fn is_same(one: &OriginUrl, other: &OriginUrl) -> bool {
    let is_default = |url: &OriginUrl| url.port() == if url.is_tls() { 443 } else { 80 };
    !one.is_unix()
        && one.host().eq_ignore_ascii_case(other.host())
        && (one.port() == other.port() || (is_default(one) && is_default(other)))
}

fn is_this_proxy(config: &Config, url: &OriginUrl) -> bool {
    let host = url.host().trim_matches(['[', ']']);
    let address: Option<IpAddr> = host.parse().ok();
    let is_loopback = host.eq_ignore_ascii_case("localhost")
        || address.is_some_and(|address| address.is_loopback());
    let is_bound = match config.bind {
        BindAddress::Localhost => is_loopback,
        BindAddress::One(bind) => {
            address == Some(bind) || is_loopback && (bind.is_loopback() || bind.is_unspecified())
        }
    };
    url.port() == config.port && is_bound
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(origin: &str, url: &str) -> Result<String, UrlMisfit> {
        let config = Config::for_origin(origin.parse().unwrap());
        let site = OriginUrl::parse("http://www.shop.test").unwrap();
        let places = UrlPlace::of(&config, url, &[site])?;
        Ok(places.into_iter().next().unwrap().target)
    }

    #[test]
    fn urls_of_the_origin_and_of_the_proxy_lead_to_targets() {
        for (url, expected) in [
            ("https://a.test/v2/users?x=1#y", Ok("/users?x=1")),
            ("https://A.test:443/v2", Ok("/")),
            ("https://a.test/v2?x", Ok("/?x")),
            ("http://a.test/v2/b", Ok("/b")),
            ("https://u:p@a.test/v2/b", Ok("/b")),
            ("http://localhost:8000/b", Ok("/b")),
            ("http://127.0.0.1:8000", Ok("/")),
            ("http://[::1]:8000/b", Ok("/b")),
            ("https://www.shop.test/v2/b", Ok("/b")),
            ("https://a.test/v2/\u{fc}", Ok("/%C3%BC")),
            ("https://a.test/v20/users", Err(UrlMisfit::Outside)),
            ("https://a.test/", Err(UrlMisfit::Outside)),
            (
                "https://cdn.test/b",
                Err(UrlMisfit::OtherSite("cdn.test".to_owned())),
            ),
            (
                "http://localhost:8001/b",
                Err(UrlMisfit::OtherSite("localhost:8001".to_owned())),
            ),
            ("https://", Err(UrlMisfit::Invalid)),
            ("a.test/b", Err(UrlMisfit::Invalid)),
        ] {
            let found = place("https://a.test/v2", url);
            assert_eq!(found, expected.map(str::to_owned), "{url}");
        }
    }
}
