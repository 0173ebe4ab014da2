//! The head of a request as HTTP/1.1 writes it, so that the checks of `request_head` hold for both versions.

use bytes::{BufMut as _, BytesMut};
use http::{
    HeaderMap,
    header::{CONTENT_LENGTH, COOKIE, HOST},
    request::Parts,
};

use crate::server::request_head::{HeadRefusal, MAX_HEAD_BYTES};

/// Writes the head of a request. `has_content` is true if a body follows.
///
/// # Errors
/// The request is malformed (RFC 9113, 8.3.1), or too large.
pub(super) fn write(
    parts: &Parts,
    has_content: bool,
    into: &mut BytesMut,
) -> Result<(), HeadRefusal> {
    let authority = parts.uri.authority().map(|authority| authority.as_str());
    let path = parts.uri.path_and_query().map(|path| path.as_str());
    let target = match path {
        Some(path) if path == "*" || path.starts_with('/') => path,
        // CONNECT has no path.
        None => authority.ok_or(HeadRefusal::Target)?,
        Some(_) => return Err(HeadRefusal::Target),
    };
    for part in [parts.method.as_str(), " ", target, " HTTP/1.1\r\n"] {
        into.put_slice(part.as_bytes());
    }
    let headers = &parts.headers;
    if let Some(authority) = authority {
        let is_same =
            |host: &http::HeaderValue| host.as_bytes().eq_ignore_ascii_case(authority.as_bytes());
        if !headers.get_all(HOST).iter().all(is_same) {
            return Err(HeadRefusal::SeveralHosts);
        }
        write_line("host", authority.as_bytes(), into);
    }
    for (name, value) in headers {
        match *name {
            HOST if authority.is_some() => {}
            COOKIE => {}
            _ => write_line(name.as_str(), value.as_bytes(), into),
        }
    }
    write_cookies(headers, into);
    if has_content && !headers.contains_key(CONTENT_LENGTH) {
        write_line("transfer-encoding", b"chunked", into);
    }
    into.put_slice(b"\r\n");
    match into.len() > MAX_HEAD_BYTES {
        true => Err(HeadRefusal::TooLarge),
        false => Ok(()),
    }
}

/// RFC 9113, 8.2.3: the pieces of Cookie are one line again.
fn write_cookies(headers: &HeaderMap, into: &mut BytesMut) {
    let mut separator: &[u8] = b"cookie: ";
    for crumb in headers.get_all(COOKIE) {
        into.put_slice(separator);
        into.put_slice(crumb.as_bytes());
        separator = b"; ";
    }
    if separator == b"; " {
        into.put_slice(b"\r\n");
    }
}

fn write_line(name: &str, value: &[u8], into: &mut BytesMut) {
    for part in [name.as_bytes(), b": ", value, b"\r\n"] {
        into.put_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, Request, Uri};

    use super::*;

    fn text(
        method: Method,
        uri: Uri,
        fields: &[(&'static str, &'static str)],
        has_content: bool,
    ) -> Result<String, HeadRefusal> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        for (name, value) in fields {
            request.headers_mut().append(*name, value.parse().unwrap());
        }
        let mut text = BytesMut::new();
        write(&request.into_parts().0, has_content, &mut text)?;
        Ok(String::from_utf8(text.to_vec()).unwrap())
    }

    #[test]
    fn a_request_becomes_a_head_of_http_1_1() {
        let fields = [("cookie", "a=b"), ("accept", "*/*"), ("cookie", "c=d")];
        let uri = Uri::from_static("http://a.test:8000/b?c");
        assert_eq!(
            text(Method::GET, uri, &fields, false).unwrap(),
            "GET /b?c HTTP/1.1\r\nhost: a.test:8000\r\naccept: */*\r\ncookie: a=b; c=d\r\n\r\n"
        );
        let fields = [("host", "b.test"), ("content-length", "3")];
        assert_eq!(
            text(Method::PUT, Uri::from_static("/"), &fields, true).unwrap(),
            "PUT / HTTP/1.1\r\nhost: b.test\r\ncontent-length: 3\r\n\r\n"
        );
        let uri = Uri::from_static("http://a.test/");
        assert_eq!(
            text(Method::POST, uri, &[], true).unwrap(),
            "POST / HTTP/1.1\r\nhost: a.test\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let uri = Uri::from_static("a.test:443");
        assert_eq!(
            text(Method::CONNECT, uri, &[], true).unwrap(),
            "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        let star = Uri::from_static("*");
        let head = text(Method::OPTIONS, star, &[("host", "a")], false).unwrap();
        assert_eq!(head, "OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n");
    }

    #[test]
    fn a_host_is_the_authority_or_the_request_is_refused() {
        let uri = || Uri::from_static("http://a.test/");
        let same = text(Method::GET, uri(), &[("host", "A.test")], false);
        assert_eq!(same.unwrap(), "GET / HTTP/1.1\r\nhost: a.test\r\n\r\n");
        let other = text(Method::GET, uri(), &[("host", "b.test")], false);
        assert_eq!(other, Err(HeadRefusal::SeveralHosts));
    }

    #[test]
    fn a_head_that_is_too_large_is_refused() {
        let path = format!("/{}", "a".repeat(60_000)).parse().unwrap();
        let cookie: &str = Box::leak("b".repeat(8_000).into_boxed_str());
        let refused = text(Method::GET, path, &[("cookie", cookie)], false);
        assert_eq!(refused, Err(HeadRefusal::TooLarge));
    }
}
