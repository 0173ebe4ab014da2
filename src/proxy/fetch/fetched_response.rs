//! A response of the origin, ready to be judged.

use std::{
    borrow::Cow,
    pin::pin,
    time::{Duration, Instant},
};

use actix_web::{
    body::BodySize,
    http::{StatusCode, Version, header},
};

use crate::{
    clock,
    headers::{self, CacheStatus, ResponseHeaders, StoreOutcome},
    origin::{BodyFraming, MAX_PAUSE, OriginError, OriginErrorKind, OriginRequest, OriginResponse},
    policy::{self, ContentRange, Forward, OriginIndex, Time},
    proxy::{
        response::{
            client_response::{ClientResponse, ResponseBody},
            counted_body::CountedBody,
        },
        shared::SharedOrigin,
        worker::Worker,
    },
};

/// A response of the origin: its end-to-end headers, its body, and the times of request and response.
pub(crate) struct FetchedResponse {
    pub(crate) status: StatusCode,
    pub(crate) headers: ResponseHeaders,
    /// The headers that Connection named. The policy judges them, and they go no further. `None` if there are none.
    connection_headers: Option<ResponseHeaders>,
    pub(crate) body: CountedBody,
    pub(crate) response_time: Time,
    request_time: Time,
    /// The body's length as the headers give it; in a response to HEAD that of a body that is not sent.
    size: BodySize,
    /// The body's length in bytes; `None` if it is unknown before its end.
    length: Option<u64>,
}

/// Sends a request to an origin.
pub(crate) async fn forward_to(
    worker: &Worker,
    origin: OriginIndex,
    request: OriginRequest,
) -> Result<FetchedResponse, OriginError> {
    admit(worker, origin).await?;
    let response = pin!(worker.origins.get(origin).forward(request));
    let (response, times) = observed(worker, origin, response, |it| it.status).await?;
    Ok(FetchedResponse::new(worker, origin, response, times))
}

/// When a request was sent, and when the head of its response had arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExchangeTimes {
    request: Time,
    response: Time,
}

/// Waits until a request may be sent to the origin. None may while the proxy is offline.
pub(crate) async fn admit(worker: &Worker, origin: OriginIndex) -> Result<(), OriginError> {
    let admitted = match worker.is_offline() {
        true => Err(OriginError::Offline),
        false => worker.origins.get(origin).pace().admit().await,
    };
    // It may have become so in the meantime.
    let admitted = match worker.is_offline() {
        true => Err(OriginError::Offline),
        false => admitted,
    };
    if let Err(error) = &admitted {
        let (kind, now) = (error.kind(), clock::now());
        worker.counters.origin_failed(origin, kind, now);
    }
    admitted
}

/// Waits for a response of the origin, and counts how that went.
pub(crate) async fn observed<T>(
    worker: &Worker,
    origin: OriginIndex,
    response: impl Future<Output = Result<T, OriginError>>,
    status: impl FnOnce(&T) -> StatusCode,
) -> Result<(T, ExchangeTimes), OriginError> {
    let (start, request) = (Instant::now(), clock::now());
    let result = response.await;
    let now = clock::now();
    let shared = worker.shared.origins.get(origin);
    match &result {
        Ok(response) => {
            shared.health.answered(now);
            match is_unavailable(status(response)) {
                true => shared.availability.failed(now),
                false => shared.availability.responded(),
            }
            let latency = start.elapsed();
            worker.counters.origin_answered(origin, latency, now);
        }
        Err(error) => {
            if matches!(
                error.kind(),
                OriginErrorKind::Unreachable | OriginErrorKind::Timeout
            ) {
                shared.health.failed(request, now);
            }
            if !matches!(
                error.kind(),
                OriginErrorKind::Busy | OriginErrorKind::Upload
            ) {
                shared.availability.failed(now);
            }
            worker.counters.origin_unanswered(origin, error.kind(), now);
        }
    }
    let times = ExchangeTimes {
        request,
        response: now,
    };
    result.map(|response| (response, times))
}

/// True for a status with which an origin says that it can respond to no request now.
fn is_unavailable(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
    )
}

/// How long the origin wants no request after a response with this status and these headers (RFC 9110, 10.2.3; RFC 6585, 4);
/// `None` if it does not say that.
fn asked_pause(status: StatusCode, headers: &ResponseHeaders, now: Time) -> Option<Duration> {
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            policy::retry_after(headers, now)
        }
        _ => None,
    }
}

