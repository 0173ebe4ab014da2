//! The program: parses the command line, then serves, clears caches or runs a command.
//!
//! | file | what |
//! |---|---|
//! | `clear.rs` | `--clear-cache` |
//! | `commands/` | the other commands, one file each |
//! | `failure.rs` | everything that ends the program with an error, and its exit code |
//! | `file_limit.rs` | the limit of open files |
//! | `logging/` | the log formats |
//! | `signals.rs` | SIGINT, SIGTERM and SIGHUP |
//! | `terminal.rs` | printing to stdout and stderr |

mod clear;
mod commands;
mod failure;
mod file_limit;
mod logging;
mod signals;
mod terminal;

use std::{
    io::{self, ErrorKind},
    mem::ManuallyDrop,
    net::{SocketAddr, TcpListener},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::rt::System;
use caching_proxy::{
    cli::Cli,
    config::{Config, Flags, LogFormat},
    control::{self, Control, ControlError},
    dashboard::{Dashboard, REQUEST_TIMEOUT},
    error::Chain,
    observe::Saved,
    origin::{self, OriginUrl},
    server::Server,
};
use clap::Parser;
use rustls::ClientConfig;
use socket2::{Domain, Protocol, Socket, Type};

use self::{
    failure::Failure,
    signals::{Asked, Signals},
    terminal::{counted, print, say, say_error},
};

/// The cache mixes many small long-lived allocations with short-lived ones; mimalloc fragments less than most allocators.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Signals this close together count as one: some parents signal both the child and its process group.
const SAME_SIGNAL: Duration = Duration::from_millis(500);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;
/// RFC 6335, 6: the ports before are the system's, and on many only administrators may listen on them.
const FIRST_OPEN_PORT: u16 = 1024;
/// Ports after one in use that are tried, to propose a free one.
const PORTS_TRIED: u16 = 20;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version arrive here too, with exit code 0.
        Err(error) => {
            commands::tell_misuse(&error);
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    let done = match cli.command {
        Some(command) => {
            logging::start(LogFormat::Text);
            commands::run(command)
        }
        None if cli.clear_cache => {
            logging::start(LogFormat::Text);
            clear::clear_caches(&cli.settings.flags())
        }
        None => serve(cli.settings.flags()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            say_error(&failure);
            failure.exit_code()
        }
    }
}

fn serve(flags: Flags) -> Result<(), Failure> {
    let config = Arc::new(Config::load(&flags, &|variable| {
        std::env::var_os(variable)
    })?);
    logging::start(config.log_format);
    let tls = tls_for(&config)?;
    file_limit::raise();
    file_limit::check(config.workers)?;
    let listener = bind(SocketAddr::new(config.bind, config.port))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::Start)?;
    // Never dropped: dropping waits for its threads, and a DNS lookup may hang in one.
    let system = ManuallyDrop::new(System::with_tokio_rt(|| runtime));
    system.block_on(run(flags, config, tls, listener))
}

/// The TLS configuration for the origin. `None` for an http origin without --origin-ca: a bad certificate file is an error
/// even for an http origin, so that it does not surface only when the origin moves to https.
fn tls_for(config: &Config) -> Result<Option<Arc<ClientConfig>>, Failure> {
    Ok(match (config.origin.is_tls(), &config.origin_ca) {
        (false, None) => None,
        (_, ca) => Some(origin::tls_config(ca.as_deref())?),
    })
}

/// Only a warning: the origin may be started after the proxy.
async fn warn_unless_reached(url: OriginUrl, tls: Option<Arc<ClientConfig>>) {
    if let Err(error) = origin::reach(url, tls).await {
        log::warn!(
            "cannot reach the origin: {error}; uncached requests will get 502 or 504 until it is up"
        );
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

async fn run(
    flags: Flags,
    config: Arc<Config>,
    tls: Option<Arc<ClientConfig>>,
    listener: TcpListener,
) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(Failure::Start)?;
    let mut server =
        Server::start(Arc::clone(&config), tls.clone(), listener).map_err(Failure::Start)?;
    // The workers start when the server is first polled; only then does the proxy serve.
    tokio::select! {
        biased;
        ended = server.ended() => return Err(Failure::ended(ended)),
        () = tokio::task::yield_now() => {}
    }
    let reload = server.reload(flags);
    let control = reachable(control::listen(server.shared(), reload.clone()))?;
    let dashboard = match config.dashboard {
        Some(address) => Some(
            Dashboard::start(address, server.shared(), REQUEST_TIMEOUT)
                .map_err(|cause| Failure::Dashboard { address, cause })?,
        ),
        None => None,
    };
    print(&format!(
        "Proxy starting on port {}\nOrigin: {}\n",
        config.port, config.origin
    ));
    actix_web::rt::spawn(warn_unless_reached(config.origin.clone(), tls));
    if let Some(dashboard) = &dashboard {
        say(&format!("Dashboard: {}", dashboard.link()));
    }

    loop {
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::End => break,
                // The reload logs its own result.
                Asked::Reload => drop(reload.run().await),
            },
            ended = server.ended() => return Err(Failure::ended(ended)),
        }
    }
    log::info!("shutting down: finishing requests in progress (Ctrl-C again to quit now)");
    let shared = server.shared();
    let stopped = async {
        server.stop().await;
        // Last, so that the cache can be cleared as long as anything is served from it.
        if let Some(control) = control {
            control.stop().await;
        }
    };
    tokio::select! {
        () = stopped => {
            if let Some(sentence) = Saved::of(&shared.observer.totals()).sentence() {
                log::info!("{sentence}");
            }
            Ok(())
        }
        () = signals.end_after(Instant::now() + SAME_SIGNAL) => Err(Failure::Killed),
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let port = address.port();
    listen(address).map_err(|source| match source.kind() {
        ErrorKind::AddrInUse => Failure::PortInUse {
            port,
            holder: control::holder(address),
            free: free_port(address),
        },
        ErrorKind::PermissionDenied if port < FIRST_OPEN_PORT => Failure::PortReserved {
            port,
            free: port + 8000,
        },
        ErrorKind::AddrNotAvailable => Failure::NoSuchAddress(address.ip()),
        _ => Failure::Bind { address, source },
    })
}

/// Address reuse lets a restart pass connections that are still closing. Not port reuse: two proxies on one port would
/// share its requests without knowing of each other.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn free_port(address: SocketAddr) -> Option<u16> {
    (1..=PORTS_TRIED)
        .filter_map(|more| address.port().checked_add(more))
        .find(|port| listen(SocketAddr::new(address.ip(), *port)).is_ok())
}
