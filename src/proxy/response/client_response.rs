//! The way an answer leaves.

use std::{
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    http::{
        ConnectionType, Method, StatusCode, Version,
        header::{self, HeaderMap, HeaderValue},
    },
};
use bytes::Bytes;
use futures_core::Stream as _;
use futures_util::future::LocalBoxFuture;

use crate::{
    cache::{BodyError, FetchEnd, Slices},
    headers::{self, CacheStatus, RequestOutcome, StoreOutcome, is_event_stream},
    observe::WorkerCounters,
    policy::Reason,
    proxy::{
        connection::ActiveRequest,
        fetch::fetched_response::CountedBody,
        hit::multipart::Multipart,
        response::{
            access_log::{AccessLogEntry, Fate},
            streamed_body::StreamedBody,
            zero_copy::{self, ZeroCopyPlaceholder, ZeroCopySource},
        },
        worker::Worker,
    },
};

/// An answer that is ready to leave.
pub(crate) struct ClientResponse {
    pub(crate) status: StatusCode,
    /// Its end-to-end fields.
    pub(crate) fields: HeaderMap,
    pub(crate) body: ResponseBody,
    pub(crate) cache_status: CacheStatus,
    /// What went wrong, for the log.
    pub(crate) problem: Option<String>,
}

/// Where the bytes of an answer come from.
pub(crate) enum ResponseBody {
    /// None at all.
    Empty,
    /// A sentence of our own.
    Sentence(String),
    /// Something else of our own; the fields say what.
    Generated(Bytes),
    /// A stored body in one piece, whose fields are complete.
    Prepared(Bytes),
    /// A stored body, or a part of one.
    Stored(Slices),
    /// Several ranges of a stored body.
    Multipart(Multipart),
    /// A body on its way into the cache.
    Streamed(StreamedBody),
    /// A body of the origin that is not stored.
    Forwarded(CountedBody, BodySize),
}

impl ResponseBody {
    /// How many bytes of it lie in memory, of what may be written from there.
    fn ready_bytes(&self) -> u64 {
        match self {
            Self::Prepared(bytes) => bytes.len() as u64,
            Self::Stored(slices) => slices.left_bytes(),
            _ => 0,
        }
    }
}

impl ClientResponse {
    /// Turns it into what actix-web sends, and counts it.
    pub(crate) fn into_response(
        mut self,
        request: &HttpRequest,
        worker: &Worker,
        mut access: Option<AccessLogEntry>,
        busy: ActiveRequest,
    ) -> HttpResponse {
        busy.leaves();
        let tally = &worker.tally;
        tally.answered(self.status, &self.cache_status);
        if let Some(access) = &mut access {
            access.answered(self.status, self.cache_status, self.problem.take());
        }
        match self.body {
            ResponseBody::Sentence(_) => {
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                self.fields.insert(header::CONTENT_TYPE, text);
            }
            ResponseBody::Generated(_) | ResponseBody::Prepared(_) => {}
            _ => headers::append_via(&mut self.fields, &worker.shared.via),
        }
        if !matches!(self.body, ResponseBody::Prepared(_)) {
            self.cache_status.write(&mut self.fields);
        }
        let extent = match self.status {
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => SentBody::Bodiless,
            _ if *request.method() == Method::HEAD => SentBody::Head,
            _ => SentBody::Whole,
        };
        if matches!(self.body, ResponseBody::Forwarded(..)) && is_event_stream(&self.fields) {
            busy.open_ended();
        }
        // Perhaps nobody has read the request's body: then the connection ends with the answer, which is to say so.
        // After a sized body actix-web says it by itself.
        let may_be_early = matches!(
            self.body,
            ResponseBody::Generated(_) | ResponseBody::Sentence(_)
        ) && request.chunked().unwrap_or(false);
        let way = BodyPlan {
            extent,
            version: request.version(),
            outcome: self.cache_status.outcome,
            stores: self.cache_status.store == StoreOutcome::Stored,
        };
        let (body, framing) = way.body(self.body, access, tally, busy);
        if let ResponseFraming::Length(bytes) = framing {
            self.fields.insert(header::CONTENT_LENGTH, bytes.into());
        }
        let mut response = HttpResponse::with_body(self.status, body);
        *response.headers_mut() = self.fields;
        if framing != ResponseFraming::Server {
            response.head_mut().no_chunking(true);
        }
        if framing == ResponseFraming::Close || may_be_early || request.head().upgrade() {
            // actix-web would say `upgrade` to a client that offered one, which nobody takes up.
            response
                .head_mut()
                .set_connection_type(ConnectionType::Close);
        }
        response
    }
}

