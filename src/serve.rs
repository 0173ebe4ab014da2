//! The start of a proxy: opens its sockets, prints the two lines of a start, and serves.

use std::{
    mem::ManuallyDrop,
    net::{SocketAddr, TcpListener},
    sync::{Arc, OnceLock},
};

use actix_web::rt::System;
use caching_proxy::{
    clock,
    config::{BindAddress, Config, ConfigLoader},
    control::{self, Control, ControlError, ControlSocket, TakeOver},
    dashboard::{Dashboard, MetricsListener, REQUEST_TIMEOUT},
    error::Chain,
    mask,
    origin::{self, Destination, OriginError},
    server::{self, Listeners, PlainRequests, Server, StartError},
    tls::ServerTls,
};
use rustls::ClientConfig;
use tokio::sync::mpsc;

use crate::{
    failure::Failure,
    file_limit,
    inherited::InheritedSockets,
    listen, logging,
    running::RunningProxy,
    signals::Signals,
    sockets::{GivenSockets, OpenedSockets},
    terminal::{print, say, start_queues},
};

/// A handle of the system, kept until the process ends. The threads of the workers may still be ending then. If one of
/// them dropped the last handle, that would wake a task of the system from a thread whose variables are gone, and abort.
static SYSTEM: OnceLock<System> = OnceLock::new();

/// A proxy that is about to start.
pub(crate) struct Startup {
    /// Reads the configuration again when the proxy reloads.
    pub(crate) loader: ConfigLoader,
    /// The configuration, as `loader` has read it.
    pub(crate) config: Arc<Config>,
    /// Commands to try, printed to stderr after the start. `None` for a normal start.
    pub(crate) hints: Option<String>,
    /// Sockets that take the place of those of --port and --tls-port.
    pub(crate) inherited: InheritedSockets,
    /// Whether to take over from the proxy that listens on the port.
    pub(crate) takes_over: bool,
}

