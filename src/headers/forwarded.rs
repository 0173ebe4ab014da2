//! The headers of a request as the origin gets them.

use std::{borrow::Cow, net::IpAddr, sync::LazyLock};

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use memchr::memmem::Finder;

use super::{
    forwarded_client::ForwardedClient,
    forwarded_names::{X_FORWARDED_FOR, X_FORWARDED_HOST, X_FORWARDED_PORT, X_FORWARDED_PROTO},
    hop_by_hop::{HOP_BY_HOP, is_hop_by_hop, named_in_connection},
    rewriting::{ClientAddress, DESTINATION},
    unkeyed::{hyphenated, is_unkeyed},
};

/// The headers that the proxy sets in a request, whatever the client sent.
pub static SET_BY_US: [HeaderName; 6] = [
    header::HOST,
    header::VIA,
    X_FORWARDED_FOR,
    X_FORWARDED_PROTO,
    X_FORWARDED_HOST,
    X_FORWARDED_PORT,
];

/// The values of the headers that the proxy sets in a request.
pub struct ProxyHeaders<'a> {
    /// The address of the client or of the proxy before this one, for X-Forwarded-For; `None` if the system does not tell it.
    pub peer: Option<IpAddr>,
    /// What trusted proxies say about the client.
    pub client: &'a ForwardedClient,
    /// Host.
    pub host: HostHeader<'a>,
    /// X-Forwarded-Proto: the scheme of the URL that the origin is to believe in.
    pub scheme: &'static str,
    /// Our own member of Via.
    pub via: &'a HeaderValue,
}

/// The Host that the origin gets.
pub enum HostHeader<'a> {
    /// The origin's own.
    Origin(&'a HeaderValue),
    /// The client's; it goes into X-Forwarded-Host as well, and its port into X-Forwarded-Port.
    Client(&'a HeaderValue),
}

impl<'a> HostHeader<'a> {
    /// The client's; `None` if the origin gets its own.
    pub fn of_client(&self) -> Option<&'a [u8]> {
        match self {
            Self::Origin(_) => None,
            Self::Client(host) => Some(host.as_bytes()),
        }
    }
}

/// The headers of a client's request as they are forwarded: without those that concern its connection and those that a
/// client must not set, with Host, Via, X-Forwarded-For and X-Forwarded-Proto. `is_dropped` is true for the names that are
/// not forwarded whatever they carry: those of [`is_dropped`], and perhaps others. It is asked once for each line that
/// Connection does not name.
pub fn forwarded_headers(
    client: &HeaderMap,
    proxy_headers: &ProxyHeaders<'_>,
    mut is_dropped: impl FnMut(&HeaderName) -> bool,
) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(client.len() + 4);
    let connection = client.get_all(header::CONNECTION);
    let named = named_in_connection(connection.map(HeaderValue::as_bytes));
    for (name, value) in client {
        if !named.contains(name)
            && !is_dropped(name)
            && let Some(value) = without_own_cookies(name, value)
        {
            headers.append(name.clone(), value.into_owned());
        }
    }
    let host = match proxy_headers.host {
        HostHeader::Origin(host) => host,
        HostHeader::Client(host) => {
            let address = ClientAddress {
                scheme: proxy_headers.scheme,
                authority: host.as_bytes(),
            };
            headers.insert(X_FORWARDED_HOST, host.clone());
            headers.insert(X_FORWARDED_PORT, address.port().into());
            host
        }
    };
    headers.insert(header::HOST, host.clone());
    headers.append(header::VIA, proxy_headers.via.clone());
    let client = proxy_headers.client;
    let scheme = client.scheme().unwrap_or(proxy_headers.scheme);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(scheme));
    client.write(proxy_headers.peer, &mut headers);
    headers
}

/// True for a header of a client that is not forwarded, whatever it carries.
pub fn is_dropped(name: &HeaderName) -> bool {
    is_hop_by_hop(name.as_ref())
        || folds_to_framing(name)
        || is_unkeyed(name)
        || *name == header::HOST
        || *name == header::EXPECT
}

/// True for a header of a client that is forwarded as it came, unless Connection names it: not in part, and not with another
/// value. Origin and Referer are, unless the page that they name is one of the proxy.
pub fn is_forwarded(name: &HeaderName) -> bool {
    !is_dropped(name)
        && *name != DESTINATION
        // `Connection: close` names it.
        && name.as_str() != "close"
        && !SET_BY_US.contains(name)
}

