//! Answers from the store that one worker keeps ready to leave.
//!
//! All that is the same for every hit is made once: the fields in the form in which they leave, and a body whose holders
//! are counted in this thread alone. Age and Cache-Status change with the seconds.

use std::cell::RefCell;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use bytes::Bytes;

use crate::{
    cache::Entry,
    headers::{self, CacheStatus},
    policy::Time,
    proxy::{
        hit::from_stored::stored_fields,
        response::{
            client_response::{ClientResponse, ResponseBody},
            zero_copy,
        },
    },
};

/// What a worker has made ready of the variants of a key.
#[derive(Default)]
pub(crate) struct PreparedResponses(RefCell<Vec<Option<PreparedResponse>>>);

/// The whole of a stored response.
struct PreparedResponse {
    fields: HeaderMap,
    body: Bytes,
    age_seconds: u64,
    ttl_seconds: Option<i64>,
}

impl PreparedResponses {
    /// The whole of `entry`, the variant with this index; None where its body is not worth it.
    pub(crate) fn deliver(
        &self,
        index: usize,
        entry: &Entry,
        now: Time,
        via: &HeaderValue,
    ) -> Option<ClientResponse> {
        let head = entry.head();
        let (age_seconds, ttl_seconds) = (head.age_seconds(now), head.ttl_seconds(now));
        let mut answers = self.0.borrow_mut();
        if answers.len() <= index {
            answers.resize_with(index + 1, || None);
        }
        let slot = answers.get_mut(index)?;
        let is_current = |answer: &PreparedResponse| {
            answer.age_seconds == age_seconds && answer.ttl_seconds == ttl_seconds
        };
        let cache_status = CacheStatus {
            saved_millis: entry.fetch_millis(),
            ..CacheStatus::hit(ttl_seconds)
        };
        if !slot.as_ref().is_some_and(is_current) {
            let body = match slot.take() {
                Some(answer) => answer.body,
                None => entry.body().single()?,
            };
            let mut fields = stored_fields(head, now);
            headers::append_via(&mut fields, via);
            cache_status.write(&mut fields);
            if body.len() as u64 >= zero_copy::MIN_BYTES {
                fields.insert(header::CONTENT_LENGTH, body.len().into());
            }
            *slot = Some(PreparedResponse {
                fields,
                body,
                age_seconds,
                ttl_seconds,
            });
        }
        let answer = slot.as_ref()?;
        Some(ClientResponse {
            status: head.status(),
            fields: answer.fields.clone(),
            body: ResponseBody::Prepared(answer.body.clone()),
            cache_status,
            problem: None,
        })
    }
}
