//! The HTTP server: the cache actor, the workers with their default service, and a graceful stop.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod` | the server, put together from the others |
//! | `workers` | the threads, their start and their end |
//! | `accept` | how a worker gets connections |
//! | `clients` | the limit of clients, and the balance between workers |
//! | `client_stream` | a client's connection beneath HTTP |
//! | `listeners` | the sockets, for plain HTTP and for TLS |
//! | `opening` | what precedes the first request of a connection: `gate` with `proxy_protocol`, `handshake` |
//! | `redirect` | from plain HTTP to TLS |
//! | `client_service` | what the connections of one worker share |
//! | `connection` | a connection from its beginning to its end |
//! | `http1`, `http2` | its requests and responses |
//! | `request_head`, `own_names` | the head of a request, and the names that are this proxy's |
//! | `content`, `date`, `refused` | what responses in all versions of HTTP have in common |
//! | `buffers`, `deadline` | buffers and time limits of connections |
//! | `tiers` | the cache with its tiers beneath memory |
//! | `stop_signal` | tells connections that the server stops or hands over |

mod accept;
mod buffers;
mod client_service;
mod client_stream;
mod clients;
mod connection;
mod content;
mod date;
mod deadline;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gate;
mod handshake;
mod http1;
mod http2;
mod listeners;
mod opening;
mod own_names;
mod proxy_protocol;
mod redirect;
mod refused;
mod request_head;
mod stop_signal;
#[cfg(test)]
mod tests;
mod tiers;
#[cfg(test)]
mod tls_tests;
mod workers;

use std::{io, net::TcpListener, rc::Rc, sync::Arc, time::Duration};

use actix_service::{IntoServiceFactory as _, ServiceFactory as _};
use actix_web::{App, dev::AppConfig, web};
use socket2::SockRef;
use tokio::sync::{mpsc::UnboundedReceiver, watch};

use self::{
    accept::Accepted,
    buffers::SpareBuffers,
    client_service::{ClientService, Limits},
    gate::Gate,
    handshake::Handshakes,
    opening::Opening,
    stop_signal::StopSignal,
    tiers::Tiers,
    workers::Workers,
};
use crate::{
    cache::{Cache, PassedEnd, WorkerCacheMode},
    clock,
    config::{Config, ConfigLoader},
    origin::OriginConfig,
    proxy::{self, Shared, SharedOrigin, Worker},
    reload::{ActiveConfig, CacheState, Reload},
    tls::ServerTls,
};

/// How long a client may take for the head of a request.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How long a client may take for its first byte, until its TLS handshake may begin, and for the handshake: so long for each.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);
/// How long a connection may be idle between requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How many bytes for a client may wait in the system before they are sent. The system says that it takes more when about
/// half of them are left, so a client that reads this much shows that it reads.
const MAX_UNSENT_BYTES: u32 = 128 * 1024;
/// Most connections to one origin at a time, over all workers.
const MAX_ORIGIN_CONNECTIONS: usize = 1024;

pub use self::{
    listeners::{Listeners, PlainRequests},
    tiers::{TierError, check_tiers, redis_tls},
};

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be used, or a worker cannot be started.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The store on disk or the shared tier cannot be used.
    #[error(transparent)]
    Tier(#[from] TierError),
}

/// A running proxy.
pub struct Server {
    shared: Arc<Shared>,
    in_force: watch::Sender<ActiveConfig>,
    workers: Workers,
}

impl Server {
    /// Starts the workers, and the cache actor in one of them. Returns when all of them accept connections. Must be called
    /// within an actix `System`.
    ///
    /// # Errors
    /// A listener or a tier of the cache cannot be used, or a worker cannot be started.
    pub fn start(
        config: Arc<Config>,
        tls: Option<Arc<rustls::ClientConfig>>,
        listeners: impl Into<Listeners>,
    ) -> Result<Self, StartError> {
        Self::start_with(config, tls, listeners, WorkerCacheMode::On)
    }

    /// The same as [`Server::start`], with workers that look in the index of the cache, or always ask its actor.
    ///
    /// # Errors
    /// A listener or a tier of the cache cannot be used, or a worker cannot be started.
    pub fn start_with(
        config: Arc<Config>,
        tls: Option<Arc<rustls::ClientConfig>>,
        listeners: impl Into<Listeners>,
        worker_cache: WorkerCacheMode,
    ) -> Result<Self, StartError> {
        let limits = Limits {
            head: HEAD_LIMIT,
            idle: KEEP_ALIVE,
            stall: config.client_timeout,
            handshake: HANDSHAKE_LIMIT,
        };
        Self::start_with_limits(config, tls, listeners, (worker_cache, limits))
    }