/// What decides on the way of a body.
struct BodyPlan {
    extent: SentBody,
    version: Version,
    outcome: RequestOutcome,
    stores: bool,
}

/// Who tells the client where a body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ResponseFraming {
    /// The server, which knows its size or sends it in chunks.
    Server,
    /// Content-Length, which stands among the fields already.
    Fields,
    /// Content-Length, which is up to us.
    Length(u64),
    /// The end of the connection: an HTTP/1.0 client knows no chunks.
    Close,
}

impl BodyPlan {
    fn body(
        self,
        content: ResponseBody,
        access: Option<AccessLogEntry>,
        tally: &Rc<WorkerCounters>,
        busy: ActiveRequest,
    ) -> (BoxBody, ResponseFraming) {
        let writer = busy.writer().cloned().filter(|_| {
            self.extent == SentBody::Whole && content.ready_bytes() >= zero_copy::MIN_BYTES
        });
        let books = |access| TransferLog {
            tally: Rc::clone(tally),
            outcome: self.outcome,
            stores: self.stores,
            access,
        };
        match (content, writer) {
            (ResponseBody::Prepared(bytes), Some(writer)) => {
                let body = ZeroCopyPlaceholder::new(
                    writer,
                    ZeroCopySource::One(bytes),
                    books(access),
                    busy,
                );
                (BoxBody::new(body), ResponseFraming::Fields)
            }
            (ResponseBody::Stored(slices), Some(writer)) => {
                let framing = ResponseFraming::Length(slices.left_bytes());
                let body = ZeroCopyPlaceholder::new(
                    writer,
                    ZeroCopySource::Slices(slices),
                    books(access),
                    busy,
                );
                (BoxBody::new(body), framing)
            }
            // Nobody keeps books of it, and it is written in one go.
            (ResponseBody::Prepared(bytes), _)
                if self.extent == SentBody::Whole && access.is_none() =>
            {
                drop(busy);
                tally.saved(bytes.len());
                (BoxBody::new(bytes), ResponseFraming::Server)
            }
            (content, _) => {
                let mut body = TrackedBody::new(content, self.extent, books(access), busy);
                body.unframed = body.size() == BodySize::Stream && self.version < Version::HTTP_11;
                let framing = match body.unframed {
                    true => ResponseFraming::Close,
                    false => ResponseFraming::Server,
                };
                (BoxBody::new(body), framing)
            }
        }
    }
}

/// How much of an answer leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SentBody {
    /// Head and body.
    Whole,
    /// The head of an answer to HEAD, which tells the length of the body it has not.
    Head,
    /// The head of an answer whose status has no body.
    Bodiless,
}

/// What is counted and told of a body that leaves.
pub(crate) struct TransferLog {
    tally: Rc<WorkerCounters>,
    outcome: RequestOutcome,
    /// This request's fetch is the one that stores.
    stores: bool,
    access: Option<AccessLogEntry>,
}

impl TransferLog {
    pub(crate) fn sent(&self, bytes: usize) {
        match self.outcome {
            RequestOutcome::Hit
            | RequestOutcome::Validated
            | RequestOutcome::Stale
            | RequestOutcome::Collapsed => {
                self.tally.saved(bytes);
            }
            RequestOutcome::Miss | RequestOutcome::Own | RequestOutcome::Failed(_) => {
                self.tally.passed(bytes)
            }
        }
        if let Some(access) = &self.access {
            access.sent(bytes);
        }
    }

    pub(crate) fn ended(&self, fate: Fate) {
        if let Some(access) = &self.access {
            access.ended(fate);
        }
    }

    /// It broke off, and nobody has said why.
    fn broke(&self) {
        if let Some(access) = &self.access
            && access.fate() == Fate::Unfinished
        {
            access.ended(Fate::Cut);
        }
    }

    fn not_stored(&self, reason: Reason) {
        if self.stores {
            self.tally.not_stored(reason);
        }
        if let Some(access) = &self.access {
            access.not_stored(reason);
        }
    }
}

/// The body of an answer, which keeps the books.
struct TrackedBody {
    source: BodySource,
    size: BodySize,
    books: TransferLog,
    busy: ActiveRequest,
    /// The client knows the end of the body by the end of the connection.
    unframed: bool,
}

