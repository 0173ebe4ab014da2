//! `/metrics`, `/healthz` and `/readyz` on an address of their own, which other machines may reach. Nothing else is served
//! there, and nothing is changed.

use std::{io, net::TcpListener, sync::Arc, time::Duration};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::{KeepAlive, StatusCode},
    middleware::from_fn,
    web::{self, Data},
};

use super::{
    MAX_CONNECTIONS,
    methods::get,
    metrics,
    time_limits::{self, ConnectionDeadline, RequestTimeout},
};
use crate::{
    clock,
    proxy::{Readiness, Shared},
};

/// The listener. It ends when this is dropped.
#[derive(Debug)]
pub struct MetricsListener(ServerHandle);

impl MetricsListener {
    /// Serves on a socket of [`super::listen`]. `timeout` is that for each part of a request, normally
    /// [`super::REQUEST_TIMEOUT`]. Must be called inside an actix `System`.
    ///
    /// # Errors
    /// The socket cannot be used.
    pub fn start(
        listener: TcpListener,
        shared: Arc<Shared>,
        timeout: Duration,
    ) -> io::Result<Self> {
        let shared = Data::from(shared);
        let limit = RequestTimeout(timeout);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(shared.clone())
                .app_data(Data::new(limit))
                .wrap(from_fn(time_limits::limit))
                .configure(routes)
        })
        .on_connect(move |connection, data| ConnectionDeadline::set(connection, data, limit))
        .workers(1)
        .worker_max_blocking_threads(1)
        .max_connections(MAX_CONNECTIONS)
        .keep_alive(KeepAlive::Disabled)
        .client_request_timeout(timeout)
        .client_disconnect_timeout(timeout)
        .shutdown_timeout(1)
        .disable_signals()
        .listen(listener)?
        .run();
        let handle = server.handle();
        actix_web::rt::spawn(async move {
            if let Err(error) = server.await {
                log::error!("the listener for metrics has ended: {error}");
            }
        });
        Ok(Self(handle))
    }
}

impl Drop for MetricsListener {
    fn drop(&mut self) {
        // The call alone stops the server. The future only waits until it has stopped.
        drop(self.0.stop(false));
    }
}

fn routes(config: &mut web::ServiceConfig) {
    config
        .service(get("/metrics", metrics::metrics))
        .service(get("/healthz", || async { sentence(StatusCode::OK, "ok") }))
        .service(get("/readyz", ready))
        .default_service(web::to(|| async {
            let served = "only /metrics, /healthz and /readyz are served here";
            sentence(StatusCode::NOT_FOUND, served)
        }));
}

async fn ready(shared: Data<Shared>) -> HttpResponse {
    match shared.readiness(clock::now()) {
        Readiness::Ready => sentence(StatusCode::OK, "ok"),
        Readiness::Offline => {
            sentence(StatusCode::OK, "ok, offline: only what is cached is served")
        }
        Readiness::Stopping => sentence(
            StatusCode::SERVICE_UNAVAILABLE,
            "the proxy is shutting down",
        ),
        Readiness::OriginFailing => sentence(
            StatusCode::SERVICE_UNAVAILABLE,
            "the origin could not be reached a short time ago",
        ),
    }
}

fn sentence(status: StatusCode, text: &str) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/plain; charset=utf-8")
        .insert_header(("cache-control", "no-store"))
        .body(format!("{text}\n"))
}
