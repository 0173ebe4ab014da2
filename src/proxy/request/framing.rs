//! How the body of a client's request is framed.

use actix_web::{HttpMessage as _, HttpRequest, http::header};

use crate::policy::RequestContent;

/// How the body of a request is framed (RFC 9112, 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestFraming {
    /// There is no body.
    #[default]
    None,
    /// Content-Length gives its length in bytes.
    Sized(u64),
    /// The body is chunked.
    Chunked,
}

impl RequestFraming {
    /// True if the request has content.
    pub(crate) fn has_content(self) -> bool {
        !matches!(self, Self::None | Self::Sized(0))
    }

    /// The content as the policy sees it, before it is known whether it is part of the key.
    pub(crate) fn content(self) -> RequestContent {
        match self.has_content() {
            false => RequestContent::None,
            true => RequestContent::Some,
        }
    }

    /// The framing of `request`.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let length = request.headers().get(header::CONTENT_LENGTH);
        match length.and_then(|length| length.to_str().ok()?.parse().ok()) {
            _ if request.chunked().unwrap_or(false) => Self::Chunked,
            Some(length) => Self::Sized(length),
            None => Self::None,
        }
    }
}