impl Startup {
    /// Opens the sockets with `listen`, and serves until a signal ends the program.
    pub(crate) fn serve(
        mut self,
        listen: impl FnOnce(&mut GivenSockets) -> Result<Vec<TcpListener>, Failure>,
    ) -> Result<(), Failure> {
        let tls = tls_for(&self.config)?;
        file_limit::raise();
        file_limit::check(&self.config)?;
        let inherited = std::mem::take(&mut self.inherited);
        // Before the certificates: a local one is for the address of --bind.
        self.take_addresses(&inherited)?;
        let InheritedSockets { port, tls_port } = inherited;
        let server_tls = match &self.config.tls {
            Some(settings) => Some(ServerTls::load(settings, clock::now())?),
            None => None,
        };
        let mut taken_over = self.take_over()?;
        let found_none = self.takes_over && taken_over.is_none();
        let given = taken_over.as_mut().map(TakeOver::sockets);
        let mut given = GivenSockets::from(given.unwrap_or_default());
        let listeners = match port.is_empty() {
            true => listen(&mut given).map_err(|failure| match found_none {
                true => failure.of_take_over(),
                false => failure,
            })?,
            false => port,
        };
        self.settle(&listeners)?;
        let listeners = self.listeners((listeners, tls_port), server_tls, &mut given)?;
        let sockets = OpenedSockets::open(&self.config, listeners, &mut given)?;
        drop(given);
        if let Some(other) = &mut taken_over {
            let pid = other.instance().pid;
            // Errors that come later leave no proxy.
            server::check_tiers(&self.config, pid).map_err(StartError::from)?;
            other.begin().map_err(|_| Failure::NotHandedOver { pid })?;
            log::info!("took over from process {pid}");
        }
        // Before anything takes time: who finds the port finds the socket too, and a command waits until it is answered.
        let address = SocketAddr::new(self.config.bind.first(), self.config.port);
        let origin = self.config.origins.first().to_string();
        let control = match &mut taken_over {
            Some(other) => ControlSocket::taken(other, address, origin),
            None => ControlSocket::open(address, origin),
        };
        let (https_port, is_required) = (self.config.https_port(), self.config.serves_tls_only());
        let control = control.map(|socket| socket.with_https(https_port, is_required));
        start_queues();
        logging::log_panics();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::Start)?;
        // Never dropped: dropping waits for its threads, and a DNS lookup may hang in one.
        let system = ManuallyDrop::new(System::with_tokio_rt(|| runtime));
        system.block_on(async {
            SYSTEM.get_or_init(System::current);
            run(self, tls, (sockets, control), taken_over).await
        })
    }

    /// Gets the sockets of the proxy that listens on the port. `None` if none does, or it is not to be taken over.
    fn take_over(&self) -> Result<Option<TakeOver>, Failure> {
        let (address, port) = (self.config.bind.first(), self.config.port);
        match self.takes_over {
            true => control::take_over(SocketAddr::new(address, port))
                .map_err(|source| Failure::TakeOver { port, source }),
            false => Ok(None),
        }
    }

    /// Puts the addresses of inherited sockets in the place of --port, --bind and --tls-port.
    fn take_addresses(&mut self, inherited: &InheritedSockets) -> Result<(), Failure> {
        if let Some(address) = first_address(&inherited.port)? {
            self.loader.replace_address(address.ip(), address.port());
            log::info!("listening on sockets that the program was started with (LISTEN_FDS)");
        }
        if let Some(address) = first_address(&inherited.tls_port)? {
            let tls = self.config.tls.as_ref();
            if tls.is_none_or(|tls| tls.port.is_none()) {
                return Err(Failure::UnusedTlsSocket);
            }
            self.loader.replace_tls_port(address.port());
        }
        self.put_addresses();
        Ok(())
    }

    /// Puts the port and the address that were got in the place of those that were asked for, where that is any free port,
    /// or both families of `localhost`.
    fn settle(&mut self, listeners: &[TcpListener]) -> Result<(), Failure> {
        let Some(address) = first_address(listeners)? else {
            return Ok(());
        };
        if self.config.port == 0 {
            self.loader.set_free_port(address.port());
        }
        if self.config.bind == BindAddress::Localhost && listeners.len() == 1 {
            self.loader.set_localhost(address.ip());
        }
        self.put_addresses();
        Ok(())
    }

    fn put_addresses(&mut self) {
        let config = Arc::make_mut(&mut self.config);
        self.loader.put_addresses_into(config);
    }

    /// The sockets by what clients speak there. `listeners` are those of --port. `for_tls` are those of --tls-port; if there
    /// are none, they are opened where --tls-port is set.
    fn listeners(
        &mut self,
        (listeners, for_tls): (Vec<TcpListener>, Vec<TcpListener>),
        server_tls: Option<ServerTls>,
        given: &mut GivenSockets,
    ) -> Result<Listeners, Failure> {
        let Some(settings) = &self.config.tls else {
            return Ok(listeners.into());
        };
        let Some(port) = settings.port else {
            return Ok(Listeners {
                tls: listeners,
                server_tls,
                ..Listeners::default()
            });
        };
        let redirects = settings.redirect_http;
        let tls = match for_tls.is_empty() {
            true => listen::bind_all(self.config.bind, (listen::TLS_PORT, port), given)?,
            false => for_tls,
        };
        let tls_port = first_address(&tls)?.map_or(port, |address| address.port());
        if port == 0 {
            self.loader.set_free_tls_port(tls_port);
            self.put_addresses();
        }
        let plain_requests = match redirects {
            true => PlainRequests::Redirect { tls_port },
            false => PlainRequests::Serve,
        };
        Ok(Listeners {
            plain: listeners,
            tls,
            server_tls,
            plain_requests,
        })
    }
}

/// The address of the first socket. `None` if there are no sockets.
fn first_address(sockets: &[TcpListener]) -> Result<Option<SocketAddr>, Failure> {
    let address = sockets.first().map(TcpListener::local_addr).transpose();
    address.map_err(Failure::Start)
}

/// The TLS configuration for the origin. `None` for an http origin without --origin-ca: a bad certificate file is an error
/// even for an http origin, so that it does not surface only when the origin moves to https.
pub(crate) fn tls_for(config: &Config) -> Result<Option<Arc<ClientConfig>>, Failure> {
    let is_tls = config.origins.iter().any(|url| url.is_tls());
    Ok(match (is_tls, &config.origin_ca) {
        (true, _) if config.origin_settings.insecure => Some(origin::insecure_tls_config()?),
        (false, None) => None,
        (_, ca) => Some(origin::tls_config(ca.as_deref())?),
    })
}

/// Only a warning: the origin may be started after the proxy.
async fn warn_unless_reached(destination: Destination) {
    match origin::reach(destination).await {
        Ok(()) => {}
        // Nothing to wait for: the certificate or the settings have to change.
        Err(error @ OriginError::Tls { .. }) => log::warn!(
            "the origin cannot be used: {error}; until this is corrected, uncached requests get 502"
        ),
        Err(error) => log::warn!(
            "cannot reach the origin: {error}; until it can be reached, uncached requests get 502 or 504"
        ),
    }
}

