//! `why`: what the proxy would do with a request, and why.

use std::net::{IpAddr, Ipv4Addr};

use actix_web::http::{
    Method, Uri,
    header::{self, HeaderMap, HeaderName, HeaderValue},
};
use serde::{Deserialize, Serialize};

use super::AdminError;
use crate::{
    cache,
    explain::{self, Explanation},
    mask::cut,
    policy::{OfflineDecision, Time},
    proxy::{self, DescribedRequest, Shared},
};

/// The most headers that a described request may have.
const MAX_HEADERS: usize = 100;
/// An error repeats at most this many characters of the request.
const MAX_ECHO_CHARS: usize = 200;

/// A description of the request to explain.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WhyRequest {
    /// The method.
    pub method: String,
    /// A path with its query, or a URL, whose host becomes the Host header if none is given.
    pub path: String,
    /// The headers, each as `Name: value`.
    pub fields: Vec<String>,
    /// Which address has sent it, for `trusted_proxies`. `None`: 127.0.0.1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
}

impl Default for WhyRequest {
    fn default() -> Self {
        Self {
            method: Method::GET.to_string(),
            path: String::new(),
            fields: Vec::new(),
            from: None,
        }
    }
}

/// Explains what the proxy would do with a request now. Nothing is sent to the origin.
///
/// # Errors
/// The description is not that of a request, or the cache did not respond.
pub async fn why(
    shared: &Shared,
    request: &WhyRequest,
    now: Time,
) -> Result<Explanation, AdminError> {
    let described = parse(request)?;
    let dry_run = match proxy::dry_run(shared, &described, now).await? {
        Ok(dry_run) => dry_run,
        Err(error) => {
            let path = described.uri.path_and_query();
            let path = path.map_or("", |path| path.as_str());
            return Ok(explain::refused(described.method.as_str(), path, &error));
        }
    };
    if dry_run.offline == Some(OfflineDecision::NotStored) {
        let missing = dry_run.missing_offline(shared).await;
        return Ok(explain::offline(&dry_run, missing, now));
    }
    if dry_run.offline.is_some() {
        return Ok(explain::offline(&dry_run, Vec::new(), now));
    }
    let nearest = match dry_run.is_unknown() {
        true => shared.cache.nearest(dry_run.key()).await?,
        false => None,
    };
    let nearest = nearest.as_ref().map(|row| row.key.resource.target());
    let in_redis = dry_run.shared_finding(&shared.cache, now).await;
    Ok(explain::why(&dry_run, nearest, now).with_redis(in_redis))
}

/// The request that a description means.
pub(crate) fn parse(request: &WhyRequest) -> Result<DescribedRequest, AdminError> {
    if request.fields.len() > MAX_HEADERS {
        return Err(AdminError::TooManyHeaders { limit: MAX_HEADERS });
    }
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| AdminError::Method(echo(&request.method)))?;
    let mut headers = HeaderMap::new();
    for line in &request.fields {
        let (name, value) = parse_header(line)?;
        headers.append(name, value);
    }
    let target = cache::parse_target(&request.path, false)?;
    let uri = Uri::try_from(&target).map_err(|_| AdminError::Path(echo(&target)))?;
    let url = Uri::try_from(&request.path).ok();
    let host = url.as_ref().and_then(Uri::authority);
    let host = host.and_then(|host| HeaderValue::try_from(host.as_str()).ok());
    if let Some(host) = host
        && !headers.contains_key(header::HOST)
    {
        headers.insert(header::HOST, host);
    }
    Ok(DescribedRequest {
        method,
        uri,
        headers,
        peer: request.from.unwrap_or(Ipv4Addr::LOCALHOST.into()),
    })
}

fn parse_header(line: &str) -> Result<(HeaderName, HeaderValue), AdminError> {
    if line.contains(|letter: char| letter.is_control() && letter != '\t') {
        return Err(AdminError::ControlCharacter(echo(line)));
    }
    let parsed = line.split_once(':').and_then(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?))
    });
    parsed.ok_or_else(|| AdminError::Header(echo(line)))
}

fn echo(text: &str) -> String {
    cut(text, MAX_ECHO_CHARS).into_owned()
}

#[cfg(test)]
mod tests {
    use actix_web::{ResponseError as _, http::StatusCode};

    use super::*;

    fn described(path: &str, fields: &[&str]) -> Result<DescribedRequest, AdminError> {
        parse(&WhyRequest {
            path: path.to_owned(),
            fields: fields.iter().map(|line| (*line).to_owned()).collect(),
            ..WhyRequest::default()
        })
    }

    #[test]
    fn the_host_of_a_url_is_used_unless_a_host_header_is_given() {
        for (path, fields, expected) in [
            ("/a", &[][..], None),
            ("http://one/a", &[], Some("one")),
            ("http://one/a", &["Host: two"], Some("two")),
        ] {
            let request = described(path, fields).unwrap();
            let host = request.headers.get(header::HOST);
            assert_eq!(host.map(|host| host.to_str().unwrap()), expected, "{path}");
            assert_eq!(request.uri.path(), "/a");
        }
    }

    #[test]
    fn a_description_that_is_no_request_is_refused_with_a_message() {
        let many = vec!["a: b"; MAX_HEADERS + 1];
        for (fields, expected) in [
            (&["Accept"][..], "is not a header"),
            (&["a: b\r\nc: d"], "contains a line end"),
            (&many, "at most 100 headers"),
        ] {
            let error = described("/a", fields).unwrap_err();
            assert_eq!(error.status_code(), StatusCode::BAD_REQUEST);
            assert!(error.to_string().contains(expected), "{error}");
        }
        let request = WhyRequest {
            method: "GET IT".to_owned(),
            path: "/a".to_owned(),
            ..WhyRequest::default()
        };
        let error = parse(&request).unwrap_err();
        assert_eq!(
            error.to_string(),
            "\"GET IT\" is not a method: a method is a word such as GET"
        );
    }
}
