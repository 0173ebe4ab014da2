//! Requests that only pass through, and what they do to the cache.

use std::{io, pin::Pin, time::Duration};

use actix::Addr;
use actix_http::error::PayloadError;
use actix_web::{
    http::{
        StatusCode,
        header::{self, HeaderMap},
    },
    web,
};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt as _;

use super::{Ask, Upload, Worker, deliver::Delivery, reply::forward};
use crate::{
    cache::{self, CacheActor, Invalidate, Resource},
    error::ProxyError,
    headers::Storing,
    origin::{OriginErrorKind, OriginRequest, RequestBody},
    policy::{self, Why},
};

/// Forwards a request whose answer is not stored, body and all.
pub(super) async fn pass(
    worker: &Worker,
    ask: &Ask,
    payload: web::Payload,
    why: Why,
    storing: Storing,
) -> Result<Delivery, ProxyError> {
    let request = OriginRequest {
        method: ask.method.clone(),
        target: ask.target.clone(),
        headers: ask.fields.clone(),
        body: upload(ask, payload, worker.shared.config.timeout),
    };
    let mut unsure = Unsure::about(worker, ask);
    let reply = match forward(worker, request).await {
        Ok(reply) => reply,
        Err(error) => {
            if matches!(
                error.kind(),
                OriginErrorKind::Unreachable | OriginErrorKind::Busy
            ) {
                unsure.nothing_happened();
            }
            return Err(error.into());
        }
    };
    unsure.nothing_happened();
    if policy::invalidates(&ask.method, reply.status) {
        invalidate(worker, invalidated(worker, ask, &reply.fields)).await;
    }
    Ok(reply.pass(why, storing))
}

fn upload(ask: &Ask, payload: web::Payload, pause: Duration) -> RequestBody {
    match ask.upload {
        Upload::None => RequestBody::Empty,
        Upload::Sized(length) => RequestBody::Sized(length, impatient(payload, pause)),
        Upload::Chunked => RequestBody::Chunked(impatient(payload, pause)),
    }
}

/// The client's body, which fails when nothing of it comes for as long as `pause`.
fn impatient(
    payload: web::Payload,
    pause: Duration,
) -> Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> {
    let stream = futures_util::stream::unfold(Some(payload), move |payload| async move {
        let mut payload = payload?;
        match tokio::time::timeout(pause, payload.next()).await {
            Ok(Some(Ok(bytes))) => Some((Ok(bytes), Some(payload))),
            Ok(Some(Err(error))) => Some((Err(error), None)),
            Ok(None) => None,
            Err(_) => Some((Err(PayloadError::Io(io::ErrorKind::TimedOut.into())), None)),
        }
    });
    Box::pin(stream)
}

/// What an unsafe request has made invalid: its target, and what the answer names beside it (RFC 9111, 4.4).
fn invalidated(worker: &Worker, ask: &Ask, fields: &HeaderMap) -> Vec<Resource> {
    let config = &worker.shared.config;
    let prefix = config.origin.path_prefix();
    let target = format!("{prefix}{}", ask.target);
    let host = ask
        .fields
        .get(header::HOST)
        .filter(|_| config.preserve_host);
    let authority = host.map_or_else(
        || config.origin.authority(),
        |host| String::from_utf8_lossy(host.as_bytes()).into_owned(),
    );
    let others = policy::also_invalidated(&authority, config.origin.scheme(), &target, fields);
    let others = others
        .iter()
        .filter_map(|target| target.strip_prefix(prefix))
        .map(|target| match host {
            Some(host) => Resource::with_host(target, host.as_bytes()),
            None => Resource::new(target),
        });
    std::iter::once(ask.key.resource.clone())
        .chain(others)
        .collect()
}

/// Removes `resources` from the cache before an answer leaves that has made them invalid.
async fn invalidate(worker: &Worker, resources: Vec<Resource>) {
    // A cache that does not answer serves nothing either.
    let _ = cache::ask(&worker.shared.cache, Invalidate::new(resources, None)).await;
}

/// Invalidates the target of an unsafe request when nobody learns what became of it: the client left, or the origin
/// broke off. It may have done what was asked.
struct Unsure(Option<(Addr<CacheActor>, Resource)>);

impl Unsure {
    fn about(worker: &Worker, ask: &Ask) -> Self {
        let is_unsafe = policy::invalidates(&ask.method, StatusCode::OK);
        Self(is_unsafe.then(|| (worker.shared.cache.clone(), ask.key.resource.clone())))
    }

    fn nothing_happened(&mut self) {
        self.0 = None;
    }
}

impl Drop for Unsure {
    fn drop(&mut self) {
        if let Some((cache, resource)) = self.0.take() {
            cache.do_send(Invalidate::new(vec![resource], None));
        }
    }
}
