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
    hand_over::{self, HandOver, HandOverOffer, OfferedFiles},
    lock::InstanceLock,
    routes,
    take_over::TakeOver,
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
    /// `None` once it was left to another process.
    lock: Option<InstanceLock>,
}

impl Control {
    /// Stops listening, and finishes the requests in progress.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }

    /// Does the same, and leaves the socket to the process that takes over. Commands that connect wait for it.
    pub async fn hand_over(mut self) {
        self.handle.stop(true).await;
        if let Some(lock) = self.lock.take() {
            lock.leave();
        }
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
        let instance = describe(address, origin);
        let mut lock = InstanceLock::take(&surroundings.make()?, address.port())?;
        lock.describe(&instance)?;
        Ok(Self {
            listener: lock.listen()?,
            instance,
            lock,
            offer: None,
        })
    }

    /// Takes the socket of the proxy that this process takes over from. One that was removed is created again.
    ///
    /// # Errors
    /// The same.
    pub fn taken(
        other: &mut TakeOver,
        address: SocketAddr,
        origin: String,
    ) -> Result<Self, ControlError> {
        let Some((listener, mut lock)) = other.control() else {
            return Self::open(address, origin);
        };
        let instance = describe(address, origin);
        lock.describe(&instance)?;
        Ok(Self {
            listener,
            instance,
            lock,
            offer: None,
        })
    }

    /// Lets a process take over these sockets and this one, as long as the first value is there. The receiver gets a process
    /// that does.
    ///
    /// # Errors
    /// There are too many open files.
    pub fn offer(
        &mut self,
        sockets: Vec<TcpListener>,
    ) -> Result<(Arc<OfferedFiles>, mpsc::Receiver<HandOver>), ControlError> {
        let dir = self.lock.socket().parent().unwrap_or(Path::new("/"));
        let own = self.listener.try_clone();
        let own = own.and_then(|listener| Ok((listener, self.lock.duplicate()?)));
        let (listener, lock) = own.map_err(|source| ControlError::Listen {
            path: self.lock.socket().to_owned(),
            source,
        })?;
        let files = Arc::new(OfferedFiles::new(sockets, listener, lock));
        let (offer, taken) = hand_over::offer(&files, dir.to_owned());
        self.offer = Some(offer);
        Ok((files, taken))
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
            lock: Some(lock),
        })
    }
}

/// This process as it describes itself.
fn describe(address: SocketAddr, origin: String) -> Instance {
    Instance {
        pid: std::process::id(),
        port: address.port(),
        bind: address.ip(),
        https_port: None,
        requires_https: false,
        origin,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: chrono::Local::now().to_rfc3339(),
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
