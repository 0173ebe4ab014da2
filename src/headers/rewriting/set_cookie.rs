//! Set-Cookie (RFC 6265, 4.1) on its way from the origin to a client of the proxy.

use super::{path::below, proxied_origin::ProxiedOrigin};

/// How far cookies are changed for one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CookieRewriting {
    /// Not at all.
    Off,
    /// Domain and Path.
    Scope,
    /// Also Secure and what needs it: the client would not send such a cookie over plain HTTP.
    ScopeAndSecure,
}

/// The attribute of a cookie that a part of Set-Cookie is. Others are not changed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum CookieAttribute {
    Domain,
    Path,
    Secure,
    SameSiteNone,
    Partitioned,
    Other,
}

impl CookieAttribute {
    /// The attribute, and its value without space around it.
    fn of(part: &[u8]) -> (Self, &[u8]) {
        let end = part.iter().position(|byte| *byte == b'=');
        let (name, value) = part.split_at(end.unwrap_or(part.len()));
        let value = value.strip_prefix(b"=").unwrap_or(value).trim_ascii();
        let attribute = match name.trim_ascii().to_ascii_lowercase().as_slice() {
            b"domain" => Self::Domain,
            b"path" => Self::Path,
            b"secure" => Self::Secure,
            b"samesite" if value.eq_ignore_ascii_case(b"none") => Self::SameSiteNone,
            b"partitioned" => Self::Partitioned,
            _ => Self::Other,
        };
        (attribute, value)
    }
}