enum BodySource {
    Empty,
    Text(Bytes),
    Stored(Slices),
    Multipart(Multipart),
    Filling(LocalBoxFuture<'static, (StreamStep, StreamedBody)>),
    Passing(Box<CountedBody>),
    /// The next poll cuts the connection.
    Broken(io::Error),
}

type StreamStep = Option<Result<Bytes, BodyError>>;

async fn step(mut incoming: StreamedBody) -> (StreamStep, StreamedBody) {
    (incoming.next().await, incoming)
}

impl TrackedBody {
    fn new(
        content: ResponseBody,
        extent: SentBody,
        books: TransferLog,
        busy: ActiveRequest,
    ) -> Self {
        let size = match &content {
            ResponseBody::Empty => BodySize::Sized(0),
            ResponseBody::Sentence(text) => BodySize::Sized(text.len() as u64),
            ResponseBody::Generated(bytes) => BodySize::Sized(bytes.len() as u64),
            ResponseBody::Prepared(bytes) => BodySize::Sized(bytes.len() as u64),
            ResponseBody::Stored(slices) => BodySize::Sized(slices.left_bytes()),
            ResponseBody::Multipart(parts) => BodySize::Sized(parts.length()),
            ResponseBody::Streamed(incoming) => {
                incoming.length().map_or(BodySize::Stream, BodySize::Sized)
            }
            ResponseBody::Forwarded(_, size) => *size,
        };
        let source = match content {
            _ if extent != SentBody::Whole => BodySource::Empty,
            ResponseBody::Empty => BodySource::Empty,
            ResponseBody::Sentence(text) => BodySource::Text(text.into()),
            ResponseBody::Generated(bytes) => BodySource::Text(bytes),
            ResponseBody::Prepared(bytes) => BodySource::Text(bytes),
            ResponseBody::Stored(slices) => BodySource::Stored(slices),
            ResponseBody::Multipart(parts) => BodySource::Multipart(parts),
            ResponseBody::Streamed(incoming) => BodySource::Filling(Box::pin(step(incoming))),
            ResponseBody::Forwarded(body, _) => BodySource::Passing(Box::new(body)),
        };
        let size = match (extent, size) {
            (SentBody::Bodiless, _) | (SentBody::Head, BodySize::Stream) => BodySize::None,
            (_, size) => size,
        };
        if extent != SentBody::Whole || matches!(size, BodySize::Sized(0)) {
            books.ended(Fate::Whole);
        }
        Self {
            source,
            size,
            books,
            busy,
            unframed: false,
        }
    }

    fn poll_source(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        match &mut self.source {
            BodySource::Empty => Poll::Ready(None),
            BodySource::Broken(error) => {
                let error = std::mem::replace(error, io::ErrorKind::Other.into());
                Poll::Ready(Some(Err(error)))
            }
            BodySource::Text(text) => {
                let text = std::mem::take(text);
                Poll::Ready((!text.is_empty()).then_some(Ok(text)))
            }
            BodySource::Stored(slices) => Poll::Ready(slices.next().map(Ok)),
            BodySource::Multipart(parts) => Poll::Ready(parts.next().map(Ok)),
            BodySource::Filling(next) => {
                let (step_result, incoming) = std::task::ready!(next.as_mut().poll(context));
                match (&step_result, incoming.end()) {
                    (None, Some(FetchEnd::NotStored(reason))) => self.books.not_stored(reason),
                    (Some(Err(BodyError::TooSlow)), _) => self.books.ended(Fate::TooSlow),
                    _ => {}
                }
                self.source = match step_result {
                    Some(Ok(_)) => BodySource::Filling(Box::pin(step(incoming))),
                    _ => BodySource::Empty,
                };
                Poll::Ready(step_result.map(|bytes| bytes.map_err(io::Error::other)))
            }
            BodySource::Passing(body) => {
                let chunk = std::task::ready!(Pin::new(body.as_mut()).poll_next(context));
                Poll::Ready(chunk.map(|bytes| bytes.map_err(io::Error::other)))
            }
        }
    }
}

impl MessageBody for TrackedBody {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        self.size
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Bytes>>> {
        let this = self.get_mut();
        let is_broken = matches!(this.source, BodySource::Broken(_));
        let polled = match std::task::ready!(this.poll_source(context)) {
            Some(Err(error)) if !is_broken => {
                // The server drops what it has not yet written when a body fails: let it write that first.
                this.source = BodySource::Broken(error);
                if this.unframed {
                    this.busy.broken();
                }
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            polled => polled,
        };
        match &polled {
            Some(Ok(bytes)) => this.books.sent(bytes.len()),
            Some(Err(_)) => this.books.broke(),
            None => this.books.ended(Fate::Whole),
        }
        Poll::Ready(polled)
    }
}