/// A proxy without a control socket, in a read-only container for instance, still serves.
fn reachable(control: Result<Control, ControlError>) -> Result<Option<Control>, Failure> {
    match control {
        Ok(control) => Ok(Some(control)),
        Err(error) if error.is_distrust() => Err(Failure::Control(error)),
        Err(error) => {
            let why = Chain(&error);
            say(&format!(
                "warning: --clear-cache and other commands cannot reach this proxy: {why}"
            ));
            Ok(None)
        }
    }
}

/// Serves until a signal stops the proxy, or the server ends by itself.
async fn run(
    startup: Startup,
    tls: Option<Arc<ClientConfig>>,
    (sockets, control): (OpenedSockets, Result<ControlSocket, ControlError>),
    taken_over: Option<TakeOver>,
) -> Result<(), Failure> {
    let Startup {
        loader,
        config,
        hints,
        ..
    } = startup;
    mask::set_names(config.masked_parameters.iter().map(String::as_str));
    let signals = Signals::new().map_err(Failure::Start)?;
    let duplicates = sockets.duplicates().map_err(Failure::Start)?;
    let OpenedSockets {
        clients,
        dashboard,
        metrics,
    } = sockets;
    let server = Server::start(Arc::clone(&config), tls.clone(), clients)?;
    let reload = server.reload(loader);
    let apply_ends = |other: TakeOver| actix_web::rt::spawn(other.apply_ends(server.cache()));
    let process_before = taken_over.map(apply_ends);
    let (mut offered, mut taken) = (Arc::default(), mpsc::channel(1).1);
    let serve = |mut socket: ControlSocket| {
        (offered, taken) = socket.offer(duplicates)?;
        socket.serve(server.shared(), reload.clone())
    };
    let control = reachable(control.and_then(serve))?;
    let dashboard =
        dashboard.map(|socket| Dashboard::start(socket, server.shared(), REQUEST_TIMEOUT));
    let dashboard = dashboard.transpose().map_err(Failure::Start)?;
    let metrics =
        metrics.map(|socket| MetricsListener::start(socket, server.shared(), REQUEST_TIMEOUT));
    let metrics = metrics.transpose().map_err(Failure::Start)?;
    announce(&config, dashboard.as_ref(), hints.as_deref());
    if let Some(advice) = server.shared().tls.as_ref().and_then(ServerTls::advice) {
        say(&advice);
    }
    let reached = config.origins.iter().filter(|_| !config.offline);
    for origin in reached {
        let destination = config.destination(origin, tls.clone());
        actix_web::rt::spawn(warn_unless_reached(destination));
    }

    RunningProxy {
        server,
        signals,
        reload,
        control,
        dashboard,
        metrics,
        offered,
        taken,
        process_before,
    }
    .run()
    .await
}

/// Prints the two lines of a start to stdout, everything else to stderr.
fn announce(config: &Config, dashboard: Option<&Dashboard>, hints: Option<&str>) {
    print(&format!(
        "Proxy starting on port {}\nOrigin: {}\n",
        config.port,
        config.origins.first()
    ));
    let url = config.local_url();
    log::info!(
        "listening on {url} for {}; {}",
        config.origins.first(),
        config.in_short()
    );
    if let Some(url) = config.local_tls_url() {
        let plain = match config.serves_both_schemes() {
            true => "requests without TLS are served as well",
            false => "requests without TLS are redirected to it",
        };
        log::info!("listening on {url} too; {plain}");
    }
    if config.offline {
        log::info!(
            "offline: no requests go to an origin; what is cached is served whatever its age, the rest gets 504"
        );
    }
    if let Some(routes) = config.routes_in_short() {
        log::info!("routes: {routes}");
    }
    for route in config.routes.iter() {
        if let Some(path) = route.directory() {
            let place = &route.place;
            log::warn!(
                "the route for {path:?} ({place}) is for that path alone; {path}* is for all below it"
            );
        }
    }
    for origin in config.origins.iter() {
        if let Some(proxy) = config.destination(origin, None).proxy {
            log::info!("{origin} is reached through the proxy {proxy}");
        }
    }
    if config.origin_settings.insecure {
        log::warn!(
            "--insecure: certificates of origins are not checked, so anybody between may read and change what is sent"
        );
    }
    if let Some(address) = config.deployment.metrics {
        log::info!("metrics and health checks on http://{address}/metrics, /healthz and /readyz");
    }
    if let Some(dashboard) = dashboard {
        say(&format!("Dashboard: {}", dashboard.link()));
    }
    if let Some(hints) = hints {
        say(hints);
    }
}