impl ProxiedOrigin<'_> {
    /// The Set-Cookie for a client; `None` if it can stay. A Domain that covers the origin is left out, so that the cookie
    /// belongs to the host by which the client knows the proxy. A Domain that does not is left for the client to refuse.
    /// `is_covered_by` is [`Self::is_covered_by`] of this origin, or also of others that are equal to it.
    pub(super) fn set_cookie(
        &self,
        line: &[u8],
        how: CookieRewriting,
        is_covered_by: impl Fn(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let parts = || line.split(|byte| *byte == b';');
        let name = line.trim_ascii_start();
        let has_prefix = |prefix: &[u8]| {
            let start = name.get(..prefix.len());
            start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
        };
        let is_host_only = has_prefix(b"__Host-");
        // Clients refuse a cookie with such a name and without Secure. Some take it from localhost as it is.
        let relaxes =
            how == CookieRewriting::ScopeAndSecure && !is_host_only && !has_prefix(b"__Secure-");
        // RFC 6265, 5.3: the last Domain counts.
        let domain = parts().skip(1).map(CookieAttribute::of);
        let domain = domain.filter(|(attribute, _)| *attribute == CookieAttribute::Domain);
        let is_covered = domain
            .last()
            .is_some_and(|(_, domain)| is_covered_by(domain));
        let mut rewritten = Vec::with_capacity(line.len());
        for (index, part) in parts().enumerate() {
            let (attribute, value) = match index {
                0 => (CookieAttribute::Other, &b""[..]),
                _ => CookieAttribute::of(part),
            };
            let replacement = match attribute {
                CookieAttribute::Domain if is_covered => continue,
                CookieAttribute::Secure | CookieAttribute::Partitioned if relaxes => continue,
                CookieAttribute::SameSiteNone if relaxes => Some(b" SameSite=Lax".to_vec()),
                CookieAttribute::Path if !is_host_only => self
                    .cookie_path(value)
                    .map(|path| [b" Path=", path.as_slice()].concat()),
                _ => None,
            };
            if index > 0 {
                rewritten.push(b';');
            }
            rewritten.extend_from_slice(replacement.as_deref().unwrap_or(part));
        }
        (rewritten != line).then_some(rewritten)
    }

    /// RFC 6265, 5.1.3: true if a cookie with this Domain is for the origin.
    pub fn is_covered_by(&self, domain: &[u8]) -> bool {
        let domain = domain.strip_prefix(b".").unwrap_or(domain);
        let (host, domain) = (self.host.as_bytes(), domain.to_ascii_lowercase());
        let parent = host.strip_suffix(domain.as_slice());
        !domain.is_empty() && parent.is_some_and(|rest| rest.is_empty() || rest.ends_with(b"."))
    }

    /// The Path for the client; `None` if it can stay. A Path above the origin's prefix covers all that the proxy forwards.
    fn cookie_path(&self, path: &[u8]) -> Option<Vec<u8>> {
        if self.has_same_paths() || !path.starts_with(b"/") {
            return None;
        }
        let folder = path.strip_suffix(b"/").unwrap_or(path);
        let is_above = below(self.prefix.as_bytes(), folder).is_some();
        let rest = match below(path, self.prefix.as_bytes()) {
            _ if is_above => b"/",
            Some(rest) => rest,
            None => return None,
        };
        Some(match (self.stripped, rest) {
            ("", rest) => rest.to_vec(),
            // The slash would leave out the path without it.
            (stripped, b"/") => stripped.as_bytes().to_vec(),
            (stripped, rest) => [stripped.as_bytes(), rest].concat(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PLAIN: ProxiedOrigin<'_> = ProxiedOrigin {
        scheme: "https",
        host: "www.shop.example",
        port: 443,
        prefix: "",
        stripped: "",
        preserved: None,
    };
    const PREFIXED: ProxiedOrigin<'_> = ProxiedOrigin {
        prefix: "/app/v1",
        ..PLAIN
    };
    const STRIPPED: ProxiedOrigin<'_> = ProxiedOrigin {
        stripped: "/api",
        ..PLAIN
    };

    fn cookie(origin: &ProxiedOrigin<'_>, line: &str, how: CookieRewriting) -> String {
        let covers = |domain: &[u8]| origin.is_covered_by(domain);
        let rewritten = origin.set_cookie(line.as_bytes(), how, covers);
        String::from_utf8(rewritten.unwrap_or_else(|| line.into())).unwrap()
    }

    #[test]
    fn a_domain_that_covers_the_origin_is_left_out() {
        for (line, expected) in [
            ("a=1; Domain=shop.example; Path=/x", "a=1; Path=/x"),
            ("a=1;domain=.Shop.Example", "a=1"),
            ("a=1; Domain=www.shop.example; HttpOnly", "a=1; HttpOnly"),
            ("a=1; Domain=evil.example; Domain=shop.example", "a=1"),
            ("Domain=shop.example; Secure", "Domain=shop.example; Secure"),
        ] {
            assert_eq!(cookie(&PLAIN, line, CookieRewriting::Scope), expected);
        }
        for line in [
            "a=1",
            "a=1; Domain=other.example",
            "a=1; Domain=op.example",
            "a=1; Domain=x.www.shop.example",
            "a=1; Domain=",
            "a=1; Domain=.",
            "a=1; Domain=shop.example; Domain=evil.example",
            "a=1; Path=/x; Expires=Thu, 01 Jan 2026 00:00:00 GMT; Secure; SameSite=None",
            "a=\"x,y\"; Max-Age=0; Priority=High",
        ] {
            assert_eq!(cookie(&PLAIN, line, CookieRewriting::Scope), line);
        }
    }

    #[test]
    fn a_path_loses_the_prefix_of_the_origin() {
        for (path, expected) in [
            ("/app/v1/admin", "/admin"),
            ("/app/v1/", "/"),
            ("/app/v1", "/"),
            ("/app", "/"),
            ("/app/", "/"),
            ("/", "/"),
            ("/other", "/other"),
            ("/app/v10", "/app/v10"),
            ("/ap", "/ap"),
            ("x", "x"),
            ("", ""),
        ] {
            let line = format!("a=1; Path={path}; HttpOnly");
            let expected = format!("a=1; Path={expected}; HttpOnly");
            assert_eq!(cookie(&PREFIXED, &line, CookieRewriting::Scope), expected);
        }
    }

    #[test]
    fn a_path_gains_the_prefix_that_the_origin_does_not_get() {
        for (line, expected) in [
            ("a=1; Path=/", "a=1; Path=/api"),
            ("a=1; path=/x/", "a=1; Path=/api/x/"),
            ("__Host-a=1; Path=/; Secure", "__Host-a=1; Path=/; Secure"),
            ("a=1", "a=1"),
        ] {
            assert_eq!(cookie(&STRIPPED, line, CookieRewriting::Scope), expected);
        }
    }

    #[test]
    fn secure_and_what_needs_it_are_relaxed_for_some_clients_only() {
        for (line, expected) in [
            ("a=1; Secure; HttpOnly", "a=1; HttpOnly"),
            ("a=1; SameSite=None; secure", "a=1; SameSite=Lax"),
            (
                "a=1; Secure; SameSite=Strict; Partitioned",
                "a=1; SameSite=Strict",
            ),
            ("secure=secure; Path=/", "secure=secure; Path=/"),
            (
                "__Secure-a=1; Secure; SameSite=None",
                "__Secure-a=1; Secure; SameSite=None",
            ),
            ("__host-a=1; Path=/; Secure", "__host-a=1; Path=/; Secure"),
        ] {
            let how = CookieRewriting::ScopeAndSecure;
            assert_eq!(cookie(&PLAIN, line, how), expected);
            assert_eq!(cookie(&PLAIN, line, CookieRewriting::Scope), line);
        }
    }

    proptest! {
        #[test]
        fn name_and_value_of_a_cookie_stay(
            pair in "[ -:<-~]{0,12}",
            attributes in "(; ?(domain|Path|Secure|SameSite|x)=?(/|shop.example|None|/app)?){0,4}",
        ) {
            let line = format!("{pair}{attributes}");
            for origin in [PLAIN, PREFIXED, STRIPPED] {
                let found = cookie(&origin, &line, CookieRewriting::ScopeAndSecure);
                prop_assert_eq!(found.split(';').next(), Some(pair.as_str()));
                prop_assert!(found.split(';').count() <= line.split(';').count());
            }
        }
    }
}
