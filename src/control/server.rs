//! The side of the running proxy.

use std::{io, os::unix::net::UnixListener, sync::Arc, time::Duration};

use actix_web::{
    App, HttpServer,
    dev::{Server, ServerHandle},
    http::KeepAlive,
    web::Data,
};

use super::{ControlError, Instance, directories::SocketDirectories, lock::InstanceLock, routes};
use crate::{proxy::Shared, reload::Reload};

/// Of commands at a time; a user has one, perhaps some from cron.
const MAX_CONNECTIONS: usize = 64;
/// For the head of a command to arrive, and for the connection to close after the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// This process being reachable. Socket and lock are removed when it is stopped or dropped.
#[derive(Debug)]
pub struct Control {
    handle: ServerHandle,
    _claim: InstanceLock,
}

impl Control {
    /// Answers no more commands.
    pub async fn stop(self) {
        self.handle.stop(true).await;
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The order to stop is sent by the call; only its completion would have to be waited for.
        drop(self.handle.stop(false));
    }
}

/// Makes this process reachable by the commands of its user. To be called inside an actix `System`.
///
/// # Errors
/// When there is no directory that only this user can reach, or the socket cannot be made in it.
pub fn listen(shared: Arc<Shared>, reload: Reload) -> Result<Control, ControlError> {
    listen_in(&SocketDirectories::of_this_process(), shared, reload)
}

pub(super) fn listen_in(
    surroundings: &SocketDirectories,
    shared: Arc<Shared>,
    reload: Reload,
) -> Result<Control, ControlError> {
    let config = shared.config();
    let instance = Instance {
        pid: std::process::id(),
        port: config.port,
        bind: config.bind,
        origin: config.origin.to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started: chrono::Local::now().to_rfc3339(),
    };
    let mut claim = InstanceLock::take(&surroundings.make()?, config.port)?;
    claim.describe(&instance)?;
    let server = serve(claim.listen()?, instance, shared, reload).map_err(|source| {
        ControlError::Listen {
            path: claim.socket().to_owned(),
            source,
        }
    })?;
    let handle = server.handle();
    actix_web::rt::spawn(async move {
        if let Err(error) = server.await {
            log::error!("--clear-cache does not reach this proxy: {error}");
        }
    });
    Ok(Control {
        handle,
        _claim: claim,
    })
}

fn serve(
    listener: UnixListener,
    instance: Instance,
    shared: Arc<Shared>,
    reload: Reload,
) -> io::Result<Server> {
    let app = move || {
        App::new()
            .app_data(Data::new(instance.clone()))
            .app_data(Data::from(Arc::clone(&shared)))
            .app_data(Data::new(reload.clone()))
            .configure(routes::configure)
    };
    let server = HttpServer::new(app)
        .workers(1)
        .worker_max_blocking_threads(1)
        .max_connections(MAX_CONNECTIONS)
        .keep_alive(KeepAlive::Disabled)
        .client_request_timeout(PATIENCE)
        .client_disconnect_timeout(PATIENCE)
        .shutdown_timeout(1)
        .disable_signals()
        .listen_uds(listener)?
        .run();
    Ok(server)
}
