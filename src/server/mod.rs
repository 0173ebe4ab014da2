//! The HTTP server: the cache actor, the workers with their default service, and a graceful stop.

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod http1;
mod own_names;
mod proxy_protocol;
mod request_head;
#[cfg(test)]
mod tests;
mod thread_worker;

use std::{io, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use actix_rt::{net::TcpStream, task::JoinHandle};
use actix_server::{ServerBuilder, ServerHandle};
use actix_service::{
    IntoServiceFactory as _, ServiceFactory as _, fn_factory, fn_service, map_config,
};
use actix_web::{App, dev::AppConfig, web};
#[cfg(any(target_os = "android", target_os = "linux"))]
use socket2::SockRef;
use tokio::sync::watch;

use self::{
    gate::Gate,
    http1::{Http1Service, Limits},
    thread_worker::worker_of_thread,
};
use crate::{
    cache::{Cache, WorkerCacheMode},
    config::{Config, Flags, LoadConfig},
    origin::OriginConfig,
    proxy::{self, Shared, SharedOrigin, Worker},
    reload::{ActiveConfig, Reload},
};

/// How long a client may take for the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may be idle between requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How many bytes for a client may wait in the system before they are sent. The system says that it takes more when about
/// half of them are left, so a client that reads this much shows that it reads.
const MAX_UNSENT_BYTES: u32 = 128 * 1024;
/// How long a stop waits for responses in progress, in seconds.
const STOP_LIMIT_SECONDS: u64 = 10;
/// Most client connections at a time, over all workers.
const MAX_CLIENTS: usize = 8192;
/// Most connections to one origin at a time, over all workers.
const MAX_ORIGIN_CONNECTIONS: usize = 1024;

/// A running proxy.
pub struct Server {
    shared: Arc<Shared>,
    in_force: watch::Sender<ActiveConfig>,
    handle: ServerHandle,
    running: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Starts the workers, and the cache actor in one of them. Must be called within an actix `System`.
    ///
    /// # Errors
    /// A listener cannot be used.
    pub fn start(
        config: Arc<Config>,
        tls: Option<Arc<rustls::ClientConfig>>,
        listeners: Vec<TcpListener>,
    ) -> io::Result<Self> {
        Self::start_with(config, tls, listeners, WorkerCacheMode::On)
    }

    /// The same as [`Server::start`], with workers that look in the index of the cache, or always ask its actor.
    ///
    /// # Errors
    /// A listener cannot be used.
    pub fn start_with(
        config: Arc<Config>,
        tls: Option<Arc<rustls::ClientConfig>>,
        listeners: Vec<TcpListener>,
        worker_cache: WorkerCacheMode,
    ) -> io::Result<Self> {
        let limits = Limits {
            head: HEAD_LIMIT,
            idle: KEEP_ALIVE,
            stall: config.client_timeout,
        };
        Self::start_with_limits(config, tls, listeners, (worker_cache, limits))
    }

    fn start_with_limits(
        config: Arc<Config>,
        tls: Option<Arc<rustls::ClientConfig>>,
        listeners: Vec<TcpListener>,
        (worker_cache, limits): (WorkerCacheMode, Limits),
    ) -> io::Result<Self> {
        let cache = Cache::new(config.max_memory_bytes, config.max_object_bytes);
        let (in_force, news) = watch::channel(ActiveConfig::new(Arc::clone(&config)));
        let shared = Arc::new(Shared::new(&config, news, cache)?);
        let origins = shared
            .origins
            .map(|shared| origin(&config, shared, tls.clone()));
        let all = Arc::clone(&shared);
        let mut builder = worker_threads(config.workers);
        let stopping = builder.graceful_shutdown_signal();
        let any_name = config.depends_on_host();
        let gate = Gate::new(&config.deployment, limits.head);
        let service = move || {
            shared.cache.start();
            let worker = worker_of_thread(&shared, || {
                Worker::new(Arc::clone(&shared), &origins, worker_cache)
            });
            let refusals = worker.refusal_log();
            let app = App::new()
                .app_data(worker)
                .default_service(web::to(proxy::handle));
            let app = map_config(app.into_factory(), |()| AppConfig::default());
            let (shared, stopping, gate) = (Arc::clone(&shared), stopping.clone(), gate.clone());
            fn_factory(move || {
                let app = app.new_service(());
                let service = (Arc::clone(&shared), refusals.clone(), stopping.clone());
                let gate = gate.clone();
                async move {
                    let (shared, refusals, stopping) = service;
                    let service = Rc::new(Http1Service {
                        app: app.await?,
                        limits,
                        refusals,
                        stopping,
                        shared,
                        any_name,
                    });
                    Ok::<_, ()>(fn_service(move |mut stream: TcpStream| {
                        let (gate, service) = (gate.clone(), Rc::clone(&service));
                        async move {
                            let stopped = service.stopping.notified();
                            let (peer, read) = gate.admit(&mut stream, stopped).await?;
                            service.serve(stream, peer, read).await
                        }
                    }))
                }
            })
        };
        for listener in listeners {
            limit_unsent(&listener);
            builder = builder.listen("caching-proxy", listener, service.clone())?;
        }
        let server = builder.run();
        Ok(Self {
            shared: all,
            in_force,
            handle: server.handle(),
            running: actix_rt::spawn(server),
        })
    }

    /// The cache of this proxy.
    pub fn cache(&self) -> Cache {
        self.shared.cache.clone()
    }

    /// What all workers share: counters, configuration and the cache.
    pub fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.shared)
    }

    /// Reads the configuration again, with the same flags as at the start.
    pub fn reload(&self, flags: Flags, load: LoadConfig) -> Reload {
        Reload::new(flags, load, self.in_force.clone(), self.cache())
    }

    /// Waits until the server ends. Must not be called again after it has returned.
    ///
    /// # Errors
    /// The workers could not be started, or the server panicked.
    pub async fn ended(&mut self) -> io::Result<()> {
        (&mut self.running).await.map_err(io::Error::other)?
    }

    /// Stops the server: no new connections, and a limited time for the responses in progress.
    pub async fn stop(self) {
        self.shared.set_stopping();
        self.handle.stop(true).await;
    }
}

/// A server with this number of workers.
fn worker_threads(workers: usize) -> ServerBuilder {
    actix_server::Server::build()
        .workers(workers)
        .max_concurrent_connections((MAX_CLIENTS / workers).max(16))
        .shutdown_timeout(STOP_LIMIT_SECONDS)
        .disable_signals()
}

/// Limits the unsent data of the connections that `listener` accepts, where the system can. Without a limit it takes
/// megabytes at once and then nothing until much of that is read: a client that reads slowly would seem to read nothing.
fn limit_unsent(listener: &TcpListener) {
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if let Err(error) = SockRef::from(listener).set_tcp_notsent_lowat(MAX_UNSENT_BYTES) {
        log::debug!("cannot limit the unsent data of clients: {error}");
    }
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = (listener, MAX_UNSENT_BYTES);
}

fn origin(
    config: &Config,
    shared: &SharedOrigin,
    tls: Option<Arc<rustls::ClientConfig>>,
) -> OriginConfig {
    let max_connections = (MAX_ORIGIN_CONNECTIONS / config.workers).max(16);
    let destination = config.destination(&shared.url, tls);
    OriginConfig {
        first_byte_timeout: config.origin_settings.first_byte_timeout,
        pace: Arc::clone(&shared.pace),
        ..OriginConfig::new(destination, config.timeout, max_connections)
    }
}
