//! The content of a response: how a client finds its end, and how much of it was taken from the application.

use actix_http::body::BodySize;
use actix_web::http::{Method, StatusCode, Version, header};
use bytes::Bytes;

use crate::policy::is_name;

/// How a client finds the end of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseFraming {
    /// There is no body.
    None,
    /// It has so many bytes.
    Sized(u64),
    /// It is sent in chunks (RFC 9112, 7.1), or in HTTP/2 in frames without a length before them.
    Chunked,
    /// The connection ends after it: HTTP/1.0 knows no chunks.
    UntilClose,
}

impl ResponseFraming {
    /// The framing of the body of a response to a request with this method and version (RFC 9112, 6.3).
    pub(super) fn of(
        (method, version): (&Method, Version),
        status: StatusCode,
        size: BodySize,
    ) -> Self {
        let is_bodiless = *method == Method::HEAD || never_has_content(status);
        match size {
            _ if is_bodiless => Self::None,
            BodySize::None | BodySize::Sized(0) => Self::None,
            BodySize::Sized(bytes) => Self::Sized(bytes),
            BodySize::Stream if version >= Version::HTTP_11 => Self::Chunked,
            BodySize::Stream => Self::UntilClose,
        }
    }
}

/// True if no content belongs to a response with this status, whatever the request is.
fn never_has_content(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The Content-Length of a response with content of this size; `None` if it has none. A response to HEAD says the length of
/// the body that a GET would get.
pub(super) fn content_length(status: StatusCode, size: BodySize) -> Option<u64> {
    match size {
        // RFC 9112, 6.2.
        _ if never_has_content(status) => None,
        BodySize::Sized(bytes) => Some(bytes),
        BodySize::None | BodySize::Stream => None,
    }
}

/// True for a header of the application that concerns the connection or the framing, which the server writes itself.
pub(super) fn is_written_by_server(name: &[u8], status: StatusCode) -> bool {
    is_name(name, &header::CONNECTION)
        || is_name(name, &header::TRANSFER_ENCODING)
        // RFC 9110, 8.6: a 304 may say the length that the 200 would have.
        || is_name(name, &header::CONTENT_LENGTH) && status != StatusCode::NOT_MODIFIED
}

/// How much of a body was taken from the application.
pub(super) struct ContentProgress {
    pub(super) framing: ResponseFraming,
    /// How many bytes are to come; `None` if the head does not say it.
    pub(super) left: Option<u64>,
    /// `None` before the end.
    pub(super) end: Option<ContentEnd>,
}

/// How a body has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentEnd {
    Whole,
    /// It failed, or is not as long as its head says.
    Cut,
}

impl ContentProgress {
    pub(super) fn new(framing: ResponseFraming) -> Self {
        Self {
            framing,
            left: match framing {
                ResponseFraming::Sized(bytes) => Some(bytes),
                _ => None,
            },
            end: None,
        }
    }

    /// What is to be sent of what the application gives next. Too many or too few bytes are a failure: the client would
    /// look for the next response in the wrong place.
    pub(super) fn next<E>(&mut self, given: Option<Result<Bytes, E>>) -> Option<Bytes> {
        let left = self.left.unwrap_or(u64::MAX);
        match given {
            Some(Ok(bytes)) if bytes.len() as u64 <= left => {
                self.left = self.left.map(|left| left - bytes.len() as u64);
                return Some(bytes);
            }
            None if matches!(self.left, None | Some(0)) => self.end = Some(ContentEnd::Whole),
            Some(_) | None => self.end = Some(ContentEnd::Cut),
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_of_another_length_than_its_head_says_is_cut() {
        const CUT: Option<&str> = None;
        let (whole, cut) = (Some(ContentEnd::Whole), Some(ContentEnd::Cut));
        for (framing, given, sent, end) in [
            (
                ResponseFraming::Sized(3),
                &[Some("ab"), Some("c")][..],
                "abc",
                whole,
            ),
            (ResponseFraming::Sized(3), &[Some("ab")], "ab", cut),
            (
                ResponseFraming::Sized(3),
                &[Some("ab"), Some("cd")],
                "ab",
                cut,
            ),
            (ResponseFraming::Sized(3), &[Some("abc"), CUT], "abc", cut),
            (
                ResponseFraming::Chunked,
                &[Some("ab"), Some("c")],
                "abc",
                whole,
            ),
            (ResponseFraming::UntilClose, &[Some("ab"), CUT], "ab", cut),
        ] {
            let mut progress = ContentProgress::new(framing);
            let mut taken = String::new();
            let mut given = given.iter().map(|piece| {
                piece
                    .ok_or(())
                    .map(|text: &'static str| Bytes::from_static(text.as_bytes()))
            });
            while progress.end.is_none() {
                let next = progress.next(given.next());
                taken.push_str(
                    next.as_deref()
                        .map_or("", |bytes| std::str::from_utf8(bytes).unwrap()),
                );
            }
            assert_eq!((&*taken, progress.end), (sent, end), "{framing:?}");
        }
    }
}
