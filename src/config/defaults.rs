//! The default lists of headers and cookies, and numbers of workers and clients.

use super::value::MAX_WORKERS;
use crate::mask::DEFAULT_NAMES;

/// Client connections at a time.
pub(super) const DEFAULT_MAX_CLIENTS: usize = 8192;

/// Request headers that identify a user, besides Authorization and Cookie.
pub(super) const DEFAULT_IDENTITY_HEADERS: &[&str] = &[
    "*api-key*",
    "*apikey*",
    "*accesskey*",
    "*-key",
    "!*idempotency-key",
    "!sec-websocket-key",
    "*token*",
    "auth*",
    "*-auth*",
    "*session*",
    "*secret*",
    "*password*",
    "*jwt*",
    "remote-user",
    "x-remote-*",
    "x-webauth-*",
    "x-user*",
    "x-tenant*",
    "x-account*",
    "x-org*",
    "x-hasura-*",
    "x-amzn-oidc-*",
    "x-goog-authenticated-user-*",
    "x-ms-client-principal*",
    "cf-access-*",
    "*client-cert*",
    "*ssl-client-*",
    "impersonate-*",
    "sudo",
];

/// Cookies that identify a user.
pub(super) const DEFAULT_IDENTITY_COOKIES: &[&str] = &["*"];

/// Cookies of load balancers and analytics.
pub(super) const DEFAULT_IGNORED_COOKIES: &[&str] = &[
    "__cf_bm",
    "_cfuvid",
    "__cflb",
    "AWSALB*",
    "ARRAffinity*",
    "GCLB",
    "_ga",
    "_ga_*",
    "_gat",
    "_gat_*",
    "_gid",
    "_fbp",
    "__utm*",
];

/// Patterns of the names of query parameters whose values are not shown.
pub(super) fn default_masked_parameters() -> Vec<String> {
    let names = DEFAULT_NAMES.iter();
    names.map(ToString::to_string).collect()
}

/// The number of CPU cores, within what the server takes.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MAX_WORKERS))
}
