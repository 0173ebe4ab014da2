//! Content that a client reads while it is made: streams of events and of records.

use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};

use crate::policy::StoredHead;

/// Media types whose content has no end: events, and the pictures of a camera.
const EVENTS: [&str; 2] = ["text/event-stream", "multipart/x-mixed-replace"];
/// Media types whose content is one record after the other. It may end.
const RECORDS: [&str; 8] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/x-jsonlines",
    "application/jsonlines",
    "application/jsonl",
    "application/x-json-stream",
    "application/stream+json",
    "application/json-seq",
];

/// True for a stream of events. It is for one client and never ends, so it is not stored, and no other request waits for
/// it.
pub(in crate::policy) fn is_event_stream(headers: &HeaderMap) -> bool {
    is_one_of(&EVENTS, content_type(headers))
}

/// True for a stream of events, and for a stream of records of unknown length. Its pauses have no limit, and a client that
/// joins later wants what is now.
pub fn is_live_stream(headers: &HeaderMap) -> bool {
    let content_type = content_type(headers);
    is_one_of(&EVENTS, content_type)
        || is_one_of(&RECORDS, content_type) && !headers.contains_key(CONTENT_LENGTH)
}

impl StoredHead {
    /// True if the content is one record after the other.
    pub fn is_of_records(&self) -> bool {
        is_one_of(&RECORDS, self.fields().text(&CONTENT_TYPE))
    }
}

fn content_type(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes)
}

/// RFC 9110, 8.3.1: parameters follow the media type, whose case does not matter.
fn is_one_of(media_types: &[&str], content_type: Option<&[u8]>) -> bool {
    let named = content_type.and_then(|value| value.split(|byte| *byte == b';').next());
    named.map(<[u8]>::trim_ascii).is_some_and(|named| {
        let is_named = |media_type: &&str| named.eq_ignore_ascii_case(media_type.as_bytes());
        media_types.iter().any(is_named)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(content_type: &'static str, length: Option<&'static str>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        headers
    }

    #[test]
    fn streams_are_told_by_media_type_and_length() {
        for (content_type, length, is_event, is_live) in [
            ("text/event-stream", None, true, true),
            ("Text/Event-Stream ; charset=utf-8", Some("9"), true, true),
            ("multipart/x-mixed-replace;boundary=f", None, true, true),
            ("application/x-ndjson", None, false, true),
            ("application/x-ndjson", Some("9"), false, false),
            ("application/json-seq", None, false, true),
            ("application/json", None, false, false),
            ("multipart/mixed", None, false, false),
        ] {
            let headers = headers(content_type, length);
            let found = (is_event_stream(&headers), is_live_stream(&headers));
            assert_eq!(found, (is_event, is_live), "{content_type} {length:?}");
        }
        assert!(!is_live_stream(&HeaderMap::new()));
    }
}