/// Pauses the origin if it asks for that.
fn pause_if_asked(origin: &SharedOrigin, response: &OriginResponse, now: Time) {
    let status = response.status;
    if let Some(length) = asked_pause(status, &response.headers, now) {
        origin
            .pace
            .pause(length, status, tokio::time::Instant::now());
        log::warn!(
            "{} has responded with {} and Retry-After: it gets no requests for {} s",
            origin.url,
            status.as_u16(),
            length.min(MAX_PAUSE).as_secs()
        );
    }
}

/// The size that a response without a body announces for the one with a body (RFC 9110, 8.6).
fn announced_size(headers: &ResponseHeaders) -> BodySize {
    let length = headers.get(&header::CONTENT_LENGTH);
    let length = length.and_then(|length| str::from_utf8(length).ok());
    let length = length.and_then(|length| length.parse().ok());
    length.map_or(BodySize::None, BodySize::Sized)
}

impl FetchedResponse {
    /// A response of `origin`.
    pub(crate) fn new(
        worker: &Worker,
        origin: OriginIndex,
        response: OriginResponse,
        times: ExchangeTimes,
    ) -> Self {
        let shared = worker.shared.origins.get(origin);
        pause_if_asked(shared, &response, times.response);
        let OriginResponse {
            status,
            version,
            mut headers,
            framing,
            body,
        } = response;
        let (size, length) = match framing {
            BodyFraming::None => (announced_size(&headers), Some(0)),
            BodyFraming::Length(length) => (BodySize::Sized(length), Some(length)),
            BodyFraming::Chunked | BodyFraming::UntilClose => (BodySize::Stream, None),
        };
        let connection_headers = headers::remove_hop_by_hop(&mut headers);
        if version < Version::HTTP_11 {
            // Others get their Via when they are sent; few origins send HTTP/1.0.
            headers.append(&header::VIA, worker.shared.via.of(version));
        }
        Self {
            status,
            headers,
            connection_headers,
            body: CountedBody::new(body, origin, &worker.counters),
            response_time: times.response,
            request_time: times.request,
            size,
            length,
        }
    }

    /// True if the origin has asked for a pause with it.
    pub(crate) fn asks_for_pause(&self) -> bool {
        asked_pause(self.status, &self.headers, self.response_time).is_some()
    }

    /// The headers as they were received, with those that Connection names.
    pub(crate) fn received_headers(&self) -> Cow<'_, ResponseHeaders> {
        self.view().received_fields()
    }

    /// The response as the policy sees it.
    pub(crate) fn view(&self) -> policy::Response<'_> {
        policy::Response {
            status: self.status,
            headers: &self.headers,
            connection_fields: self.connection_headers.as_ref(),
            request_time: self.request_time,
            response_time: self.response_time,
        }
    }

    /// The body's length in bytes; `None` if it is unknown before its end.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
            .or(self.part().map(|part| part.range.len_bytes()))
    }

    /// Which part of the representation the body is; `None` if it is no part, or the response does not say which.
    pub(crate) fn part(&self) -> Option<ContentRange> {
        match self.status {
            StatusCode::PARTIAL_CONTENT => ContentRange::of(&self.received_headers()),
            _ => None,
        }
    }

    /// True if the length of the body is not that of the part which it claims to be.
    pub(crate) fn contradicts_itself(&self) -> bool {
        matches!(
            (self.length, self.part()),
            (Some(length), Some(part)) if length != part.range.len_bytes()
        )
    }

    /// The length in bytes that a response to HEAD announces; `None` if it announces none.
    pub(crate) fn announced_bytes(&self) -> Option<u64> {
        match self.size {
            BodySize::Sized(length) => Some(length),
            BodySize::None | BodySize::Stream => None,
        }
    }

    /// The response to the client, with the origin's body as it arrives.
    pub(crate) fn into_response(self, why: Forward, storing: StoreOutcome) -> ClientResponse {
        ClientResponse {
            status: self.status,
            cache_status: CacheStatus::miss(why, Some(self.status), storing),
            body: ResponseBody::Forwarded(self.body.into(), self.size),
            headers: self.headers,
            problem: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_response_without_a_body_may_announce_a_length() {
        let mut headers = ResponseHeaders::new();
        assert_eq!(announced_size(&headers), BodySize::None);
        headers.insert(&header::CONTENT_LENGTH, &HeaderValue::from_static("9"));
        assert_eq!(announced_size(&headers), BodySize::Sized(9));
        headers.insert(&header::CONTENT_LENGTH, &HeaderValue::from_static("-9"));
        assert_eq!(announced_size(&headers), BodySize::None);
    }
}
