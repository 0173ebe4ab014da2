//! The rest of a body for a client that fell behind the fetch which it shared.
//!
//! A body too large to store is passed on to those who read it, in a window. Whoever falls out of the window goes on with a
//! fetch of its own. With a strong validator it asks for the rest (RFC 9110, 14.2 and 13.1.5). Without one it fetches the
//! whole again, and goes on where the bytes that it has already sent are the same.

use std::rc::Rc;

use actix_web::{
    http::{
        StatusCode,
        header::{ETAG, HeaderValue, IF_RANGE, RANGE},
    },
    web,
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};

use crate::{
    cache::BodyError,
    headers::ResponseHeaders,
    origin::OriginRequest,
    policy::RequestContent,
    proxy::{
        fetch::{
            failover::forward, fetched_response::FetchedResponse, plan::unconditional_request,
        },
        request::forwarded::ForwardedRequest,
        response::{
            client_response::{ClientResponse, ResponseBody},
            counted_body::CountedBody,
            streamed_body::{ArrivedBytes, FetchRest, RestOfBody},
        },
        worker::Worker,
    },
};

/// Makes the body of the response to `forwarded` go on when its client falls behind the fetch that it shares.
pub(crate) fn let_go_on(
    response: &mut ClientResponse,
    worker: &web::Data<Worker>,
    forwarded: &Rc<ForwardedRequest>,
) {
    let ResponseBody::Streamed(body) = &mut response.body else {
        return;
    };
    let (worker, forwarded) = (worker.clone(), Rc::clone(forwarded));
    let tag = strong_tag(&response.headers);
    let arrived = match tag {
        Some(_) => ArrivedBytes::default(),
        None => ArrivedBytes::hashed(),
    };
    let fetch_rest: FetchRest = Box::new(move |arrived| {
        Box::pin(async move {
            let request = request(&forwarded, tag.as_ref(), &arrived);
            let fetched = forward(&worker, &forwarded, request).await;
            let rest = fetched.ok().and_then(|it| rest(it, tag.as_ref(), arrived));
            log::debug!(
                "a client fell behind the fetch that it shared; the rest {}",
                match rest.is_some() {
                    true => "is fetched for it alone",
                    false => "cannot be fetched",
                }
            );
            rest
        })
    });
    body.go_on_with(arrived, fetch_rest);
}

/// RFC 9110, 8.8.3: the entity tag; `None` if there is none, or a weak one.
fn strong_tag(headers: &ResponseHeaders) -> Option<HeaderValue> {
    let tag = headers.get(&ETAG)?;
    let tag = tag.starts_with(b"\"").then_some(tag)?;
    HeaderValue::from_bytes(tag).ok()
}

/// The request for what follows after `arrived`, or for the whole without a tag.
fn request(
    forwarded: &ForwardedRequest,
    tag: Option<&HeaderValue>,
    arrived: &ArrivedBytes,
) -> OriginRequest {
    let mut request = unconditional_request(forwarded);
    // The origin defines what a range means for a POST.
    let tag = tag.filter(|_| forwarded.content != RequestContent::Keyed);
    let range = HeaderValue::try_from(format!("bytes={}-", arrived.count));
    if let (Some(tag), Ok(range)) = (tag, range) {
        let headers = request.headers.make_mut();
        headers.insert(RANGE, range);
        headers.insert(IF_RANGE, tag.clone());
    }
    request
}

/// What follows in `fetched` after `arrived`; `None` if it is another representation.
fn rest(
    fetched: FetchedResponse,
    tag: Option<&HeaderValue>,
    arrived: ArrivedBytes,
) -> Option<RestOfBody> {
    if strong_tag(&fetched.headers).as_ref() != tag {
        return None;
    }
    let skipped = match fetched.status {
        StatusCode::PARTIAL_CONTENT if tag.is_some() => {
            let part = fetched.part()?;
            let is_rest = part.range.first == arrived.count
                && part
                    .complete_bytes
                    .is_none_or(|complete| complete == part.range.last + 1);
            is_rest.then(|| arrived.clone())?
        }
        StatusCode::OK => ArrivedBytes::hashed(),
        _ => return None,
    };
    let rest = Rest {
        skipped,
        has_same_tag: tag.is_some(),
        arrived,
        body: fetched.body,
    };
    let rest = stream::unfold(rest, |mut rest| async {
        rest.next().await.map(|item| (item, rest))
    });
    Some(rest.boxed_local())
}

/// A body of which the client has the beginning.
struct Rest {
    body: CountedBody,
    arrived: ArrivedBytes,
    skipped: ArrivedBytes,
    has_same_tag: bool,
}

impl Rest {
    async fn next(&mut self) -> Option<Result<Bytes, BodyError>> {
        loop {
            let mut bytes = match self.body.next().await {
                Some(Ok(bytes)) => bytes,
                None if self.skipped.count == self.arrived.count => return None,
                Some(Err(_)) | None => return Some(Err(BodyError::Truncated)),
            };
            let left = self.arrived.count - self.skipped.count;
            if left > 0 {
                let skipped = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                self.skipped.extend(&bytes.split_to(skipped));
                let has_all = self.skipped.count == self.arrived.count;
                if has_all && !self.has_same_tag && !self.skipped.equals(&self.arrived) {
                    // The content has changed: what follows does not belong to what the client has.
                    return Some(Err(BodyError::Truncated));
                }
            }
            if !bytes.is_empty() {
                return Some(Ok(bytes));
            }
        }
    }
}
