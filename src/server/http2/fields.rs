//! Header lines as the header map of HTTP/2.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Most header lines in an interim response.
const MAX_INTERIM_LINES: usize = 100;

/// The fields of complete header lines, each with its end, without those that HTTP/2 forbids (RFC 9113, 8.2.2).
pub(super) fn of_lines(lines: &[u8]) -> HeaderMap {
    let lines = Bytes::copy_from_slice(lines);
    let mut fields = HeaderMap::with_capacity(16);
    for line in lines.split(|byte| *byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let Some(colon) = memchr::memchr(b':', line) else {
            continue;
        };
        let value = lines.slice_ref(line[colon + 1..].trim_ascii());
        append(&mut fields, &line[..colon], value);
    }
    fields
}

/// Appends a field unless HTTP/2 forbids it. A field that is not valid is left out: the application makes none.
pub(super) fn append(fields: &mut HeaderMap, name: &[u8], value: Bytes) {
    let name = HeaderName::from_bytes(name);
    if let (Ok(name), Ok(value)) = (name, HeaderValue::from_maybe_shared(value))
        && !concerns_connection(&name)
    {
        fields.append(name, value);
    }
}

fn concerns_connection(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection" | "keep-alive" | "proxy-connection" | "te" | "transfer-encoding" | "upgrade"
    )
}

/// The interim responses in `heads`, which are complete heads of HTTP/1.1, one after the other.
pub(super) fn interim(mut heads: &[u8]) -> Vec<http::Response<()>> {
    let mut responses = Vec::new();
    loop {
        let mut lines = [httparse::EMPTY_HEADER; MAX_INTERIM_LINES];
        let mut head = httparse::Response::new(&mut lines);
        let Ok(httparse::Status::Complete(length)) = head.parse(heads) else {
            return responses;
        };
        let status = head.code.and_then(|code| StatusCode::from_u16(code).ok());
        // RFC 9113, 8.6: there is no 101.
        if let Some(status) = status
            && status.is_informational()
            && status != StatusCode::SWITCHING_PROTOCOLS
        {
            let mut response = http::Response::new(());
            *response.status_mut() = status;
            for line in head.headers.iter() {
                let value = Bytes::copy_from_slice(line.value);
                append(response.headers_mut(), line.name.as_bytes(), value);
            }
            responses.push(response);
        }
        heads = &heads[length..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_fields_in_their_order_without_those_of_the_connection() {
        let lines = b"Via: 1.1 a\r\nconnection: close\r\nset-cookie: a=\xfc\r\nX-Empty:\r\nset-cookie: b: c\r\n\
            transfer-encoding: chunked\r\nKeep-Alive: 1\r\nupgrade: h2c\r\n";
        let fields = of_lines(lines);
        let fields: Vec<_> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect();
        let expected: [(&str, &[u8]); 4] = [
            ("via", b"1.1 a"),
            ("set-cookie", b"a=\xfc"),
            ("set-cookie", b"b: c"),
            ("x-empty", b""),
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn interim_responses_are_told_apart() {
        let heads = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 101 Switching\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n";
        let responses = interim(heads);
        let statuses: Vec<_> = responses.iter().map(|it| it.status().as_u16()).collect();
        assert_eq!(statuses, [100, 103]);
        assert_eq!(responses[1].headers()["link"], "<a>");
        assert!(interim(b"").is_empty());
    }
}
