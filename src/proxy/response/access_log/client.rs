//! The address of a client, and what the combined log format shows beside it, escaped for that format.

use std::{fmt::Write as _, net::IpAddr};

use actix_web::{
    HttpRequest,
    http::{
        Version,
        header::{self, HeaderName},
    },
};

use super::{cut, masked};
use crate::{config::Config, proxy::request::told_client};

/// A user agent is logged up to this many characters.
const MAX_AGENT_CHARS: usize = 512;

/// What the headers of a request say about its client, and its request line.
#[derive(Debug)]
pub(crate) struct ClientInfo {
    /// The first line of the request.
    pub(crate) line: String,
    pub(crate) referer: Option<String>,
    pub(crate) agent: Option<String>,
}

impl ClientInfo {
    /// The client of `request`. `method` and `target` are as they are logged.
    pub(crate) fn new(request: &HttpRequest, (method, target): (&str, &str)) -> Self {
        let version = match request.version() {
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        };
        let text = |name: HeaderName| {
            let value = request.headers().get(name)?;
            Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let agent = text(header::USER_AGENT);
        Self {
            line: escaped(&format!("{method} {target} {version}")),
            // It is a URL, so its secret parameters and its user are masked too.
            referer: text(header::REFERER).map(|referer| escaped(&masked(&referer))),
            agent: agent.map(|agent| escaped(&cut(&agent, MAX_AGENT_CHARS))),
        }
    }
}

/// The address of the client: the one that a trusted proxy names, or else that of the peer. `None` without a peer.
pub(crate) fn address(request: &HttpRequest, config: &Config) -> Option<IpAddr> {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let told = told_client::of(config, request.headers(), peer);
    told.address().or(peer)
}

/// Escapes as nginx does, so that no header can end a quotation or a line.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..0x20 | 0x7f.. => {
                let _ = write!(escaped, "\\x{byte:02X}");
            }
            _ => escaped.push(char::from(byte)),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;
    use proptest::prelude::*;

    #[test]
    fn quotes_and_control_characters_are_escaped() {
        assert_eq!(escaped("a\"b\\c\td\u{e4}"), "a\\x22b\\x5Cc\\x09d\\xC3\\xA4");
    }

    #[test]
    fn a_request_is_written_as_in_the_combined_format() {
        let request = TestRequest::default()
            .peer_addr("192.0.2.7:1234".parse().unwrap())
            .insert_header((header::REFERER, "http://anna:HUSH@a.test/?token=HUSH&b=1"))
            .insert_header((header::USER_AGENT, "curl \"8\""))
            .to_http_request();
        let config = Config::for_origin("http://origin.test".parse().unwrap());
        let expected = "192.0.2.7".parse().unwrap();
        assert_eq!(address(&request, &config), Some(expected));
        let client = ClientInfo::new(&request, ("GET", "/a\"b"));
        assert_eq!(client.line, "GET /a\\x22b HTTP/1.1");
        assert_eq!(client.referer.unwrap(), "http://***@a.test/?token=***&b=1");
        assert_eq!(client.agent.unwrap(), "curl \\x228\\x22");
    }

    proptest! {
        #[test]
        fn escaped_text_never_ends_a_quotation(text in "\\PC{0,40}", raw in ".{0,20}") {
            for text in [text, raw] {
                let escaped = escaped(&text);
                prop_assert!(escaped.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'"'));
            }
        }
    }
}
