//! An answer of the origin, ready to be judged.

use std::{
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Instant,
};

use actix_web::{
    body::BodySize,
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
};
use bytes::Bytes;
use futures_core::Stream;

use crate::{
    clock,
    headers::{self, CacheStatus, StoreOutcome},
    observe::WorkerCounters,
    origin::{BodyFraming, OriginBody, OriginError, OriginRequest, OriginResponse},
    policy::{self, BodyEnd, ContentRange, Forward, Time},
    proxy::{
        response::client_response::{ClientResponse, ResponseBody},
        worker::Worker,
    },
};

/// An answer of the origin: its end-to-end fields, its body, and when it was asked for and came.
pub(crate) struct FetchedResponse {
    pub(crate) status: StatusCode,
    pub(crate) fields: HeaderMap,
    pub(crate) body: CountedBody,
    pub(crate) response_time: Time,
    request_time: Time,
    framing: BodyEnd,
    /// What the head tells of the body's length.
    size: BodySize,
    /// Length of the body in bytes, where it is known before its end.
    length: Option<u64>,
}

/// Asks the origin.
pub(crate) async fn forward(
    worker: &Worker,
    request: OriginRequest,
) -> Result<FetchedResponse, OriginError> {
    let request_time = clock::now();
    let OriginResponse {
        status,
        headers: mut fields,
        framing,
        body,
    } = asked(worker, request).await?;
    let (size, length) = match framing {
        BodyFraming::None => (announced(&fields), Some(0)),
        BodyFraming::Length(length) => (BodySize::Sized(length), Some(length)),
        BodyFraming::Chunked | BodyFraming::UntilClose => (BodySize::Stream, None),
    };
    let framing = match framing {
        BodyFraming::None | BodyFraming::Length(_) | BodyFraming::Chunked => BodyEnd::Delimited,
        BodyFraming::UntilClose if fields.contains_key(header::TRANSFER_ENCODING) => {
            BodyEnd::UnknownCoding
        }
        BodyFraming::UntilClose => BodyEnd::UntilClose,
    };
    headers::remove_hop_by_hop(&mut fields);
    Ok(FetchedResponse {
        status,
        fields,
        body: CountedBody {
            body,
            tally: Rc::clone(&worker.tally),
        },
        response_time: clock::now(),
        request_time,
        framing,
        size,
        length,
    })
}

/// Asks, and counts what came of it.
async fn asked(worker: &Worker, request: OriginRequest) -> Result<OriginResponse, OriginError> {
    let began = Instant::now();
    let answer = worker.origin.forward(request).await;
    match &answer {
        Ok(_) => worker.tally.origin_answered(began.elapsed(), clock::now()),
        Err(error) => worker.tally.origin_failed(error.kind(), clock::now()),
    }
    answer
}

/// The body of an answer, whose bytes are counted as they come.
pub(crate) struct CountedBody {
    body: OriginBody,
    tally: Rc<WorkerCounters>,
}

impl Stream for CountedBody {
    type Item = Result<Bytes, OriginError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let item = ready!(Pin::new(&mut this.body).poll_next(context));
        match &item {
            Some(Ok(bytes)) => this.tally.received(bytes.len()),
            Some(Err(error)) => this.tally.origin_failed(error.kind(), clock::now()),
            None => {}
        }
        Poll::Ready(item)
    }
}

/// The length that an answer without a body tells of the one with (RFC 9110, 8.6).
fn announced(fields: &HeaderMap) -> BodySize {
    let length = fields
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok());
    let length = length.and_then(|length| length.parse().ok());
    length.map_or(BodySize::None, BodySize::Sized)
}

impl FetchedResponse {
    /// The answer as the policy sees it.
    pub(crate) fn judged(&self) -> policy::Response<'_> {
        policy::Response {
            status: self.status,
            headers: &self.fields,
            request_time: self.request_time,
            response_time: self.response_time,
            body_end: self.framing,
        }
    }

    /// Length of the body in bytes, where it is known before its end.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
            .or(self.part().map(|part| part.range.len_bytes()))
    }

    /// Which part of the representation the body is; None: it does not say, or is no part.
    pub(crate) fn part(&self) -> Option<ContentRange> {
        match self.status {
            StatusCode::PARTIAL_CONTENT => ContentRange::of(&self.fields),
            _ => None,
        }
    }

    /// True when it says that it is a part of another length than it has.
    pub(crate) fn contradicts_itself(&self) -> bool {
        matches!(
            (self.length, self.part()),
            (Some(length), Some(part)) if length != part.range.len_bytes()
        )
    }

    /// What an answer to HEAD tells of the length of the body it has not, in bytes.
    pub(crate) fn announced(&self) -> Option<u64> {
        match self.size {
            BodySize::Sized(length) => Some(length),
            BodySize::None | BodySize::Stream => None,
        }
    }

    /// Hands the answer to the client as it comes.
    pub(crate) fn pass(self, why: Forward, storing: StoreOutcome) -> ClientResponse {
        ClientResponse {
            status: self.status,
            cache_status: CacheStatus::miss(why, Some(self.status), storing),
            body: ResponseBody::Forwarded(self.body, self.size),
            fields: self.fields,
            problem: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_bodiless_answer_may_tell_the_length_of_the_one_with_a_body() {
        let mut fields = HeaderMap::new();
        assert_eq!(announced(&fields), BodySize::None);
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("9"));
        assert_eq!(announced(&fields), BodySize::Sized(9));
        fields.insert(header::CONTENT_LENGTH, HeaderValue::from_static("-9"));
        assert_eq!(announced(&fields), BodySize::None);
    }
}
