//! An entry of a HAR file as an exchange that can be stored.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    body::{HarBody, LongBody},
    entry::{HarContent, HarEntry, HarHeader},
    exchange::{HeaderLine, RecordedExchange},
    long_text::LongTexts,
};

/// The most headers of a message.
const MAX_HEADERS: usize = 1000;
/// The most bytes of the headers of a message, and of a URL.
const MAX_HEAD_BYTES: usize = 64 * 1024;

/// The longest body of a POST, in bytes: rules allow no longer one as a part of a key.
const MAX_POSTED_BYTES: usize = 1024 * 1024;

/// Headers of a connection, of a message that was framed, or of a body that was coded. The file has neither.
const NOT_KEPT: [&str; 12] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-length",
    "age",
    "x-cache",
    "proxy-authenticate",
    "alt-svc",
];
/// Headers of a request by which its client asks for less than the whole, or which the proxy makes anew.
const NOT_ASKED: [&str; 8] = [
    "if-none-match",
    "if-modified-since",
    "if-match",
    "if-unmodified-since",
    "if-range",
    "expect",
    "via",
    "content-length",
];

/// Why an entry of a file is no response that can be stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SkipReason {
    /// The request got no response.
    #[error("the request had no response")]
    NoResponse,
    /// Its URL is none of HTTP.
    #[error("its URL is not one of http or https")]
    Scheme,
    /// It opened a WebSocket.
    #[error("it is a WebSocket")]
    WebSocket,
    /// It is neither a GET nor a POST.
    #[error("its method is not GET")]
    Method,
    /// The body is not in the file.
    #[error(
        "its body is not in the file (the browser had dropped it: record again with the network panel open)"
    )]
    NoBody,
    /// The browser had the body, and the file does not.
    #[error("it is a 304, and the body is not in the file (record again with the cache disabled)")]
    NotModified,
    /// The status is none of HTTP.
    #[error("its status is not between 200 and 999")]
    Status,
    /// The body cannot be decoded.
    #[error(
        "its body cannot be decoded: \"text\" has to be a string, and base64 if \"encoding\" says so"
    )]
    Encoding,
    /// The head is too large, or the body of the request.
    #[error("its headers, its URL, or the body of its request are too large")]
    LargeRequest,
}

/// The exchange of an entry, with the body of its response. `texts` are the long strings of its file.
///
/// # Errors
/// It is no response that can be stored.
pub fn convert(
    entry: HarEntry<'_>,
    texts: &LongTexts,
) -> Result<(RecordedExchange, HarBody), SkipReason> {
    let HarEntry {
        started,
        request,
        response,
        mark,
    } = entry;
    let scheme = request.url.split_once(':').map(|(scheme, _)| scheme);
    match scheme.map(str::to_ascii_lowercase).as_deref() {
        Some("http" | "https") => {}
        Some("ws" | "wss") => return Err(SkipReason::WebSocket),
        _ => return Err(SkipReason::Scheme),
    }
    if !matches!(request.method.as_str(), "GET" | "POST") {
        return Err(SkipReason::Method);
    }
    let status = match response.status {
        _ if response.error.is_some() => return Err(SkipReason::NoResponse),
        0 => return Err(SkipReason::NoResponse),
        101 => return Err(SkipReason::WebSocket),
        status => u16::try_from(status).map_err(|_| SkipReason::Status)?,
    };
    if !(200..=999).contains(&status) {
        return Err(SkipReason::Status);
    }
    let posted = request.posted.and_then(|posted| posted.text);
    let is_large_text = |text: &str, most: usize| text.len() > most || texts.are_in(text);
    if is_large_text(&request.url, MAX_HEAD_BYTES)
        || is_large_text(posted.as_deref().unwrap_or_default(), MAX_POSTED_BYTES)
        || is_large_text(&response.content.mime_type, MAX_HEAD_BYTES)
        || is_large(&request.headers, texts)
        || is_large(&response.headers, texts)
    {
        return Err(SkipReason::LargeRequest);
    }
    let content = &response.content;
    let has_body = content.text.is_some();
    let status = match status {
        // A browser shows the body that it had.
        304 if has_body && content.size > 0 => 200,
        304 => return Err(SkipReason::NotModified),
        status => status,
    };
    if !has_body && content.size > 0 {
        return Err(SkipReason::NoBody);
    }
    let is_encoded = mark.as_ref().is_some_and(|mark| mark.is_encoded);
    let (body, is_text) = body(content, texts)?;
    let mut headers = kept_headers(&response.headers, is_encoded);
    if mark.is_none() {
        describe(&mut headers, content, (&body, is_text), started.as_deref());
    }
    let exchange = RecordedExchange {
        method: request.method,
        url: request.url,
        request: asked_headers(&request.headers),
        posted,
        status,
        response: headers,
        mark,
    };
    Ok((exchange, body))
}

