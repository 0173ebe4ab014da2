//! An exchange as the text of an entry.

use actix_web::http::{StatusCode, header::LOCATION};
use serde_json::{Value, json};

use super::exchange::{HeaderLine, RecordedExchange};

/// The beginning of a file, before the first entry. Entries are separated by commas.
pub const FILE_BEGIN: &str = concat!(
    "{\"log\":{\"version\":\"1.2\",\"creator\":{\"name\":\"caching-proxy\",\"version\":\"",
    env!("CARGO_PKG_VERSION"),
    "\"},\"pages\":[],\"entries\":[\n"
);

/// The end of a file, after the last entry.
pub fn file_end(comment: &str) -> String {
    format!("\n],\"comment\":{}}}}}\n", json!(comment))
}

/// An exchange as it is exported.
#[derive(Debug)]
pub struct ExportedEntry {
    /// The exchange.
    pub exchange: RecordedExchange,
    /// When it was fetched (ISO 8601).
    pub started: String,
    /// How long the fetch took, in milliseconds.
    pub took_millis: u32,
    /// The size of the body, in bytes.
    pub body_bytes: u64,
    /// How the text of the body is encoded; `None` if it is not.
    pub encoding: Option<&'static str>,
}

impl ExportedEntry {
    /// What follows the text of the body.
    pub const END: &'static str = "\"}}}";

    /// The entry up to the text of the body.
    pub fn begin(&self) -> String {
        let exchange = &self.exchange;
        let value_of = |name: &str| {
            let mut lines = exchange.response.iter();
            let line = lines.find(|(other, _)| other.eq_ignore_ascii_case(name));
            line.map_or("", |(_, value)| value.as_str())
        };
        let mime_type = match value_of("content-type") {
            "" => "x-unknown",
            content_type => content_type,
        };
        let reason = StatusCode::from_u16(exchange.status)
            .ok()
            .and_then(|status| status.canonical_reason());
        let millis = self.took_millis;
        let entry = json!({
            "startedDateTime": self.started,
            "time": millis,
            "request": {
                "method": exchange.method,
                "url": exchange.url,
                "httpVersion": "HTTP/1.1",
                "headers": headers(&exchange.request),
                "queryString": query(&exchange.url),
                "cookies": cookies(&exchange.request, "cookie"),
                "headersSize": -1,
                "bodySize": if exchange.method == "GET" { 0 } else { -1 },
            },
            "cache": {},
            "timings": {
                "blocked": -1, "dns": -1, "connect": -1, "ssl": -1, "send": 0, "wait": millis, "receive": 0,
            },
            "_cachingProxy": exchange.mark,
        });
        let response = json!({
            "status": exchange.status,
            "statusText": reason.unwrap_or_default(),
            "httpVersion": "HTTP/1.1",
            "headers": headers(&exchange.response),
            "cookies": cookies(&exchange.response, "set-cookie"),
            "redirectURL": value_of(LOCATION.as_str()),
            "headersSize": -1,
            "bodySize": self.body_bytes,
        });
        let mut content = json!({"size": self.body_bytes, "mimeType": mime_type});
        if let Some(encoding) = self.encoding {
            content["encoding"] = encoding.into();
        }
        format!(
            "{},\"response\":{},\"content\":{},\"text\":\"",
            open(&entry),
            open(&response),
            open(&content)
        )
    }
}

/// An object without its end, so that members can follow.
fn open(object: &Value) -> String {
    let mut text = object.to_string();
    text.pop();
    text
}

fn headers(lines: &[HeaderLine]) -> Vec<Value> {
    let named = lines
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}));
    named.collect()
}

/// The query parameters of a URL, as they are written in it.
fn query(url: &str) -> Vec<Value> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let parts = query.split('&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            json!({"name": name, "value": value})
        })
        .collect()
}

/// The cookies in the lines with this name: all in Cookie, the first pair of each Set-Cookie.
fn cookies(lines: &[HeaderLine], name: &str) -> Vec<Value> {
    let most = if name == "cookie" { usize::MAX } else { 1 };
    let lines = lines
        .iter()
        .filter(|(other, _)| other.eq_ignore_ascii_case(name));
    let pairs = lines.flat_map(|(_, value)| value.split(';').take(most));
    let named = pairs.filter_map(|pair| pair.trim().split_once('='));
    named
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entry of a redirect in a file.
    fn written() -> Value {
        let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let entry = ExportedEntry {
            exchange: RecordedExchange {
                method: "GET".to_owned(),
                url: "http://a/b?c=1&d".to_owned(),
                request: vec![line("cookie", "a=1; b=2")],
                status: 302,
                response: vec![
                    line("location", "/c"),
                    line("set-cookie", "a=1; Path=/"),
                    line("content-type", "text/plain"),
                ],
                ..RecordedExchange::default()
            },
            started: "2026-11-23T03:30:00.000Z".to_owned(),
            took_millis: 7,
            body_bytes: 3,
            encoding: Some("base64"),
        };
        let end = [ExportedEntry::END, &file_end("a \"comment\"")].concat();
        let text = [FILE_BEGIN, &entry.begin(), "YWJj", &end].concat();
        let mut file: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(file["log"]["version"], "1.2");
        assert_eq!(file["log"]["comment"], "a \"comment\"");
        file["log"]["entries"][0].take()
    }

    #[test]
    fn an_entry_has_all_members_that_har_requires() {
        let entry = written();
        let of_message = "httpVersion cookies headers headersSize bodySize";
        for (value, names) in [
            (
                &entry,
                "startedDateTime time request response cache timings",
            ),
            (&entry["request"], "method url queryString"),
            (&entry["request"], of_message),
            (&entry["response"], "status statusText content redirectURL"),
            (&entry["response"], of_message),
            (&entry["response"]["content"], "size mimeType"),
            (&entry["timings"], "send wait receive"),
        ] {
            for name in names.split(' ') {
                assert!(value.get(name).is_some(), "{name} in {value}");
            }
        }
    }

    #[test]
    fn parameters_cookies_and_body_are_named() {
        let entry = written();
        let (request, response) = (&entry["request"], &entry["response"]);
        assert_eq!(request["queryString"][1], json!({"name": "d", "value": ""}));
        assert_eq!(request["cookies"][1], json!({"name": "b", "value": "2"}));
        assert_eq!(response["cookies"], json!([{"name": "a", "value": "1"}]));
        assert_eq!(response["redirectURL"], "/c");
        assert_eq!(response["content"]["text"], "YWJj");
    }
}
