//! The last step: a response becomes what actix-web sends.

use std::rc::Rc;

use actix_web::{
    HttpRequest, HttpResponse,
    body::BoxBody,
    http::{
        ConnectionType, Method, StatusCode,
        header::{self, HeaderValue},
    },
};

use crate::{
    config::Config,
    headers::{allow_site, is_live_stream},
    observe::RouteSlot,
    proxy::{
        connection::Connection,
        response::{
            access_log::AccessLogEntry,
            client_response::{ClientResponse, ResponseBody, SentHeaders},
            tracked_body::{SentBody, TrackedBody},
            transfer_log::TransferLog,
        },
        tunnel::established::Tunnel,
        worker::Worker,
    },
};

impl ClientResponse {
    /// Turns the response into what actix-web sends, and counts it.
    pub(crate) fn into_http(
        mut self,
        request: &HttpRequest,
        (worker, config, route): (&Worker, &Config, RouteSlot),
        mut entry: Option<Box<AccessLogEntry>>,
        connection: &Connection,
    ) -> HttpResponse {
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
            connection.set_open_ended();
        }
        let connection_type = match self.body {
            ResponseBody::Tunnel(..) => Some(ConnectionType::Upgrade),
            _ if self.closes() => Some(ConnectionType::Close),
            _ => None,
        };
        let sent = self.sent_body(request.method());
        let log = TransferLog::new(&worker.counters, &self.cache_status, entry);
        if config.cors {
            allow_site(&mut self.headers, request.method(), request.headers());
        }
        connection.set_headers(SentHeaders {
            prepared: match &self.body {
                ResponseBody::Prepared(_, headers) => Some(Rc::clone(headers)),
                _ => None,
            },
            own: self.headers,
        });
        let body = match self.body {
            ResponseBody::Tunnel(accepted, idle) => {
                connection.start_tunnel(Tunnel::new(*accepted, idle, log.into_tunnel_log()));
                BoxBody::new(())
            }
            body => BoxBody::new(TrackedBody::new(body, sent, log)),
        };
        let mut response = HttpResponse::with_body(self.status, body);
        if let Some(connection_type) = connection_type {
            response.head_mut().set_connection_type(connection_type);
        }
        response
    }

    /// True if the connection ends with this response: what follows a request that is wrong may be wrong as well.
    fn closes(&self) -> bool {
        matches!(self.body, ResponseBody::Sentence(_))
            && matches!(
                self.status,
                StatusCode::BAD_REQUEST | StatusCode::REQUEST_TIMEOUT
            )
    }

    /// Writes X-Cache and Cache-Status, Via unless the body is the proxy's own, and the Content-Type of a sentence. Does
    /// nothing to a prepared response.
    fn complete_headers(&mut self, worker: &Worker) {
        match self.body {
            ResponseBody::Prepared(..) => return,
            ResponseBody::Sentence(_) => {
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                self.headers.insert(&header::CONTENT_TYPE, &text);
            }
            ResponseBody::Generated(_) => {}
            _ => worker.shared.via.complete(&mut self.headers),
        }
        (self.cache_status).write(&mut self.headers, &worker.last_member);
    }

    fn sent_body(&self, method: &Method) -> SentBody {
        match self.status {
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => SentBody::Bodiless,
            _ if *method == Method::HEAD => SentBody::HeadersOnly,
            _ => SentBody::Whole,
        }
    }
}
