//! Server-sent events: what the sampler publishes, streamed to the page.

use std::{fmt::Write as _, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse,
    http::Method,
    web::{Bytes, Data},
};
use futures_util::stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::{sampler::PageUpdate, time_limits::ConnectionDeadline};

/// How many pages can be open at a time.
const MAX_STREAMS: usize = 16;

/// What event streams are made from.
pub(super) struct EventStreams {
    ticks: watch::Receiver<PageUpdate>,
    places: Arc<Semaphore>,
}

impl EventStreams {
    pub(super) fn new(ticks: watch::Receiver<PageUpdate>) -> Self {
        Self {
            ticks,
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
        }
    }
}

/// The event stream of one page.
struct EventStream {
    ticks: watch::Receiver<PageUpdate>,
    /// The sequence number of the first request that was not sent; `None` if nothing was sent.
    next: Option<u64>,
    _place: OwnedSemaphorePermit,
}

/// Streams until the client disconnects.
pub(super) async fn events(request: HttpRequest, audience: Data<EventStreams>) -> HttpResponse {
    let mut answer = HttpResponse::Ok();
    answer.content_type("text/event-stream");
    if request.method() == Method::HEAD {
        return answer.streaming(stream::empty::<Result<Bytes, actix_web::Error>>());
    }
    let Ok(place) = Arc::clone(&audience.places).try_acquire_owned() else {
        return HttpResponse::ServiceUnavailable()
            .body("Too many pages are open: close one and try again.\n");
    };
    let watcher = EventStream {
        ticks: audience.ticks.clone(),
        next: None,
        _place: place,
    };
    ConnectionDeadline::lift(&request);
    let told = stream::unfold(watcher, |mut watcher| async move {
        let text = watcher.text().await?;
        Some((Ok::<_, actix_web::Error>(Bytes::from(text)), watcher))
    });
    answer.streaming(told)
}

impl EventStream {
    /// The next events; `None` if the sampler has ended.
    async fn text(&mut self) -> Option<String> {
        let is_new = self.next.is_none();
        // A new page gets the current state at once.
        if !is_new || self.ticks.borrow().now.is_empty() {
            self.ticks.changed().await.ok()?;
        }
        let tick = self.ticks.borrow_and_update().clone();
        let mut text = String::new();
        if is_new {
            write_event(&mut text, "past", &tick.past);
        }
        write_event(&mut text, "now", &tick.now);
        let next = self.next.unwrap_or(0);
        let news: Vec<&str> = tick
            .seen
            .iter()
            .filter(|(number, _)| *number >= next)
            .map(|(_, seen)| &**seen)
            .collect();
        if !news.is_empty() {
            write_event(&mut text, "requests", &format!("[{}]", news.join(",")));
        }
        self.next = Some(tick.seen.last().map_or(next, |(number, _)| number + 1));
        Some(text)
    }
}

/// JSON is written on one line, as an event has to be.
fn write_event(text: &mut String, name: &str, data: &str) {
    let _ = write!(text, "event: {name}\ndata: {data}\n\n");
}