/// True for a name that CGI cannot tell from that of a header which frames the body or concerns the connection:
/// `Transfer_Encoding`, `Content_Length`. An origin that takes it for that header sees another end of the body.
fn folds_to_framing(name: &HeaderName) -> bool {
    let hyphenated = hyphenated(name.as_str());
    matches!(hyphenated, Cow::Owned(_))
        && (hyphenated == header::CONTENT_TYPE.as_str()
            || HOP_BY_HOP
                .iter()
                .any(|framing| hyphenated == framing.as_str()))
}

/// The start of the names of cookies that earlier versions of the dashboard set.
const OWN_COOKIE: &[u8] = b"caching-proxy-";
static OWN_COOKIE_FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(OWN_COOKIE));

/// True if a Cookie line may have cookies of the dashboard, which are not forwarded.
pub fn has_own_cookies(line: &HeaderValue) -> bool {
    OWN_COOKIE_FINDER.find(line.as_bytes()).is_some()
}

/// A Cookie line without the cookies of the dashboard, which browsers send to all ports of a host; any other line as it
/// is. `None` if no cookie is left.
fn without_own_cookies<'a>(
    name: &HeaderName,
    value: &'a HeaderValue,
) -> Option<Cow<'a, HeaderValue>> {
    if *name != header::COOKIE || !has_own_cookies(value) {
        return Some(Cow::Borrowed(value));
    }
    let line = value.as_bytes();
    let cookies = || line.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    if !cookies().any(is_own_cookie) {
        return Some(Cow::Borrowed(value));
    }
    let rest: Vec<&[u8]> = cookies().filter(|cookie| !is_own_cookie(cookie)).collect();
    // Parts of a field value, joined by allowed bytes, are a field value.
    let rest = HeaderValue::from_bytes(&rest.join(&b"; "[..])).ok()?;
    (!rest.is_empty()).then_some(Cow::Owned(rest))
}

