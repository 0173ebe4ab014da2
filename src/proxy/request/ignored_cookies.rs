//! Cookies that identify nobody: they are not forwarded with a request whose response may be stored.

use actix_web::http::header::{self, HeaderMap, HeaderValue};

use crate::{
    policy::{self, ForwardedCookie},
    proxy::request::name_table::NameTable,
};

/// Removes the cookies that are not in the key: they must not shape a stored response. Returns all cookies; none if none was
/// removed.
pub(crate) fn remove_ignored_cookies(
    policy: &policy::Policy,
    table: &NameTable,
    headers: &mut HeaderMap,
) -> Vec<HeaderValue> {
    let cookies: Vec<HeaderValue> = headers.get_all(header::COOKIE).cloned().collect();
    let forwarded: Vec<ForwardedCookie> = cookies
        .iter()
        .map(|cookie| policy::forwarded_cookie(policy, table, cookie))
        .collect();
    if forwarded
        .iter()
        .all(|cookie| matches!(cookie, ForwardedCookie::Unchanged))
    {
        return Vec::new();
    }
    headers.remove(header::COOKIE);
    for (cookie, forwarded) in cookies.iter().zip(forwarded) {
        match forwarded {
            ForwardedCookie::Unchanged => headers.append(header::COOKIE, cookie.clone()),
            ForwardedCookie::Shortened(cookie) => headers.append(header::COOKIE, cookie),
            ForwardedCookie::Nothing => {}
        }
    }
    cookies
}
