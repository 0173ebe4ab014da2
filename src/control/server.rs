//! The server side: a running proxy that listens on its socket.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    os::unix::net::UnixListener,
    path::Path,
    sync::Arc,
    time::Duration,
};

use actix_web::{
    App, HttpServer,
    dev::{Server, ServerHandle},
    http::KeepAlive,
    web::Data,
};
use tokio::sync::mpsc;

use super::{
    ControlError, Instance,
    directories::SocketDirectories,
    hand_over::{self, HandOver, HandOverOffer},
    lock::InstanceLock,
    routes,
};
use crate::{proxy::Shared, reload::Reload};

/// Connections at a time. A user has one, and perhaps some from cron.
const MAX_CONNECTIONS: usize = 64;
/// Timeout for the headers of a request, and for the connection to close after the response.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The control socket of this process. Socket and lock file are removed when this is stopped or dropped.
#[derive(Debug)]
pub struct Control {
    handle: ServerHandle,
    _lock: InstanceLock,
}

impl Control {
    /// Stops listening, and finishes the requests in progress.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The call alone stops the server. The future only waits until it has stopped.
        drop(self.handle.stop(false));
    }
}

/// The socket of this process, before anything is answered there. Commands that connect wait.
#[derive(Debug)]
pub struct ControlSocket {
    listener: UnixListener,
    instance: Instance,
    lock: InstanceLock,
    offer: Option<HandOverOffer>,
}

impl ControlSocket {
    /// Takes the name of this process, which listens on an address and forwards to an origin, and listens on its socket.
    ///
    /// # Errors
    /// There is no directory that only this user can access, or the socket cannot be created in it.
    pub fn open(address: SocketAddr, origin: String) -> Result<Self, ControlError> {
        Self::open_in(&SocketDirectories::of_this_process(), address, origin)
    }

    pub(super) fn open_in(
        surroundings: &SocketDirectories,
        address: SocketAddr,
        origin: String,
    ) -> Result<Self, ControlError> {
        let instance = Instance {
            pid: std::process::id(),
            port: address.port(),
            bind: address.ip(),
            https_port: None,
            requires_https: false,
            origin,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: chrono::Local::now().to_rfc3339(),
        };
        let mut lock = InstanceLock::take(&surroundings.make()?, address.port())?;
        lock.describe(&instance)?;
        Ok(Self {
            listener: lock.listen()?,
            instance,
            lock,
            offer: None,
        })
    }

    /// Lets a process take over these sockets, as long as they are there. The receiver gets one that does.
    pub fn offer(&mut self, sockets: &Arc<Vec<TcpListener>>) -> mpsc::Receiver<HandOver> {
        let dir = self.lock.socket().parent().unwrap_or(Path::new("/"));
        let (offer, taken) = hand_over::offer(sockets, dir.to_owned());
        self.offer = Some(offer);
        taken
    }

    /// Tells commands which port is for HTTPS (`None`: none), and whether requests without it are not served.
    #[must_use]
    pub fn with_https(mut self, port: Option<u16>, is_required: bool) -> Self {
        self.instance.https_port = port;
        self.instance.requires_https = is_required;
        self
    }

    /// Answers the commands of the user. Must be called inside an actix `System`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn serve(self, shared: Arc<Shared>, reload: Reload) -> Result<Control, ControlError> {
        let Self {
            listener,
            instance,
            lock,
            offer,
        } = self;
        let server = serve(listener, instance, (shared, reload), offer).map_err(|source| {
            let path = lock.socket().to_owned();
            ControlError::Listen { path, source }
        })?;
        let handle = server.handle();
        actix_web::rt::spawn(async move {
            if let Err(error) = server.await {
                log::error!(
                    "the control socket has failed; commands no longer reach this proxy: {error}"
                );
            }
        });
        Ok(Control {
            handle,
            _lock: lock,
        })
    }
}

fn serve(
    listener: UnixListener,
    instance: Instance,
    (shared, reload): (Arc<Shared>, Reload),
    offer: Option<HandOverOffer>,
) -> io::Result<Server> {
    let app = move || {
        App::new()
            .app_data(Data::new(instance.clone()))
            .app_data(Data::from(Arc::clone(&shared)))
            .app_data(Data::new(reload.clone()))
            .app_data(Data::new(offer.clone()))
            .configure(routes::configure)
    };
    let server = HttpServer::new(app)
        .workers(1)
        .worker_max_blocking_threads(1)
        .max_connections(MAX_CONNECTIONS)
        .keep_alive(KeepAlive::Disabled)
        .client_request_timeout(CONNECTION_TIMEOUT)
        .client_disconnect_timeout(CONNECTION_TIMEOUT)
        .shutdown_timeout(1)
        .disable_signals()
        .listen_uds(listener)?
        .run();
    Ok(server)
}
