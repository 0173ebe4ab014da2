//! The last step: a response becomes what actix-web sends.

use std::rc::Rc;

use actix_web::{
    HttpMessage as _, HttpRequest, HttpResponse,
    body::{BodySize, BoxBody, MessageBody as _},
    http::{
        ConnectionType, Method, StatusCode, Version,
        header::{self, HeaderValue},
    },
};

use crate::{
    config::Config,
    headers::{allow_site, is_live_stream},
    observe::RouteSlot,
    proxy::{
        connection::{ActiveRequest, ZeroCopySource},
        request::framing::RequestFraming,
        response::{
            access_log::AccessLogEntry,
            client_response::{ClientResponse, ResponseBody},
            tracked_body::{SentBody, TrackedBody},
            transfer_log::TransferLog,
            zero_copy::{self, ZeroCopyPlaceholder},
        },
        tunnel::{established::Tunnel, placeholder::TunnelPlaceholder},
        worker::Worker,
    },
};

impl ClientResponse {
    /// Turns the response into what actix-web sends, and counts it.
    pub(crate) fn into_http(
        mut self,
        request: &HttpRequest,
        (worker, config, route): (&Worker, &Config, RouteSlot),
        mut entry: Option<AccessLogEntry>,
        active: ActiveRequest,
    ) -> HttpResponse {
        active.response_begins();
        worker
            .counters
            .answered(route, self.status, &self.cache_status);
        if let Some(entry) = &mut entry {
            entry.responded(self.status, self.cache_status, self.problem.take());
        }
        self.complete_headers(worker);
        let arrives = matches!(
            self.body,
            ResponseBody::Forwarded(..) | ResponseBody::Streamed(_)
        );
        if arrives && is_live_stream(&self.headers) {
            active.set_open_ended();
        }
        let closes = self.closes(request) || is_withheld(request, &active);
        let plan = BodyPlan {
            sent: self.sent_body(request.method()),
            version: request.version(),
        };
        let has_entry = entry.is_some();
        let log = TransferLog::new(&worker.counters, &self.cache_status, entry);
        let prepared = match &self.body {
            ResponseBody::Prepared(_, headers) => Some(Rc::clone(headers)),
            _ => None,
        };
        let (body, framing) = plan.body(self.body, (log, has_entry), active);
        if let ResponseFraming::Length(bytes) = framing {
            self.headers.insert(header::CONTENT_LENGTH, bytes.into());
        }
        let mut response = HttpResponse::with_body(self.status, body);
        match prepared {
            Some(headers) => {
                for (name, value) in headers.iter() {
                    response.headers_mut().append(name.clone(), value.clone());
                }
            }
            None => *response.headers_mut() = self.headers,
        }
        if config.cors {
            allow_site(response.headers_mut(), request.method(), request.headers());
        }
        if framing != ResponseFraming::Server {
            response.head_mut().no_chunking(true);
        }
        let connection_type = match framing {
            ResponseFraming::Upgrade => Some(ConnectionType::Upgrade),
            ResponseFraming::Close => Some(ConnectionType::Close),
            _ => closes.then_some(ConnectionType::Close),
        };
        if let Some(connection_type) = connection_type {
            response.head_mut().set_connection_type(connection_type);
        }
        response
    }

    /// True if the connection ends with this response, which has to say so. After a sized body that was not read, actix-web
    /// does that by itself.
    fn closes(&self, request: &HttpRequest) -> bool {
        let is_unread = request.chunked().unwrap_or(false);
        match self.body {
            ResponseBody::Generated(_) => is_unread,
            // What follows a request that is wrong may be wrong as well.
            ResponseBody::Sentence(_) => {
                let is_client_wrong = matches!(
                    self.status,
                    StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT
                );
                is_unread || is_client_wrong
            }
            _ => false,
        }
    }

    /// Writes X-Cache and Cache-Status, Via unless the body is the proxy's own, and the Content-Type of a sentence. Does
    /// nothing to a prepared response.
    fn complete_headers(&mut self, worker: &Worker) {
        match self.body {
            ResponseBody::Prepared(..) => return,
            ResponseBody::Sentence(_) => {
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                self.headers.insert(header::CONTENT_TYPE, text);
            }
            ResponseBody::Generated(_) => {}
            _ => worker.shared.via.complete(&mut self.headers),
        }
        self.cache_status.write(&mut self.headers);
    }

    fn sent_body(&self, method: &Method) -> SentBody {
        match self.status {
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => SentBody::Bodiless,
            _ if *method == Method::HEAD => SentBody::HeadersOnly,
            _ => SentBody::Whole,
        }
    }
}

/// True if the client expects a 100 before it sends its body, and has got none. Whether it will send the body is not known,
/// so the connection ends with the response.
fn is_withheld(request: &HttpRequest, active: &ActiveRequest) -> bool {
    request.head().expect() && !active.is_continued() && RequestFraming::of(request).has_content()
}

/// How the body of a response is sent and framed.
struct BodyPlan {
    sent: SentBody,
    version: Version,
}

/// What tells the client where a body ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ResponseFraming {
    /// What actix-http writes: Content-Length, or chunks.
    Server,
    /// Content-Length, which is among the headers already.
    Headers,
    /// Content-Length, which is to be added.
    Length(u64),
    /// The end of the connection, for an HTTP/1.0 client: it does not know chunks.
    Close,
    /// Nothing: another protocol follows.
    Upgrade,
}

impl BodyPlan {
    fn body(
        self,
        body: ResponseBody,
        (log, has_entry): (TransferLog, bool),
        active: ActiveRequest,
    ) -> (BoxBody, ResponseFraming) {
        let is_large = body.zero_copy_bytes() >= zero_copy::MIN_BYTES;
        let connection = match self.sent {
            SentBody::Whole if is_large => active.zero_copy_connection().cloned(),
            _ => None,
        };
        match (body, connection) {
            (ResponseBody::Prepared(bytes, _), Some(connection)) => {
                let source = ZeroCopySource::Bytes(bytes);
                let body = ZeroCopyPlaceholder::new(connection, source, log, active);
                (BoxBody::new(body), ResponseFraming::Headers)
            }
            (ResponseBody::Stored(slices), Some(connection)) => {
                let framing = ResponseFraming::Length(slices.left_bytes());
                let source = ZeroCopySource::Slices(slices);
                let body = ZeroCopyPlaceholder::new(connection, source, log, active);
                (BoxBody::new(body), framing)
            }
            (ResponseBody::Tunnel(accepted, idle), _) => {
                let tunnel = Tunnel::new(*accepted, idle, log.into_tunnel_log());
                let body = TunnelPlaceholder::new(tunnel, active);
                (BoxBody::new(body), ResponseFraming::Upgrade)
            }
            // Nothing is logged about it, and it is written at once: it needs no tracking.
            (ResponseBody::Prepared(bytes, _), _) if self.sent == SentBody::Whole && !has_entry => {
                drop(active);
                log.sent(bytes.len());
                (BoxBody::new(bytes), ResponseFraming::Server)
            }
            (body, _) => {
                let mut body = TrackedBody::new(body, self.sent, log, active);
                if body.size() == BodySize::Stream && self.version < Version::HTTP_11 {
                    body.end_with_connection();
                    return (BoxBody::new(body), ResponseFraming::Close);
                }
                (BoxBody::new(body), ResponseFraming::Server)
            }
        }
    }
}