/// True for `caching-proxy-8001=` followed by 32 hexadecimal digits.
fn is_own_cookie(cookie: &[u8]) -> bool {
    let Some(rest) = cookie.strip_prefix(OWN_COOKIE) else {
        return false;
    };
    let end = rest.iter().position(|byte| !byte.is_ascii_digit());
    let (port, value) = rest.split_at(end.unwrap_or(rest.len()));
    let value = value.strip_prefix(b"=").unwrap_or_default();
    (1..=5).contains(&port.len()) && value.len() == 32 && value.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::policy::ResponseHeaders;

    use super::{
        super::{
            hop_by_hop::remove_hop_by_hop,
            test_maps::{all, map},
        },
        *,
    };

    fn forward(client: &HeaderMap) -> HeaderMap {
        let host = HeaderValue::from_static("origin.example");
        let via = HeaderValue::from_static("1.1 us");
        forwarded_headers(
            client,
            &ProxyHeaders {
                peer: Some(IpAddr::from([192, 0, 2, 7])),
                client: &ForwardedClient::default(),
                host: HostHeader::Origin(&host),
                scheme: "https",
                via: &via,
            },
            is_dropped,
        )
    }

    #[test]
    fn headers_of_the_clients_connection_are_not_forwarded() {
        let headers = forward(&map(&[
            ("connection", "x-hop, close"),
            ("connection", "X-Other"),
            ("x-hop", "1"),
            ("x-other", "2"),
            ("keep-alive", "3"),
            ("te", "trailers"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("transfer-encoding", "chunked"),
            ("expect", "100-continue"),
            ("transfer_encoding", "chunked"),
            ("content_length", "5"),
            ("content_type", "text/html"),
            ("keep_alive", "5"),
            ("proxy_authorization", "Basic x"),
            ("accept", "a"),
            ("accept", "b"),
        ]));
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accept",
                "host",
                "via",
                "x-forwarded-for",
                "x-forwarded-proto"
            ]
        );
        assert_eq!(all(&headers, "accept"), ["a", "b"]);
    }

    #[test]
    fn headers_that_a_client_must_not_set_are_replaced_or_dropped() {
        let headers = forward(&map(&[
            ("host", "evil.example"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-host", "evil.example"),
            ("x-forwarded-prefix", "/evil"),
            ("forwarded", "for=evil"),
            ("x-original-url", "/admin"),
            ("x-rewrite-url", "/admin"),
            ("x-http-host-override", "evil.example"),
            ("x-url-scheme", "https"),
            ("proxy", "http://evil.example"),
            ("x-host", "evil.example"),
            ("x_forwarded_host", "evil.example"),
            ("x_original-url", "/admin"),
            ("x-real-ip", "10.0.0.1"),
        ]));
        assert_eq!(headers.keys().count(), 4);
        assert_eq!(all(&headers, "host"), ["origin.example"]);
        assert_eq!(all(&headers, "x-forwarded-proto"), ["https"]);
        assert_eq!(all(&headers, "x-forwarded-for"), ["192.0.2.7"]);
    }

    #[test]
    fn cookies_of_the_dashboard_are_removed_and_others_stay() {
        let hex = "0123456789abcdef0123456789abcdef";
        let forwarded = |line: String| {
            let mut headers = HeaderMap::new();
            headers.insert(header::COOKIE, HeaderValue::try_from(line).unwrap());
            all(&forward(&headers), "cookie")
        };
        let own = format!("caching-proxy-8001={hex}");
        assert_eq!(forwarded(own.clone()), [""; 0]);
        assert_eq!(forwarded(format!("{own}; caching-proxy-1={hex};")), [""; 0]);
        assert_eq!(forwarded(format!("a=1;{own}; b=\"2\"")), ["a=1; b=\"2\""]);
        for others in [
            format!("caching-proxy-={hex}"),
            format!("caching-proxy-x={hex}"),
            format!("caching-proxy-800100={hex}"),
            format!("caching-proxy-8001={hex}0"),
            format!("xcaching-proxy-8001={hex}"),
            "caching-proxy-8001=1;a".to_owned(),
            "caching-proxy-8001".to_owned(),
        ] {
            assert_eq!(forwarded(others.clone()), [others]);
        }
    }

    #[test]
    fn a_preserved_host_is_sent_as_x_forwarded_host_too() {
        let host = HeaderValue::from_static("client.example:8000");
        let via = HeaderValue::from_static("1.1 us");
        let headers = forwarded_headers(
            &map(&[("via", "1.0 fred")]),
            &ProxyHeaders {
                peer: None,
                client: &ForwardedClient::default(),
                host: HostHeader::Client(&host),
                scheme: "http",
                via: &via,
            },
            is_dropped,
        );
        assert_eq!(all(&headers, "host"), ["client.example:8000"]);
        assert_eq!(all(&headers, "x-forwarded-host"), ["client.example:8000"]);
        assert_eq!(all(&headers, "x-forwarded-port"), ["8000"]);
        assert_eq!(all(&headers, "x-forwarded-proto"), ["http"]);
        assert_eq!(all(&headers, "via"), ["1.0 fred", "1.1 us"]);
    }

    proptest! {
        #[test]
        fn no_hop_by_hop_header_is_left_whatever_connection_names(
            values in proptest::collection::vec("[a-dA-D ,]{0,9}|[ -~]{0,9}", 0..3),
        ) {
            let mut headers = map(&[("a", "1"), ("b", "2"), ("te", "x"), ("keep-alive", "y")]);
            for value in &values {
                headers.append(header::CONNECTION, HeaderValue::from_str(value).unwrap());
            }
            let lines = headers.get_all(header::CONNECTION).map(HeaderValue::as_bytes);
            let named = named_in_connection(lines);
            let lines = headers.iter();
            let lines = lines.map(|(name, value)| (name.as_ref(), value.as_bytes()));
            let mut received: ResponseHeaders = lines.collect();
            remove_hop_by_hop(&mut received);
            let forwarded = forward(&headers);
            for name in HOP_BY_HOP.iter().chain(&named) {
                prop_assert!(!forwarded.contains_key(name), "{name}");
                prop_assert!(!received.contains(name), "{name}");
            }
            for name in [HeaderName::from_static("a"), HeaderName::from_static("b")] {
                let is_named = named.contains(&name);
                prop_assert_eq!(forwarded.contains_key(&name), !is_named);
                prop_assert_eq!(received.contains(&name), !is_named);
            }
        }
    }
}
