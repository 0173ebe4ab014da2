//! Headers that a proxy removes, adds or replaces (RFC 9110, 9111, 9211). Pure functions.
//!
//! | file | what it holds |
//! |---|---|
//! | `hop_by_hop` | headers that concern one connection only |
//! | `forwarded` | the headers of a request as the origin gets them |
//! | `rewriting` | headers that name the origin on one side and the proxy on the other |
//! | `ntlm` | requests that authenticate a connection |
//! | `upgrade` | offers of another protocol |
//! | `unkeyed` | the headers that a client must not set |
//! | `via` | Via, and requests that came round in a loop |
//! | `cors` | the headers of `--cors` |
//! | `cache_status` | X-Cache and Cache-Status |

mod cache_status;
mod cors;
mod forwarded;
mod forwarded_client;
mod forwarded_names;
mod hop_by_hop;
mod ntlm;
mod rewriting;
#[cfg(test)]
mod test_maps;
mod unkeyed;
mod upgrade;
mod via;

use actix_web::http::header::{self, HeaderName, HeaderValue};

pub use self::{
    cache_status::{CacheStatus, LastMember, RequestOutcome, StoreOutcome, XCache},
    cors::{allow_site, is_preflight, preflight_headers},
    forwarded::{
        HostHeader, ProxyHeaders, SET_BY_US, forwarded_headers, has_own_cookies, is_dropped,
        is_forwarded,
    },
    forwarded_client::{ClientScheme, ForwardedClient, KEY_PART_OF_TLS, describes_client},
    hop_by_hop::remove_hop_by_hop,
    ntlm::is_ntlm,
    rewriting::{
        ClientAddress, CookieRewriting, PAGE_HEADERS, ProxiedOrigin, is_destination_outside,
        is_rewritten, may_leave, may_name_proxy,
    },
    upgrade::{has_upgrade_option, offers_websocket},
    via::OwnVia,
};
pub use crate::policy::{ResponseHeaders, is_live_stream, is_name};

/// Sets the Age of a reused response, in place of all that it came with (RFC 9111, 5.1).
pub fn set_age(headers: &mut ResponseHeaders, seconds: u64) {
    headers.insert(&header::AGE, &HeaderValue::from(seconds));
}

/// Appends one header to an HTTP/1 message, the value byte for byte.
pub fn write_header_line(message: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    write_line(message, name.as_str().as_bytes(), value.as_bytes());
}

/// The same for a valid header as bytes.
pub fn write_line(message: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    for part in [name, b": ", value, b"\r\n"] {
        message.extend_from_slice(part);
    }
}
