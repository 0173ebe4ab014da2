//! What conditions and ranges are compared with: status, validators and dates of a response.

use actix_web::http::{
    StatusCode,
    header::{ETAG, LAST_MODIFIED},
};

use crate::policy::{ResponseHeaders, Time, freshness::age::date, syntax::date::http_date};

/// Status, validators and dates of a response.
#[derive(Clone, Copy, Debug)]
pub(in crate::policy) struct Representation<'a> {
    pub(in crate::policy) status: StatusCode,
    pub(in crate::policy) etag: Option<&'a [u8]>,
    pub(in crate::policy) last_modified: Option<&'a [u8]>,
    /// The Date of the response, or the time of its receipt.
    pub(in crate::policy) date: Time,
    pub(in crate::policy) received: Time,
}

impl<'a> Representation<'a> {
    /// That of a response which was received at `received`.
    pub(in crate::policy) fn of(
        status: StatusCode,
        headers: &'a ResponseHeaders,
        received: Time,
    ) -> Self {
        Self {
            status,
            etag: headers.get(&ETAG),
            last_modified: headers.get(&LAST_MODIFIED),
            date: date(headers, received).unwrap_or(received),
            received,
        }
    }

    /// RFC 9110, 8.8.1: the strong validator: a strong tag, or else a strong date. `None` if there is none.
    pub(in crate::policy) fn strong_validator(&self) -> Option<&'a [u8]> {
        match self.etag {
            Some(tag) => tag.starts_with(b"\"").then_some(tag),
            None => self.last_modified.filter(|modified| {
                http_date(modified, self.received)
                    .is_some_and(|modified| is_strong_date(modified, self.date))
            }),
        }
    }
}

/// RFC 9110, 8.8.2.2: true for a Last-Modified before the Date: no later change within its second was missed.
pub(in crate::policy) fn is_strong_date(modified: Time, made: Time) -> bool {
    made.unix_seconds() > modified.unix_seconds()
}
