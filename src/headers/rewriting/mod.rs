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
use actix_web::http::header::{self, HeaderName};

use crate::policy::{ResponseHeaders, is_name};

/// Headers of a response that name a place.
const PLACES: [&HeaderName; 2] = [&header::LOCATION, &header::CONTENT_LOCATION];

/// True for the name of a header that [`ProxiedOrigin::rewrite_response`] may change. It regards no others.
pub fn is_rewritten(name: &[u8]) -> bool {
    let others = [&header::REFRESH, &header::SET_COOKIE];
    let mut names = PLACES.iter().chain(&others);
    names.any(|rewritten| is_name(name, rewritten))
}

impl ProxiedOrigin<'_> {
    /// Makes a response to the request for `target` name the proxy where it names the origin. `target` is the one that the
    /// origin got, without the origin's prefix. `url_at_proxy` is [`Self::url_at_proxy`] of this origin, and of others that
    /// clients know by the proxy; `is_covered_by` likewise.
    pub fn rewrite_response(
        &self,
        headers: &mut ResponseHeaders,
        target: &str,
        (cookies, is_covered_by): (CookieRewriting, impl Fn(&[u8]) -> bool),
        url_at_proxy: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) {
        let location = |reference: &[u8]| self.location(reference, target, &url_at_proxy);
        for name in PLACES {
            headers.change(name, location);
        }
        headers.change(&header::REFRESH, |line| refresh(line, location));
        if cookies != CookieRewriting::Off {
            headers.change(&header::SET_COOKIE, |line| {
                self.set_cookie(line, cookies, &is_covered_by)
            });
        }
    }
}
