//! Messages that name the origin on one side and the proxy on the other. Pure functions.
//!
//! A client sees the proxy in the place of the origin, so what the origin says about itself in a response is changed on
//! its way to the client. What is stored stays as the origin sent it.
//!
//! | file | what it holds |
//! |---|---|
//! | `proxied_origin` | the origin as clients see it, and the paths on both sides |
//! | `reference` | the parts of a URI reference |
//! | `path` | dot segments |
//! | `location` | Location, Content-Location and Refresh |
//! | `request` | request headers that name the proxy |
//! | `set_cookie` | cookies |

mod location;
mod path;
mod proxied_origin;
mod reference;
mod request;
mod set_cookie;

use self::location::refresh;
pub(super) use self::request::DESTINATION;
pub use self::{
    path::may_leave,
    proxied_origin::{ClientAddress, ProxiedOrigin},
    request::{PAGE_HEADERS, is_destination_outside, may_name_proxy},
    set_cookie::CookieRewriting,
};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// True for the lower-case name of a header that [`ProxiedOrigin::rewrite_response`] may change. It regards no others.
pub fn is_rewritten(name: &[u8]) -> bool {
    matches!(
        name,
        b"location" | b"content-location" | b"refresh" | b"set-cookie"
    )
}

impl ProxiedOrigin<'_> {
    /// Makes a response to the request for `target` name the proxy where it names the origin. `target` is the one that the
    /// origin got, without the origin's prefix. `url_at_proxy` is [`Self::url_at_proxy`] of this origin, and of others that
    /// clients know by the proxy; `is_covered_by` likewise.
    pub fn rewrite_response(
        &self,
        headers: &mut HeaderMap,
        target: &str,
        (cookies, is_covered_by): (CookieRewriting, impl Fn(&[u8]) -> bool),
        url_at_proxy: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) {
        let location = |reference: &[u8]| self.location(reference, target, &url_at_proxy);
        for name in [header::LOCATION, header::CONTENT_LOCATION] {
            rewrite_lines(headers, &name, location);
        }
        rewrite_lines(headers, &header::REFRESH, |line| refresh(line, location));
        if cookies != CookieRewriting::Off {
            rewrite_lines(headers, &header::SET_COOKIE, |line| {
                self.set_cookie(line, cookies, &is_covered_by)
            });
        }
    }
}

/// Replaces the values of a header for which `rewritten` returns another one.
fn rewrite_lines(
    headers: &mut HeaderMap,
    name: &HeaderName,
    rewritten: impl Fn(&[u8]) -> Option<Vec<u8>>,
) {
    if !headers.contains_key(name) {
        return;
    }
    let lines = headers.get_all(name).map(|line| {
        let new = rewritten(line.as_bytes()).and_then(|new| HeaderValue::from_bytes(&new).ok());
        new.unwrap_or_else(|| line.clone())
    });
    let lines: Vec<HeaderValue> = lines.collect();
    headers.remove(name);
    for line in lines {
        headers.append(name.clone(), line);
    }
}