fn is_large(headers: &[HarHeader<'_>], texts: &LongTexts) -> bool {
    let bytes = headers
        .iter()
        .map(|line| line.name.len() + line.value.len());
    let is_long = |line: &HarHeader<'_>| texts.are_in(&line.name) || texts.are_in(&line.value);
    headers.len() > MAX_HEADERS
        || bytes.sum::<usize>() > MAX_HEAD_BYTES
        || headers.iter().any(is_long)
}

/// The body, and whether the file has it as text.
fn body(content: &HarContent<'_>, texts: &LongTexts) -> Result<(HarBody, bool), SkipReason> {
    let text = content.text.filter(|text| text.get() != "null");
    let Some(text) = text else {
        return Ok((HarBody::Memory(Vec::new()), false));
    };
    let is_base64 = match content.encoding.as_deref() {
        None | Some("") => false,
        Some("base64") => true,
        Some(_) => return Err(SkipReason::Encoding),
    };
    if let Some(long) = texts.find(text) {
        let body = LongBody::new(long, is_base64).map_err(|_| SkipReason::Encoding)?;
        return Ok((HarBody::Long(body), !is_base64));
    }
    // A string without escapes is not copied.
    let text: Cow<'_, str> = match serde_json::from_str::<&str>(text.get()) {
        Ok(text) => text.into(),
        Err(_) => serde_json::from_str::<String>(text.get())
            .map_err(|_| SkipReason::Encoding)?
            .into(),
    };
    let bytes = match is_base64 {
        false => text.into_owned().into_bytes(),
        true => STANDARD
            .decode(text.as_bytes())
            .map_err(|_| SkipReason::Encoding)?,
    };
    Ok((HarBody::Memory(bytes), !is_base64))
}

/// The lines of `headers` that are no pseudo-headers of HTTP/2 and not among `left_out`. Some programs join lines of one name
/// with line ends.
fn lines<'h>(
    headers: &'h [HarHeader<'_>],
    left_out: &'h [&str],
) -> impl Iterator<Item = HeaderLine> + 'h {
    let named = headers.iter().map(|line| (line.name.trim(), &line.value));
    let kept = named.filter(|(name, _)| {
        !name.is_empty() && !name.starts_with(':') && !is_one_of(left_out, name)
    });
    kept.flat_map(|(name, value)| {
        let values: Vec<String> = value
            .split('\n')
            .map(|value| value.trim().to_owned())
            .collect();
        values
            .into_iter()
            .map(move |value| (name.to_owned(), value))
    })
}

/// True if a name as it is written in the file is one of these.
fn is_one_of(names: &[&str], written: &str) -> bool {
    names.iter().any(|name| written.eq_ignore_ascii_case(name))
}

