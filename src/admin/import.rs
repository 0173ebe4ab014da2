//! `import`: stores a response from a file.

use std::net::Ipv4Addr;

use actix_web::http::{
    Method, StatusCode, Uri,
    header::{CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, VARY},
};
use bytes::Bytes;
use futures_core::Stream;
use serde::{Deserialize, Serialize};

use super::AdminError;
use crate::{
    har::{HeaderLine, RecordedExchange},
    mask::{cut, is_secret_header},
    origin::OriginUrl,
    policy::{BodyKey, Policy, ResponseHeaders, Time},
    proxy::{
        self, DescribedRequest, ImportAudience, ImportRefusal, ImportedResponse, Shared, UrlPlace,
    },
};

/// The most other names of the origin.
const MAX_SITES: usize = 100;
/// An error repeats at most this many characters of the request.
const MAX_ECHO_CHARS: usize = 200;

/// A response to import, without its body.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ImportRequest {
    /// The exchange.
    pub exchange: RecordedExchange,
    /// Serve it to everybody, whatever the credentials.
    pub shared: bool,
    /// Other names of the origin, each a host with or without a port, or a URL.
    pub sites: Vec<String>,
}

/// What became of a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportOutcome {
    /// Why it was not imported; `None` if it was.
    pub refused: Option<String>,
}

/// Stores a response, whose body is `body` and has `length` bytes. It is served until it is cleared.
///
/// # Errors
/// The description is not valid, or the cache did not respond.
pub async fn import<E>(
    shared: &Shared,
    request: ImportRequest,
    (body, length): (impl Stream<Item = Result<Bytes, E>>, u64),
    now: Time,
) -> Result<ImportOutcome, AdminError> {
    let sites = sites(&request.sites)?;
    let refused = |why: String| Ok(ImportOutcome { refused: Some(why) });
    let imported = match described(shared, &request, (&sites, length)) {
        Ok(imported) => imported,
        Err(why) => return refused(why),
    };
    match proxy::import(shared, imported, body, now).await {
        Ok(()) => Ok(ImportOutcome { refused: None }),
        Err(ImportRefusal::CacheUnavailable(error)) => Err(error.into()),
        Err(why) => refused(why.to_string()),
    }
}

fn sites(names: &[String]) -> Result<Vec<OriginUrl>, AdminError> {
    if names.len() > MAX_SITES {
        return Err(AdminError::TooManySites { limit: MAX_SITES });
    }
    let site = |name: &String| {
        let has_scheme = name.contains("://");
        let url = if has_scheme {
            name.clone()
        } else {
            format!("https://{name}")
        };
        let echo = || cut(name, MAX_ECHO_CHARS).into_owned();
        OriginUrl::parse(&url).map_err(|_| AdminError::Site(echo()))
    };
    names.iter().map(site).collect()
}

/// The response as the proxy stores it; an error says in words why it cannot.
fn described(
    shared: &Shared,
    request: &ImportRequest,
    (sites, length): (&[OriginUrl], u64),
) -> Result<ImportedResponse, String> {
    let config = shared.config();
    let exchange = &request.exchange;
    let mark = exchange.mark.as_ref();
    if mark.is_some_and(|mark| mark.audience == "own") && !request.shared {
        return Err(
            "made for one user, whose credentials are not in the file; --shared serves such responses to everybody"
                .to_owned(),
        );
    }
    let method = Method::from_bytes(exchange.method.as_bytes())
        .map_err(|_| "its method is not valid".to_owned())?;
    let status =
        StatusCode::from_u16(exchange.status).map_err(|_| "its status is not valid".to_owned())?;
    let body_key = mark.and_then(|mark| mark.body_key.as_deref());
    let body_key = body_key.map(body_key_of).transpose()?;
    let mut asked = request_headers(&exchange.request)?;
    let posted = exchange.posted.as_ref().filter(|_| body_key.is_none());
    if method == Method::POST && body_key.is_none() {
        let posted = posted.map_or(0, String::len);
        asked.insert(CONTENT_LENGTH, HeaderValue::from(posted));
    }
    let places = UrlPlace::of(&config, &exchange.url, sites).map_err(|error| error.to_string())?;
    let place = places.iter().find(|place| {
        let selection = config.select(&place.target, Some(&place.host));
        let scope = config.key_scope(selection);
        place.scope.as_ref().is_none_or(|it| it.as_deref() == scope)
    });
    let place = place.ok_or_else(|| ImportRefusal::Route.to_string())?;
    let host =
        HeaderValue::try_from(&place.host).map_err(|_| "its host is not valid".to_owned())?;
    asked.insert(HOST, host);
    let uri = Uri::try_from(&place.target).map_err(|_| "its URL cannot be requested".to_owned())?;
    let mut answered = response_headers(&exchange.response)?;
    if request.shared {
        forget_credentials_in_vary(&config.policy, &mut answered);
    }
    Ok(ImportedResponse {
        request: DescribedRequest {
            method,
            uri,
            headers: asked,
            peer: Ipv4Addr::LOCALHOST.into(),
        },
        scope: place.scope.clone(),
        posted: posted.map(|text| Bytes::from(text.clone())),
        body_key,
        status,
        headers: answered,
        length,
        audience: match request.shared {
            true => ImportAudience::Everyone,
            false => ImportAudience::OfRequest,
        },
        is_recorded: mark.is_some_and(|mark| mark.provenance.as_deref() == Some("recorded")),
    })
}

/// The body key with these hexadecimal digits.
fn body_key_of(digits: &str) -> Result<BodyKey, String> {
    let pairs = digits.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok());
    let bytes: Option<Vec<u8>> = bytes.collect();
    let key = bytes.and_then(|bytes| BodyKey::from_bytes(&bytes));
    key.ok_or_else(|| "its bodyKey is not valid: it has 66 hexadecimal digits".to_owned())
}

fn request_headers(lines: &[HeaderLine]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = valid(line)?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn response_headers(lines: &[HeaderLine]) -> Result<ResponseHeaders, String> {
    let mut headers = ResponseHeaders::new();
    for line in lines {
        valid(line)?;
        headers.extend([(line.0.as_bytes(), line.1.as_bytes())]);
    }
    Ok(headers)
}

/// A line as a header, if it is a valid one.
fn valid((name, value): &HeaderLine) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = || format!("its header {:?} is not valid", cut(name, MAX_ECHO_CHARS));
    let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| wrong())?;
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong())?;
    Ok((name, value))
}

/// A response for everybody is for every request, whatever its credentials, so these do not select it.
fn forget_credentials_in_vary(policy: &Policy, headers: &mut ResponseHeaders) {
    let lines: Vec<String> = headers
        .get_all(&VARY)
        .filter_map(|line| str::from_utf8(line).ok().map(str::to_owned))
        .collect();
    headers.remove(&VARY);
    let is_kept = |member: &&str| {
        let name = HeaderName::from_bytes(member.as_bytes());
        !member.is_empty() && !name.is_ok_and(|name| is_secret_header(policy, &name))
    };
    let members = lines.iter().flat_map(|line| line.split(',').map(str::trim));
    let kept: Vec<&str> = members.filter(is_kept).collect();
    if let (false, Ok(value)) = (kept.is_empty(), HeaderValue::try_from(kept.join(", "))) {
        headers.insert(&VARY, &value);
    }
}
