//! Content that a client reads while it is made: streams of events and of records.

use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE};

use crate::policy::{ResponseHeaders, StoredHead};

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
pub(in crate::policy) fn is_event_stream(headers: &ResponseHeaders) -> bool {
    let named = media_type(headers);
    EVENTS.iter().any(|it| is_equal(it, named))
}

/// True for a stream of events, and for a stream of records of unknown length. Its pauses have no limit, and a client that
/// joins later wants what is now.
pub fn is_live_stream(headers: &ResponseHeaders) -> bool {
    let named = media_type(headers);
    EVENTS.iter().any(|it| is_equal(it, named))
        || RECORDS.iter().any(|it| is_equal(it, named)) && !headers.contains(&CONTENT_LENGTH)
}

impl StoredHead {
    /// True if the content is one record after the other.
    pub fn is_of_records(&self) -> bool {
        let named = self.fields().get(&CONTENT_TYPE).map(without_parameters);
        RECORDS.iter().any(|it| is_equal(it, named))
    }
}

fn media_type(headers: &ResponseHeaders) -> Option<&[u8]> {
    let value = headers.get(&CONTENT_TYPE);
    value.map(without_parameters)
}

/// RFC 9110, 8.3.1: parameters follow the media type.
fn without_parameters(content_type: &[u8]) -> &[u8] {
    let media_type = content_type.split(|byte| *byte == b';').next();
    media_type.unwrap_or_default().trim_ascii()
}

/// RFC 9110, 8.3.1: the case of a media type does not matter.
fn is_equal(media_type: &str, named: Option<&[u8]>) -> bool {
    named.is_some_and(|named| {
        named.len() == media_type.len() && named.eq_ignore_ascii_case(media_type.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::fixture;

    fn headers(content_type: &'static str, length: Option<&'static str>) -> ResponseHeaders {
        let length = length.map(|length| ("content-length", length));
        let lines = [("content-type", content_type)].into_iter().chain(length);
        fixture::headers(&lines.collect::<Vec<_>>())
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
        assert!(!is_live_stream(&ResponseHeaders::new()));
    }
}
