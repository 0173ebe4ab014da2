//! Request headers that name the proxy: they name the origin when they are forwarded.

use actix_web::http::header::{HeaderMap, HeaderName};

use super::{
    path::may_climb,
    proxied_origin::{ClientAddress, ProxiedOrigin},
    reference::{UriReference, path_end},
    rewrite_lines,
};

/// RFC 4918, 10.3.
const DESTINATION: HeaderName = HeaderName::from_static("destination");

impl ProxiedOrigin<'_> {
    /// Makes a request name the origin where it names the proxy, which the client reached at `address`.
    pub fn rewrite_request(&self, headers: &mut HeaderMap, address: &ClientAddress<'_>) {
        rewrite_lines(headers, &DESTINATION, |line| {
            self.destination(line, address)
        });
    }

    /// True if the dot segments of a Destination may lead out of the prefix.
    pub fn is_destination_outside(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(DESTINATION);
        !self.has_same_paths()
            && lines.any(|line| {
                let path = match UriReference::of(line.as_bytes()) {
                    UriReference::WithAuthority { rest, .. } => rest,
                    UriReference::AbsolutePath(path) | UriReference::RelativePath(path) => path,
                    UriReference::Other => b"",
                };
                let path = &path[..path_end(path)];
                let path = path.strip_prefix(self.stripped.as_bytes()).unwrap_or(path);
                may_climb(&String::from_utf8_lossy(path))
            })
    }

    /// The Destination for the origin; `None` if it can stay.
    fn destination(&self, reference: &[u8], address: &ClientAddress<'_>) -> Option<Vec<u8>> {
        match UriReference::of(reference) {
            UriReference::WithAuthority {
                scheme: Some(scheme),
                authority,
                rest,
            } if address.is_named_by(scheme, authority) => {
                let path = self.path_at_origin(rest)?;
                let start = match self.preserved {
                    Some(_) => &reference[..reference.len() - rest.len()],
                    None => return Some([self.serialized().as_bytes(), &path].concat()),
                };
                Some([start, &path].concat())
            }
            UriReference::AbsolutePath(path) if !self.has_same_paths() => self.path_at_origin(path),
            _ => None,
        }
    }
}