    fn start_with_limits(
        config: Arc<Config>,
        tls: Option<Arc<rustls::ClientConfig>>,
        listeners: impl Into<Listeners>,
        (worker_cache, limits): (WorkerCacheMode, Limits),
    ) -> Result<Self, StartError> {
        let Listeners {
            plain,
            tls: for_tls,
            server_tls,
            plain_requests,
        } = listeners.into();
        let (shared, in_force) = share(&config, server_tls.as_ref())?;
        let origins = shared
            .origins
            .map(|shared| origin(&config, shared, tls.clone()));
        let all = Arc::clone(&shared);
        let (stop, stopping) = StopSignal::new();
        let signal = stopping.clone();
        let any_name = config.depends_on_host();
        let gate = Gate::new(&config.deployment, limits.head);
        let plain_listeners = plain.len();
        let make = move || {
            shared.cache.start();
            let worker = Worker::new(Arc::clone(&shared), &origins, worker_cache);
            let (refusals, counters) = (worker.refusal_log(), worker.counters());
            let app = App::new()
                .app_data(web::Data::new(worker))
                .default_service(web::to(proxy::handle));
            let app = app.into_factory().new_service(AppConfig::default());
            let (shared, stopping) = (Arc::clone(&shared), stopping.clone());
            let opening = Rc::new(Opening {
                gate: gate.clone(),
                plain_listeners,
                handshakes: server_tls
                    .clone()
                    .map(|tls| Handshakes::new(tls, limits.handshake)),
                plain_requests,
                counters,
            });
            async move {
                let failed = |()| io::Error::other("the application cannot be made");
                let service = Rc::new(ClientService {
                    app: app.await.map_err(failed)?,
                    limits,
                    refusals,
                    stopping,
                    shared,
                    any_name,
                    input_buffers: SpareBuffers::default(),
                    output_buffers: Rc::default(),
                });
                Ok(move |accepted: Accepted| {
                    connection::serve(Rc::clone(&opening), Rc::clone(&service), accepted)
                })
            }
        };
        let listeners: Vec<TcpListener> = plain.into_iter().chain(for_tls).collect();
        listeners.iter().for_each(set_client_options);
        let limits = (config.workers, config.max_clients);
        Ok(Self {
            shared: all,
            in_force,
            workers: Workers::start(limits, &listeners, (stop, signal), make)?,
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

    /// Reads the configuration again, as at the start.
    pub fn reload(&self, loader: ConfigLoader) -> Reload {
        let tls = self.shared.tls.clone();
        Reload::new(loader, self.in_force.clone(), self.cache(), tls)
    }

    /// Waits until a worker ends without having been stopped. Says how it has ended.
    pub async fn ended(&mut self) -> io::Error {
        self.workers.ended().await
    }

    /// Hands over to another process, which has the sockets: accepts no more connections, uses the cache no more, and closes
    /// the store on disk. Requests in progress go on. Returns what unsafe ones among them end in the cache
    /// ([`Cache::hand_over`]).
    pub async fn hand_over(&mut self) -> UnboundedReceiver<PassedEnd> {
        self.shared.set_stopping();
        self.in_force
            .send_modify(|active| active.cache_state = CacheState::HandedOver);
        self.workers.hand_over().await;
        self.shared.cache.hand_over().await
    }

    /// Waits until no connection is left after [`Server::hand_over`].
    pub async fn drained(&mut self) {
        self.workers.drained().await;
    }

    /// Stops the server: no new connections, and a limited time for the responses in progress. False if that has cut off
    /// unsafe requests, so that it is not known what they have changed.
    pub async fn stop(mut self) -> bool {
        self.shared.set_stopping();
        self.workers.stop().await;
        let is_known = self.shared.cache.knows_all_ends().await;
        // Fetches whose clients have left may still run in other threads than the actor's.
        self.shared.cache.end();
        drop(self.workers);
        if let Some(disk) = self.shared.cache.disk() {
            disk.close().await;
        }
        if let Some(tier) = self.shared.cache.shared() {
            tier.close().await;
        }
        is_known
    }
}

/// What all workers share, with the cache and its tiers, and with certificates that are read again when they change; and the
/// configuration in force, to be changed.
fn share(
    config: &Arc<Config>,
    server_tls: Option<&ServerTls>,
) -> Result<(Arc<Shared>, watch::Sender<ActiveConfig>), StartError> {
    let Tiers {
        cache,
        secret,
        events,
    } = Tiers::open(config)?;
    if let Some(events) = events {
        actix_rt::spawn(cache.clone().apply_ends(events, clock::now));
    }
    let (in_force, news) = watch::channel(ActiveConfig::new(Arc::clone(config)));
    let mut shared = Shared::new(config, news, cache, secret)?;
    if let Some(tls) = server_tls {
        tls.watch(clock::now)?;
        shared.tls = Some(tls.clone());
    }
    Ok((Arc::new(shared), in_force))
}

/// Sets the options of client connections, which a connection takes over from its listener. The server also works where
/// they cannot be set.
fn set_client_options(listener: &TcpListener) {
    let listener = SockRef::from(listener);
    // Small writes go out at once.
    if let Err(error) = listener.set_tcp_nodelay(true) {
        log::debug!("cannot send small writes to clients at once: {error}");
    }
    // Without a limit the system takes megabytes at once and then nothing until much of that is read: a client that reads
    // slowly would seem to read nothing.
    #[cfg(any(target_os = "android", target_os = "linux"))]
    if let Err(error) = listener.set_tcp_notsent_lowat(MAX_UNSENT_BYTES) {
        log::debug!("cannot limit the unsent data of clients: {error}");
    }
    #[cfg(not(any(target_os = "android", target_os = "linux")))]
    let _ = MAX_UNSENT_BYTES;
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