fn asked_headers(headers: &[HarHeader<'_>]) -> Vec<HeaderLine> {
    let lines = lines(headers, &NOT_KEPT);
    lines
        .filter(|(name, _)| !is_one_of(&NOT_ASKED, name))
        .collect()
}

/// The headers of the response without those of a proxy of this kind, and, unless the body is encoded, without its coding.
fn kept_headers(headers: &[HarHeader<'_>], is_encoded: bool) -> Vec<HeaderLine> {
    let is_ours = |name: &str, value: &str| {
        is_one_of(&["cache-status"], name) && value.starts_with("caching-proxy")
            || is_one_of(&["via"], name) && value.contains("caching-proxy-")
    };
    let kept = lines(headers, &NOT_KEPT).filter(|(name, value)| !is_ours(name, value));
    if is_encoded {
        return kept.collect();
    }
    let plain = kept.filter(|(name, _)| !is_one_of(&["content-encoding"], name));
    plain.filter_map(without_coding_in_vary).collect()
}

/// A decoded body is for every client, whatever codings it accepts. `None` if nothing is left of the line.
fn without_coding_in_vary((name, value): HeaderLine) -> Option<HeaderLine> {
    if !is_one_of(&["vary"], &name) {
        return Some((name, value));
    }
    let members = value.split(',').map(str::trim);
    let others: Vec<&str> = members
        .filter(|member| !member.is_empty() && !member.eq_ignore_ascii_case("accept-encoding"))
        .collect();
    (!others.is_empty()).then(|| (name, others.join(", ")))
}

/// Adds what the response of another program's export lacks: Content-Type, Date. Its text is in UTF-8, whatever it was in.
fn describe(
    headers: &mut Vec<HeaderLine>,
    content: &HarContent<'_>,
    (body, is_text): (&HarBody, bool),
    started: Option<&str>,
) {
    let has = |headers: &[HeaderLine], name: &str| {
        let mut lines = headers.iter();
        lines.any(|line| is_one_of(&[name], &line.0))
    };
    let mime_type = content.mime_type.trim();
    if !has(headers, "content-type") && !matches!(mime_type, "" | "x-unknown") {
        headers.push(("Content-Type".to_owned(), mime_type.to_owned()));
    }
    if is_text && !body.is_ascii() {
        let lines = headers.iter_mut();
        for (_, value) in lines.filter(|line| is_one_of(&["content-type"], &line.0)) {
            *value = in_utf_8(value);
        }
    }
    let date = started.and_then(|started| chrono::DateTime::parse_from_rfc3339(started).ok());
    if let (false, Some(date)) = (has(headers, "date"), date) {
        let date = date.to_utc().format("%a, %d %b %Y %H:%M:%S GMT");
        headers.push(("Date".to_owned(), date.to_string()));
    }
}

/// A Content-Type whose text was decoded and is in UTF-8 now.
fn in_utf_8(content_type: &str) -> String {
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default();
    let is_charset = |part: &str| {
        part.get(..8)
            .is_some_and(|name| name.eq_ignore_ascii_case("charset="))
    };
    let others: Vec<&str> = parts.clone().filter(|part| !is_charset(part)).collect();
    let had_charset = parts.any(is_charset);
    if !had_charset && !kind.to_ascii_lowercase().starts_with("text/") {
        return content_type.to_owned();
    }
    let all = [kind, "charset=utf-8"].into_iter().chain(others);
    all.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::har::read_entries;

    fn converted(text: &str) -> Result<(RecordedExchange, Vec<u8>), SkipReason> {
        let (exchange, body) = convert(serde_json::from_str(text).unwrap(), &LongTexts::default())?;
        match body {
            HarBody::Memory(bytes) => Ok((exchange, bytes)),
            HarBody::Long(_) => panic!("there are no long strings"),
        }
    }

    fn entry(url: &str, method: &str, response: &str) -> String {
        format!(
            r#"{{"startedDateTime":"2026-11-23T03:30:00.123+01:00","request":{{"method":"{method}","url":"{url}","headers":[
            {{"name":":authority","value":"a.test"}},{{"name":"Accept","value":"*/*"}},
            {{"name":"If-None-Match","value":"\"a\""}}]}},"response":{{{response}}}}}"#
        )
    }

    fn names(headers: &[HeaderLine]) -> Vec<String> {
        headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}"))
            .collect()
    }

    #[test]
    fn an_entry_of_a_browser_is_an_exchange_with_a_decoded_body() {
        let response = r#""status":200,"headers":[{"name":"content-encoding","value":"br"},
            {"name":"Content-Length","value":"9"},{"name":"transfer-encoding","value":"chunked"},
            {"name":"Vary","value":"Accept-Encoding, Origin"},{"name":"Cache-Status","value":"caching-proxy; hit"},
            {"name":"x-a","value":"1\n2"}],
            "content":{"size":5,"mimeType":"text/html; charset=iso-8859-1","text":"gr\u00fc\u00df"}"#;
        let (exchange, body) = converted(&entry("https://a.test/b?c", "GET", response)).unwrap();
        assert_eq!(body, "gr\u{fc}\u{df}".as_bytes());
        assert_eq!(
            (exchange.url.as_str(), exchange.status),
            ("https://a.test/b?c", 200)
        );
        assert_eq!(names(&exchange.request), ["Accept: */*"]);
        assert_eq!(
            names(&exchange.response),
            [
                "Vary: Origin",
                "x-a: 1",
                "x-a: 2",
                "Content-Type: text/html; charset=utf-8",
                "Date: Mon, 23 Nov 2026 02:30:00 GMT",
            ]
        );
    }

    #[test]
    fn base64_is_decoded_and_a_304_with_a_body_is_the_whole() {
        let response = r#""status":304,"headers":[],"content":{"size":3,"mimeType":"image/png","text":"AP8B","encoding":"base64"}"#;
        let (exchange, body) = converted(&entry("http://a/", "GET", response)).unwrap();
        assert_eq!(
            (exchange.status, body.as_slice()),
            (200, &b"\x00\xff\x01"[..])
        );
        let empty = r#""status":302,"headers":[{"name":"Location","value":"/b"}],"content":{"size":0,"mimeType":"x-unknown"}"#;
        let (exchange, body) = converted(&entry("http://a/", "GET", empty)).unwrap();
        assert_eq!((exchange.status, body.len()), (302, 0));
    }

    #[test]
    fn entries_without_a_response_that_can_be_stored_are_skipped_for_a_reason() {
        use SkipReason as Why;
        let texts = r#"{"size": 9}|{"text":"%","encoding":"base64"}|{"text":"a","encoding":"gzip"}|{"text":7}"#;
        let contents: Vec<String> = texts
            .split('|')
            .map(|content| format!(r#""status":200,"content":{content}"#))
            .collect();
        let status = |status: i64| format!(r#""status":{status}"#);
        let aborted = r#""status":200,"_error":"net::ERR_ABORTED""#.to_owned();
        for (url, method, response, reason) in [
            ("http://a/", "GET", status(0), Why::NoResponse),
            ("http://a/", "GET", aborted, Why::NoResponse),
            ("data:text/plain,a", "GET", status(200), Why::Scheme),
            ("/relative", "GET", status(200), Why::Scheme),
            ("ws://a/", "GET", status(101), Why::WebSocket),
            ("http://a/", "GET", status(101), Why::WebSocket),
            ("http://a/", "PUT", status(200), Why::Method),
            ("http://a/", "OPTIONS", status(204), Why::Method),
            ("http://a/", "GET", status(304), Why::NotModified),
            ("http://a/", "GET", status(99_999), Why::Status),
            ("http://a/", "GET", status(-1), Why::Status),
            ("http://a/", "GET", status(100), Why::Status),
            ("http://a/", "GET", contents[0].clone(), Why::NoBody),
            ("http://a/", "GET", contents[1].clone(), Why::Encoding),
            ("http://a/", "GET", contents[2].clone(), Why::Encoding),
            ("http://a/", "GET", contents[3].clone(), Why::Encoding),
        ] {
            let found = converted(&entry(url, method, &response));
            assert_eq!(found.err(), Some(reason), "{url} {method} {response}");
        }
        let long = format!("http://a/{}", "x".repeat(MAX_HEAD_BYTES));
        let found = converted(&entry(&long, "GET", &status(200)));
        assert_eq!(found.err(), Some(Why::LargeRequest));
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(
            at in any::<proptest::sample::Index>(),
            bytes in vec(any::<u8>(), 0..4),
            len in 0..9_usize,
        ) {
            let response = r#""status":206,"headers":[{"name":"vary","value":"a"}],"content":{"size":3,"text":"AP8B","encoding":"base64"}"#;
            let entry = entry("http://a/", "GET", response);
            let mut file = format!(r#"{{"log":{{"entries":[{entry}]}}}}"#).into_bytes();
            let at = at.index(file.len());
            file.splice(at..(at + len).min(file.len()), bytes);
            let _ = read_entries(file.as_slice(), &mut |_, entry| {
                if let Ok(entry) = serde_json::from_str(entry.get()) {
                    let _ = convert(entry, &LongTexts::default());
                }
                Ok(())
            });
        }
    }

    #[test]
    fn what_this_program_has_exported_comes_back_as_it_was() {
        let text = r#"{"request":{"method":"GET","url":"http://a/"},"response":{"status":200,"headers":[
            {"name":"content-encoding","value":"gzip"},{"name":"vary","value":"accept-encoding"}],
            "content":{"size":2,"mimeType":"text/plain","text":"H4s=","encoding":"base64"}},
            "_cachingProxy":{"audience":"everybody","isEncoded":true}}"#;
        let (exchange, body) = converted(text).unwrap();
        assert_eq!(body, b"\x1f\x8b");
        assert_eq!(
            names(&exchange.response),
            ["content-encoding: gzip", "vary: accept-encoding"]
        );
    }
}
