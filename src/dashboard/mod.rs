//! The dashboard: a page that shows the proxy at work, and metrics for Prometheus, on an address of its own.
//!
//! | file | content |
//! |---|---|
//! | `sampler.rs` | once a second: the counters, and the requests since |
//! | `events.rs` | the same, streamed to the page (server-sent events) |
//! | `metrics.rs` | `/metrics`, in the text form of OpenMetrics |
//! | `tier_metrics.rs`, `samples.rs` | its part about the tiers beneath memory; the samples of one metric |
//! | `metrics_listener.rs` | metrics and health checks on another address |
//! | `entries.rs` | the list of what is stored; purge and clear |
//! | `guard.rs` | access control: Host, Origin, token |
//! | `methods.rs` | which methods each path takes |
//! | `time_limits.rs` | timeouts of requests and connections |
//! | `page/` | the page itself |
//!
//! It listens on loopback only, and checks the Host header, so that no page of another site reaches it through DNS
//! rebinding. All but `/healthz`, `/metrics` and the files of the page needs the token that the proxy prints when it
//! starts, which the page sends in a header. Nothing of this can be reached through the proxy's own port.

mod entries;
mod events;
mod guard;
mod methods;
mod metrics;
mod metrics_listener;
mod sampler;
mod samples;
mod tier_metrics;
mod time_limits;

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App, HttpResponse, HttpServer,
    dev::ServerHandle,
    http::{
        KeepAlive,
        header::{self, HeaderValue},
    },
    middleware::from_fn,
    web::{self, Data},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::JoinHandle;

pub use self::metrics_listener::MetricsListener;
use self::{
    events::EventStreams,
    guard::Guard,
    methods::get,
    sampler::Sampler,
    time_limits::{ConnectionDeadline, RequestTimeout},
};
use crate::proxy::Shared;

/// Connections at a time, including event streams.
const MAX_CONNECTIONS: usize = 64;
/// The timeout for each part of a request: until its headers arrived, from there until the headers of the response, and
/// for the connection to close after that.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 16 * 1024;
const BACKLOG: i32 = 64;

/// The dashboard of a running proxy. It ends when this is dropped.
#[derive(Debug)]
pub struct Dashboard {
    address: SocketAddr,
    token: String,
    handle: ServerHandle,
    collecting: JoinHandle<()>,
}

impl Dashboard {
    /// Serves on a socket of [`listen`]. `timeout` is that for each part of a request, normally [`REQUEST_TIMEOUT`]. Must be
    /// called inside an actix `System`.
    ///
    /// # Errors
    /// The socket cannot be used, or the system has no random bytes for a token.
    pub fn start(
        listener: TcpListener,
        shared: Arc<Shared>,
        timeout: Duration,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let guard = Guard::new(address)?;
        let token = guard.token().to_owned();
        let guard = Data::new(guard);
        let (sampler, ticks) = Sampler::new(Arc::clone(&shared));
        let shared = Data::from(shared);
        let audience = Data::new(EventStreams::new(ticks));
        let limit = RequestTimeout(timeout);
        let server = HttpServer::new(move || {
            App::new()
                .app_data(guard.clone())
                .app_data(shared.clone())
                .app_data(audience.clone())
                .app_data(Data::new(limit))
                .app_data(web::JsonConfig::default().limit(MAX_BODY_BYTES))
                .wrap(from_fn(guard::check))
                .wrap(from_fn(time_limits::limit))
                .configure(routes)
        })
        .on_connect(move |connection, data| ConnectionDeadline::set(connection, data, limit))
        .workers(1)
        .worker_max_blocking_threads(1)
        .max_connections(MAX_CONNECTIONS)
        // The timeouts cover one request. A second one on the same connection would have none for its headers.
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
                log::error!("the dashboard has ended: {error}");
            }
        });
        let collecting = actix_web::rt::spawn(sampler.run());
        Ok(Self {
            address,
            token,
            handle,
            collecting,
        })
    }

    /// The link that opens the page. Whoever has it sees what the proxy does, and can clear its cache.
    pub fn link(&self) -> String {
        format!("http://{}/#token={}", self.address, self.token)
    }
}

impl Drop for Dashboard {
    fn drop(&mut self) {
        self.collecting.abort();
        // The call alone stops the server. The future only waits until it has stopped.
        drop(self.handle.stop(false));
    }
}

/// Listens with address reuse, so that a restart does not fail because of connections that are still closing.
///
/// # Errors
/// The address cannot be listened on.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn routes(config: &mut web::ServiceConfig) {
    const PAGE: &str = include_str!("page/index.html");
    const SCRIPT: &str = include_str!("page/app.js");
    const STYLE: &str = include_str!("page/style.css");
    let file = |path: &str, kind: &'static str, text: &'static str| {
        get(path, move || async move {
            let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
            HttpResponse::Ok().insert_header(kind).body(text)
        })
    };
    config
        .service(file("/", "text/html; charset=utf-8", PAGE))
        .service(file("/app.js", "text/javascript; charset=utf-8", SCRIPT))
        .service(file("/style.css", "text/css; charset=utf-8", STYLE))
        .service(file("/healthz", "text/plain; charset=utf-8", "ok\n"))
        .service(get("/metrics", metrics::metrics))
        .service(get("/events", events::events))
        .configure(entries::routes);
}
