//! Responses that a worker keeps ready to send.
//!
//! Everything that is the same for each hit is made once: the headers as they are sent, and a body whose reference count
//! belongs to this thread. Age and Cache-Status change with the seconds.

use std::{cell::RefCell, rc::Rc};

use actix_web::http::{StatusCode, header::HeaderMap};
use bytes::Bytes;

use crate::{
    cache::Entry,
    policy::{ResponseForm, Time},
    proxy::{
        hit::from_stored::{hit_status, not_modified_headers, stored_headers},
        response::client_response::{ClientResponse, PreparedHeaders, ResponseBody},
    },
};

/// The prepared responses of a lookup, by variant.
#[derive(Default)]
pub(crate) struct PreparedResponses(RefCell<Vec<PreparedVariant>>);

/// What is prepared of one variant.
#[derive(Default)]
struct PreparedVariant {
    whole: Option<PreparedResponse>,
    not_modified: Option<PreparedResponse>,
}

struct PreparedResponse {
    headers: Rc<PreparedHeaders>,
    body: Bytes,
    age_seconds: u64,
    ttl_seconds: Option<i64>,
}

impl PreparedResponses {
    /// The response with the whole of `entry`, which is the variant at `index`, or the 304 for it; `None` if `form` is another
    /// one, if the body is not in one piece, or if the response sets cookies, which differ by client. `complete` makes the
    /// stored headers those for the client; it is called when a response is prepared.
    pub(crate) fn response(
        &self,
        form: &ResponseForm,
        (index, entry): (usize, &Entry),
        now: Time,
        complete: impl FnOnce(&mut HeaderMap),
    ) -> Option<ClientResponse> {
        let head = entry.head();
        let cache_status = hit_status(entry, now);
        let (age_seconds, ttl_seconds) = (head.age_seconds(now), cache_status.ttl_seconds);
        let mut responses = self.0.borrow_mut();
        if responses.len() <= index {
            responses.resize_with(index + 1, PreparedVariant::default);
        }
        let variant = responses.get_mut(index)?;
        let (slot, status) = match form {
            ResponseForm::Full => (&mut variant.whole, head.status()),
            ResponseForm::NotModified => (&mut variant.not_modified, StatusCode::NOT_MODIFIED),
            _ => return None,
        };
        let is_whole = *form == ResponseForm::Full;
        let is_current = |response: &PreparedResponse| {
            response.age_seconds == age_seconds && response.ttl_seconds == ttl_seconds
        };
        if !slot.as_ref().is_some_and(is_current) {
            let body = match slot.take() {
                Some(response) => response.body,
                None if head.sets_cookies() => return None,
                None if is_whole => entry.body().single()?,
                None => Bytes::new(),
            };
            let mut headers = match is_whole {
                true => stored_headers(head, now),
                false => not_modified_headers(head, now),
            };
            complete(&mut headers);
            cache_status.write(&mut headers);
            *slot = Some(PreparedResponse {
                headers: Rc::new(PreparedHeaders::new(&headers)),
                body,
                age_seconds,
                ttl_seconds,
            });
        }
        let response = slot.as_ref()?;
        Some(ClientResponse {
            status,
            headers: HeaderMap::new(),
            body: ResponseBody::Prepared(response.body.clone(), Rc::clone(&response.headers)),
            cache_status,
            problem: None,
        })
    }
}
