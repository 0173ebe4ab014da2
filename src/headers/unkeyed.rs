//! Headers that only infrastructure may set: proxies, load balancers, content delivery networks.
//!
//! Origins believe them and build links, redirects and checks from them. They are not part of the cache key, so a client
//! could shape a response with them that other clients get. The list follows published research on cache poisoning.

use std::borrow::Cow;

use actix_web::http::header::HeaderName;

/// The starts of names of which all are dropped.
const PREFIXES: [&str; 10] = [
    "cf-",
    "cloudfront-",
    "x-appengine-",
    "x-arr-",
    "x-envoy-",
    "x-forwarded-",
    // Internal headers of Next.js.
    "x-invoke-",
    "x-middleware-",
    "x-vercel-forwarded-",
    "x-vercel-ip-",
];

/// A client of an origin behind Cloudflare Access logs in with these.
const CLIENT_PREFIX: &str = "cf-access-";

/// Whole names.
const NAMES: [&str; 69] = [
    // The client's address.
    "ali-cdn-real-ip",
    "cdn-src-ip",
    "client-ip",
    "do-connecting-ip",
    "fastly-client-ip",
    "fly-client-ip",
    "incap-client-ip",
    "proxy-client-ip",
    "remote-addr",
    "true-client-ip",
    "wl-proxy-client-ip",
    "x-azure-clientip",
    "x-azure-socketip",
    "x-client-ip",
    "x-clientip",
    "x-cluster-client-ip",
    "x-custom-ip-authorization",
    "x-forward-for",
    "x-forwarder-for",
    "x-nf-client-connection-ip",
    "x-original-for",
    "x-original-forwarded-for",
    "x-original-remote-addr",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-source-ip",
    "x-sucuri-clientip",
    "x-true-client-ip",
    // Host, scheme and port.
    "fastly-ssl",
    "forwarded",
    "forwarded-for",
    "forwarded-for-ip",
    "forwarded-host",
    "forwarded-proto",
    "front-end-https",
    "proxy-host",
    "x-backend-host",
    "x-backend-server",
    "x-forwarded",
    "x-forward-host",
    "x-forward-proto",
    "x-host",
    "x-host-override",
    "x-http-host",
    "x-http-host-override",
    "x-https",
    "x-original-host",
    "x-original-proto",
    "x-proxy-host",
    "x-scheme",
    "x-url-scheme",
    // Path.
    "base-url",
    "http-url",
    "proxy-url",
    "request-uri",
    "script-name",
    "x-http-destinationurl",
    "x-matched-path",
    "x-now-route-matches",
    "x-original-uri",
    "x-original-url",
    "x-proxy-url",
    "x-rewrite-url",
    "x-script-name",
    // CGI makes HTTP_PROXY of it, and the HTTP clients of the origin take their proxy from that.
    "proxy",
    // Rack reads files by these.
    "x-accel-mapping",
];

/// True for a header that only infrastructure may set. It is not forwarded from clients.
pub(super) fn is_unkeyed(name: &HeaderName) -> bool {
    // Many origins do not distinguish the two spellings.
    let name = hyphenated(name.as_str());
    if name.starts_with(CLIENT_PREFIX) {
        return false;
    }
    PREFIXES.iter().any(|prefix| name.starts_with(prefix)) || NAMES.contains(&&*name)
}

/// The name as CGI and its like tell it from others.
pub(super) fn hyphenated(name: &str) -> Cow<'_, str> {
    match name.contains('_') {
        true => Cow::Owned(name.replace('_', "-")),
        false => Cow::Borrowed(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_dropped(name: &str) -> bool {
        is_unkeyed(&HeaderName::from_bytes(name.as_bytes()).unwrap())
    }

    #[test]
    fn headers_of_infrastructure_are_dropped_in_each_spelling() {
        for name in [
            "X-Forwarded-Prefix",
            "x_forwarded_host",
            "Forwarded",
            "X-Real-IP",
            "X-Original-URL",
            "x_original-url",
            "X-Rewrite-URL",
            "X-Host",
            "Client-IP",
            "CF-Connecting-IP",
            "True-Client-IP",
            "X-Cluster-Client-IP",
            "X-Backend-Host",
            "X-Middleware-Subrequest",
            "X-ProxyUser-Ip",
            "Forwarded-For-Ip",
            "Request-Uri",
            "Http_Url",
            "Proxy-Host",
            "Proxy",
        ] {
            assert!(is_dropped(name), "{name}");
        }
    }

    #[test]
    fn headers_of_clients_are_kept() {
        for name in [
            "Accept",
            "Authorization",
            "CF-Access-Client-Id",
            "cf_access_token",
            "Cookie",
            "Host-Name",
            "Origin",
            "Referer",
            "X-Api-Version",
            "X-Http-Method-Override",
            "X-Requested-With",
            "X-Hostess",
            "X-Original-Filename",
            "X-Vercel-Protection-Bypass",
        ] {
            assert!(!is_dropped(name), "{name}");
        }
    }

    #[test]
    fn no_name_is_listed_twice() {
        for (index, name) in NAMES.iter().enumerate() {
            assert!(!NAMES[..index].contains(name), "{name}");
            let by_prefix = PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            assert!(!by_prefix, "{name}");
        }
    }
}
