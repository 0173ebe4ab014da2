//! Via, and the requests in which it shows a loop (RFC 9110, 7.6.3).

use actix_web::http::{
    Version,
    header::{self, HeaderMap, HeaderValue, InvalidHeaderValue},
};

use crate::policy::ResponseHeaders;

/// Our own member of Via: the version in which a message was received, and the name of this proxy.
#[derive(Clone, Debug)]
pub struct OwnVia {
    http_10: HeaderValue,
    http_11: HeaderValue,
    http_2: HeaderValue,
}

impl OwnVia {
    /// The member of the proxy with this name.
    ///
    /// # Errors
    /// The name has characters that no header may have.
    pub fn new(name: &str) -> Result<Self, InvalidHeaderValue> {
        Ok(Self {
            http_10: HeaderValue::try_from(format!("1.0 {name}"))?,
            http_11: HeaderValue::try_from(format!("1.1 {name}"))?,
            http_2: HeaderValue::try_from(format!("2.0 {name}"))?,
        })
    }

    /// The member for a message that was received in `version`.
    pub fn of(&self, version: Version) -> &HeaderValue {
        match version {
            Version::HTTP_10 => &self.http_10,
            Version::HTTP_2 => &self.http_2,
            _ => &self.http_11,
        }
    }

    /// Appends the member for HTTP/1.1 to a response, unless the response has a member of ours: one for HTTP/1.0 is among
    /// the stored headers.
    pub fn complete(&self, headers: &mut ResponseHeaders) {
        let is_in = headers
            .get_all(&header::VIA)
            .any(|line| self.is_in_line(line));
        if !is_in {
            headers.append_as("Via", self.of(Version::HTTP_11));
        }
    }

    /// True if a request has our own member. Then it has passed through this proxy before.
    pub fn is_in(&self, headers: &HeaderMap) -> bool {
        let mut lines = headers.get_all(header::VIA);
        lines.any(|line| self.is_in_line(line.as_bytes()))
    }

    /// True if one line of Via has our own member.
    pub fn is_in_line(&self, line: &[u8]) -> bool {
        let mut members = line.split(|byte| *byte == b',');
        members.any(|member| name_of(member.trim_ascii()) == self.name())
    }

    fn name(&self) -> &[u8] {
        name_of(self.http_11.as_bytes())
    }
}

/// The member without its version.
fn name_of(member: &[u8]) -> &[u8] {
    let version_end = memchr::memchr(b' ', member).unwrap_or(member.len());
    member[version_end..].trim_ascii_start()
}

#[cfg(test)]
mod tests {
    use super::{
        super::test_maps::{map, response, values},
        *,
    };

    #[test]
    fn our_own_via_is_found_in_any_line_member_and_version() {
        let via = OwnVia::new("us").unwrap();
        for member in ["1.1 us", "1.0  us", "HTTP/1.1 us"] {
            let mut headers = map(&[("via", "1.0 fred")]);
            let line = HeaderValue::try_from(format!("1.0 x,{member} , 1.1 y"));
            headers.append(header::VIA, line.unwrap());
            assert!(via.is_in(&headers), "{member}");
        }
        assert!(!via.is_in(&map(&[("via", "1.1 us2, 1.0 fred, us, 1.1")])));
    }

    #[test]
    fn a_response_gets_one_member_of_ours() {
        let via = OwnVia::new("us").unwrap();
        let mut headers = response(&[("via", "1.1 fred")]);
        via.complete(&mut headers);
        assert_eq!(values(&headers, "via"), ["1.1 fred", "1.1 us"]);
        let mut headers = response(&[("via", "1.0 us")]);
        via.complete(&mut headers);
        assert_eq!(values(&headers, "via"), ["1.0 us"]);
    }
}
