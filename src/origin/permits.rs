//! Permits for connections to the origin: how many are in use at a time, and how many of them carry a client's body.

use std::{
    cell::RefCell,
    collections::HashMap,
    io,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use actix_http::error::PayloadError;
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt as _, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use super::{
    BodyStream, Expectation, MILLIS_PER_BYTE, RequestBody,
    error::{OriginError, UploadError},
};

/// How long a body of known length waits for its first bytes before it takes a permit. The origin may refuse it without them.
const FIRST_BYTES_LIMIT: Duration = Duration::from_secs(2);
/// Longest wait for a permit.
const PERMIT_LIMIT: Duration = Duration::from_secs(10);
/// How far a body may be behind the minimum rate while another one waits for its permit.
const BEHIND_LIMIT: Duration = Duration::from_secs(1);
/// How often one that waits for a permit looks for a body that is further behind than that.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// The permits of one worker.
pub(super) struct Permits {
    connections: Limited,
    /// Half as many: the bodies of slow clients leave the other half to requests without a body.
    uploads: Limited,
    under_way: Rc<RefCell<UploadsUnderWay>>,
    wait: Duration,
}

struct Limited {
    permits: Arc<Semaphore>,
    max: usize,
}

impl Limited {
    fn new(max: usize) -> Self {
        let permits = max.min(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            max,
        }
    }

    /// A permit; `None` if none is free within `wait`.
    async fn acquire(&self, wait: Duration) -> Option<OwnedSemaphorePermit> {
        // Mostly one is free, and no timer is needed.
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        let permit = Arc::clone(&self.permits).acquire_owned();
        timeout(wait, permit).await.ok()?.ok()
    }
}

impl Permits {
    /// Permits for `max_connections`. Nobody waits for one longer than `timeout`.
    pub(super) fn new(max_connections: usize, timeout: Duration) -> Self {
        Self {
            connections: Limited::new(max_connections),
            uploads: Limited::new((max_connections / 2).max(1)),
            under_way: Rc::default(),
            wait: timeout.min(PERMIT_LIMIT),
        }
    }

    /// A permit for a connection.
    ///
    /// # Errors
    /// All are in use.
    pub(super) async fn connection(&self) -> Result<OwnedSemaphorePermit, OriginError> {
        let permit = self.connections.acquire(self.wait).await;
        permit.ok_or(OriginError::Busy {
            max_connections: self.connections.max,
        })
    }

    /// The body with a permit, which it holds until its last byte is read. A body of known length gets one when its first
    /// bytes have come, or after a while; at once if its client waits for a 100. One that has come whole needs none: its
    /// client cannot delay it any more. A chunked one may be a dialogue that the origin begins.
    ///
    /// # Errors
    /// All are in use, or the body failed before its first byte.
    pub(super) async fn upload(
        &self,
        body: RequestBody,
        expectation: Expectation,
    ) -> Result<RequestBody, OriginError> {
        Ok(match body {
            RequestBody::Empty | RequestBody::Sized(0, _) => body,
            RequestBody::Sized(length, mut stream) => {
                let first = match expectation {
                    Expectation::Nothing => first_bytes(&mut stream).await?,
                    Expectation::Continue => FirstBytes::Unread,
                };
                let stream = match first {
                    FirstBytes::Unread => self.permitted(None, stream, Some(length)).await?,
                    FirstBytes::Read(first) if first.len() as u64 == length => {
                        Box::pin(stream::iter([Ok(first)]))
                    }
                    FirstBytes::Read(first) => {
                        self.permitted(Some(first), stream, Some(length)).await?
                    }
                    FirstBytes::None => Box::pin(stream::empty()),
                };
                RequestBody::Sized(length, stream)
            }
            RequestBody::Chunked(stream) => {
                RequestBody::Chunked(self.permitted(None, stream, None).await?)
            }
        })
    }

    async fn permitted(
        &self,
        first: Option<Bytes>,
        rest: BodyStream,
        left_bytes: Option<u64>,
    ) -> Result<BodyStream, OriginError> {
        let permit = self.upload_permit().await?;
        let place = self.under_way.borrow_mut().begin(permit);
        Ok(Box::pin(PermittedBody {
            first,
            rest,
            left_bytes,
            under_way: Rc::clone(&self.under_way),
            place: Some(place),
        }))
    }

    /// A permit for a body. If none is free, the slowest body gives way.
    async fn upload_permit(&self) -> Result<OwnedSemaphorePermit, OriginError> {
        let mut free = pin!(self.uploads.acquire(self.wait));
        let mut pause = Duration::ZERO;
        loop {
            tokio::select! {
                biased;
                permit = &mut free => return permit.ok_or(OriginError::BusyUploading {
                    max_uploads: self.uploads.max,
                }),
                () = sleep(pause) => {}
            }
            let taken = self.under_way.borrow_mut().take_slowest(Instant::now());
            if let Some(permit) = taken {
                return Ok(permit);
            }
            pause = LOOK_INTERVAL;
        }
    }
}

/// The bodies of one worker that hold a permit, by their numbers.
#[derive(Default)]
struct UploadsUnderWay {
    next: u64,
    places: HashMap<u64, UploadPlace>,
}

/// A body under way.
struct UploadPlace {
    permit: OwnedSemaphorePermit,
    lag: UploadLag,
    /// The task that waits for its next bytes; `None` if none does.
    waker: Option<Waker>,
}

impl UploadsUnderWay {
    /// Adds a body. Returns its number.
    fn begin(&mut self, permit: OwnedSemaphorePermit) -> u64 {
        self.next += 1;
        let place = UploadPlace {
            permit,
            lag: UploadLag::default(),
            waker: None,
        };
        self.places.insert(self.next, place);
        self.next
    }

    /// Notes what a poll of a body has brought; false if the body has given way to another one.
    fn polled<E>(
        &mut self,
        number: u64,
        piece: &Poll<Option<Result<Bytes, E>>>,
        cx: &Context<'_>,
    ) -> bool {
        let Some(place) = self.places.get_mut(&number) else {
            return false;
        };
        match piece {
            Poll::Pending => {
                place.lag.waits(Instant::now());
                place.waker = Some(cx.waker().clone());
            }
            Poll::Ready(Some(Ok(bytes))) => place.lag.received(bytes.len(), Instant::now()),
            Poll::Ready(_) => {}
        }
        true
    }

    /// Ends the body that is furthest behind the minimum rate, and takes its permit; `None` if none is far behind.
    fn take_slowest(&mut self, now: Instant) -> Option<OwnedSemaphorePermit> {
        let lags = self.places.iter();
        let lags = lags.map(|(number, place)| (place.lag.behind(now), *number));
        let (behind, number) = lags.max()?;
        if behind < BEHIND_LIMIT {
            return None;
        }
        let place = self.places.remove(&number)?;
        if let Some(waker) = place.waker {
            waker.wake();
        }
        Some(place.permit)
    }
}

/// How far a client is behind the minimum rate with its body. The time in which the origin does not read does not count.
#[derive(Clone, Copy, Debug, Default)]
struct UploadLag {
    /// How long the client was waited for.
    waited: Duration,
    /// Since when it is waited for; `None` if it is not.
    since: Option<Instant>,
    /// How long it may take for the bytes that have come.
    earned: Duration,
}

impl UploadLag {
    fn waits(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    fn received(&mut self, bytes: usize, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now - since;
        }
        let millis = u64::try_from(bytes).unwrap_or(u64::MAX);
        let earned = Duration::from_millis(millis.saturating_mul(MILLIS_PER_BYTE.into()));
        self.earned = self.earned.saturating_add(earned);
    }

    fn behind(&self, now: Instant) -> Duration {
        let waits = self.since.map_or(Duration::ZERO, |since| now - since);
        (self.waited + waits).saturating_sub(self.earned)
    }
}

/// The first bytes of a body.
enum FirstBytes {
    /// They have not come yet, or were not waited for.
    Unread,
    Read(Bytes),
    /// It has ended without any.
    None,
}

async fn first_bytes(body: &mut BodyStream) -> Result<FirstBytes, OriginError> {
    match timeout(FIRST_BYTES_LIMIT, body.next()).await {
        Err(_) => Ok(FirstBytes::Unread),
        Ok(Some(Ok(first))) => Ok(FirstBytes::Read(first)),
        Ok(None) => Ok(FirstBytes::None),
        Ok(Some(Err(error))) => Err(OriginError::Upload {
            source: UploadError::from(error),
        }),
    }
}

/// A client's body, and the permit to send it, until its last byte is read.
struct PermittedBody {
    /// Read before the permit was there.
    first: Option<Bytes>,
    rest: BodyStream,
    /// `None` if the length is unknown.
    left_bytes: Option<u64>,
    under_way: Rc<RefCell<UploadsUnderWay>>,
    /// Its number among them; `None` after its last byte.
    place: Option<u64>,
}

impl PermittedBody {
    /// Returns the permit, if it still has it.
    fn end(&mut self) {
        if let Some(number) = self.place.take() {
            self.under_way.borrow_mut().places.remove(&number);
        }
    }
}

impl Drop for PermittedBody {
    fn drop(&mut self) {
        self.end();
    }
}

impl Stream for PermittedBody {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.rest.as_mut().poll_next(cx),
        };
        if let Some(number) = self.place
            && !self.under_way.borrow_mut().polled(number, &piece, cx)
        {
            self.place = None;
            return Poll::Ready(Some(Err(gave_way())));
        }
        if let (Some(left), Poll::Ready(Some(Ok(bytes)))) = (&mut self.left_bytes, &piece) {
            *left = left.saturating_sub(bytes.len() as u64);
        }
        let goes_on = matches!(piece, Poll::Pending | Poll::Ready(Some(Ok(_))));
        if self.left_bytes == Some(0) || !goes_on {
            self.end();
        }
        piece
    }
}

/// The error of a body that was slow, and whose permit another one has.
fn gave_way() -> PayloadError {
    let what = "it came too slowly, and another body needed its place";
    PayloadError::Io(io::Error::new(io::ErrorKind::TimedOut, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_falls_behind_while_its_client_is_waited_for_and_catches_up_with_its_bytes() {
        let begin = Instant::now();
        let after = |millis| begin + Duration::from_millis(millis);
        let mut lag = UploadLag::default();
        lag.received(10, begin);
        // The origin does not read: the client is not waited for.
        assert_eq!(lag.behind(after(9_000)), Duration::ZERO);
        lag.waits(after(9_000));
        lag.waits(after(9_050));
        assert_eq!(lag.behind(after(9_100)), Duration::ZERO);
        assert_eq!(lag.behind(after(10_000)), Duration::from_millis(900));
        lag.received(1, after(10_000));
        assert_eq!(lag.behind(after(12_000)), Duration::from_millis(890));
        lag.waits(after(12_000));
        assert_eq!(lag.behind(after(13_000)), Duration::from_millis(1_890));
        lag.received(usize::MAX, after(13_000));
        lag.waits(after(13_000));
        assert_eq!(lag.behind(after(60_000)), Duration::ZERO);
    }
}
