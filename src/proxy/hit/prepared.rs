//! Responses that a worker keeps ready to send.
//!
//! Everything that is the same for each hit is made once: the headers as they are sent, and a body whose reference count
//! belongs to this thread. Age and Cache-Status change with the seconds.

use std::{cell::RefCell, rc::Rc};

use actix_web::http::StatusCode;
use bytes::Bytes;

use crate::{
    cache::Entry,
    headers::ResponseHeaders,
    policy::{self, ResponseForm, Time},
    proxy::{
        hit::{
            from_stored::hit_status,
            hit_headers::{ClientSide, HitHeaders},
        },
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
    /// one, if the body is not in one piece, or if the response sets cookies, which differ by client.
    pub(crate) fn response(
        &self,
        form: &ResponseForm,
        (index, entry): (usize, &Entry),
        now: Time,
        client: ClientSide<'_, impl Fn(&mut ResponseHeaders)>,
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
            let mut headers = HitHeaders::new(client);
            if is_whole {
                for (name, value) in head.fields().iter() {
                    headers.add(name, value);
                }
            } else {
                for (name, value) in policy::not_modified_fields(head) {
                    headers.add(name, value);
                }
            }
            *slot = Some(PreparedResponse {
                headers: Rc::new(headers.finish(age_seconds, &cache_status)),
                body,
                age_seconds,
                ttl_seconds,
            });
        }
        let response = slot.as_ref()?;
        Some(ClientResponse {
            status,
            headers: ResponseHeaders::new(),
            body: ResponseBody::Prepared(response.body.clone(), Rc::clone(&response.headers)),
            cache_status,
            problem: None,
        })
    }
}
